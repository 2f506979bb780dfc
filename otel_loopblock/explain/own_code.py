"""Tells the application's own code from that of others: only the application's can be the culprit."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from collections.abc import Sequence
from functools import lru_cache
from types import CodeType

from otel_loopblock.naming import is_ours
from otel_loopblock.naming.ours import PACKAGE

_MAX_PATH = 4096
"""Characters; of a longer one, which is no file's, it is not remembered whose it is."""


class OwnCode:
    """Tells the application's own code from that of others, by file name.

    Args:
        paths: folders or files that are the application's; when empty, whatever is not the standard
            library, not in a site-packages folder and not import machinery. What finds and reports blocks
            is never the application's.
    """

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self._paths = tuple(os.path.abspath(path) for path in paths)
        self._known: dict[str, bool] = {}

    def __call__(self, code: CodeType) -> bool:
        """Whether ``code`` is the application's."""
        filename = code.co_filename
        known = self._known.get(filename)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            known = not is_ours(code) and self._decide(filename)
            if len(filename) <= _MAX_PATH:
                self._known[filename] = known
        return known

    def _decide(self, filename: str) -> bool:
        if self._paths:
            path = os.path.abspath(filename)
            return any(path == own or path.startswith(own.rstrip(os.sep) + os.sep) for own in self._paths)
        if filename.startswith("<"):
            return filename in {"<stdin>", "<console>"} or filename.startswith("<ipython")
        return not in_library(filename)


def in_library(file: str) -> bool:
    """Whether a file lies where the standard library or installed packages are."""
    return os.path.abspath(file).startswith(_foreign_folders()) or any(
        part in file for part in (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
    )


@lru_cache(maxsize=1)
def _foreign_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sysconfig.get_path(name) for name in names}
    folders.update(getattr(site, "getsitepackages", list)())
    folders.add(os.path.dirname(os.__file__))
    # A virtual environment's own tree is not the standard library's.
    folders.add(os.path.join(sys.base_prefix, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}"))
    return (*(os.path.abspath(folder) + os.sep for folder in folders if folder), PACKAGE)
