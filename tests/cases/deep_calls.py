"""A known call deep inside a library: the library's function is named, and gets the advice."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.cases.case import Request, case
from tests.cases.upstream import upstream

_SLEEP = "asyncio.sleep(...)."
"""What nobody is to use instead of a library that sleeps."""


@case(1, ".psutil_interval.<locals>.request", "psutil.cpu_percent", needs="psutil", wrong=(_SLEEP,))
@contextmanager
def psutil_interval() -> Iterator[Request]:
    import psutil

    async def request() -> None:
        psutil.cpu_percent(interval=0.08)

    yield request


@case(
    1,
    ".openai_stream.<locals>.request",
    "openai.Stream.__iter__|openai.resources.chat.completions.completions.Completions.create",
    needs="openai",
    wrong=("open_connection",),
)
@contextmanager
def openai_stream() -> Iterator[Request]:
    import openai

    with upstream() as address, openai.OpenAI(api_key="none", base_url=address, max_retries=0) as client:
        client.chat.completions.create  # noqa: B018  imported here, not in the request

        async def request() -> None:
            stream = client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}], stream=True
            )
            for _ in stream:
                pass

        yield request


@case(1, ".file_lock.<locals>.request", "filelock.BaseFileLock.acquire", needs="filelock", wrong=(_SLEEP,))
@contextmanager
def file_lock() -> Iterator[Request]:
    import filelock

    path = os.path.join(tempfile.mkdtemp(), "lock")
    with filelock.FileLock(path):

        async def request() -> None:
            with suppress(filelock.Timeout):
                filelock.FileLock(path, thread_local=False, is_singleton=False).acquire(timeout=0.09)

        yield request


@case(
    1,
    ".retrying.<locals>.request",
    "tenacity.Retrying.__call__|tenacity.BaseRetrying.wraps",
    needs="tenacity",
    wrong=(_SLEEP,),
)
@contextmanager
def retrying() -> Iterator[Request]:
    import tenacity

    @tenacity.retry(wait=tenacity.wait_fixed(0.08), stop=tenacity.stop_after_attempt(2), reraise=True)
    def fetch() -> None:
        raise OSError

    async def request() -> None:
        with suppress(OSError):
            fetch()

    yield request


@case(
    1,
    ".spawning.<locals>.request",
    "asyncio.create_subprocess_exec|asyncio.subprocess.create_subprocess_exec",
    wrong=("Use await asyncio.create_subprocess", "open_connection"),
)
@contextmanager
def spawning() -> Iterator[Request]:
    async def request() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-S", "-c", "", preexec_fn=lambda: time.sleep(0.08)
        )
        await process.wait()

    yield request


@case(1, ".from_the_line_itself.<locals>.request", "time.sleep", wrong=("to_thread",))
@contextmanager
def from_the_line_itself() -> Iterator[Request]:
    async def request() -> None:
        time.sleep(0.06)

    yield request
