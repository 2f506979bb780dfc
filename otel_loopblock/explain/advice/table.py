"""The known calls: data only. To add one, add a record; the tests check its form.

A sentence names the concrete replacement. ``releases_gil`` is what the page or CPython's source says, else
``None``. Entries with ``releases_gil=False`` say that a thread would not help; those with ``True``
may send work to one.
"""

from __future__ import annotations

from typing import Final

from otel_loopblock.explain.advice.known import Kind, KnownCall

_PY = "https://docs.python.org/3/library/"
_THREAD = f"{_PY}asyncio-task.html#asyncio.to_thread"
_STREAMS = f"{_PY}asyncio-stream.html"
_PROCESS = f"{_PY}asyncio-subprocess.html"
_SYNC = f"{_PY}asyncio-sync.html"
_SHUTIL = f"{_PY}shutil.html"
_PSYCOPG = "https://www.psycopg.org/psycopg3/docs/advanced/async.html"
_SQLALCHEMY = "https://docs.sqlalchemy.org/en/20/orm/extensions/asyncio.html"
_REDIS = "https://redis.readthedocs.io/en/stable/examples/asyncio_examples.html"
_PYMONGO = "https://pymongo.readthedocs.io/en/stable/api/pymongo/asynchronous/index.html"
_HTTPX = "https://www.python-httpx.org/async/"
_AIOMYSQL = "https://aiomysql.readthedocs.io/en/stable/"
_AIOKAFKA = "https://aiokafka.readthedocs.io/en/stable/"
_NUMPY = "https://numpy.org/doc/stable/reference/thread_safety.html"
_SKLEARN = "https://scikit-learn.org/stable/computing/parallelism.html"
_CTYPES = f"{_PY}ctypes.html"
_XGBOOST = "https://xgboost.readthedocs.io/en/stable/prediction.html"
_LIGHTGBM = "https://lightgbm.readthedocs.io/en/stable/Python-Intro.html"
_TORCH = "https://docs.pytorch.org/docs/stable/notes/cpu_threading_torchscript_inference.html"
_PANDAS = "https://pandas.pydata.org/docs/user_guide/enhancingperf.html"
_TRANSFORMERS = "https://huggingface.co/docs/transformers/pipeline_webserver"

_IN_THREAD = "await asyncio.to_thread(...) (FastAPI: run_in_threadpool)"
_NO_THREAD = "a thread would not help"


def _each(
    patterns: str, kind: Kind, instead: str, source: str, *, releases_gil: bool | None = None
) -> tuple[KnownCall, ...]:
    """One record per name: several names of one thing share the sentence."""
    return tuple(KnownCall(pattern, instead, kind, releases_gil, source) for pattern in patterns.split())


_WAITS = (
    *_each(
        "time.sleep",
        "sleep",
        "Use await asyncio.sleep(...).",
        f"{_PY}asyncio-task.html#sleeping",
        releases_gil=True,
    ),
    *_each(
        "signal.pause signal.sigwait* signal.sigtimedwait",
        "sleep",
        "Use loop.add_signal_handler(...) and an asyncio.Event.",
        f"{_PY}asyncio-eventloop.html#unix-signals",
        releases_gil=True,
    ),
    *_each(
        "input getpass.*",
        "input",
        f"Read the terminal in a thread: {_IN_THREAD}.",
        _THREAD,
    ),
    *_each(
        "threading.Lock.acquire _thread.lock.acquire threading.RLock.acquire threading._RLock.acquire "
        "_thread.RLock.acquire",
        "lock",
        "Use asyncio.Lock between tasks, or take this lock in a thread: await asyncio.to_thread(...).",
        f"{_SYNC}#lock",
        releases_gil=True,
    ),
    *_each(
        "threading.Event.*",
        "lock",
        "Use asyncio.Event, set from other threads by loop.call_soon_threadsafe(event.set).",
        f"{_SYNC}#event",
        releases_gil=True,
    ),
    *_each(
        "threading.Condition.*",
        "lock",
        "Use asyncio.Condition, or wait in a thread: await asyncio.to_thread(...).",
        f"{_SYNC}#condition",
        releases_gil=True,
    ),
    *_each(
        "threading.Semaphore.* threading.BoundedSemaphore.*",
        "lock",
        "Use asyncio.Semaphore.",
        f"{_SYNC}#semaphore",
        releases_gil=True,
    ),
    *_each(
        "threading.Barrier.*",
        "lock",
        "Use asyncio.Barrier (Python 3.11), or wait in a thread: await asyncio.to_thread(...).",
        f"{_SYNC}#barrier",
        releases_gil=True,
    ),
    *_each(
        "threading.Thread.join",
        "lock",
        "Start the work by await asyncio.to_thread(...) instead of a thread that is joined.",
        _THREAD,
        releases_gil=True,
    ),
    *_each(
        "threading.wait threading.join threading.acquire",
        "lock",
        "Use the asyncio counterpart (Lock, Event ...), or wait in a thread: await asyncio.to_thread(...).",
        _SYNC,
        releases_gil=True,
    ),
    *_each(
        "queue.* _queue.SimpleQueue.get",
        "lock",
        "Use asyncio.Queue; other threads put by loop.call_soon_threadsafe(queue.put_nowait, item).",
        f"{_PY}asyncio-queue.html",
        releases_gil=True,
    ),
    *_each(
        "concurrent.futures.Future.result concurrent.futures._base.Future.* concurrent.futures._base.result "
        "concurrent.futures._base.exception",
        "lock",
        "Use await asyncio.wrap_future(future); waiting here for what must run on this loop never ends.",
        f"{_PY}asyncio-future.html#asyncio.wrap_future",
        releases_gil=True,
    ),
    *_each(
        "concurrent.futures.wait concurrent.futures.as_completed concurrent.futures._base.wait "
        "concurrent.futures._base.as_completed",
        "lock",
        "Wrap the futures by asyncio.wrap_future and await asyncio.wait(...) or asyncio.gather(...).",
        f"{_PY}asyncio-future.html#asyncio.wrap_future",
        releases_gil=True,
    ),
    *_each(
        "concurrent.futures.*.shutdown concurrent.futures.*.map",
        "lock",
        "Use await loop.run_in_executor(pool, ...); close the pool in a thread or with shutdown(wait=False).",
        f"{_PY}asyncio-eventloop.html#asyncio.loop.run_in_executor",
        releases_gil=True,
    ),
    *_each(
        "multiprocessing.*",
        "process",
        "Use await loop.run_in_executor(ProcessPoolExecutor(), ...), or talk to the process from a thread.",
        f"{_PY}asyncio-eventloop.html#asyncio.loop.run_in_executor",
    ),
    *_each(
        "asyncio.run_coroutine_threadsafe",
        "lock",
        "On the loop's own thread await the coroutine itself, or keep it by asyncio.create_task(...).",
        f"{_PY}asyncio-task.html#asyncio.run_coroutine_threadsafe",
    ),
)

_PROCESSES = (
    *_each(
        "subprocess.* subprocess.run subprocess.call subprocess.check_call subprocess.check_output",
        "process",
        "Use await asyncio.create_subprocess_exec(...), then await process.communicate().",
        f"{_PROCESS}#asyncio.create_subprocess_exec",
        releases_gil=True,
    ),
    *_each(
        "subprocess.Popen.wait subprocess.Popen.communicate",
        "process",
        "Use asyncio.create_subprocess_exec(...) and await its wait() or communicate().",
        f"{_PROCESS}#asyncio.subprocess.Process.communicate",
        releases_gil=True,
    ),
    *_each(
        "os.system os.popen",
        "process",
        "Use await asyncio.create_subprocess_shell(...).",
        f"{_PROCESS}#asyncio.create_subprocess_shell",
        releases_gil=True,
    ),
    *_each(
        "os.wait os.wait3 os.wait4 os.waitpid os.waitid",
        "process",
        "Start the child by asyncio.create_subprocess_exec(...) and await process.wait().",
        _PROCESS,
        releases_gil=True,
    ),
    *_each(
        "pexpect.*",
        "process",
        "Use await child.expect(..., async_=True).",
        "https://pexpect.readthedocs.io/en/stable/api/pexpect.html",
    ),
    *_each(
        "docker.*",
        "network",
        "Use aiodocker.",
        "https://aiodocker.readthedocs.io/en/latest/",
    ),
)

_NETWORK = (
    *_each(
        "socket.getaddrinfo socket.gethostby* socket.getfqdn socket.getnameinfo",
        "dns",
        "Use await loop.getaddrinfo(...); it resolves in a thread.",
        f"{_PY}asyncio-eventloop.html#dns",
        releases_gil=True,
    ),
    *_each(
        "dns.resolver.*",
        "dns",
        "Use dns.asyncresolver.",
        "https://dnspython.readthedocs.io/en/stable/async.html",
    ),
    *_each(
        "socket.create_connection",
        "network",
        "Use await asyncio.open_connection(...).",
        f"{_STREAMS}#asyncio.open_connection",
    ),
    *_each(
        "socket.* socket.socket.recv* socket.socket.connect socket.socket.accept socket.socket.send*",
        "network",
        "Use asyncio streams (open_connection, start_server), or loop.sock_recv(...) and its kin.",
        f"{_PY}asyncio-eventloop.html#working-with-socket-objects-directly",
        releases_gil=True,
    ),
    *_each(
        "ssl.create_default_context ssl.SSLContext.load_* ssl.SSLContext.set_default_verify_paths",
        "startup",
        "Make the SSL context, or the client that makes it, once at start-up: it reads all certificates.",
        f"{_PY}ssl.html#ssl.create_default_context",
    ),
    *_each(
        "ssl.SSLSocket.* ssl.SSLContext.wrap_socket ssl.get_server_certificate",
        "network",
        "Use await asyncio.open_connection(..., ssl=context).",
        f"{_STREAMS}#asyncio.open_connection",
    ),
    *_each(
        "select.* selectors.*",
        "network",
        "Use loop.add_reader(...) and loop.add_writer(...), or asyncio streams.",
        f"{_PY}asyncio-eventloop.html#watching-file-descriptors",
        releases_gil=True,
    ),
    *_each(
        "socketserver.* http.server.*",
        "network",
        "Use asyncio.start_server(...), or an ASGI server.",
        f"{_STREAMS}#asyncio.start_server",
    ),
    *_each("urllib.request.*", "network", "Use httpx.AsyncClient or aiohttp.", _HTTPX),
    *_each("http.client.*", "network", "Use httpx.AsyncClient or aiohttp.", _HTTPX),
    *_each("xmlrpc.client.*", "network", f"Call it in a thread: {_IN_THREAD}.", _THREAD),
    *_each("requests.*", "network", "Use httpx.AsyncClient or aiohttp.", _HTTPX),
    *_each("urllib3.*", "network", "Use httpx.AsyncClient or aiohttp.", _HTTPX),
    *_each(
        "httpx.Client.* httpx.request httpx.get httpx.post httpx.put httpx.patch httpx.delete httpx.head "
        "httpx.options httpx.stream",
        "network",
        "Use httpx.AsyncClient: await client.get(...).",
        _HTTPX,
    ),
    *_each(
        "websocket.*",
        "network",
        "Use websockets.asyncio.client.",
        "https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html",
    ),
    *_each("smtplib.*", "network", "Use aiosmtplib.", "https://aiosmtplib.readthedocs.io/en/stable/"),
    *_each("ftplib.*", "network", "Use aioftp.", "https://aioftp.readthedocs.io/"),
    *_each("imaplib.*", "network", "Use aioimaplib.", "https://github.com/bamthomas/aioimaplib"),
    *_each("poplib.*", "network", f"Use it in a thread: {_IN_THREAD}.", _THREAD),
    *_each("telnetlib.*", "network", "Use telnetlib3.", "https://telnetlib3.readthedocs.io/en/latest/"),
    *_each("paramiko.*", "network", "Use asyncssh.", "https://asyncssh.readthedocs.io/en/latest/"),
    *_each("fabric.*", "network", "Use asyncssh.", "https://asyncssh.readthedocs.io/en/latest/"),
    *_each("ldap.* ldap3.*", "network", "Use bonsai.", "https://bonsai.readthedocs.io/en/latest/"),
    *_each(
        "grpc._channel.* grpc._interceptor.* google.api_core.grpc_helpers.*",
        "network",
        "Use grpc.aio: await stub.Method(...).",
        "https://grpc.github.io/grpc/python/grpc_asyncio.html",
    ),
    *_each(
        "google.cloud.storage.*",
        "network",
        "Use gcloud-aio-storage, or call it in a thread: await asyncio.to_thread(...).",
        "https://github.com/talkiq/gcloud-aio",
    ),
    *_each(
        "google.cloud.pubsub* google.cloud.bigquery.*",
        "network",
        "Use the client's gcloud-aio counterpart, or call it in a thread: await asyncio.to_thread(...).",
        "https://github.com/talkiq/gcloud-aio",
    ),
    *_each(
        "boto3.* botocore.client.* botocore.endpoint.* botocore.httpsession.* s3transfer.*",
        "network",
        "Use aioboto3 or aiobotocore.",
        "https://aioboto3.readthedocs.io/en/latest/",
    ),
    *_each(
        "azure.storage.blob.*",
        "network",
        "Use the client of the same name from azure.storage.blob.aio.",
        "https://learn.microsoft.com/en-us/python/api/azure-storage-blob/azure.storage.blob.aio",
    ),
    *_each(
        "stripe.*",
        "network",
        "Use the methods that end in _async: await client.customers.retrieve_async(...).",
        "https://github.com/stripe/stripe-python",
    ),
    *_each(
        "openai.OpenAI.* openai._base_client.SyncAPIClient.* openai.resources.*",
        "network",
        "Use openai.AsyncOpenAI: await client.chat.completions.create(...).",
        "https://github.com/openai/openai-python",
    ),
    *_each(
        "anthropic.Anthropic.* anthropic._base_client.SyncAPIClient.* anthropic.resources.*",
        "network",
        "Use anthropic.AsyncAnthropic: await client.messages.create(...).",
        "https://github.com/anthropics/anthropic-sdk-python",
    ),
    *_each(
        "slack_sdk.*",
        "network",
        "Use slack_sdk.web.async_client.AsyncWebClient.",
        "https://github.com/slackapi/python-slack-sdk",
    ),
    *_each(
        "twilio.*",
        "network",
        "Use AsyncTwilioHttpClient and the methods that end in _async.",
        "https://github.com/twilio/twilio-python",
    ),
)

_DRIVERS = (
    *_each(
        "psycopg2.* psycopg2.connect psycopg2.extensions.cursor.* psycopg2.extensions.connection.*",
        "driver",
        "Use asyncpg, or psycopg 3: await psycopg.AsyncConnection.connect(...).",
        _PSYCOPG,
        releases_gil=True,
    ),
    *_each(
        "psycopg.connect psycopg.Connection.* psycopg.connection.* psycopg.Cursor.* psycopg.cursor.* "
        "psycopg.ServerCursor.* psycopg.server_cursor.* psycopg.Pipeline.*",
        "driver",
        "Use psycopg.AsyncConnection: await connection.execute(...).",
        _PSYCOPG,
    ),
    *_each(
        "psycopg_pool.ConnectionPool.* psycopg_pool.pool.*",
        "driver",
        "Use psycopg_pool.AsyncConnectionPool.",
        "https://www.psycopg.org/psycopg3/docs/api/pool.html",
    ),
    *_each("pg8000.*", "driver", "Use asyncpg.", "https://magicstack.github.io/asyncpg/current/"),
    *_each(
        "mysql.connector.*",
        "driver",
        "Use mysql.connector.aio, aiomysql or asyncmy.",
        "https://dev.mysql.com/doc/connector-python/en/connector-python-asyncio.html",
    ),
    *_each("MySQLdb.*", "driver", "Use asyncmy or aiomysql.", "https://github.com/long2ice/asyncmy"),
    *_each("pymysql.*", "driver", "Use aiomysql or asyncmy.", _AIOMYSQL),
    *_each("mariadb.*", "driver", "Use aiomysql or asyncmy.", _AIOMYSQL),
    *_each(
        "oracledb.* cx_Oracle.*",
        "driver",
        "Use oracledb's asyncio API: oracledb.connect_async(...).",
        "https://python-oracledb.readthedocs.io/en/latest/user_guide/asyncio.html",
    ),
    *_each("pyodbc.*", "driver", "Use aioodbc.", "https://github.com/aio-libs/aioodbc"),
    *_each(
        "pymssql.*",
        "driver",
        "Use aioodbc, or call it in a thread: await asyncio.to_thread(...).",
        "https://github.com/aio-libs/aioodbc",
    ),
    *_each(
        "sqlite3.*",
        "driver",
        "Use aiosqlite; it keeps the connection in a thread.",
        "https://aiosqlite.omnilib.dev/en/stable/",
        releases_gil=True,
    ),
    *_each(
        "duckdb.*",
        "driver",
        f"Query in a thread, one cursor each: {_IN_THREAD}.",
        "https://duckdb.org/docs/stable/guides/python/multiple_threads",
    ),
    *_each(
        "sqlalchemy.orm.*",
        "driver",
        "Use sqlalchemy.ext.asyncio.AsyncSession with an async driver such as asyncpg.",
        _SQLALCHEMY,
    ),
    *_each(
        "sqlalchemy.engine.* sqlalchemy.Engine.* sqlalchemy.Connection.* sqlalchemy.pool.*",
        "driver",
        "Use sqlalchemy.ext.asyncio.create_async_engine with an async driver such as asyncpg.",
        _SQLALCHEMY,
    ),
    *_each(
        "django.db.* django.core.cache.*",
        "driver",
        "Use the ORM's asynchronous methods (aget, acreate, async for), or sync_to_async.",
        "https://docs.djangoproject.com/en/stable/topics/async/",
    ),
    *_each("peewee.*", "driver", f"Query in a thread: {_IN_THREAD}, or use an async ORM.", _THREAD),
    *_each(
        "redis.Redis.* redis.client.* redis.connection.* redis.cluster.* redis.sentinel.* redis.commands.*",
        "driver",
        "Use redis.asyncio: await client.get(...).",
        _REDIS,
    ),
    *_each(
        "redis.lock.*", "driver", "Use redis.asyncio.lock.Lock, from redis.asyncio.Redis.lock(...).", _REDIS
    ),
    *_each("rediscluster.*", "driver", "Use redis.asyncio.RedisCluster.", _REDIS),
    *_each(
        "pymemcache.* memcache.* pylibmc.*",
        "driver",
        "Use aiomcache.",
        "https://github.com/aio-libs/aiomcache",
    ),
    *_each(
        "pymongo.MongoClient.* pymongo.synchronous.* pymongo.mongo_client.* pymongo.database.* "
        "pymongo.collection.* pymongo.cursor.* pymongo.command_cursor.* pymongo.pool.* pymongo.network.* "
        "mongoengine.* gridfs.synchronous.*",
        "driver",
        "Use pymongo.AsyncMongoClient.",
        _PYMONGO,
    ),
    *_each(
        "cassandra.*",
        "driver",
        "Use session.execute_async(...) and hand its callbacks to the loop, or call it in a thread.",
        "https://github.com/datastax/python-driver",
    ),
    *_each(
        "elasticsearch.Elasticsearch.* elasticsearch._sync.* elasticsearch.client.* elasticsearch.helpers.* "
        "elastic_transport.Transport.* elastic_transport._transport.*",
        "driver",
        "Use elasticsearch.AsyncElasticsearch.",
        "https://github.com/elastic/elasticsearch-py/blob/main/docs/reference/async.md",
    ),
    *_each(
        "opensearchpy.OpenSearch.* opensearchpy.client.* opensearchpy.transport.* opensearchpy.connection.*",
        "driver",
        "Use opensearchpy.AsyncOpenSearch.",
        "https://github.com/opensearch-project/opensearch-py/blob/main/guides/async.md",
    ),
    *_each(
        "neo4j.GraphDatabase.* neo4j.Driver.* neo4j.Session.* neo4j.Transaction.* neo4j._sync.*",
        "driver",
        "Use neo4j.AsyncGraphDatabase.driver(...).",
        "https://neo4j.com/docs/api/python-driver/current/async_api.html",
    ),
    *_each(
        "influxdb_client.* influxdb.*",
        "driver",
        "Use influxdb_client.client.influxdb_client_async.InfluxDBClientAsync.",
        "https://influxdb-client.readthedocs.io/en/stable/usage.html",
    ),
    *_each(
        "clickhouse_driver.*",
        "driver",
        "Use asynch or clickhouse-connect's async client.",
        "https://github.com/long2ice/asynch",
    ),
    *_each(
        "clickhouse_connect.*",
        "driver",
        "Use await clickhouse_connect.get_async_client(...).",
        "https://clickhouse.com/docs/integrations/python",
    ),
    *_each("kafka.*", "driver", "Use aiokafka: AIOKafkaProducer, AIOKafkaConsumer.", _AIOKAFKA),
    *_each(
        "confluent_kafka.*",
        "driver",
        "Use confluent_kafka.aio (AIOProducer, AIOConsumer) or aiokafka.",
        "https://github.com/confluentinc/confluent-kafka-python",
    ),
    *_each("pika.* amqp.* kombu.*", "driver", "Use aio-pika.", "https://docs.aio-pika.com/"),
    *_each("paho.mqtt.*", "driver", "Use aiomqtt.", "https://github.com/empicano/aiomqtt"),
    *_each("stomp.*", "driver", f"Use it in a thread: {_IN_THREAD}.", _THREAD),
    *_each(
        "celery.result.*",
        "driver",
        "Do not wait for a task in a handler; return its id, or wait in a thread.",
        "https://docs.celeryq.dev/en/stable/reference/celery.result.html",
    ),
    *_each("kazoo.*", "driver", f"Use it in a thread: {_IN_THREAD}.", _THREAD),
    *_each(
        "zmq.Socket.* zmq.sugar.* zmq.backend.*",
        "driver",
        "Use zmq.asyncio.Context().",
        "https://pyzmq.readthedocs.io/en/latest/api/zmq.asyncio.html",
    ),
    *_each("hvac.* consul.*", "network", f"Call it in a thread: {_IN_THREAD}.", _THREAD),
    *_each(
        "kubernetes.*", "network", "Use kubernetes_asyncio.", "https://github.com/tomplus/kubernetes_asyncio"
    ),
)

_FILES = (
    *_each(
        "open io.* io.open",
        "file",
        f"Open, read and write in a thread: {_IN_THREAD}, or anyio.open_file(...).",
        "https://anyio.readthedocs.io/en/stable/fileio.html",
        releases_gil=True,
    ),
    *_each(
        "io.BytesIO.* io.StringIO.*",
        "compute",
        f"Copy less at once; {_NO_THREAD}: it holds the GIL.",
        f"{_PY}io.html#io.BytesIO",
        releases_gil=False,
    ),
    *_each(
        "pathlib.*",
        "file",
        "Use anyio.Path: await anyio.Path(name).read_text().",
        "https://anyio.readthedocs.io/en/stable/fileio.html",
    ),
    *_each("shutil.*", "file", f"Copy, move and remove trees in a thread: {_IN_THREAD}.", _SHUTIL),
    *_each(
        "os.listdir os.walk os.scandir os.stat os.lstat os.makedirs os.mkdir os.remove os.unlink os.rename "
        "os.replace os.rmdir os.open os.read os.write os.sendfile os.truncate os.access os.chmod",
        "file",
        f"Ask the file system in a thread: {_IN_THREAD}; a network disk can take seconds.",
        f"{_PY}os.html",
        releases_gil=True,
    ),
    *_each(
        "os.path.* glob.*",
        "file",
        f"Ask the file system in a thread: {_IN_THREAD}; a network disk can take seconds.",
        f"{_PY}os.path.html",
    ),
    *_each(
        "os.fsync os.fdatasync os.sync",
        "file",
        f"Flush to disk in a thread: {_IN_THREAD}.",
        f"{_PY}os.html#os.fsync",
        releases_gil=True,
    ),
    *_each(
        "tempfile.*",
        "file",
        "Use anyio.TemporaryFile and its kin, or make the file in a thread: await asyncio.to_thread(...).",
        "https://anyio.readthedocs.io/en/stable/fileio.html",
    ),
    *_each(
        "fcntl.flock fcntl.lockf",
        "file",
        f"Take the file lock in a thread: {_IN_THREAD}.",
        f"{_PY}fcntl.html",
        releases_gil=True,
    ),
    *_each("mmap.*", "file", f"Read the mapped pages in a thread: {_IN_THREAD}.", f"{_PY}mmap.html"),
    *_each("dbm.* shelve.*", "file", f"Use it in a thread: {_IN_THREAD}.", f"{_PY}dbm.html"),
    *_each(
        "logging.handlers.SocketHandler.* logging.handlers.SysLogHandler.* logging.handlers.SMTPHandler.* "
        "logging.handlers.HTTPHandler.* logging.handlers.DatagramHandler.*",
        "logging",
        "Log through logging.handlers.QueueHandler, and send from its QueueListener's thread.",
        "https://docs.python.org/3/howto/logging-cookbook.html#dealing-with-handlers-that-block",
    ),
    *_each(
        "logging.*",
        "logging",
        "Log through logging.handlers.QueueHandler, and write from its QueueListener's thread.",
        "https://docs.python.org/3/howto/logging-cookbook.html#dealing-with-handlers-that-block",
    ),
    *_each(
        "print",
        "logging",
        "Log through logging.handlers.QueueHandler; a slow terminal or pipe blocks print.",
        "https://docs.python.org/3/howto/logging-cookbook.html#dealing-with-handlers-that-block",
    ),
)

_COMPUTING = (
    *_each(
        "zlib.* gzip.compress gzip.decompress bz2.* lzma.*",
        "compute",
        f"Compress in a thread: {_IN_THREAD}; the C code releases the GIL.",
        f"{_PY}zlib.html",
        releases_gil=True,
    ),
    *_each(
        "gzip.*",
        "compute",
        f"Read and write it in a thread: {_IN_THREAD}.",
        f"{_PY}gzip.html",
        releases_gil=True,
    ),
    *_each(
        "zipfile.* tarfile.*",
        "compute",
        f"Pack and unpack in a thread: {_IN_THREAD}; for many small members use a process pool.",
        f"{_PY}zipfile.html",
    ),
    *_each(
        "hashlib.pbkdf2_hmac hashlib.scrypt",
        "compute",
        f"Derive keys in a thread: {_IN_THREAD}; OpenSSL's code releases the GIL.",
        f"{_PY}hashlib.html#key-derivation",
        releases_gil=True,
    ),
    *_each(
        "hashlib.* hmac.*",
        "compute",
        f"Hash large data in a thread: {_IN_THREAD}; above 2047 bytes hashlib releases the GIL.",
        f"{_PY}hashlib.html",
        releases_gil=True,
    ),
    *_each(
        "bcrypt.*",
        "compute",
        f"Hash passwords in a thread: {_IN_THREAD}; slow is what they are made to be.",
        "https://github.com/pyca/bcrypt",
    ),
    *_each(
        "passlib.*",
        "compute",
        f"Hash passwords in a thread: {_IN_THREAD}, or in a process pool if it holds the GIL.",
        "https://passlib.readthedocs.io/en/stable/",
    ),
    *_each(
        "argon2.*",
        "compute",
        f"Hash passwords in a thread: {_IN_THREAD}.",
        "https://argon2-cffi.readthedocs.io/en/stable/",
    ),
    *_each(
        "cryptography.*",
        "compute",
        f"Do key derivation and large data in a thread: {_IN_THREAD}.",
        "https://cryptography.io/en/latest/",
    ),
    *_each(
        "jwt.*",
        "compute",
        f"Sign with RSA in a thread: {_IN_THREAD}, or use EdDSA or HMAC, which are quick.",
        "https://pyjwt.readthedocs.io/en/stable/",
    ),
    *_each(
        "jinja2.*",
        "compute",
        f"Cache what is rendered, or render large pages in a process pool; {_NO_THREAD}: it is Python code.",
        "https://jinja.palletsprojects.com/en/stable/api/",
        releases_gil=False,
    ),
    *_each(
        "re.*",
        "compute",
        f"Rewrite the pattern so it cannot backtrack, or bound the input; {_NO_THREAD}: re holds the GIL.",
        f"{_PY}re.html",
        releases_gil=False,
    ),
    *_each(
        "difflib.*",
        "compute",
        f"Compare less at once, or in a process pool; {_NO_THREAD}: it is Python code.",
        f"{_PY}difflib.html",
        releases_gil=False,
    ),
    *_each(
        "sorted list.sort",
        "compute",
        f"Sort less (heapq.nlargest, the database), or in a process pool; {_NO_THREAD}: it holds the GIL.",
        f"{_PY}functions.html#sorted",
        releases_gil=False,
    ),
    *_each(
        "sum min max any all list tuple set dict map filter zip enumerate str.join bytes.join str.replace",
        "compute",
        f"Work on less at once, or use a process pool; {_NO_THREAD}: it holds the GIL.",
        f"{_PY}functions.html",
        releases_gil=False,
    ),
    *_each(
        "copy.deepcopy copy._deepcopy* copy.*",
        "compute",
        f"Copy less, or use immutable data; {_NO_THREAD}: it is Python code.",
        f"{_PY}copy.html",
        releases_gil=False,
    ),
    *_each(
        "gc.collect",
        "compute",
        f"Let the collector run by itself; call gc.freeze() after start-up; {_NO_THREAD}: it holds the GIL.",
        f"{_PY}gc.html#gc.freeze",
        releases_gil=False,
    ),
    *_each(
        "eval exec compile ast.*",
        "compute",
        f"Compile once, at start-up; {_NO_THREAD}: it holds the GIL.",
        f"{_PY}functions.html#compile",
        releases_gil=False,
    ),
    *_each(
        "importlib.* __import__",
        "startup",
        "Import it at start-up, at the top of a module, not in a handler.",
        f"{_PY}importlib.html",
    ),
    *_each(
        "inspect.* traceback.* linecache.*",
        "compute",
        f"Do it at start-up, or cache it; {_NO_THREAD}: it is Python code.",
        f"{_PY}inspect.html",
        releases_gil=False,
    ),
    *_each(
        "pydantic.* pydantic_core.*",
        "serialisation",
        f"Validate less at once, or in a process pool; {_NO_THREAD}: it builds Python objects.",
        "https://docs.pydantic.dev/latest/concepts/performance/",
        releases_gil=False,
    ),
    *_each(
        "json.*",
        "serialisation",
        f"Send or parse less at once, or use orjson, which is faster, or a process pool; {_NO_THREAD}.",
        "https://github.com/ijl/orjson",
        releases_gil=False,
    ),
    *_each(
        "orjson.* ujson.* simplejson.* msgpack.* rapidjson.*",
        "serialisation",
        f"Send or parse less at once, in pages, or use a process pool; {_NO_THREAD}: it holds the GIL.",
        "https://github.com/ijl/orjson",
        releases_gil=False,
    ),
    *_each(
        "pickle.* marshal.* dill.* cloudpickle.*",
        "serialisation",
        f"Pickle less at once, or load at start-up; {_NO_THREAD}: it holds the GIL.",
        f"{_PY}pickle.html",
        releases_gil=False,
    ),
    *_each(
        "yaml.*",
        "serialisation",
        f"Load YAML at start-up, with yaml.CSafeLoader, or use a process pool; {_NO_THREAD}.",
        "https://pyyaml.org/wiki/PyYAMLDocumentation",
        releases_gil=False,
    ),
    *_each(
        "tomllib.* tomli.* configparser.*",
        "serialisation",
        f"Read configuration at start-up; {_NO_THREAD}: it is Python code.",
        f"{_PY}tomllib.html",
        releases_gil=False,
    ),
    *_each(
        "xml.etree.* xml.dom.* xml.sax.*",
        "serialisation",
        f"Feed documents in pieces, or parse in a process pool; {_NO_THREAD}: it builds Python objects.",
        f"{_PY}xml.etree.elementtree.html",
        releases_gil=False,
    ),
    *_each(
        "lxml.etree.parse lxml.etree.fromstring lxml.etree.XML lxml.etree.HTML",
        "serialisation",
        f"Parse in a thread: {_IN_THREAD}; lxml frees the GIL while it parses.",
        "https://lxml.de/FAQ.html",
        releases_gil=True,
    ),
    *_each(
        "lxml.*",
        "serialisation",
        f"Do it in a thread: {_IN_THREAD}, or in a process pool if it holds the GIL.",
        "https://lxml.de/FAQ.html",
    ),
    *_each(
        "bs4.* html.parser.*",
        "serialisation",
        f"Parse large pages in a process pool; {_NO_THREAD}: it is Python code.",
        "https://www.crummy.com/software/BeautifulSoup/bs4/doc/",
        releases_gil=False,
    ),
    *_each(
        "csv.* openpyxl.*",
        "serialisation",
        f"Read and write it in pieces, or in a process pool; {_NO_THREAD}: it builds Python objects.",
        f"{_PY}csv.html",
        releases_gil=False,
    ),
    *_each(
        "base64.*",
        "serialisation",
        f"Encode less at once, or stream it; {_NO_THREAD}: it holds the GIL.",
        f"{_PY}base64.html",
        releases_gil=False,
    ),
    *_each(
        "numpy.dot numpy.matmul numpy.inner numpy.vdot numpy.linalg.* numpy.ndarray.dot",
        "compute",
        f"Multiply matrices in a thread: {_IN_THREAD}; BLAS runs without the GIL.",
        _NUMPY,
        releases_gil=True,
    ),
    *_each(
        "numpy.*",
        "compute",
        f"Large arrays in a thread: {_IN_THREAD}; arrays of objects hold the GIL and need processes.",
        _NUMPY,
    ),
    *_each(
        "scipy.*",
        "compute",
        f"Run it in a thread: {_IN_THREAD}, or in a process pool if it holds the GIL.",
        "https://docs.scipy.org/doc/scipy/tutorial/thread_safety.html",
    ),
    *_each(
        "pandas.*",
        "compute",
        f"Run it in a thread: {_IN_THREAD}, or in a process pool: much of pandas holds the GIL.",
        _PANDAS,
    ),
    *_each(
        "polars.*",
        "compute",
        "Use await frame.lazy().collect_async(), or a thread: await asyncio.to_thread(...).",
        "https://docs.pola.rs/user-guide/misc/multiprocessing/",
    ),
    *_each(
        "pyarrow.*", "compute", f"Run it in a thread: {_IN_THREAD}.", "https://arrow.apache.org/docs/python/"
    ),
    *_each(
        "PIL.*",
        "compute",
        f"Decode, resize and save in a thread: {_IN_THREAD}, or in a process pool.",
        "https://pillow.readthedocs.io/en/stable/reference/Image.html",
    ),
    *_each(
        "cv2.*",
        "compute",
        f"Run it in a thread: {_IN_THREAD}; OpenCV's bindings release the GIL.",
        "https://github.com/opencv/opencv/blob/4.x/modules/python/src2/cv2_util.hpp",
        releases_gil=True,
    ),
    *_each(
        "matplotlib.*",
        "compute",
        "Draw in a process pool: matplotlib is not thread-safe.",
        "https://matplotlib.org/stable/users/faq.html",
    ),
    *_each(
        "reportlab.* weasyprint.*",
        "compute",
        f"Make documents in a process pool; {_NO_THREAD}: it is Python code.",
        f"{_PY}concurrent.futures.html#processpoolexecutor",
        releases_gil=False,
    ),
)

_MODELS = (
    *_each(
        "sklearn.*.predict* sklearn.*.transform sklearn.*.decision_function sklearn.*.kneighbors",
        "inference",
        f"Run the model in a thread: {_IN_THREAD}, or in a process pool if it holds the GIL.",
        _SKLEARN,
    ),
    *_each(
        "sklearn.*.fit*",
        "inference",
        "Train in a worker process: await loop.run_in_executor(ProcessPoolExecutor(), ...).",
        _SKLEARN,
    ),
    *_each(
        "sklearn.*",
        "inference",
        f"Run it in a thread: {_IN_THREAD}, or in a process pool if it holds the GIL.",
        _SKLEARN,
    ),
    *_each(
        "joblib.load joblib.numpy_pickle.*",
        "startup",
        "Load models at start-up, not in a handler.",
        "https://joblib.readthedocs.io/en/stable/",
    ),
    *_each(
        "joblib.*",
        "inference",
        "Run joblib's parallel work in a thread: await asyncio.to_thread(...).",
        "https://joblib.readthedocs.io/en/stable/",
    ),
    *_each(
        "xgboost.*",
        "inference",
        f"Predict in a thread: {_IN_THREAD}; its C code runs without the GIL.",
        _XGBOOST,
        releases_gil=True,
    ),
    *_each(
        "lightgbm.*",
        "inference",
        f"Predict in a thread: {_IN_THREAD}; its C code runs without the GIL.",
        _LIGHTGBM,
        releases_gil=True,
    ),
    *_each(
        "catboost.*",
        "inference",
        f"Predict in a thread: {_IN_THREAD}.",
        "https://catboost.ai/docs/en/concepts/python-quickstart",
    ),
    *_each(
        "ctypes.*",
        "compute",
        f"Call it in a thread: {_IN_THREAD}; ctypes releases the GIL, except for PyDLL.",
        _CTYPES,
        releases_gil=True,
    ),
    *_each(
        "torch.*",
        "inference",
        f"Run the model in a thread: {_IN_THREAD}, under torch.inference_mode().",
        _TORCH,
    ),
    *_each(
        "tensorflow.* keras.*",
        "inference",
        f"Run model.predict in a thread: {_IN_THREAD}, or serve it by TensorFlow Serving.",
        "https://www.tensorflow.org/tfx/guide/serving",
    ),
    *_each(
        "onnxruntime.*",
        "inference",
        f"Run the session in a thread: {_IN_THREAD}; it releases the GIL.",
        "https://onnxruntime.ai/docs/performance/tune-performance/threading.html",
        releases_gil=True,
    ),
    *_each(
        "h2o.*",
        "inference",
        f"Call it in a thread: {_IN_THREAD}; h2o waits for its Java server over HTTP.",
        "https://docs.h2o.ai/h2o/latest-stable/h2o-docs/performance-and-prediction.html",
    ),
    *_each(
        "transformers.*",
        "inference",
        f"Run the pipeline in a thread: {_IN_THREAD}, fed by one queue.",
        _TRANSFORMERS,
    ),
    *_each(
        "sentence_transformers.*", "inference", f"Encode in a thread: {_IN_THREAD}.", "https://sbert.net/"
    ),
    *_each(
        "spacy.*",
        "inference",
        "Run the pipeline in a worker process: await loop.run_in_executor(ProcessPoolExecutor(), ...).",
        "https://spacy.io/usage/processing-pipelines",
    ),
    *_each(
        "llama_cpp.*",
        "inference",
        f"Run the model in a thread: {_IN_THREAD}, or behind its server.",
        "https://github.com/abetlen/llama-cpp-python",
    ),
    *_each(
        "faiss.*",
        "inference",
        f"Search in a thread: {_IN_THREAD}; faiss releases the GIL.",
        "https://github.com/facebookresearch/faiss/wiki/Threads-and-asynchronous-calls",
        releases_gil=True,
    ),
)

ENTRIES: Final[tuple[KnownCall, ...]] = (
    *_WAITS,
    *_PROCESSES,
    *_NETWORK,
    *_DRIVERS,
    *_FILES,
    *_COMPUTING,
    *_MODELS,
)
"""What we know. Where several fit a name, the most specific counts."""

ALREADY_ASYNC: Final = (
    "*.asyncio.*",
    "*.aio.*",
    "*.Async*",
    "*.async_*",
    "*_async",
    "*_async.*",
    "*._async.*",
    "*.asynchronous.*",
    "*.asyncresolver.*",
    "*.AIO*",
)
"""Names that a pattern covers though they are asynchronous: one would be told to use what one uses."""

PUBLIC_NAMES: Final = {
    "_bz2": "bz2",
    "_codecs": "codecs",
    "_ctypes": "ctypes",
    "_frozen_importlib": "importlib",
    "_frozen_importlib_external": "importlib",
    "_hashlib": "hashlib",
    "_io": "io",
    "_json": "json",
    "_lzma": "lzma",
    "_pickle": "pickle",
    "_pyio": "io",
    "_sqlite3": "sqlite3",
    "_socket": "socket",
    "_sre": "re",
    "_ssl": "ssl",
    "builtins": "",
    "genericpath": "os.path",
    "httpx._api": "httpx",
    "httpx._client": "httpx",
    "nt": "os",
    "ntpath": "os.path",
    "posix": "os",
    "posixpath": "os.path",
    "psycopg2._psycopg": "psycopg2.extensions",
    "requests.api": "requests",
    "requests.sessions": "requests",
}
"""Modules that a stack names, to the name that users import them by."""
