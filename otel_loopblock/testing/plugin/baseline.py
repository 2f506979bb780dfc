"""The baseline: known blocks, by function and call, without line numbers: it survives their shifts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

VERSION = 1


class Known(NamedTuple):
    """One known block."""

    function: str
    """Qualified name of the culprit; empty where none was seen."""
    call: str
    """The call that it was in; empty where it computed itself."""


class BaselineError(Exception):
    """The file cannot be used; the message says why."""


class Baseline:
    """A set of known blocks.

    A block is known when its function is listed with the same call. Of a block that computed, samples may
    miss the call that they saw the last time: an entry without a call, and a block without one, match any.
    """

    def __init__(self, known: Iterable[Known] = ()) -> None:
        self.known = set(known)
        self._functions = {entry.function for entry in self.known if entry.function}
        self._any_call = {entry.function for entry in self.known if entry.function and not entry.call}

    def __contains__(self, block: Known) -> bool:
        """Whether a block is known."""
        if block in self.known:
            return True
        return block.function in (self._any_call if block.call else self._functions)

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read a file.

        Raises:
            BaselineError: it is not there, cannot be read, or is no baseline.
        """
        try:
            content = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise BaselineError(f"there is no file {path}; --loopblock-update-baseline writes it") from None
        except (OSError, UnicodeDecodeError) as error:
            raise BaselineError(f"{path} cannot be read: {error}") from None
        except ValueError as error:
            raise BaselineError(f"{path} is not JSON: {error}") from None
        if not isinstance(content, dict) or content.get("version") != VERSION:
            raise BaselineError(f"{path} is no baseline of version {VERSION}")
        entries = content.get("blocks")
        if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
            raise BaselineError(f"{path} has an entry that is not a function and a call")
        return cls(Known(entry["function"], entry["call"]) for entry in entries)

    def write(self, path: Path) -> None:
        """Write the file, sorted, one entry a line, so that a change of it reads well in a review."""
        entries = ",\n".join(
            f"    {json.dumps({'function': entry.function, 'call': entry.call}, ensure_ascii=False)}"
            for entry in sorted(self.known)
        )
        body = f"[\n{entries}\n  ]" if entries else "[]"
        text = f'{{\n  "version": {VERSION},\n  "blocks": {body}\n}}\n'
        path.write_text(text, "utf-8", errors="backslashreplace")  # of a lone surrogate: JSON still


def read(path: Path) -> Baseline:
    """Read the file that ``--loopblock-baseline`` names.

    Raises:
        pytest.UsageError: it cannot be used; one line that says why.
    """
    try:
        return Baseline.read(path)
    except BaselineError as error:
        raise pytest.UsageError(f"--loopblock-baseline: {error}") from None


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("function"), str)
        and isinstance(entry.get("call"), str)
    )
