"""What the user of the pytest plugin has chosen, from the command line and the ini file.

Light on purpose: this is read in every run of pytest, also where nobody asks for the plugin.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from otel_loopblock.testing import own_lines

UNITS_MS = {"": 1.0, "us": 0.001, "ms": 1.0, "s": 1000.0}
"""Units of a duration, in milliseconds; without one it is in milliseconds already."""

ANNOTATIONS = ("auto", "github", "none")

_DURATION = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµ]*)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one run."""

    on: bool
    """Whether every test is watched; otherwise only those that ask by marker or fixture."""
    threshold_ms: float
    allow: tuple[str, ...]
    own_lines: str
    """What becomes of a block in the tests' own lines: one of :data:`own_lines.CHOICES`."""
    app_paths: tuple[str, ...]
    """Folders and files of the application's own code; empty: whatever is not installed."""
    reports: tuple[Path, ...]
    annotations: bool
    """Whether annotations for GitHub are printed."""
    baseline: Path | None
    update_baseline: bool
    saturation_ms: float = 0.0
    """A loop without a rest for as long fails a test; 0: that is not looked for."""


def add_options(parser: pytest.Parser) -> None:
    """Declare the options. Their values are checked in :func:`read`, to fail with one line."""
    group = parser.getgroup("loopblock", "blocked event loops (otel-loopblock)")
    group.addoption(
        "--loopblock",
        action="store_true",
        default=None,
        dest="loopblock",
        help="fail each test that blocks an asyncio or uvloop event loop",
    )
    group.addoption(
        "--no-loopblock", action="store_false", dest="loopblock", help="do not, whatever the ini file says"
    )
    group.addoption(
        "--loopblock-threshold",
        metavar="DURATION",
        help="a callback that runs at least this long is a block: 10ms, 0.5s; a bare number is milliseconds"
        " (default: 10ms)",
    )
    group.addoption(
        "--loopblock-saturation",
        metavar="DURATION",
        help="fail each test in which a loop was busy without a rest for this long, with no block in it:"
        " 100ms (default: do not look)",
    )
    group.addoption(
        "--loopblock-own-lines",
        metavar="WHAT",
        help="a block whose line is a test's own (of a test file, a conftest, a fixture): fail, warn (list it"
        " at the end, fail nothing), or ignore (default: warn)",
    )
    group.addoption(
        "--loopblock-report",
        metavar="FILE",
        action="append",
        default=[],
        help="write all blocks to FILE, as SARIF when it ends in .sarif, else as JSON; turns --loopblock on;"
        " may be given more than once",
    )
    group.addoption(
        "--loopblock-annotations",
        metavar="WHEN",
        default="auto",
        help="print annotations for GitHub: github, none, or auto (default: in a GitHub action)",
    )
    group.addoption(
        "--loopblock-baseline",
        metavar="FILE",
        help="blocks listed in FILE, by function and call, do not fail a test",
    )
    group.addoption(
        "--loopblock-update-baseline",
        action="store_true",
        help="add the blocks of this run to the baseline, and fail no test for them; turns --loopblock on",
    )
    parser.addini("loopblock", "watch every test, as --loopblock does", type="bool", default=False)
    parser.addini("loopblock_threshold", "as --loopblock-threshold", default="")
    parser.addini(
        "loopblock_allow",
        "patterns of functions or calls that may block, one a line (myapp.legacy.*, sqlite3.*)",
        type="linelist",
    )
    parser.addini("loopblock_saturation", "as --loopblock-saturation", default="")
    parser.addini("loopblock_own_lines", "as --loopblock-own-lines", default="")
    parser.addini(
        "loopblock_app_paths",
        "folders and files of your own code, relative to the ini file: only blocks there fail a test"
        " (default: whatever is neither the standard library nor in a site-packages folder)",
        type="paths",
    )
    parser.addini("loopblock_baseline", "as --loopblock-baseline, relative to the ini file", default="")


def read(config: pytest.Config) -> Settings:
    """The options of this run.

    Raises:
        pytest.UsageError: a value cannot be used; one line that names it and what is allowed.
    """
    option = config.option
    threshold = option.loopblock_threshold
    if threshold is not None:
        threshold_ms = milliseconds(threshold, "--loopblock-threshold")
    else:
        ini = config.getini("loopblock_threshold")
        threshold_ms = milliseconds(ini, "loopblock_threshold") if ini else 10.0
    saturation, name = option.loopblock_saturation, "--loopblock-saturation"
    if saturation is None:
        saturation, name = config.getini("loopblock_saturation"), "loopblock_saturation"
    if option.loopblock_annotations not in ANNOTATIONS:
        raise pytest.UsageError(
            f"--loopblock-annotations={option.loopblock_annotations!r} cannot be used;"
            f" it must be one of {', '.join(ANNOTATIONS)}"
        )
    baseline = _baseline(config)
    if option.loopblock_update_baseline and baseline is None:
        raise pytest.UsageError("--loopblock-update-baseline needs --loopblock-baseline=FILE")
    reports = tuple(_writable(config, name, "--loopblock-report") for name in option.loopblock_report)
    on = option.loopblock
    if on is None:
        on = bool(reports) or option.loopblock_update_baseline or config.getini("loopblock")
    github = option.loopblock_annotations == "github" or (
        option.loopblock_annotations == "auto" and os.environ.get("GITHUB_ACTIONS") == "true"
    )
    return Settings(
        on=bool(on),
        threshold_ms=threshold_ms,
        allow=tuple(config.getini("loopblock_allow")),
        own_lines=_own_lines(config),
        app_paths=tuple(map(str, config.getini("loopblock_app_paths"))),
        reports=reports,
        annotations=github,
        baseline=baseline,
        update_baseline=option.loopblock_update_baseline,
        saturation_ms=milliseconds(saturation, name) if saturation else 0.0,
    )


def asks(item: pytest.Item, markers: frozenset[str] = frozenset({"loopblock"})) -> bool:
    """Whether a test wants to be watched by itself: it has the marker, or uses the fixture.

    Args:
        item: the test.
        markers: names of the markers that count; to look for several at once costs less.
    """
    return not markers.isdisjoint([marker.name for marker in item.iter_markers()]) or (
        "loopblock" in getattr(item, "fixturenames", ())
    )


def milliseconds(text: str, name: str) -> float:
    """Read a duration.

    Args:
        text: ``10ms``, ``0.5s``, ``500us``; a bare number is in milliseconds.
        name: of the option, for the error.

    Raises:
        pytest.UsageError: it is no such thing, or not above zero.
    """
    match = _DURATION.fullmatch(text)
    unit = UNITS_MS.get(match[2].lower()) if match else None
    if match is None or unit is None or float(match[1]) == 0:
        raise pytest.UsageError(
            f"{name}={text!r} cannot be used; it must be a duration above zero"
            " in us, ms or s, as in 10ms or 0.5s"
        )
    return float(match[1]) * unit


def _own_lines(config: pytest.Config) -> str:
    chosen, name = config.option.loopblock_own_lines, "--loopblock-own-lines"
    if chosen is None:
        chosen, name = str(config.getini("loopblock_own_lines")) or own_lines.DEFAULT, "loopblock_own_lines"
    if chosen not in own_lines.CHOICES:
        raise pytest.UsageError(f"{name}={chosen!r} cannot be used; it must be {own_lines.ALLOWED}")
    return str(chosen)


def _baseline(config: pytest.Config) -> Path | None:
    option = config.option
    if option.loopblock_baseline:
        path = _writable(config, option.loopblock_baseline, "--loopblock-baseline")
        # The workers of pytest-xdist may have another current directory.
        option.loopblock_baseline = str(path)
        return path
    ini = str(config.getini("loopblock_baseline"))
    if not ini:
        return None
    return (config.inipath.parent if config.inipath is not None else config.rootpath) / ini


def _writable(config: pytest.Config, name: str, option: str) -> Path:
    path = Path(config.invocation_params.dir, name)
    if path.is_dir():
        raise pytest.UsageError(f"{option}={name!r} cannot be used; it is a directory")
    if not path.parent.is_dir():
        raise pytest.UsageError(f"{option}={name!r} cannot be used; there is no directory {path.parent}")
    return path
