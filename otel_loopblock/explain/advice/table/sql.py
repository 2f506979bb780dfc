"""Drivers of SQL databases, and what stands on them."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, THREAD, known_calls

_PSYCOPG = "https://www.psycopg.org/psycopg3/docs/advanced/async.html"
_SQLALCHEMY = "https://docs.sqlalchemy.org/en/20/orm/extensions/asyncio.html"
_AIOMYSQL = "https://aiomysql.readthedocs.io/en/stable/"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "psycopg2.* psycopg2.connect psycopg2.extensions.cursor.* psycopg2.extensions.connection.*",
        "driver",
        "Use asyncpg, or psycopg 3: await psycopg.AsyncConnection.connect(...).",
        _PSYCOPG,
        releases_gil=True,
    ),
    *known_calls(
        "psycopg.connect psycopg.Connection.* psycopg.connection.* psycopg.Cursor.* psycopg.cursor.* "
        "psycopg.ServerCursor.* psycopg.server_cursor.* psycopg.Pipeline.*",
        "driver",
        "Use psycopg.AsyncConnection: await connection.execute(...).",
        _PSYCOPG,
    ),
    *known_calls(
        "psycopg_pool.ConnectionPool.* psycopg_pool.pool.*",
        "driver",
        "Use psycopg_pool.AsyncConnectionPool.",
        "https://www.psycopg.org/psycopg3/docs/api/pool.html",
    ),
    *known_calls("pg8000.*", "driver", "Use asyncpg.", "https://magicstack.github.io/asyncpg/current/"),
    *known_calls(
        "mysql.connector.*",
        "driver",
        "Use mysql.connector.aio, aiomysql or asyncmy.",
        "https://dev.mysql.com/doc/connector-python/en/connector-python-asyncio.html",
    ),
    *known_calls("MySQLdb.*", "driver", "Use asyncmy or aiomysql.", "https://github.com/long2ice/asyncmy"),
    *known_calls("pymysql.*", "driver", "Use aiomysql or asyncmy.", _AIOMYSQL),
    *known_calls("mariadb.*", "driver", "Use aiomysql or asyncmy.", _AIOMYSQL),
    *known_calls(
        "oracledb.* cx_Oracle.*",
        "driver",
        "Use oracledb's asyncio API: oracledb.connect_async(...).",
        "https://python-oracledb.readthedocs.io/en/latest/user_guide/asyncio.html",
    ),
    *known_calls("pyodbc.*", "driver", "Use aioodbc.", "https://github.com/aio-libs/aioodbc"),
    *known_calls(
        "pymssql.*",
        "driver",
        "Use aioodbc, or call it in a thread: await asyncio.to_thread(...).",
        "https://github.com/aio-libs/aioodbc",
    ),
    *known_calls(
        "sqlite3.*",
        "driver",
        "Use aiosqlite; it keeps the connection in a thread.",
        "https://aiosqlite.omnilib.dev/en/stable/",
        releases_gil=True,
    ),
    *known_calls(
        "duckdb.*",
        "driver",
        f"Query in a thread, one cursor each: {IN_THREAD}.",
        "https://duckdb.org/docs/stable/guides/python/multiple_threads",
    ),
    *known_calls(
        "sqlalchemy.orm.*",
        "driver",
        "Use sqlalchemy.ext.asyncio.AsyncSession with an async driver such as asyncpg.",
        _SQLALCHEMY,
    ),
    *known_calls(
        "sqlalchemy.engine.* sqlalchemy.Engine.* sqlalchemy.Connection.* sqlalchemy.pool.*",
        "driver",
        "Use sqlalchemy.ext.asyncio.create_async_engine with an async driver such as asyncpg.",
        _SQLALCHEMY,
    ),
    *known_calls(
        "django.db.* django.core.cache.*",
        "driver",
        "Use the ORM's asynchronous methods (aget, acreate, async for), or sync_to_async.",
        "https://docs.djangoproject.com/en/stable/topics/async/",
    ),
    *known_calls("peewee.*", "driver", f"Query in a thread: {IN_THREAD}, or use an async ORM.", THREAD),
    *known_calls(
        "clickhouse_driver.*",
        "driver",
        "Use asynch or clickhouse-connect's async client.",
        "https://github.com/long2ice/asynch",
    ),
    *known_calls(
        "clickhouse_connect.*",
        "driver",
        "Use await clickhouse_connect.get_async_client(...).",
        "https://clickhouse.com/docs/integrations/python",
    ),
)
