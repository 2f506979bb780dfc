"""What is patched when a module is imported that was not there before."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import subprocess
import sys

import pytest

from otel_loopblock import guard
from otel_loopblock.hooks.patches import Patches


@pytest.fixture
def patches():
    made = Patches()
    finders = list(sys.meta_path)
    yield made
    made.restore()
    assert [finder for finder in sys.meta_path if type(finder).__module__ != "wrapt.importer"] == [
        finder for finder in finders if type(finder).__module__ != "wrapt.importer"
    ]


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "loopblock_awaited.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "loopblock_awaited"
    sys.modules.pop("loopblock_awaited", None)


def double(original):
    return lambda: 2 * original()


def test_class_method_in_the_place_of_another_looks_like_it(patches):
    class Backend:
        @classmethod
        def run(cls, work: int = 0) -> int:
            """Do it."""
            return work

    before = str(inspect.signature(Backend.run))
    patches.replace(
        Backend, "run", lambda run: classmethod(lambda cls, *args, **kwargs: run(*args, **kwargs) + 1)
    )

    assert Backend.run(work=41) == 42
    assert (str(inspect.signature(Backend.run)), Backend.run.__doc__) == (before, "Do it.")


def test_all_who_wait_for_a_module_are_told(patches, module):
    told = []
    patches.when_imported(module, lambda found: patches.replace(found, "answer", double))
    patches.when_imported(module, lambda found: told.append(found.answer()))

    found = importlib.import_module(module)

    assert told == [84]
    assert type(found.__loader__).__module__ == "_frozen_importlib_external"
    patches.restore()
    assert found.answer() == 42


def test_module_that_was_only_looked_for_is_still_awaited(patches, module):
    patches.when_imported(module, lambda found: patches.replace(found, "answer", double))

    assert importlib.util.find_spec(module).name == module
    assert module not in sys.modules
    assert importlib.import_module(module).answer() == 84


def test_nothing_is_done_to_a_module_that_comes_later(patches, module):
    patches.when_imported(module, lambda found: patches.replace(found, "answer", double))
    patches.restore()

    assert importlib.import_module(module).answer() == 42


def test_module_that_does_not_exist_is_missing_as_ever(patches):
    patches.when_imported("loopblock_that_is_not_there", pytest.fail)

    with pytest.raises(ModuleNotFoundError, match="loopblock_that_is_not_there"):
        importlib.import_module("loopblock_that_is_not_there")


def test_module_is_imported_when_wrapt_cannot_be(patches, module, monkeypatch):
    monkeypatch.setitem(sys.modules, "wrapt", None)
    monkeypatch.setattr(guard, "failures", guard.failures.copy())
    patches.when_imported(module, pytest.fail)

    assert importlib.import_module(module).answer() == 42
    assert guard.failures[f"wait for the import of {module}"] == 1


def test_wrapt_comes_with_the_first_module_that_is_awaited():
    program = """
import sys
from otel_loopblock.testing.detection import Detection
detection = Detection(0.01)
detection.open()
assert "wrapt" not in sys.modules
import uvloop
assert "wrapt" in sys.modules
loop = uvloop.new_event_loop()
loop.run_until_complete(loop.create_task(__import__("asyncio").sleep(0)))
from otel_loopblock.watch.loops import loops
assert [monitor.loop_type for monitor in loops.monitors()] == ["uvloop"]
detection.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
