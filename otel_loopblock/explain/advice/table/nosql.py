"""Drivers of other databases, caches and indexes of vectors."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, known_calls

_REDIS = "https://redis.readthedocs.io/en/stable/examples/asyncio_examples.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "redis.Redis.* redis.client.* redis.connection.* redis.cluster.* redis.sentinel.* redis.commands.*",
        "driver",
        "Use redis.asyncio.Redis: await client.get(key).",
        _REDIS,
        "2026-11",
    ),
    *known_calls(
        "redis.lock.*", "driver", "Use redis.asyncio.Redis: async with client.lock(name).", _REDIS, "2026-11"
    ),
    *known_calls(
        "rediscluster.*",
        "driver",
        "Use redis.asyncio.RedisCluster: await client.get(key).",
        _REDIS,
        "2026-11",
    ),
    *known_calls(
        "pymemcache.* memcache.* pylibmc.*",
        "driver",
        "Call it in a thread, with pymemcache.client.base.PooledClient(server): await "
        "asyncio.to_thread(...).",
        "https://pymemcache.readthedocs.io/en/latest/getting_started.html",
        "2026-11",
    ),
    *known_calls(
        "pymongo.MongoClient.* pymongo.synchronous.* pymongo.mongo_client.* pymongo.database.* "
        "pymongo.collection.* pymongo.cursor.* pymongo.command_cursor.* pymongo.pool.* "
        "mongoengine.* gridfs.synchronous.*",
        "driver",
        "Use pymongo.AsyncMongoClient(uri).",
        "https://pymongo.readthedocs.io/en/stable/api/pymongo/asynchronous/index.html",
        "2026-11",
    ),
    *known_calls(
        "cassandra.*",
        "driver",
        "Use session.execute_async(query) and hand its callbacks to the loop, or call it in a thread.",
        "https://github.com/apache/cassandra-python-driver",
        "2026-11",
    ),
    *known_calls(
        "elasticsearch.Elasticsearch.* elasticsearch._sync.* elasticsearch.client.* "
        "elasticsearch.helpers.* elastic_transport.Transport.* elastic_transport._transport.*",
        "driver",
        "Use elasticsearch.AsyncElasticsearch: await client.search(index=...).",
        "https://github.com/elastic/elasticsearch-py/blob/main/docs/reference/async.md",
        "2026-11",
    ),
    *known_calls(
        "opensearchpy.*",
        "driver",
        "Use opensearchpy.AsyncOpenSearch: await client.search(index=...).",
        "https://github.com/opensearch-project/opensearch-py/blob/main/guides/async.md",
        "2026-11",
    ),
    *known_calls(
        "neo4j.GraphDatabase.* neo4j.Driver.* neo4j.Session.* neo4j.Transaction.* neo4j._sync.*",
        "driver",
        "Use neo4j.AsyncGraphDatabase.driver(uri).",
        "https://neo4j.com/docs/api/python-driver/current/async_api.html",
        "2026-11",
    ),
    *known_calls(
        "influxdb_client.* influxdb.*",
        "driver",
        "Use influxdb_client.client.influxdb_client_async.InfluxDBClientAsync(url=..., token=...).",
        "https://influxdb-client.readthedocs.io/en/stable/usage.html",
        "2026-11",
    ),
    *known_calls(
        "couchbase.*",
        "driver",
        "Use acouchbase.cluster.Cluster: await cluster.connect(connstr, options).",
        "https://docs.couchbase.com/python-sdk/current/howtos/concurrent-async-apis.html",
        "2026-11",
    ),
    *known_calls(
        "qdrant_client.*",
        "driver",
        "Use qdrant_client.AsyncQdrantClient: await client.query_points(...).",
        "https://python-client.qdrant.tech/",
        "2026-11",
    ),
    *known_calls(
        "weaviate.*",
        "driver",
        "Use weaviate.use_async_with_local() or use_async_with_weaviate_cloud(...).",
        "https://docs.weaviate.io/weaviate/client-libraries/python/async",
        "2026-11",
    ),
    *known_calls(
        "chromadb.*",
        "driver",
        "Use await chromadb.AsyncHttpClient(host=...), or call it in a thread: await asyncio.to_thread(...).",
        "https://docs.trychroma.com/docs/run-chroma/client-server",
        "2026-11",
    ),
    *known_calls(
        "pinecone.*",
        "driver",
        "Use pinecone.PineconeAsyncio: async with, await index.query(...).",
        "https://docs.pinecone.io/reference/sdks/python/overview",
        "2026-11",
    ),
    *known_calls(
        "pymilvus.*",
        "driver",
        "Use pymilvus.AsyncMilvusClient: await client.search(...).",
        "https://milvus.io/docs/use-async-milvus-client-with-asyncio.md",
        "2026-11",
    ),
    *known_calls(
        "supabase.* postgrest.* storage3.* supabase_auth.*",
        "driver",
        "Use await supabase.acreate_client(url, key), and await its queries.",
        "https://supabase.com/docs/reference/python/introduction",
        "2026-11",
    ),
    *known_calls(
        "diskcache.*",
        "file",
        f"Call it in a thread: {IN_THREAD}.",
        "https://grantjenks.com/docs/diskcache/tutorial.html",
        "2026-11",
    ),
)
