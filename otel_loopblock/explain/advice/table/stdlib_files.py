"""Files and folders, by Python's own calls."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, NO_THREAD, PY, known_calls

_ANYIO = "https://anyio.readthedocs.io/en/stable/fileio.html"
_SHUTIL = f"{PY}shutil.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "open io.* io.open",
        "file",
        "Use await anyio.open_file(path), or open, read and write in a thread: await asyncio.to_thread(...).",
        _ANYIO,
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "io.BytesIO.* io.StringIO.*",
        "compute",
        f"Copy less at once; {NO_THREAD}: it holds the GIL.",
        f"{PY}io.html#io.BytesIO",
        "2026-11",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "pathlib.*",
        "file",
        "Use anyio.Path: await anyio.Path(name).read_text().",
        _ANYIO,
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "shutil.*",
        "file",
        f"Copy, move and remove trees in a thread: {IN_THREAD}.",
        _SHUTIL,
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "shutil.make_archive shutil.unpack_archive",
        "file",
        f"Pack and unpack in a thread: {IN_THREAD}.",
        f"{_SHUTIL}#archiving-operations",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "shutil.which",
        "file",
        "Look once at start-up: shutil.which(cmd) asks for the file in each folder of PATH.",
        f"{_SHUTIL}#shutil.which",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "shutil.disk_usage shutil.get_terminal_size",
        "file",
        f"Ask in a thread: {IN_THREAD}.",
        f"{_SHUTIL}#shutil.disk_usage",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "os.listdir os.walk os.scandir os.stat os.lstat os.makedirs os.mkdir os.remove os.unlink "
        "os.rename os.replace os.rmdir os.open os.read os.write os.sendfile os.truncate os.access "
        "os.chmod",
        "file",
        f"Ask the file system in a thread: {IN_THREAD}; a disk can be slow.",
        f"{PY}os.html",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "os.path.* glob.*",
        "file",
        f"Ask the file system in a thread: {IN_THREAD}; a disk can be slow.",
        f"{PY}os.path.html",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "os.fsync os.fdatasync os.sync",
        "file",
        f"Flush to disk in a thread: {IN_THREAD}.",
        f"{PY}os.html#os.fsync",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "tempfile.*",
        "file",
        "Use anyio.TemporaryFile() and its kin, or make the file in a thread: await asyncio.to_thread(...).",
        _ANYIO,
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "fcntl.flock fcntl.lockf",
        "file",
        f"Take the file lock in a thread: {IN_THREAD}.",
        f"{PY}fcntl.html",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "mmap.*",
        "file",
        f"Read the mapped pages in a thread: {IN_THREAD}.",
        f"{PY}mmap.html",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "dbm.* shelve.*",
        "file",
        f"Use it in a thread: {IN_THREAD}.",
        f"{PY}dbm.html",
        "2026-11",
        low_level=True,
    ),
)
