"""The folder that only its owner can enter, with the socket and what the process is asked to run.

Both are gone as soon as the process has come by.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from pathlib import Path

import otel_loopblock

_PACKAGE = Path(otel_loopblock.__file__).parent

MAX_PATH = 100
"""Bytes of a socket's path, less than any system takes."""

_FORGET = """
def forget():
    import shutil
    shutil.rmtree({folder!r}, ignore_errors=True)
forget()
"""


class Meeting:
    """Where the process is to come to; made with :func:`tempfile.mkdtemp`.

    Args:
        package: the folder of ``otel_loopblock`` that the process shall use; ``None``: that of this command.

    Raises:
        OSError: there is no folder for temporary files that can be written.
    """

    def __init__(self, package: Path | None = None) -> None:
        usual = os.path.join(tempfile.gettempdir(), "otel-loopblock-12345678", "socket")
        parent = "/tmp" if len(os.fsencode(usual)) > MAX_PATH else None
        self.folder = Path(tempfile.mkdtemp(prefix="otel-loopblock-", dir=parent))
        self.script = self.folder / "script.py"
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.bind(str(self.folder / "socket"))
            self.socket.listen(1)
            source = (_PACKAGE / "attach/injected.py").read_text(encoding="utf-8")
            call = f"begin({str(self.folder)!r}, {str(package or _PACKAGE)!r})\n"
            self.script.write_text(f"{source}\n\n{call}", encoding="utf-8")
        except BaseException:
            self.close()
            raise

    def forget(self) -> None:
        """Have nothing happen where the process comes by later: it takes the folder away then."""
        with contextlib.suppress(OSError):
            self.script.write_text(_FORGET.format(folder=str(self.folder)), encoding="utf-8")
            self.folder.joinpath("socket").unlink(missing_ok=True)
        self.socket.close()

    def close(self) -> None:
        """Take all of it away."""
        self.socket.close()
        shutil.rmtree(self.folder, ignore_errors=True)
