"""Both cores have what ``_native.pyi`` says, and nothing else."""

from __future__ import annotations

import ast
import inspect
import weakref

import pytest

from otel_loopblock import core as chosen
from tests.service.running import ROOT

STUB = ast.parse((ROOT / "otel_loopblock/core/_native.pyi").read_text())
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
CONSTANTS = {node.target.id: node.annotation for node in STUB.body if isinstance(node, ast.AnnAssign)}
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
METHODS = {"begin_rest", "callback_ended", "rest_ended", "tick"}
NAMES = {*FUNCTIONS, *CONSTANTS, *CLASSES} - {"Replacement"}


def parameters(node):
    arguments = node.args
    return [each.arg for each in (*arguments.posonlyargs, *arguments.args) if each.arg != "self"]


def members(node):
    return {each.target.id if isinstance(each, ast.AnnAssign) else each.name: each for each in node.body}


def test_core_has_these_names_and_no_others(core):
    modules = {"callbacks", "clocks", "load", "stacks", "wait"}  # of the twin
    assert {name for name in vars(core) if name[0].isalpha()} - modules == NAMES
    assert NAMES - {"INTERFACE", "Call"} == set(chosen._SHARED)
    assert all(hasattr(chosen, name) for name in chosen._SHARED)
    assert core.INTERFACE == chosen.INTERFACE == chosen._INTERFACE


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_takes_the_same_arguments(core, name):
    assert list(inspect.signature(getattr(core, name)).parameters) == parameters(FUNCTIONS[name])


@pytest.mark.parametrize("name", CONSTANTS)
def test_constant_is_of_its_type(core, name):
    kind = CONSTANTS[name]
    assert type(getattr(core, name)).__name__ == (kind.value if isinstance(kind, ast.Subscript) else kind).id


@pytest.mark.parametrize("name", ["Monitor", "Waiter"])
def test_class_has_these_members(core, name):
    made = getattr(core, name)()
    for member, node in members(CLASSES[name]).items():
        value = getattr(made, member)
        if isinstance(node, ast.FunctionDef) and not node.decorator_list:
            assert list(inspect.signature(value).parameters) == parameters(node)


def test_new_monitor_is_the_same(core):
    methods = {"begin_rest", "callback_ended", "rest_ended", "tick"}
    fields = [name for name in members(CLASSES["Monitor"]) if name not in methods]
    unknown = {"before_cpu": -1.0, "before_process_cpu": -1.0, "woke_cpu": -1.0}
    nothing = dict.fromkeys(("callback", "context", "waiter", "unwatched", "loop", "clock"))
    nothing["stretch"] = (0, 0.0, 0.0, 0.0, 0)
    found = {name: getattr(core.Monitor(), name) for name in fields}
    assert found == {**dict.fromkeys(fields, 0.0), **unknown, **nothing}


def test_subclass_of_monitor_has_arguments_of_its_own(core):
    class Monitor(core.Monitor):
        __slots__ = ("loop_type",)

        def __init__(self, loop_type, *, threshold):
            self.loop_type = loop_type
            self.threshold = threshold

    monitor = Monitor("asyncio", threshold=0.5)
    monitor.waiter = core.Waiter()
    monitor.loop = weakref.ref(test_new_monitor_is_the_same)
    assert (monitor.loop_type, monitor.threshold, monitor.busy) == ("asyncio", 0.5, 0.0)
    with pytest.raises(AttributeError):
        monitor.other = 1
    assert monitor.callback_ended(1.0, print, None, 2) is None
