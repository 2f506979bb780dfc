"""Naming a C call in the act, from another thread."""

from __future__ import annotations

import dis
import hashlib
import re
import socket
import sqlite3
import sys
import threading
import time
import zlib
from functools import partial
from time import sleep as zzz

import numpy
import pytest

from otel_loopblock import core
from otel_loopblock.naming import called_name, display_name, qualified_name

BIG = bytes(80_000_000)
MANY = list(range(3_000_000))


def seen_in(function, wanted=None):
    """The names that a poller saw ``function`` call while it ran."""
    names = []
    started = threading.Event()

    def work():
        started.set()
        function()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    deadline = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < deadline:
        for code, instruction, _, module in core.stack(thread.ident, 1) or ():
            if code is function.__code__:
                variable = partial(core.variable, thread.ident, code, instruction)
                names.append(called_name(code, instruction, module, variable))
        if wanted in names:
            break
        time.sleep(0.001)
    thread.join()
    return names


class Holder:
    def __init__(self):
        self.lock = threading.Lock()
        self.lock.acquire()

    @property
    def forbidden(self):
        raise AssertionError("a property was run")

    def __getattr__(self, name):
        raise AssertionError(f"__getattr__({name}) was run")


def sleeps():
    time.sleep(0.1)


def sleeps_by_alias():
    zzz(0.1)


def sums():
    sum(range(4_000_000))


def sorts():
    # From 3.14 on, the first call with a keyword in a line hands the GIL over only at the next call.
    for numbers in ([1], [1], MANY):
        sorted(numbers, key=str)


def hashes():
    hashlib.sha256(BIG)


def hashes_with_update():
    digest = hashlib.sha256()
    digest.update(BIG)


def compresses():
    zlib.compress(BIG[:20_000_000], level=6)


def queries():
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000) "
        "select sum(i) from n"
    ).fetchall()


def waits_for_a_lock():
    holder = Holder()
    holder.lock.acquire(timeout=0.1)


def receives():
    ours, theirs = socket.socketpair()
    ours.settimeout(0.1)
    with pytest.raises(TimeoutError):
        ours.recv(10)
    ours.close()
    theirs.close()


def matches():
    pattern = re.compile("(a+)+b")
    pattern.match("a" * 24)


def multiplies():
    left = numpy.ones((1200, 1200))
    left @ left


def makes_keys():
    dict.fromkeys(range(5_000_000))


def starred():
    arguments = (0.1,)
    time.sleep(*arguments)


def in_an_expression():
    return [1, 2, time.sleep(0.1)]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (sleeps, "time.sleep"),
        (sleeps_by_alias, "time.sleep"),
        (sums, "sum"),
        (sorts, "sorted"),
        (hashes, "hashlib.sha256"),
        (hashes_with_update, "hashlib.HASH.update"),
        (compresses, "zlib.compress"),
        (queries, "sqlite3.Connection.execute"),
        (waits_for_a_lock, "threading.Lock.acquire"),
        (receives, "socket.socket.recv"),
        (matches, "re.Pattern.match"),
        (multiplies, "numpy.ndarray.__matmul__"),
        (makes_keys, "dict.fromkeys"),
        (starred, "time.sleep"),
        (in_an_expression, "time.sleep"),
    ],
)
def test_c_call_is_named(function, name):
    names = seen_in(function, name)

    assert name in names


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("made = left.copy(); made.sort()", {"left.copy", "made.sort"}),
        ("return print(left, right.strip())", {"right.strip", "print"}),
        ("made = other = left.copy(); other.sort(key=str)", {"left.copy", "other.sort"}),
    ],
)
def test_call_next_to_an_instruction_that_is_two(line, names):
    from otel_loopblock.naming import callsite

    namespace = {}
    exec(f"def function(left, right):\n    {line}", namespace)
    code = namespace["function"].__code__
    chains = {callsite._chain(code, lasti) for lasti in range(0, len(code.co_code), 2)} - {None}

    assert {".".join((chain.root, *chain.attributes)) for chain in chains} == names


def test_every_instruction_of_this_python_that_loads_a_local_or_calls_is_known():
    from otel_loopblock.naming import callsite

    known = callsite._FAST_ROOTS | set(callsite._PAIRS) | callsite._CALLS | callsite._CELL_ROOTS
    loads = {name for name in dis.opmap if name.startswith(("LOAD_FAST", "LOAD_DEREF"))}
    pairs = {name for name in dis.opmap if name.count("_FAST") == 2}
    calls = {name for name in dis.opmap if name.startswith("CALL") and "INTRINSIC" not in name}

    assert {"LOAD_FAST", "CALL_FUNCTION_EX"} <= loads | calls
    assert loads | pairs | calls <= known


def test_frame_that_computes_itself_is_not_named():
    def computes():
        total = 0
        for number in range(3_000_000):
            total += number
        return total

    assert set(seen_in(computes)) == {None}


def test_call_in_a_function_that_needs_extended_arguments():
    names = [f"name_{n}" for n in range(400)]
    source = "def big():\n" + "".join(f"    {n} = {i!r}\n    global_{i}\n" for i, n in enumerate(names))
    source += "    time.sleep(0.1)\n"
    namespace = {f"global_{i}": i for i in range(400)} | {"time": time}
    exec(source, namespace)

    assert "time.sleep" in seen_in(namespace["big"], "time.sleep")


def test_no_code_of_the_application_runs():
    holder = Holder()

    def touches(thing):
        return thing.forbidden.execute(1)

    from otel_loopblock.naming import callsite

    assert callsite._static_attribute(holder, "forbidden") == (False, None)
    assert callsite._static_attribute(holder, "anything") == (False, None)
    assert callsite._static_attribute(holder, "lock") == (True, holder.lock)


def test_attribute_of_a_class_is_found_past_its_metaclass():
    class Meta(type):
        def __getattribute__(cls, name):
            raise AssertionError(f"the metaclass was asked for {name}")

    class Base:
        def work(self):
            pass

    class Derived(Base, metaclass=Meta):
        pass

    from otel_loopblock.naming import callsite

    assert callsite._static_attribute(Derived, "work") == (True, Base.work)


def decorated(function):
    def wrapper(*args):
        return function(*args)

    return wrapper


class Outer:
    class Inner:
        def method(self):
            def nested():
                return sys._getframe()

            return nested()

        @staticmethod
        def static():
            return sys._getframe()

        @property
        def shown(self):
            return sys._getframe()


@decorated
def plain():
    return sys._getframe()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Outer.Inner().method(), "Outer.Inner.method.<locals>.nested"),
        (lambda: Outer.Inner.static(), "Outer.Inner.static"),
        (lambda: Outer.Inner().shown, "Outer.Inner.shown"),
        (plain, "plain"),
    ],
)
def test_qualified_name_on_every_python(call, name):
    assert qualified_name(call().f_code, __name__) == f"{__name__}.{name}"


def test_function_is_shown_as_it_is_imported():
    import json

    import requests

    assert display_name(requests.api.get.__code__, "requests.api") == "requests.get"
    assert display_name(requests.Session.request.__code__, "requests.sessions") == "requests.Session.request"
    assert display_name(json.loads.__code__, "json") == "json.loads"


def waits_in_with():
    lock = threading.Lock()
    lock.acquire()
    threading.Timer(0.2, lock.release).start()
    with lock:
        pass


def test_lock_that_a_with_statement_waits_for_is_named():
    assert "threading.Lock.acquire" in seen_in(waits_in_with, "threading.Lock.acquire")


def test_end_of_a_with_statement_is_not_named_after_something_else():
    from otel_loopblock.naming import callsite

    def leaves(thing):
        with thing:
            thing.sleep(1)

    code = leaves.__code__
    exits = [
        lasti
        for lasti in range(0, len(code.co_code), 2)
        if (instructions := callsite._instructions(code, lasti))
        and instructions[-1].name in ("CALL", "CALL_FUNCTION")
        and len(instructions) > 4
        and sum(i.name in ("LOAD_CONST", "LOAD_COMMON_CONSTANT") for i in instructions[-4:-1]) >= 2
    ]
    assert exits or sys.version_info < (3, 11)
    assert {callsite._chain(code, lasti) for lasti in exits} <= {None}


def test_operators_that_this_python_does_not_list_are_not_named(monkeypatch):
    from otel_loopblock.naming import callsite

    def multiplies_names(left, right):
        return left * right

    callsite._chain.cache_clear()
    monkeypatch.setattr(callsite, "_NB_OPS", [])
    monkeypatch.setattr(callsite, "_BINARY", {})
    code = multiplies_names.__code__
    found = {callsite._chain(code, lasti) for lasti in range(0, len(code.co_code), 2)}
    callsite._chain.cache_clear()

    assert found == {None}


@pytest.mark.parametrize("call", ["len(sized)", "isinstance(sized, list)", "callable(sized)", "id(sized)"])
def test_call_that_never_takes_long_is_not_named(call):
    code = compile(f"def at_it(sized): return {call}", __file__, "exec").co_consts[0]
    (instruction,) = {each.offset for each in dis.get_instructions(code) if each.opname in CALLS}

    assert called_name(code, instruction, __name__, lambda _: None) is None


def test_other_calls_at_such_a_place_are_named():
    code = compile("def at_it(sized): return sorted(sized)", __file__, "exec").co_consts[0]
    (instruction,) = {each.offset for each in dis.get_instructions(code) if each.opname in CALLS}

    assert called_name(code, instruction, __name__, lambda _: None) == "sorted"


CALLS = {"CALL", "CALL_FUNCTION"}
