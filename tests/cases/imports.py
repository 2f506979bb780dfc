"""An import that the first request pays for; and what only looks like one."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cases.case import Request, case

_NAME = "loopblock_slow_module"
_OTHER_ADVICE = ("to_thread", "process pool")


@contextmanager
def _slow_module() -> Iterator[None]:
    """A module that takes long to import, as a large one does: it computes."""
    with tempfile.TemporaryDirectory() as folder:
        site = os.path.join(folder, "site-packages")
        os.mkdir(site)
        with open(os.path.join(site, f"{_NAME}.py"), "w", encoding="utf-8") as file:
            file.write("total = 0\nfor number in range(1_200_000):\n    total += number\n")
        sys.path.insert(0, site)
        importlib.invalidate_caches()
        try:
            yield
        finally:
            sys.path.remove(site)
            sys.modules.pop(_NAME, None)


@case(3, ".by_statement.<locals>.request", f"import {_NAME}", wrong=_OTHER_ADVICE)
@contextmanager
def by_statement() -> Iterator[Request]:
    async def request() -> None:
        sys.modules.pop("loopblock_slow_module", None)
        import loopblock_slow_module  # noqa: F401

    with _slow_module():
        yield request


@case(3, ".by_function.<locals>.request", f"import {_NAME}", wrong=_OTHER_ADVICE)
@contextmanager
def by_function() -> Iterator[Request]:
    async def request() -> None:
        sys.modules.pop(_NAME, None)
        importlib.import_module("loopblock_slow_module")

    with _slow_module():
        yield request


@case(3, ".of_metadata.<locals>.request", "importlib.metadata.packages_distributions", wrong=("Import ",))
@contextmanager
def of_metadata() -> Iterator[Request]:
    async def request() -> None:
        importlib.metadata.packages_distributions()

    yield request
