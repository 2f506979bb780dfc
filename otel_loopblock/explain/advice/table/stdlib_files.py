"""Files and folders, by Python's own calls."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, NO_THREAD, PY, known_calls

_SHUTIL = f"{PY}shutil.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "open io.* io.open",
        "file",
        f"Open, read and write in a thread: {IN_THREAD}, or anyio.open_file(...).",
        "https://anyio.readthedocs.io/en/stable/fileio.html",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "io.BytesIO.* io.StringIO.*",
        "compute",
        f"Copy less at once; {NO_THREAD}: it holds the GIL.",
        f"{PY}io.html#io.BytesIO",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "pathlib.*",
        "file",
        "Use anyio.Path: await anyio.Path(name).read_text().",
        "https://anyio.readthedocs.io/en/stable/fileio.html",
        low_level=True,
    ),
    *known_calls(
        "shutil.*", "file", f"Copy, move and remove trees in a thread: {IN_THREAD}.", _SHUTIL, low_level=True
    ),
    *known_calls(
        "os.listdir os.walk os.scandir os.stat os.lstat os.makedirs os.mkdir os.remove os.unlink os.rename "
        "os.replace os.rmdir os.open os.read os.write os.sendfile os.truncate os.access os.chmod",
        "file",
        f"Ask the file system in a thread: {IN_THREAD}; a network disk can take seconds.",
        f"{PY}os.html",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "os.path.* glob.*",
        "file",
        f"Ask the file system in a thread: {IN_THREAD}; a network disk can take seconds.",
        f"{PY}os.path.html",
        low_level=True,
    ),
    *known_calls(
        "os.fsync os.fdatasync os.sync",
        "file",
        f"Flush to disk in a thread: {IN_THREAD}.",
        f"{PY}os.html#os.fsync",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "tempfile.*",
        "file",
        "Use anyio.TemporaryFile and its kin, or make the file in a thread: await asyncio.to_thread(...).",
        "https://anyio.readthedocs.io/en/stable/fileio.html",
        low_level=True,
    ),
    *known_calls(
        "fcntl.flock fcntl.lockf",
        "file",
        f"Take the file lock in a thread: {IN_THREAD}.",
        f"{PY}fcntl.html",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "mmap.*", "file", f"Read the mapped pages in a thread: {IN_THREAD}.", f"{PY}mmap.html", low_level=True
    ),
    *known_calls(
        "dbm.* shelve.*", "file", f"Use it in a thread: {IN_THREAD}.", f"{PY}dbm.html", low_level=True
    ),
)
