"""Finds what the table names: the calls of a pattern, and what a sentence says to use instead.

A name is found when its library is installed and has it. What is not installed here is said, never guessed.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
import warnings
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from otel_loopblock.explain.advice import KnownCall
from otel_loopblock.explain.advice.table import ENTRIES

Status = Literal["found", "not installed", "wrong"]

OBJECTS = {
    "loop": "asyncio.AbstractEventLoop",
    "process": "asyncio.subprocess.Process",
    "event": "asyncio.Event",
    "lock": "threading.Lock",
    "queue": "asyncio.Queue",
    "pool": "concurrent.futures.Executor",
    "portalocker lock": "portalocker.Lock",
    "pexpect child": "pexpect.spawn",
    "psycopg connection": "psycopg.AsyncConnection",
    "psycopg_pool pool": "psycopg_pool.AsyncConnectionPool",
    "paramiko connection": "asyncssh.SSHClientConnection",
    "fabric connection": "asyncssh.SSHClientConnection",
    "invoke connection": "asyncssh.SSHClientConnection",
    "duckdb connection": "duckdb.DuckDBPyConnection",
    "cassandra session": "cassandra.cluster.Session",
    "couchbase cluster": "acouchbase.cluster.Cluster",
    "pinecone index": "pinecone.AsyncIndex",
    "kafka producer": "aiokafka.AIOKafkaProducer",
    "celery task": "celery.app.task.Task",
    "zmq socket": "zmq.asyncio.Socket",
    "sqlmodel session": "sqlmodel.ext.asyncio.session.AsyncSession",
    "boto3 session": "aioboto3.Session",
    "botocore session": "aioboto3.Session",
    "s3transfer session": "aioboto3.Session",
    "google credentials": "google.auth.credentials.Credentials",
    "google document": "google.cloud.firestore.AsyncDocumentReference",
    "googleapiclient request": "googleapiclient.http.HttpRequest",
    "msal app": "msal.ConfidentialClientApplication",
    "langchain chain": "langchain_core.runnables.Runnable",
    "langchain_core chain": "langchain_core.runnables.Runnable",
    "langchain_community chain": "langchain_core.runnables.Runnable",
    "langchain_openai chain": "langchain_core.runnables.Runnable",
    "langchain_classic chain": "langchain_core.runnables.Runnable",
    "langgraph graph": "langgraph.pregel.Pregel",
    "llama_index query_engine": "llama_index.core.base.base_query_engine.BaseQueryEngine",
    "llama_index llm": "llama_index.core.llms.LLM",
    "vllm engine": "vllm.AsyncLLMEngine",
    "structlog logger": "structlog.typing.FilteringBoundLogger",
    "opentelemetry provider": "opentelemetry.sdk.trace.TracerProvider",
    "pwdlib password_hash": "pwdlib.PasswordHash",
    "argon2 hasher": "argon2.PasswordHasher",
    "jwt client": "jwt.PyJWKClient",
    "jinja2 environment": "jinja2.Environment",
    "django message": "django.core.mail.EmailMessage",
    "django cache": "django.core.cache.backends.base.BaseCache",
    "starlette request": "starlette.requests.Request",
    "python_multipart request": "starlette.requests.Request",
    "multipart request": "starlette.requests.Request",
    "fastapi app": "fastapi.FastAPI",
    "marshmallow schema": "marshmallow.Schema",
    "dateutil rule": "dateutil.rrule.rrule",
    "polars frame": "polars.LazyFrame",
    "xarray dataset": "xarray.Dataset",
    "xgboost model": "xgboost.Booster",
    "catboost model": "catboost.CatBoost",
    "keras model": "keras.Model",
    "tensorflow model": "keras.Model",
    "mlflow model": "mlflow.pyfunc.PyFuncModel",
    "socket": "asyncio.AbstractEventLoop",
}
"""What a variable in a sentence is; before it, where one is needed, the library that the entry is about."""

INSTANCE_ATTRIBUTES = {
    "openai client.chat.completions.create": "openai.resources.chat.completions.AsyncCompletions.create",
    "openai client.responses.create": "openai.resources.responses.AsyncResponses.create",
    "anthropic client.messages.create": "anthropic.resources.messages.AsyncMessages.create",
    "anthropic client.messages.stream": "anthropic.resources.messages.AsyncMessages.stream",
    "google client.aio.models.generate_content": "google.genai.models.AsyncModels.generate_content",
    "google client.aio": "google.genai.Client.aio",
    "mistralai client.chat.complete_async": "mistralai.client.chat.Chat.complete_async",
    "docker docker.containers.list": "aiodocker.containers.DockerContainers.list",
    "stripe client.v1.customers.retrieve_async": "stripe.CustomerService.retrieve_async",
    "slack_sdk client.chat_postMessage": "slack_sdk.web.async_client.AsyncWebClient.chat_postMessage",
}
"""What hangs on an instance, and is no attribute of its class."""

NO_NAMES = {"client.service.Operation", "stub.Method", "Model.items", "Model.objects.aget", "client.get"}
"""What stands for a user's own name; ``client.get`` is looked up on the class before it, if there is one."""

_FACTORIES = {
    "threading.Lock": "_thread.LockType",
    "threading.RLock": "_thread.RLock",
    "_thread.lock": "_thread.LockType",
}
"""What is a function or no name at all, though a stack shows it as a class."""

_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?:\(([^()]*)\))?")
_BARE_CALL = re.compile(r"(?<![\w.])([a-z_]\w*)\(([^()]*)\)")
_KEYWORD = re.compile(r"(\w+)=")
_SINCE = re.compile(r"\(Python (\d+)\.(\d+)\)")
_LIBRARIES = {entry.pattern.partition(".")[0] for entry in ENTRIES}
_MORE_LIBRARIES = {
    "acouchbase", "aioboto3", "aiobotocore", "aiodocker", "aioftp", "aioimaplib", "aiokafka", "aiohttp",
    "aiomqtt", "aiomysql", "aio_pika", "aiosmtplib", "aiosqlite", "anyio", "asyncmy", "asyncpg", "asyncssh",
    "asynch", "authlib", "bonsai", "gcloud", "httpx2", "kubernetes_asyncio", "serial_asyncio", "telnetlib3",
    "uvicorn", "heapq", "httplib2", "datetime",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """What was looked for, and how it went."""

    status: Status
    what: str = ""


class _Missing(Exception):
    """Nobody installed it here."""


class _Wrong(Exception):
    """It is installed, and has no such name."""


def look(entry: KnownCall) -> Finding:
    """Look for all that an entry names."""
    try:
        _pattern(entry.pattern)
        _sentence(entry)
    except _Missing as missing:
        return Finding("not installed", str(missing))
    except _Wrong as wrong:
        return Finding("wrong", str(wrong))
    return Finding("found")


def _pattern(pattern: str) -> None:
    if pattern == "import" or hasattr(builtins, pattern.partition(".")[0]):
        return
    spelled, _, rest = pattern.partition("*")
    if not rest and not spelled.endswith(".") and pattern != spelled:  # a.b.name*
        parent, _, prefix = spelled.rpartition(".")
        found = _find(parent)
        names = set(dir(found))
        if inspect.ismodule(found) and hasattr(found, "__path__"):
            names |= {module.name for module in pkgutil.iter_modules(found.__path__)}
        if not any(fnmatchcase(name, f"{prefix}*") for name in names):
            if getattr(found, "__file__", "") is None:
                raise _Missing(f"{parent}.{prefix}")
            raise _Wrong(f"{parent} has nothing that begins with {prefix}")
        return
    name = spelled.rpartition(".")[0] if pattern != spelled else pattern
    try:
        _find(name)
    except _Wrong:
        # As Python 3.10 writes a method: module and function, no class.
        module, _, function = name.rpartition(".")
        owner = _find(module)
        if inspect.ismodule(owner) and any(
            hasattr(value, function) for value in vars(owner).values() if inspect.isclass(value)
        ):
            return
        if any(part.startswith("_") for part in name.split(".")):
            raise _Missing(f"{name}, private, not in this version") from None
        raise


def _sentence(entry: KnownCall) -> None:
    since = _SINCE.search(entry.instead)
    if since and sys.version_info < tuple(map(int, since.groups())):
        return
    library = entry.pattern.partition(".")[0]
    owner: Any = None
    for match in _NAME.finditer(entry.instead):
        name, arguments = match.groups()
        found = _named(name, library, owner)
        if found is None:
            continue
        _keywords(found, name, arguments)
        owner = found
    for match in _BARE_CALL.finditer(entry.instead):
        name, arguments = match.groups()
        if hasattr(builtins, name):
            continue
        holder = next((h for h in (owner, _module_of(owner)) if hasattr(h, name)), None)
        if holder is None and not _anywhere(library, name):
            raise _Wrong(f"{name}(...) is not found")
        if holder is not None:
            _keywords(getattr(holder, name), name, arguments)


def _named(name: str, library: str, owner: Any) -> Any:
    special = INSTANCE_ATTRIBUTES.get(f"{library} {name}")
    if special is not None:
        return _find(special)
    root, _, rest = name.partition(".")
    if root not in {"lock", "queue", "socket", "event"} or f"{library} {root}" not in OBJECTS:
        place = OBJECTS.get(f"{library} {root}") or (None if root in _MORE_LIBRARIES else OBJECTS.get(root))
    else:
        place = OBJECTS[f"{library} {root}"]
    if place is not None:
        return _find(f"{place}.{rest}")
    if owner is not None and hasattr(owner, rest):
        return getattr(owner, rest)
    if root in _LIBRARIES | _MORE_LIBRARIES | sys.stdlib_module_names:
        return _find(name)
    if name in NO_NAMES:
        return None
    if owner is not None:
        raise _Wrong(f"{owner!r} has no {rest} ({name})")
    raise _Wrong(f"{name}: nobody says what {root} is")


def _find(name: str) -> Any:
    """The object of a dotted name: the longest module that can be imported, then its attributes."""
    for factory, made in _FACTORIES.items():
        if name.startswith(f"{factory}."):
            name = name.replace(factory, made, 1)
    parts = name.split(".")
    if importlib.util.find_spec(parts[0]) is None:
        raise _Missing(parts[0])
    found: Any = None
    for size in range(1, len(parts) + 1):
        try:
            found = _import(".".join(parts[:size]))
        except ModuleNotFoundError as error:
            if error.name and error.name.partition(".")[0] != parts[0]:
                raise _Missing(f"{name} (needs {error.name})") from None
            size -= 1
            break
    for position in range(size, len(parts)):
        here, part = ".".join(parts[:position]), parts[position]
        if inspect.isclass(found) and part in getattr(found, "__annotations__", {}):
            return found.__annotations__[part]
        try:
            found = getattr(found, part)
        except AttributeError:
            if getattr(found, "__file__", "") is None:  # a namespace: other packages fill it
                raise _Missing(f"{here}.{part}") from None
            raise _Wrong(f"{here} has no {part} ({name})") from None
        except Exception as error:  # a module that is imported when it is asked for
            raise _Missing(f"{here}.{part} ({type(error).__name__}: {error})") from None
    return found


def _import(module: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(module)
        except ImportError as error:
            if isinstance(error, ModuleNotFoundError):
                raise
            raise _Missing(f"{module} ({error})") from None
        except Exception as error:
            raise _Missing(f"{module} ({type(error).__name__}: {error})") from None


def _keywords(found: Any, name: str, arguments: str | None) -> None:
    wanted = _KEYWORD.findall(arguments or "")
    if not wanted:
        return
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for keyword in wanted:
        if keyword not in parameters:
            raise _Wrong(f"{name}() has no argument {keyword}")


def _module_of(found: Any) -> Any:
    if inspect.ismodule(found):
        return found
    return sys.modules.get(getattr(found, "__module__", None) or "")


def _anywhere(library: str, name: str) -> bool:
    """Whether a module of the library that is imported offers it, or a class of its."""
    for module, loaded in list(sys.modules.items()):
        if module.partition(".")[0] == library and loaded is not None:
            if name in vars(loaded):
                return True
            # By type(): what is made lazily must not be made here.
            classes = [value for value in list(vars(loaded).values()) if issubclass(type(value), type)]
            if any(name in vars(value) for value in classes):
                return True
    return False
