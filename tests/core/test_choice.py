"""Which core serves: the compiled one where it can be used, else the twin; trouble is a line in the log."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig

import pytest

from otel_loopblock import core
from tests.service.running import ROOT

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
VARIABLE = "OTEL_PYTHON_LOOPBLOCK_CORE"

SAY = """
import sys
if len(sys.argv) > 1:
    exec(sys.argv[1])
from otel_loopblock import core
print(core.NAME)
print(core.WHY)
print(core.Waiter.__module__ == "otel_loopblock.core.pure.wait", core.TELLS_LATENESS)
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package in which no core was built."""
    ignored = shutil.ignore_patterns("_native.*so", "_native.*pyd", "__pycache__", "demo", "bench")
    shutil.copytree(ROOT / "otel_loopblock", tmp_path / "otel_loopblock", ignore=ignored)
    return tmp_path / "otel_loopblock"


@pytest.fixture
def built_package(package, built):
    """One in which it was."""
    shutil.copy(built, package / "core")
    return package


def start(package, value=None, prepare=None):
    """The name of the core that is chosen, why it is not the compiled one, and the lines of the log."""
    environment = {name: each for name, each in os.environ.items() if name != VARIABLE}
    environment["PYTHONPATH"] = str(package.parent)
    if value is not None:
        environment[VARIABLE] = value
    command = [sys.executable, "-c", SAY, *([prepare] if prepare else [])]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=environment, cwd=package.parent
    )
    assert done.returncode == 0, done.stderr
    name, why, is_twin = done.stdout.splitlines()
    assert is_twin == ("True False" if name == "pure" else "False True")
    return name, why, done.stderr.splitlines()


def in_place_of_native(source):
    """Code to run first: what an import of the compiled core does."""
    return f"""
import importlib.abc, importlib.util, sys
class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name == "otel_loopblock.core._native":
            return importlib.util.spec_from_loader(name, self, origin="there")
    def create_module(self, spec): return None
    def exec_module(self, module): module.__file__ = "there"; exec({source!r}, vars(module))
sys.meta_path.insert(0, Finder())
"""


def test_twin_serves_in_silence_where_there_is_no_other(package):
    assert start(package) == ("pure", "it is not part of this installation", [])


@pytest.mark.parametrize("value", [None, "", "  ", "native", " Native "])
def test_compiled_core_serves_where_there_is_one(built_package, value):
    assert start(built_package, value) == ("native", "", [])


@pytest.mark.parametrize("value", ["pure", "PURE "])
def test_twin_serves_where_it_is_asked_for(built_package, value):
    assert start(built_package, value) == ("pure", f"{VARIABLE}={value} asks for the twin", [])


def test_compiled_core_that_is_asked_for_and_not_there_is_one_warning(package):
    name, _, log = start(package, "native")
    assert name == "pure"
    assert log == [
        f"{VARIABLE}=native cannot be used: it is not part of this installation. The twin in Python is used."
    ]


def test_unknown_value_is_one_warning_and_the_default(built_package, package):
    name, _, [line] = start(built_package, "rust")
    assert name == "native"
    assert line.startswith(f"{VARIABLE}='rust' cannot be used; it must be native or pure.")


def test_core_for_another_python_is_one_line(package):
    name = f"_native.cpython-39-x86_64-linux-gnu{os.path.splitext(SUFFIX)[1]}"
    (package / "core" / name).write_bytes(b"\x7fELF")
    chosen, why, [line] = start(package)
    assert (chosen, why) == ("pure", f"{name} is for another Python")
    assert (
        line == f"The compiled core cannot be used: {name} is for another Python. The twin in Python is used."
    )


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"nothing of the kind" * 1000])
@pytest.mark.parametrize("value", [None, "native"])
def test_file_that_is_no_extension_is_one_line(package, content, value):
    (package / "core" / f"_native{SUFFIX}").write_bytes(content)
    chosen, why, log = start(package, value)
    assert chosen == "pure"
    assert why.startswith("to import it raises ImportError: ")
    assert len(log) == 1


@pytest.mark.parametrize("part", [0.001, 0.01, 0.1, 0.5, 0.999])
def test_part_of_a_core_is_one_line(package, built, part):
    content = built.read_bytes()
    (package / "core" / built.name).write_bytes(content[: int(part * len(content))])
    chosen, why, log = start(package)
    assert (chosen, len(log)) == ("pure", 1)
    if sys.platform == "linux":
        assert why == f"{built.name} has been cut off"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise OSError('no such thing')", "to import it raises OSError: no such thing"),
        ("import nowhere", "to import it raises ModuleNotFoundError: No module named 'nowhere'"),
        ("", f"there is of another release (interface None, not {core.INTERFACE})"),
        ("INTERFACE = 0", f"there is of another release (interface 0, not {core.INTERFACE})"),
        (
            "from otel_loopblock.core.pure import *; del stack, Run",
            "there has no Run, stack",
        ),
    ],
)
def test_core_that_is_not_whole_or_not_of_this_release_is_one_line(package, source, why):
    chosen, found, [line] = start(package, prepare=in_place_of_native(source))
    assert (chosen, found) == ("pure", why)
    assert line == f"The compiled core cannot be used: {why}. The twin in Python is used."


FREE_THREADED = "sys._is_gil_enabled = lambda: False\n"


def test_interpreter_without_a_gil_does_not_import_the_compiled_core(built_package):
    prepare = in_place_of_native("raise SystemExit('it was imported')") + FREE_THREADED
    chosen, why, log = start(built_package, prepare=prepare)
    assert (chosen, log) == ("pure", [])
    assert why.startswith("this Python runs without a GIL")
    assert len(start(built_package, "native", prepare=prepare)[2]) == 1


@pytest.mark.parametrize("name", ["native", "pure"])
def test_core_that_is_not_in_use_cannot_be_required(name, monkeypatch):
    monkeypatch.setattr(core, "NAME", name)
    monkeypatch.setattr(core, "WHY", "it has gone")
    core.require(name)
    with pytest.raises(ValueError, match="core='rust' cannot be used; it must be native or pure"):
        core.require("rust")
    if name == "native":
        with pytest.raises(ValueError, match=f"Set {VARIABLE}=pure before otel_loopblock is imported"):
            core.require("pure")
    else:
        with pytest.raises(ImportError, match="core='native' cannot be used: it has gone"):
            core.require("native")
