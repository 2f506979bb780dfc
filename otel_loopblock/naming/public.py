"""Names that a user recognises: ``requests.get`` for ``requests.api.get``, ``socket`` for ``_socket``."""

from __future__ import annotations

import sys
from collections import OrderedDict
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
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
    name, under the same name; of a private module any package that does.

    Args:
        code: of the function.
        module: ``__name__`` of its globals.
    """
    name = qualified_name(code, module)
    if not module:
        return name
    qualname = qualified_name(code, None)
    home = _home(module, qualname.partition(".")[0], code)
    return printable(public(f"{home}.{qualname}")) if home is not None else public(name)


MAX_OBJECTS = 1024
"""Names of objects that are remembered."""

_objects: OrderedDict[tuple[str, str], str] = OrderedDict()


def public_name(module: str | None, qualname: str, found: object) -> str:
    """How a user would write a function or a class without code: one of a C extension.

    Args:
        module: ``__module__`` of it.
        qualname: ``__qualname__`` of it.
        found: the object itself; what ``qualname`` begins with if that has dots.
    """
    module = module or ""
    key = module, qualname
    name = _objects.get(key)
    if name is None:
        home = _home(module, qualname.partition(".")[0], found)
        name = public(f"{home or module}.{qualname}" if home or module else qualname)
        _objects[key] = name
        if len(_objects) > MAX_OBJECTS:
            _objects.popitem(last=False)
    return name


def is_hidden(module: str) -> bool:
    """Whether nobody imports from a module of this name: it is private, or there is none."""
    return module not in sys.modules or any(part.startswith("_") for part in module.split("."))


def _home(module: str, first: str, found: object) -> str | None:
    """The package that a user imports ``first`` of ``module`` from."""
    at_home = _attribute(module, first)

    def offers(package: str) -> bool:
        offered = _attribute(package, first)
        return offered is not None and (offered is at_home or offered is found or _code_of(offered, found))

    parts = module.split(".")
    for size in range(1, len(parts)):
        package = ".".join(parts[:size])
        if offers(package):
            return package
    if module in PUBLIC_PREFIXES or not (is_hidden(module) or (module == "builtins" and at_home is None)):
        return None
    names = [name for name in list(sys.modules) if not is_hidden(name) and name != "__main__"]
    offering = [name for name in names if offers(name)]
    return min(offering, key=lambda name: (name.count("."), len(name), name), default=None)


def _code_of(offered: object, code: object) -> bool:
    """Whether a function has this code, or wraps one that has."""
    for _ in range(5):
        if type(offered) is not FunctionType:
            return False
        if offered.__code__ is code:
            return True
        offered = vars(offered).get("__wrapped__")
    return False


_NAMESPACE = vars(ModuleType)["__dict__"]
"""Read it of a module past its class: a lazy one would be loaded."""


def _attribute(module: str, name: str) -> Any:
    found = sys.modules.get(module)
    return _NAMESPACE.__get__(found).get(name) if issubclass(type(found), ModuleType) else None
