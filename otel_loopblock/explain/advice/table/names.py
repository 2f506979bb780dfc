"""Names: how a stack writes what users import by another name, and what is asynchronous already."""

from __future__ import annotations

from typing import Final

ALREADY_ASYNC: Final = (
    "*.asyncio.*",
    "*.aio.*",
    "*.Async[A-Z]*",
    "*.async_*",
    "*_async",
    "*_async.*",
    "*._async.*",
    "*.asynchronous.*",
    "*.asyncresolver.*",
    "*.AIO*",
    "*Async.*",
    "*AsyncClient.*",
    "*Asyncio.*",
    "*._aiohttp.*",
    "*.ainvoke*",
    "*.abatch*",
    "*.astream*",
    "*.acomplet*",
    "*.achat*",
    "*.aquery*",
    "*.aget*",
    "*.acreate*",
    "*.ainfo",
)
"""Names that a pattern covers though they are asynchronous: one would be told to use what one uses.

What is synchronous in spite of its name has an entry that spells it out: ``celery.result.AsyncResult.*``.
"""

PUBLIC_NAMES: Final = {
    "_bz2": "bz2",
    "_codecs": "codecs",
    "_ctypes": "ctypes",
    "_frozen_importlib": "importlib",
    "_frozen_importlib_external": "importlib",
    "_hashlib": "hashlib",
    "_io": "io",
    "_json": "json",
    "_lzma": "lzma",
    "_pickle": "pickle",
    "_pyio": "io",
    "_sqlite3": "sqlite3",
    "_socket": "socket",
    "_sre": "re",
    "_ssl": "ssl",
    "builtins": "",
    "genericpath": "os.path",
    "httpx._api": "httpx",
    "httpx._client": "httpx",
    "nt": "os",
    "ntpath": "os.path",
    "posix": "os",
    "posixpath": "os.path",
    "psycopg2._psycopg": "psycopg2.extensions",
    "requests.api": "requests",
    "requests.sessions": "requests",
}
"""Modules that a stack names, to the name that users import them by."""
