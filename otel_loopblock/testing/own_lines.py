"""Which lines are the tests' own: what blocks there is no fault of the application's.

Own are the files that hold collected tests (and the classes that they inherit from), every ``conftest.py``,
and the files that define fixtures. What counts is the culprit, the innermost line of one's own code:
application code that a test calls stays the application's. Outside pytest no line is a test's own.

Light on purpose: the plugin imports this in every run of pytest.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from otel_loopblock.explain.block import Block

OwnLines: TypeAlias = 'Literal["fail", "warn", "ignore"]'
"""What may become of a block in the tests' own lines."""

CHOICES = ("fail", "warn", "ignore")

DEFAULT: OwnLines = "warn"

EXCUSE = "own line"
"""Why such a block fails no test."""

ALLOWED = f"one of {', '.join(CHOICES)}"
"""For the error of a wrong choice."""


def checked(choice: object) -> str:
    """One of :data:`CHOICES`, as it was given.

    Raises:
        ValueError: it is none of them.
    """
    if choice not in CHOICES:
        raise ValueError(f"loopblock: own_lines={choice!r} cannot be used; it must be {ALLOWED}")
    return str(choice)


class OwnFiles:
    """The files of one run of pytest in which lines are the tests' own.

    Args:
        session: of that run; it is asked when the first block comes.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._files: frozenset[str] | None = None

    def __contains__(self, file: str) -> bool:
        """Whether lines of ``file`` are the tests' own."""
        if os.path.basename(file) == "conftest.py":
            return True
        files = self._all()
        return file in files or _real(file) in files

    def __iter__(self) -> Iterator[str]:
        """All files that are known by now."""
        return iter(self._all())

    def _all(self) -> frozenset[str]:
        if self._files is None:
            if not self._session.items:  # they are being collected
                return frozenset()
            self._files = frozenset(_real(found) for found in _files_of(self._session) if found)
        return self._files


runs: list[OwnFiles] = []
"""Of the runs of pytest in this process, the innermost last."""


def is_own(block: Block) -> bool:
    """Whether the culprit's line is one of the tests that run in this process."""
    return bool(runs) and block.culprit is not None and block.culprit.file in runs[-1]


def _real(file: str) -> str:
    return os.path.realpath(file)


def _files_of(session: Any) -> Iterator[str]:
    classes: set[type] = set()
    definitions: set[Any] = set()
    for item in session.items:
        yield str(item.path)
        classes.update(getattr(getattr(item, "cls", None), "__mro__", ()))
        # pytest has no public name for these, and a conftest may import its fixtures from anywhere.
        known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
        definitions.update(*known.values())
    for cls in classes:
        yield getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
    for plugin in session.config.pluginmanager.get_plugins():  # modules in pytest_plugins among them
        yield str(getattr(plugin, "__file__", None) or "")
    for definition in definitions:
        yield _file_of(getattr(definition, "func", None))


def _file_of(function: Any) -> str:
    for _ in range(10):  # plugins wrap it
        function = getattr(function, "__wrapped__", function)
    code = getattr(function, "__code__", None)
    return str(getattr(code, "co_filename", ""))
