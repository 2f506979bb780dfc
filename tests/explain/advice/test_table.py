"""The table of known calls: the form of each entry, and that advice never contradicts the cause."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from itertools import product
from typing import get_args
from urllib.parse import urlsplit

import pytest

from otel_loopblock.explain.advice import AdviceTable, KnownCall
from otel_loopblock.explain.advice.index import specificity
from otel_loopblock.explain.advice.known import Kind
from otel_loopblock.explain.advice.sentences import MAX_CHARS
from otel_loopblock.explain.advice.table import ALREADY_ASYNC, ENTRIES
from otel_loopblock.explain.cause import Cause


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.pattern)
def test_entry_is_one_short_sentence_that_rests_on_a_page(entry):
    assert re.fullmatch(r"[\w*]+(\.[\w*<>]+)*", entry.pattern)
    assert entry.instead[0].isupper()
    assert entry.instead.endswith(".")
    assert len(entry.instead) <= MAX_CHARS
    assert re.fullmatch(r"(20\d\d-(0[1-9]|1[0-2]))?", entry.checked)
    assert "\n" not in entry.instead
    assert entry.kind in get_args(Kind)
    page = urlsplit(entry.source)
    assert page.scheme == "https"
    assert "." in page.netloc


def test_there_are_many_and_no_pattern_comes_twice():
    patterns = [entry.pattern for entry in ENTRIES]

    assert len({entry.source for entry in ENTRIES}) >= 200
    assert len(patterns) == len(set(patterns))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.pattern)
def test_no_entry_is_hidden_by_others(entry):
    """A name that is spelled as the pattern is, and no more, finds the entry itself."""
    name = entry.pattern.replace("*", "x")

    found = AdviceTable().lookup(name)

    assert found is not None
    assert found.pattern == entry.pattern or (
        found.instead == entry.instead and specificity(found.pattern) >= specificity(entry.pattern)
    )


def test_a_pattern_of_what_is_asynchronous_is_spelled_out_on_purpose():
    """Only what is synchronous in spite of its name: anything else would be told to use what it uses."""
    spelled = {
        entry.pattern for entry in ENTRIES if any(fnmatchcase(entry.pattern, name) for name in ALREADY_ASYNC)
    }

    assert spelled == {
        "asgiref.sync.AsyncToSync.*",
        "asgiref.sync.async_to_sync",
        "celery.result.AsyncResult.*",
        "multiprocessing.pool.AsyncResult.*",
    }


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
        ("celery.result.AsyncResult.get", "return its id"),
        ("multiprocessing.pool.AsyncResult.get", "run_in_executor"),
        ("concurrent.futures._base.Executor.map.<locals>.result_iterator", "instead of pool.map"),
        ("sqlalchemy.orm.strategies.LazyLoader._load_for_state", "selectinload"),  # 2.0
        ("sqlalchemy.orm.strategies._LazyLoader._load_for_state", "selectinload"),  # 2.1
        ("google.genai.models.Models.generate_content", "client.aio"),
        ("langchain_core.runnables.base.RunnableSequence.invoke", "ainvoke"),
        ("azure.storage.queue.QueueClient.send_message", ".aio"),
        ("qdrant_client.QdrantClient.search", "AsyncQdrantClient"),
        ("ray.get", "await ref"),
        ("psutil.cpu_percent", "interval=None"),
        ("filelock.FileLock.acquire", "AsyncFileLock"),
        ("httpx2.get", "httpx2.AsyncClient"),
        ("pymemcache.client.base.Client.get", "to_thread"),
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
    "call",
    [
        "redis.asyncio.client.Redis.get",
        "httpx.AsyncClient.get",
        "grpc.aio.insecure_channel",
        "openai.resources.chat.completions.completions.AsyncCompletions.create",
        "langchain_core.runnables.base.Runnable.ainvoke",
        "mistralai.client.chat.Chat.complete_async",
        "google.pubsub_v1.services.publisher.async_client.PublisherAsyncClient.publish",
        "azure.storage.blob.aio.BlobClient.upload_blob",
    ],
)
def test_who_uses_the_asynchronous_client_is_not_told_to(call):
    assert AdviceTable().lookup(call) is None


@pytest.mark.parametrize(
    "call",
    [
        "queue.Queue.put_nowait",
        "queue.SimpleQueue.put",
        "threading.Event.set",
        "threading.Condition.notify_all",
        "threading.Semaphore.release",
        "concurrent.futures._base.Future.set_result",
    ],
)
def test_what_never_waits_is_not_said_to(call):
    assert AdviceTable().lookup(call) is None


CALLS = [*dict.fromkeys(entry.pattern.replace("*", "name") for entry in ENTRIES), "unknown.call", None]


@pytest.mark.parametrize("releases", [True, False, None])
@pytest.mark.parametrize("cause", ["cpu", "gil_held", "wait"])
@pytest.mark.parametrize("call", ["asyncio.BaseEventLoop.create_task", "uvloop.loop.UVStream.write"])
def test_what_the_loop_itself_does_is_never_sent_elsewhere(call, cause, releases):
    sentence = AdviceTable().advise(cause, call, releases_gil=releases)

    assert sentence == (f"{call} is the loop's own: ask it for less at once." if cause != "wait" else None)


@pytest.mark.parametrize(("cause", "releases"), list(product(get_args(Cause), [True, False, None])))
def test_advice_is_one_sentence_and_never_sends_a_gil_holder_to_a_thread(cause, releases):
    table = AdviceTable()
    for call in CALLS:
        sentence = table.advise(cause, call, releases_gil=releases)
        if sentence is None:
            assert cause == "unknown", call
            continue
        assert sentence.endswith("."), call
        assert len(sentence) <= MAX_CHARS, sentence
        entry = table.lookup(call) if call else None
        if cause == "gil_held" and (entry is None or entry.kind != "startup"):
            assert "to_thread" not in sentence, call
            assert "thread would not help" in sentence or "thread" not in sentence, call


LONG = "sklearn.linear_model._coordinate_descent.MultiTaskElasticNetCV.fit_and_predict_everything"


@pytest.mark.parametrize("is_awaited", [True, False])
@pytest.mark.parametrize("is_disputed", [True, False])
@pytest.mark.parametrize("inner", [None, "time.sleep", LONG])
def test_no_sentence_is_longer_than_a_line_whatever_it_names(inner, is_disputed, is_awaited):
    table = AdviceTable()
    for call, cause, releases in product([*CALLS[::9], LONG], get_args(Cause), [True, False, None]):
        sentence = table.advise(
            cause,
            call,
            inner=inner,
            is_awaited=is_awaited,
            releases_gil=releases,
            is_disputed=is_disputed,
            contenders=[LONG, f"{LONG}_again", "app.jobs.resize"],
        )
        assert sentence is None or len(sentence) <= 120, sentence


def test_a_short_name_leaves_its_room_to_a_long_one():
    sentence = AdviceTable().advise("wait", "app_library.client.Client.fetch_everything", inner="time.sleep")

    assert sentence == (
        "app_library.client.Client.fetch_everything waits, in time.sleep: "
        "run it in a thread, await asyncio.to_thread(...)."
    )


def test_of_many_contenders_two_are_named():
    sentence = AdviceTable().advise("gil_contention", None, contenders=["app.a", "app.b", "app.c"])

    assert "app.a, app.b and others;" in sentence


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


@pytest.mark.parametrize(
    ("call", "expected", "never"),
    [
        ("jwt.decode", "verify", "Sign by"),
        ("jwt.encode", "EdDSA", "verify"),
        ("jwt.PyJWKClient.fetch_data", "Fetch keys", "Sign"),
        ("pydantic.BaseModel.model_dump_json", "Send less", "Validate"),
        ("pydantic.BaseModel.model_validate", "Validate", "serialise"),
        ("re.compile", "at the top of a module", "backtrack"),
        ("re.Pattern.match", "backtrack", "at the top of a module"),
        ("shutil.which", "start-up", "Copy"),
        ("shutil.rmtree", "remove", "which"),
        ("torch.load", "start-up", "Run the model"),
        ("transformers.AutoModel.from_pretrained", "start-up", "Run the pipeline"),
        ("keras.models.load_model", "start-up", "predict"),
        ("polars.read_csv", "scan_csv", "frame"),
        ("importlib.metadata.version", "once at start-up", "Import it"),
        ("import", "Import it at start-up", "thread"),
        ("import pandas", "Import it at start-up", "thread"),
    ],
)
def test_what_one_library_does_in_several_ways_is_told_apart(call, expected, never):
    table = AdviceTable()
    entry = table.lookup(call)

    assert expected in entry.instead
    assert never not in entry.instead


@pytest.mark.parametrize(
    "call",
    [
        "time.sleep",
        "socket.socket.recv",
        "select.epoll.poll",
        "zlib.compress",
        "re.match",
        "subprocess.run",
        "http.client.HTTPConnection.getresponse",
        "urllib3.request",
        "requests.get",
        "grpc._channel._UnaryUnaryMultiCallable",
    ],
)
def test_what_libraries_stand_on_is_low_level(call):
    assert AdviceTable().lookup(call).low_level


@pytest.mark.parametrize(
    "call", ["psutil.cpu_percent", "openai.resources.Completions.create", "import", "redis.Redis.get"]
)
def test_what_the_application_calls_is_not(call):
    assert not AdviceTable().lookup(call).low_level
