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
            is never the application's, nor is code that another program wrote: a compiled template, say.
    """

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self._paths = tuple(os.path.abspath(path) for path in paths)
        self._known: dict[tuple[str, str], bool] = {}

    def __call__(self, code: CodeType, module: str) -> bool:
        """Whether ``code`` is the application's.

        Args:
            code: of a function.
            module: ``__name__`` of the globals it runs with; empty where they have none.
        """
        key = code.co_filename, module
        known = self._known.get(key)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            known = not is_ours(code) and not is_generated(*key) and self._decide(key[0])
            if len(key[0]) <= _MAX_PATH:
                self._known[key] = known
        return known

    def owns(self, filename: str) -> bool:
        """Whether a file of this name, that is not ours, is the application's."""
        return self._decide(filename)

    def _decide(self, filename: str) -> bool:
        if self._paths:
            path = os.path.abspath(filename)
            return any(path == own or path.startswith(own.rstrip(os.sep) + os.sep) for own in self._paths)
        return not in_library(filename)


def in_library(file: str) -> bool:
    """Whether a file lies where the standard library or installed packages are."""
    return os.path.abspath(file).startswith(_foreign_folders()) or any(
        part in file for part in (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
    )


_SOURCES = (".py", ".pyw", ".pyc")
_TYPED_IN = ("<stdin>", "<console>", "<ipython")


def is_generated(filename: str, module: str) -> bool:
    """Whether no person wrote the code of a file: a template engine did, or ``exec`` was given a text.

    Such code has no module, or the file of the template, or only a name for one. What is typed in is a
    person's.
    """
    if filename.startswith("<"):
        return not filename.startswith(_TYPED_IN)
    if module == "__main__":  # scripts have any name, notebooks write their cells nowhere
        return False
    if not module or not filename.endswith(_SOURCES):
        return True
    return module not in sys.modules and not os.path.isabs(filename)


@lru_cache(maxsize=1)
def _foreign_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {sysconfig.get_path(name) for name in names}
    folders.update(getattr(site, "getsitepackages", list)())
    folders.add(os.path.dirname(os.__file__))
    # A virtual environment's own tree is not the standard library's.
    folders.add(os.path.join(sys.base_prefix, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}"))
    return (*(os.path.abspath(folder) + os.sep for folder in folders if folder), PACKAGE)
