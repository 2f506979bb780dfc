"""Names that a user recognises: ``requests.get`` for ``requests.api.get``, ``socket`` for ``_socket``."""

from __future__ import annotations

import sys
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from otel_loopblock.naming.qualname import qualified_name
from otel_loopblock.naming.text import printable

PUBLIC_PREFIXES = {
    "_bisect": "bisect",
    "_bz2": "bz2",
    "_csv": "csv",
    "_decimal": "decimal",
    "_elementtree": "xml.etree.ElementTree",
    "_functools": "functools",
    "_hashlib": "hashlib",
    "_heapq": "heapq",
    "_io": "io",
    "_json": "json",
    "_lzma": "lzma",
    "_md5": "hashlib",
    "_sha1": "hashlib",
    "_sha2": "hashlib",
    "_pickle": "pickle",
    "_posixsubprocess": "subprocess",
    "_queue": "queue",
    "_random": "random",
    "_socket": "socket",
    "_sqlite3": "sqlite3",
    "_sre": "re",
    "_ssl": "ssl",
    "_struct": "struct",
    "_thread.lock": "threading.Lock",
    "_thread.allocate_lock": "threading.Lock",
    "_thread.RLock": "threading.RLock",
    "_thread": "threading",
    "numpy.core.multiarray": "numpy",
    "numpy._core.multiarray": "numpy",
    "psycopg2._psycopg": "psycopg2",
    "psycopg2.extensions.connection": "psycopg2.extensions.connection",
    "builtins": "",
    "nt": "os",
    "posix": "os",
}
"""Modules that implement others in C, and the name they are imported by."""

SPELLINGS = {
    "hashlib.openssl_": "hashlib.",
    "threading.Lock.__enter__": "threading.Lock.acquire",
    "threading.RLock.__enter__": "threading.RLock.acquire",
}
"""Beginnings of names that nobody writes, and what is written instead."""


def public(name: str) -> str:
    """A dotted name with the C module at its head replaced by the public one."""
    parts = name.split(".")
    for size in (2, 1):
        head = ".".join(parts[:size])
        if head in PUBLIC_PREFIXES and len(parts) > size:
            rest = ".".join(parts[size:])
            head = PUBLIC_PREFIXES[head]
            return _spelled(f"{head}.{rest}" if head else rest)
    return _spelled(name)


def _spelled(name: str) -> str:
    for unusual, usual in SPELLINGS.items():
        if name.startswith(unusual):
            return usual + name[len(unusual) :]
    if name.startswith("redis.commands."):  # mixins, one per group of commands, of the class that users have
        return f"redis.Redis.{name.rpartition('.')[2]}"
    return name


@lru_cache(maxsize=4096)
def display_name(code: CodeType, module: str | None) -> str:
    """How a user would write the function that has this code.

    The shortest package on the way to ``module`` that offers the same function, or the class of the same
    name, under the same name.

    Args:
        code: of the function.
        module: ``__name__`` of its globals.
    """
    name = qualified_name(code, module)
    if not module:
        return name
    qualname = qualified_name(code, None)
    first = qualname.partition(".")[0]
    parts = module.split(".")
    home = _attribute(module, first)
    for size in range(1, len(parts)):
        package = ".".join(parts[:size])
        offered = _attribute(package, first)
        if offered is None:
            continue
        same = offered is home or (isinstance(offered, FunctionType) and offered.__code__ is code)
        if same:
            return printable(public(f"{package}.{qualname}"))
    return public(name)


def _attribute(module: str, name: str) -> Any:
    found = sys.modules.get(module)
    return vars(found).get(name) if found is not None else None
