"""Some of what ``python -m tests.faults`` does with every function: those that are called first, or most."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import os
from collections.abc import Iterator

import pytest

from tests.faults.judging import AFTER, BEFORE, GUARDS
from tests.faults.running import run
from tests.faults.server import Job, Server, Setting

FUNCTIONS = (
    "delayed.aftermath:Aftermath._look",
    "emit.emitter:Emitter.callback_blocked",
    "emit.emitter:Emitter.span_ending",
    "emit.reports:Reports.add",
    "emit.worker:Worker._run",
    "emit.worker:Worker.defer",
    "hooks.heartbeat:_beat",
    "hooks:Hooks.remove",
    "instrumentor:LoopBlockInstrumentor._start",
    "runtime:Runtime.remove",
    "watch.loops:Loops.attach",
    "watch.monitor:Monitor._callback_ended",
    "watch.watchdog:Watchdog._look",
    "watch.watchdog:Watchdog._run",
)
INTERRUPTED = ("hooks:Hooks.remove", "instrumentor:LoopBlockInstrumentor._start", "watch.loops:Loops.attach")
AT_ONCE = 3

SETTINGS = [Setting(core, loop) for core in ("native", "pure") for loop in ("asyncio", "uvloop")]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: f"{each.core}-{each.loop}")
def test_application_sees_nothing_of_a_function_that_raises(setting):
    if setting.core == "native":
        native_or_skip()
    jobs = [Job(name, "RuntimeError", when) for name in FUNCTIONS for when in (BEFORE, AFTER)]
    jobs += [Job(name, "KeyboardInterrupt", BEFORE) for name in INTERRUPTED]
    server = Server(setting, AT_ONCE)
    try:
        result = run(setting, server, jobs, 0)
    finally:
        server.close()

    assert result.seen == {}
    assert result.injected == {"RuntimeError": 2 * len(FUNCTIONS), "KeyboardInterrupt": len(INTERRUPTED)}
    assert result.reached == result.injected


def native_or_skip():
    try:
        importlib.import_module("otel_loopblock.core._native")
    except ImportError:
        assert os.environ.get("OTEL_LOOPBLOCK_BUILD") != "require"
        pytest.skip("the core is not compiled here")


# -- the guards ----------------------------------------------------------------------------------

TRUSTED = {
    "BoundedAttributes",  # of the API
    "_count",
    "_failed",  # where the report of a failed report fails
    "_get_running_loop",
    "_report",
    "callback",
    "contextlib.suppress",
    "factory",
    "call",
    "failed",
    "is_asynchronous",
    "_handlers",
    "_is_handler",
    "_is_interpreted",
    "_is_of_ours",
    "let_through",
    "sys.exc_info",
    "gc.enable",
    "guard.call",
    "guard.call_all",
    "guard.failed",
    "guard.let_through",
    "importlib.util.find_spec",
    "original",
    "partial",
    "perf_counter",
    "reference",  # a weak one
    "signal.getsignal",
    "signal.valid_signals",
    "super().uninstrument",
    "traceback.clear_frames",
    *dir(builtins),
}
"""What a guard may call outside its ``try``: others' functions that it stands for, and what cannot fail."""

OF_BUILTINS = {"add", "extend", "get", "pop", "remove", "startswith"}
"""Methods of strings, lists and dicts."""


@pytest.mark.parametrize("name", sorted(GUARDS))
def test_guard_calls_nothing_of_ours_outside_its_try(name):
    called = set(_unguarded(_definition(name)))

    assert {each for each in called - TRUSTED if each.rpartition(".")[2] not in OF_BUILTINS} == set()


def _definition(name: str) -> ast.AST:
    module, _, path = name.partition(":")
    node: ast.AST = ast.parse(inspect.getsource(importlib.import_module(f"otel_loopblock.{module}")))
    for part in path.split("."):
        if part != "<locals>":
            node = next(each for each in ast.walk(node) if getattr(each, "name", None) == part)
    return node


def _unguarded(node: ast.AST) -> Iterator[str]:
    """The functions called in there, but for those within a ``try`` that catches all errors."""
    if isinstance(node, ast.Try) and any(_catches_all(each) for each in node.handlers):
        within = [*node.handlers, *node.orelse, *node.finalbody]
    elif isinstance(node, ast.With) and ast.unparse(node.items[0]) == "contextlib.suppress(Exception)":
        within = []
    else:
        within = [
            each
            for each in ast.iter_child_nodes(node)
            if each not in getattr(node, "decorator_list", ())  # called once, at import
        ]
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)
    for each in within:
        yield from _unguarded(each)


def _catches_all(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException")
