"""The table of known calls: the form of each entry, and that advice never contradicts the cause."""

from __future__ import annotations

import re
from itertools import product
from typing import get_args
from urllib.parse import urlsplit

import pytest

from otel_loopblock.explain.advice import AdviceTable, KnownCall
from otel_loopblock.explain.advice.known import Kind
from otel_loopblock.explain.advice.sentences import MAX_CHARS
from otel_loopblock.explain.advice.table import ENTRIES
from otel_loopblock.explain.cause import Cause


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.pattern)
def test_entry_is_one_short_sentence_that_rests_on_a_page(entry):
    assert re.fullmatch(r"[\w*]+(\.[\w*<>]+)*", entry.pattern)
    assert entry.instead[0].isupper()
    assert entry.instead.endswith(".")
    assert len(entry.instead) <= MAX_CHARS
    assert "\n" not in entry.instead
    assert entry.kind in get_args(Kind)
    page = urlsplit(entry.source)
    assert page.scheme == "https"
    assert "." in page.netloc


def test_there_are_many_and_no_pattern_comes_twice():
    patterns = [entry.pattern for entry in ENTRIES]

    assert len({entry.source for entry in ENTRIES}) >= 60
    assert len(patterns) == len(set(patterns))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("psycopg2.connect", "asyncpg"),
        ("psycopg2.extensions.cursor.execute", "psycopg.AsyncConnection"),
        ("pymysql.connections.Connection.query", "aiomysql"),
        ("MySQLdb.connect", "asyncmy"),
        ("redis.Redis.get", "redis.asyncio"),
        ("requests.get", "httpx"),
        ("requests.api.get", "httpx"),
        ("urllib.request.urlopen", "aiohttp"),
        ("pymongo.collection.Collection.find_one", "AsyncMongoClient"),
        ("botocore.client.BaseClient._make_api_call", "aioboto3"),
        ("sqlite3.Connection.execute", "aiosqlite"),
        ("kafka.KafkaProducer.send", "aiokafka"),
        ("smtplib.SMTP.send_message", "aiosmtplib"),
        ("paramiko.client.SSHClient.connect", "asyncssh"),
        ("elasticsearch.Elasticsearch.search", "AsyncElasticsearch"),
        ("time.sleep", "asyncio.sleep"),
        ("subprocess.run", "create_subprocess_exec"),
        ("open", "anyio.open_file"),
        ("socket.getaddrinfo", "loop.getaddrinfo"),
        ("threading.Lock.acquire", "asyncio.Lock"),
    ],
)
def test_blocking_call_has_its_asynchronous_counterpart(call, expected):
    assert expected in AdviceTable().advise("wait", call)


@pytest.mark.parametrize(
    "call", ["redis.asyncio.client.Redis.get", "httpx.AsyncClient.get", "grpc.aio.insecure_channel"]
)
def test_who_uses_the_asynchronous_client_is_not_told_to(call):
    assert AdviceTable().lookup(call) is None


CALLS = [*dict.fromkeys(entry.pattern.replace("*", "name") for entry in ENTRIES), "unknown.call", None]


@pytest.mark.parametrize(("cause", "releases"), product(get_args(Cause), [True, False, None]))
def test_advice_is_one_sentence_and_never_sends_a_gil_holder_to_a_thread(cause, releases):
    table = AdviceTable()
    for call in CALLS:
        sentence = table.advise(cause, call, releases_gil=releases)
        if sentence is None:
            assert cause == "unknown", call
            continue
        assert sentence.endswith("."), call
        assert len(sentence) <= MAX_CHARS + 10, sentence
        entry = table.lookup(call) if call else None
        if cause == "gil_held" and (entry is None or entry.kind != "startup"):
            assert "to_thread" not in sentence, call
            assert "thread would not help" in sentence or "thread" not in sentence, call


def test_contenders_are_named():
    sentence = AdviceTable().advise(
        "gil_contention", "time.sleep", contenders=["app.jobs.resize", "app.jobs.index"]
    )

    assert "app.jobs.resize, app.jobs.index" in sentence


def test_more_specific_entry_wins():
    table = AdviceTable()
    table.register([KnownCall("requests.get", "Ask the cache.")])

    assert table.advise("wait", "requests.get") == "Ask the cache."
    assert "httpx" in table.advise("wait", "requests.post")
