"""What a build makes: the compiled wheel where it can be, else one for every Python; never a mixture."""

from __future__ import annotations

import os
import re
import sys
import tarfile
import time
import zipfile

import pytest

from tests.wheels.conftest import CHOICE, SUFFIX, build, run

CORE = f"otel_loopblock/core/_native{SUFFIX}"

WRITES = """#!/bin/sh
for each; do
  [ "$last" = -o ] && echo '{text}' > "$each"
  last=$each
done
"""
"""A compiler that compiles nothing, quickly."""

COMPILERS = {
    "that is not there": None,
    "that ends with 1": "#!/bin/sh\nexit 1\n",
    "that makes nothing": "#!/bin/sh\necho 'error: %&/(' >&2\necho rubbish\n",
    "that ends half-way": "#!/bin/sh\ncase $* in *monitor.c*) echo 'fatal error' >&2; exit 1;; esac\n"
    + WRITES.format(text="half of it"),
    "that cannot link": "#!/bin/sh\ncase $* in *-shared*|*-bundle*) exit 1;; esac\n"
    + WRITES.format(text="an object"),
}
"""That are of no use."""


def make_compiler(folder, script):
    """The value of ``CC`` for it."""
    path = folder / "compiler"
    if script is not None:
        path.write_text(script)
        path.chmod(0o755)
    return str(path)


def contents(wheel):
    """The files of the package in a wheel."""
    with zipfile.ZipFile(wheel) as file:
        return {name for name in file.namelist() if ".dist-info/" not in name}


def sources(tree):
    """Those that belong there, without a compiled core."""
    files = (path.relative_to(tree) for path in (tree / "otel_loopblock").rglob("*") if path.is_file())
    return {path.as_posix() for path in files if path.suffix not in (".c", ".h", ".pyc", ".so")}


def assert_is_for_every_python(building, tree):
    assert building.code == 0, building.printed
    assert building.wheel.name.endswith("-py3-none-any.whl")
    assert contents(building.wheel) == sources(tree)


def test_required_core_is_in_a_wheel_that_is_built_from_the_sdist(compiled, tree):
    tag, abi, platform = compiled.stem.split("-")[2:]
    assert (tag, platform != "any") == (f"cp{sys.version_info[0]}{sys.version_info[1]}", True)
    assert abi.startswith(tag)
    assert contents(compiled) == sources(tree) | {CORE}
    assert {"otel_loopblock/py.typed", "otel_loopblock/core/_native.pyi"} < contents(compiled)


def test_no_core_is_built_where_it_is_to_be_skipped(tree, tmp_path):
    (tree / CORE).write_text("what an editable install left")
    assert_is_for_every_python(build(tree, tmp_path / "wheels", **{CHOICE: "skip"}), tree)


@pytest.mark.parametrize("which", COMPILERS)
def test_build_is_silent_about_a_compiler_that_is_of_no_use(which, tree, tmp_path):
    building = build(tree, tmp_path / "wheels", CC=make_compiler(tmp_path, COMPILERS[which]))
    assert_is_for_every_python(building, tree)
    assert not re.search("error|warning|fail|rubbish", building.printed, re.IGNORECASE), building.printed


@pytest.mark.parametrize("which", ["that is not there", "that makes nothing", "that ends half-way"])
def test_required_core_that_cannot_be_built_is_an_error(which, tree, tmp_path):
    compiler = make_compiler(tmp_path, COMPILERS[which])
    building = build(tree, tmp_path / "wheels", CC=compiler, **{CHOICE: "require"})
    assert building.code != 0
    assert "error: the compiled core cannot be built: " in building.printed


@pytest.mark.parametrize("value", ["required", "0"])
def test_unknown_choice_is_an_error_that_names_it(value, tree, tmp_path):
    building = build(tree, tmp_path / "wheels", **{CHOICE: value})
    assert building.code != 0
    assert f"{CHOICE}={value!r} cannot be used: allowed are require and skip" in building.printed


def test_core_cannot_be_required_on_a_python_that_it_is_not_for(tree):
    without_gil = "import sysconfig; sysconfig.get_config_vars()['Py_GIL_DISABLED'] = 1; "
    start = "import runpy, sys; sys.argv = ['setup.py', '--name']; runpy.run_path('setup.py')"
    command = [sys.executable, "-c", without_gil + start]

    assert run(command, folder=tree).stdout.split() == ["otel-loopblock"]
    required = run(command, folder=tree, **{CHOICE: "require"})
    assert required.returncode != 0
    assert f"{CHOICE}=require cannot be met" in required.stdout


def test_core_that_an_earlier_build_left_is_not_in_a_wheel(tree, tmp_path):
    def build_with(compiler, name):
        return build(tree, tmp_path / name, CC=make_compiler(tmp_path, compiler))

    earlier = build_with(WRITES.format(text="earlier"), "earlier")
    assert core_in(earlier.wheel) == "earlier\n"
    [left] = (tree / "build").glob(f"lib*/{CORE}")
    os.utime(left, (time.time() + 3600,) * 2)  # newer than all sources

    assert core_in(build_with(WRITES.format(text="anew"), "anew").wheel) == "anew\n"
    assert_is_for_every_python(build_with(COMPILERS["that ends with 1"], "none"), tree)


def core_in(wheel):
    with zipfile.ZipFile(wheel) as file:
        return file.read(CORE).decode()


def test_core_in_the_source_tree_goes_when_there_is_no_new_one(tree, tmp_path):
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]

    def build_in_place(compiler):
        done = run(command, folder=tree, CC=make_compiler(tmp_path, compiler))
        assert done.returncode == 0, done.stdout

    build_in_place(WRITES.format(text="earlier"))
    assert (tree / CORE).read_text() == "earlier\n"
    build_in_place(WRITES.format(text="anew"))
    assert (tree / CORE).read_text() == "anew\n"
    build_in_place(COMPILERS["that ends with 1"])
    assert not (tree / CORE).exists()


def test_sdist_has_all_sources(sdist, tree):
    wanted = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    with tarfile.open(sdist) as file:
        found = {member.name.split("/", 1)[1] for member in file.getmembers() if member.isfile()}
    assert {"LICENSE", "tests/conftest.py", "otel_loopblock/core/native/core.h"} < wanted
    assert wanted <= found
    assert not [name for name in found if name.endswith((".so", ".pyc"))]
