"""What of Python itself computes: compression, hashes, patterns, sorting, imports."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, NO_THREAD, PY, known_calls

_CTYPES = f"{PY}ctypes.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "zlib.* gzip.compress gzip.decompress bz2.* lzma.*",
        "compute",
        f"Compress in a thread: {IN_THREAD}; the C code releases the GIL.",
        f"{PY}zlib.html",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "gzip.*",
        "compute",
        f"Read and write it in a thread: {IN_THREAD}.",
        f"{PY}gzip.html",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "zipfile.* tarfile.*",
        "compute",
        f"Pack and unpack in a thread: {IN_THREAD}; for many small members use a process pool.",
        f"{PY}zipfile.html",
        low_level=True,
    ),
    *known_calls(
        "hashlib.pbkdf2_hmac hashlib.scrypt",
        "compute",
        f"Derive keys in a thread: {IN_THREAD}; OpenSSL's code releases the GIL.",
        f"{PY}hashlib.html#key-derivation",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "hashlib.* hmac.*",
        "compute",
        f"Hash large data in a thread: {IN_THREAD}; above 2047 bytes hashlib releases the GIL.",
        f"{PY}hashlib.html",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "re.*",
        "compute",
        f"Rewrite the pattern so it cannot backtrack, or bound the input; {NO_THREAD}: re holds the GIL.",
        f"{PY}re.html",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "difflib.*",
        "compute",
        f"Compare less at once, or in a process pool; {NO_THREAD}: it is Python code.",
        f"{PY}difflib.html",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "sorted list.sort",
        "compute",
        f"Sort less (heapq.nlargest, the database), or in a process pool; {NO_THREAD}: it holds the GIL.",
        f"{PY}functions.html#sorted",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "sum min max any all list tuple set dict map filter zip enumerate str.join bytes.join str.replace",
        "compute",
        f"Work on less at once, or use a process pool; {NO_THREAD}: it holds the GIL.",
        f"{PY}functions.html",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "copy.deepcopy copy._deepcopy* copy.*",
        "compute",
        f"Copy less, or use immutable data; {NO_THREAD}: it is Python code.",
        f"{PY}copy.html",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "gc.collect",
        "compute",
        f"Let the collector run by itself; call gc.freeze() after start-up; {NO_THREAD}: it holds the GIL.",
        f"{PY}gc.html#gc.freeze",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "eval exec compile ast.*",
        "compute",
        f"Compile once, at start-up; {NO_THREAD}: it holds the GIL.",
        f"{PY}functions.html#compile",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "importlib.* __import__",
        "startup",
        "Import it at start-up, at the top of a module, not in a handler.",
        f"{PY}importlib.html",
    ),
    *known_calls(
        "inspect.* traceback.* linecache.*",
        "compute",
        f"Do it at start-up, or cache it; {NO_THREAD}: it is Python code.",
        f"{PY}inspect.html",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "ctypes.*",
        "compute",
        f"Call it in a thread: {IN_THREAD}; ctypes releases the GIL, except for PyDLL.",
        _CTYPES,
        releases_gil=True,
        low_level=True,
    ),
)
