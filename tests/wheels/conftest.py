"""A copy of the tree to build in: nothing is built in the repository, nor is what was built there used."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service.running import ROOT

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
CHOICE = "OTEL_LOOPBLOCK_BUILD"

SOURCES = ("LICENSE", "MANIFEST.in", "README.md", "otel_loopblock", "pyproject.toml", "setup.py", "tests")
NOT_SOURCES = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", ".*", "*.egg-info")


def environment(**variables):
    """That of this process without what says how to build, and which core to use."""
    ours = (CHOICE, "OTEL_PYTHON_LOOPBLOCK_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | variables


def run(command, folder="/", **variables):
    """Run it; what it printed is one text."""
    return subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        env=environment(**variables),
        cwd=folder,
    )


@dataclass(frozen=True)
class Building:
    """What came of ``pip wheel``."""

    code: int
    printed: str
    wheel: Path | None


def build(source, into, **variables):
    """Build a wheel of a tree or an sdist as pip does without ``-v``, with the installed setuptools."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", into, source]
    done = run([*pip, *wheel], **variables)
    wheels = list(Path(into).glob("*.whl"))
    assert len(wheels) == (1 if done.returncode == 0 else 0), done.stdout
    return Building(done.returncode, done.stdout, wheels[0] if wheels else None)


def copy_tree(into):
    """The sources as they are in git: of what was built there is nothing."""
    into.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, into / name, ignore=NOT_SOURCES)
        else:
            shutil.copy2(ROOT / name, into / name)
    return into


@pytest.fixture
def tree(tmp_path):
    """One for a test to change and to build in."""
    return copy_tree(tmp_path / "tree")


@pytest.fixture(scope="session")
def compiler(tmp_path_factory):
    """Skips where no extension can be built, unless CI requires that it can."""
    folder = tmp_path_factory.mktemp("compiler")
    (folder / "try.c").write_text("#include <Python.h>\n")
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    include = "-I" + sysconfig.get_path("include")
    try:
        done = run([*command, include, "-c", folder / "try.c", "-o", folder / "try.o"])
        why = done.stdout or f"{command[0]} makes no file"
    except OSError as error:
        why = str(error)
    if (folder / "try.o").exists():
        return
    if os.environ.get(CHOICE) == "require":
        pytest.fail(f"there is no C compiler: {why}")
    pytest.skip(f"there is no C compiler: {why}")


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    """Made as where there is no C compiler: it is as whole as any other."""
    folder = tmp_path_factory.mktemp("sdist")
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    done = run([sys.executable, "-c", code], copy_tree(folder / "tree"), **{CHOICE: "skip"})
    assert done.returncode == 0, done.stdout
    [path] = folder.glob("otel_loopblock-*.tar.gz")
    return path


@pytest.fixture(scope="session")
def compiled(compiler, sdist, tmp_path_factory):
    """A wheel with the compiled core, built from the sdist."""
    building = build(sdist, tmp_path_factory.mktemp("compiled"), **{CHOICE: "require"})
    assert building.code == 0, building.printed
    return building.wheel
