"""Drivers of SQL databases, and what stands on them."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, NO_THREAD, THREAD, known_calls

_PSYCOPG = "https://www.psycopg.org/psycopg3/docs/advanced/async.html"
_SQLALCHEMY = "https://docs.sqlalchemy.org/en/20/orm/extensions/asyncio.html"
_AIOMYSQL = "https://aiomysql.readthedocs.io/en/stable/"
_ORACLE = "https://python-oracledb.readthedocs.io/en/latest/user_guide/asyncio.html"
_DJANGO = "https://docs.djangoproject.com/en/stable/topics/async/"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "psycopg2.* psycopg2.connect psycopg2.extensions.cursor.* psycopg2.extensions.connection.*",
        "driver",
        "Use asyncpg.connect(dsn), or psycopg 3: await psycopg.AsyncConnection.connect(dsn).",
        _PSYCOPG,
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "psycopg.connect psycopg.Connection.* psycopg.connection.* psycopg.Cursor.* psycopg.cursor.* "
        "psycopg.ServerCursor.* psycopg._server_cursor.* psycopg.Pipeline.*",
        "driver",
        "Use psycopg.AsyncConnection: await connection.execute(query).",
        _PSYCOPG,
        "2026-11",
    ),
    *known_calls(
        "psycopg_pool.ConnectionPool.* psycopg_pool.pool.*",
        "driver",
        "Use psycopg_pool.AsyncConnectionPool: async with pool.connection().",
        "https://www.psycopg.org/psycopg3/docs/api/pool.html",
        "2026-11",
    ),
    *known_calls(
        "pg8000.*",
        "driver",
        "Use await asyncpg.connect(dsn).",
        "https://magicstack.github.io/asyncpg/current/",
        "2026-11",
    ),
    *known_calls(
        "mysql.connector.*",
        "driver",
        "Use await mysql.connector.aio.connect(...).",
        "https://dev.mysql.com/doc/connector-python/en/connector-python-asyncio.html",
        "2026-11",
    ),
    *known_calls(
        "MySQLdb.*",
        "driver",
        "Use await asyncmy.connect(...) or await aiomysql.connect(...).",
        "https://github.com/long2ice/asyncmy",
        "2026-11",
    ),
    *known_calls(
        "pymysql.*",
        "driver",
        "Use await aiomysql.connect(...) or await asyncmy.connect(...).",
        _AIOMYSQL,
        "2026-11",
    ),
    *known_calls(
        "mariadb.*",
        "driver",
        "Use await aiomysql.connect(...) or await asyncmy.connect(...).",
        _AIOMYSQL,
        "2026-11",
    ),
    *known_calls(
        "oracledb.*",
        "driver",
        "Use await oracledb.connect_async(...), or oracledb.create_pool_async(...).",
        _ORACLE,
        "2026-11",
    ),
    *known_calls(
        "cx_Oracle.*",
        "driver",
        "Use its successor oracledb: await oracledb.connect_async(...).",
        _ORACLE,
        "2026-11",
    ),
    *known_calls(
        "pyodbc.*",
        "driver",
        f"Query in a thread: {IN_THREAD}; a connection at a time.",
        "https://github.com/mkleehammer/pyodbc/wiki",
        "2026-11",
    ),
    *known_calls(
        "pymssql.*",
        "driver",
        f"Query in a thread: {IN_THREAD}; a connection at a time.",
        "https://pymssql.readthedocs.io/en/stable/",
        "2026-11",
    ),
    *known_calls(
        "sqlite3.*",
        "driver",
        "Use aiosqlite.connect(path); it keeps the connection in a thread.",
        "https://aiosqlite.omnilib.dev/en/stable/",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "duckdb.*",
        "driver",
        f"Query in a thread, connection.cursor() for each: {IN_THREAD}.",
        "https://duckdb.org/docs/stable/guides/python/multiple_threads",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "sqlalchemy.orm.* sqlmodel.Session.*",
        "driver",
        "Use sqlalchemy.ext.asyncio.AsyncSession with an async driver such as asyncpg.",
        _SQLALCHEMY,
        "2026-11",
    ),
    *known_calls(
        "sqlalchemy.orm.strategies.*LazyLoader.* sqlalchemy.orm.attributes.*",
        "driver",
        "Load it with the query: select(Model).options(sqlalchemy.orm.selectinload(Model.items)).",
        "https://docs.sqlalchemy.org/en/20/orm/queryguide/relationships.html",
        "2026-11",
    ),
    *known_calls(
        "sqlmodel.*",
        "driver",
        "Use sqlmodel.ext.asyncio.session.AsyncSession: await session.exec(statement).",
        _SQLALCHEMY,
        "2026-11",
    ),
    *known_calls(
        "sqlalchemy.engine.* sqlalchemy.Engine.* sqlalchemy.Connection.* sqlalchemy.pool.*",
        "driver",
        "Use sqlalchemy.ext.asyncio.create_async_engine(url) with an async driver such as asyncpg.",
        _SQLALCHEMY,
        "2026-11",
    ),
    *known_calls(
        "sqlalchemy.sql.* sqlalchemy.orm.mapper.configure_mappers sqlalchemy.orm.configure_mappers",
        "compute",
        f"Build and cache statements once; {NO_THREAD}: it is Python code.",
        "https://docs.sqlalchemy.org/en/20/faq/performance.html",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "django.db.*",
        "driver",
        "Use the ORM's methods that begin with a (await Model.objects.aget(pk=...)), or "
        "asgiref.sync.sync_to_async(f).",
        _DJANGO,
        "2026-11",
    ),
    *known_calls(
        "django.core.cache.*",
        "driver",
        "Use the cache's methods that begin with a: await cache.aget(key).",
        _DJANGO,
        "2026-11",
    ),
    *known_calls(
        "peewee.*", "driver", f"Query in a thread: {IN_THREAD}, or use an async ORM.", THREAD, "2026-11"
    ),
    *known_calls(
        "clickhouse_driver.*",
        "driver",
        "Use await clickhouse_connect.get_async_client(host=...), or asynch.connect(dsn).",
        "https://clickhouse.com/docs/integrations/python",
        "2026-11",
    ),
    *known_calls(
        "clickhouse_connect.*",
        "driver",
        "Use await clickhouse_connect.get_async_client(host=...).",
        "https://clickhouse.com/docs/integrations/python",
        "2026-11",
    ),
    *known_calls(
        "snowflake.connector.*",
        "driver",
        f"Query in a thread: {IN_THREAD}.",
        "https://docs.snowflake.com/en/developer-guide/python-connector/python-connector",
        "2026-11",
    ),
    *known_calls(
        "databricks.sql.* databricks.sdk.*",
        "driver",
        f"Query in a thread: {IN_THREAD}.",
        "https://docs.databricks.com/aws/en/dev-tools/python-sql-connector",
        "2026-11",
    ),
    *known_calls(
        "trino.*",
        "driver",
        f"Query in a thread: {IN_THREAD}.",
        "https://github.com/trinodb/trino-python-client",
        "2026-11",
    ),
    *known_calls(
        "pyhive.*",
        "driver",
        f"Query in a thread: {IN_THREAD}.",
        "https://github.com/dropbox/PyHive",
        "2026-11",
    ),
    *known_calls(
        "ibm_db.* ibm_db_dbi.*",
        "driver",
        f"Query in a thread: {IN_THREAD}; a connection at a time.",
        "https://github.com/ibmdb/python-ibmdb",
        "2026-11",
    ),
    *known_calls(
        "hdbcli.*",
        "driver",
        f"Query in a thread: {IN_THREAD}; a connection at a time.",
        "https://peps.python.org/pep-0249/",
        "2026-11",
    ),
    *known_calls(
        "jaydebeapi.*",
        "driver",
        f"Query in a thread: {IN_THREAD}.",
        "https://github.com/baztian/jaydebeapi",
        "2026-11",
    ),
)
