"""Drivers of other databases and caches."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import known_calls

_REDIS = "https://redis.readthedocs.io/en/stable/examples/asyncio_examples.html"
_PYMONGO = "https://pymongo.readthedocs.io/en/stable/api/pymongo/asynchronous/index.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "redis.Redis.* redis.client.* redis.connection.* redis.cluster.* redis.sentinel.* redis.commands.*",
        "driver",
        "Use redis.asyncio: await client.get(...).",
        _REDIS,
    ),
    *known_calls(
        "redis.lock.*", "driver", "Use redis.asyncio.lock.Lock, from redis.asyncio.Redis.lock(...).", _REDIS
    ),
    *known_calls("rediscluster.*", "driver", "Use redis.asyncio.RedisCluster.", _REDIS),
    *known_calls(
        "pymemcache.* memcache.* pylibmc.*",
        "driver",
        "Use aiomcache.",
        "https://github.com/aio-libs/aiomcache",
    ),
    *known_calls(
        "pymongo.MongoClient.* pymongo.synchronous.* pymongo.mongo_client.* pymongo.database.* "
        "pymongo.collection.* pymongo.cursor.* pymongo.command_cursor.* pymongo.pool.* pymongo.network.* "
        "mongoengine.* gridfs.synchronous.*",
        "driver",
        "Use pymongo.AsyncMongoClient.",
        _PYMONGO,
    ),
    *known_calls(
        "cassandra.*",
        "driver",
        "Use session.execute_async(...) and hand its callbacks to the loop, or call it in a thread.",
        "https://github.com/datastax/python-driver",
    ),
    *known_calls(
        "elasticsearch.Elasticsearch.* elasticsearch._sync.* elasticsearch.client.* elasticsearch.helpers.* "
        "elastic_transport.Transport.* elastic_transport._transport.*",
        "driver",
        "Use elasticsearch.AsyncElasticsearch.",
        "https://github.com/elastic/elasticsearch-py/blob/main/docs/reference/async.md",
    ),
    *known_calls(
        "opensearchpy.OpenSearch.* opensearchpy.client.* opensearchpy.transport.* opensearchpy.connection.*",
        "driver",
        "Use opensearchpy.AsyncOpenSearch.",
        "https://github.com/opensearch-project/opensearch-py/blob/main/guides/async.md",
    ),
    *known_calls(
        "neo4j.GraphDatabase.* neo4j.Driver.* neo4j.Session.* neo4j.Transaction.* neo4j._sync.*",
        "driver",
        "Use neo4j.AsyncGraphDatabase.driver(...).",
        "https://neo4j.com/docs/api/python-driver/current/async_api.html",
    ),
    *known_calls(
        "influxdb_client.* influxdb.*",
        "driver",
        "Use influxdb_client.client.influxdb_client_async.InfluxDBClientAsync.",
        "https://influxdb-client.readthedocs.io/en/stable/usage.html",
    ),
)
