"""What a suite needs, kept outside the tree: its source package, unpacked, and an environment of its own.

Everything comes from the package index by pip.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.compat.compare import Missing
from tests.compat.suites.table import Suite

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "otel-loopblock", "suites")

OURS = ("opentelemetry-instrumentation >= 0.58b0", "opentelemetry-sdk >= 1.37", "wrapt >= 1.14, < 3.0")
"""What this package needs, and what runs inside. The package itself comes by path: as it is here, and without
its plugin of pytest."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A suite, ready to run."""

    python: Path
    source: Path
    """The source package, unpacked."""


def prepare(suite: Suite, python: str) -> Environment:
    """Make it, unless it is there.

    Raises:
        Missing: pip could not.
    """
    code = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    version = subprocess.run([python, "-c", code], capture_output=True, text=True)
    if version.returncode:
        raise Missing(f"{python} does not run: {version.stderr.strip()}")
    home = CACHE / f"{suite.name}-{suite.version}-python-{version.stdout.strip()}"
    made = Environment(home / "venv" / "bin" / "python", home / "source")
    # The stamp says what is in it: what the table asks for now is in it, or it is made again.
    stamp = home / "ready"
    needs = [suite.requirement, *suite.requires, *OURS]
    if stamp.exists() and stamp.read_text() == repr((needs, suite.hidden)):
        return made
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    _run([python, "-m", "venv", str(home / "venv")])
    pip = [str(made.python), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    # Not ":all:", which is for the build requirements as well: those would be built, too.
    _run([*pip, "download", "--no-deps", "--no-binary", suite.name, "--dest", str(home), suite.requirement])
    _run([*pip, "install", *needs])
    _unpack(home, made.source)
    for hidden in suite.hidden:
        shutil.rmtree(made.source / hidden)
    stamp.write_text(repr((needs, suite.hidden)))
    return made


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise Missing(f"{' '.join(command)}\n{done.stderr.strip()[-2000:]}")


def _unpack(home: Path, folder: Path) -> None:
    """Unpack the archive in ``home``; what is in its one folder goes into that of this name."""
    (archive,) = home.glob("*.tar.gz")
    unpacked = home / "unpacked"
    with tarfile.open(archive) as opened:
        opened.extractall(unpacked, filter="data")
    (top,) = unpacked.iterdir()
    top.rename(folder)
    unpacked.rmdir()
