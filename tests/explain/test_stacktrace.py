"""Stacks as text: what is the application's stands out, the rest is summed up."""

from __future__ import annotations

import os
import site
import sys

from otel_loopblock.explain.own_code import OwnCode
from otel_loopblock.explain.stack import SHOWN_OF_OTHERS, Stacks
from otel_loopblock.explain.stacktrace import relative

LIBRARY = site.getsitepackages()[0]


def frame(file, module, name="f", line=1):
    code = compile(f"def {name}(): pass", file, "exec").co_consts[0]
    return code, 0, line, module


def library(package, name="f", line=1):
    return frame(f"{LIBRARY}/{package}/inside.py", f"{package}.inside", name, line)


APP = frame("/srv/app/handlers.py", "handlers", "checkout", 12)
STACK = (
    library("uvicorn", "run_asgi"),
    library("starlette", "__call__"),
    library("starlette", "app"),
    library("fastapi", "run"),
    APP,
    library("requests", "get", 73),
    library("urllib3", "urlopen"),
    library("urllib3", "_make_request"),
)


def text(stack, call=None, depth=32, *, full=False):
    return Stacks(OwnCode(), lambda name: None, depth, full=full).text(stack, call)


def test_frames_of_frameworks_are_folded_and_the_call_is_kept():
    assert text(STACK, "socket.socket.recv_into").splitlines() == [
        "  … 4 frames: uvicorn, starlette, fastapi",
        '  File "/srv/app/handlers.py", line 12, in checkout',
        '  File "requests/inside.py", line 73, in get',
        "  … 2 frames: urllib3",
        "  [in socket.socket.recv_into]",
    ]


def test_single_frame_of_a_framework_is_shown():
    assert text((library("starlette", "app"), APP)).splitlines() == [
        '  File "starlette/inside.py", line 1, in app',
        '  File "/srv/app/handlers.py", line 12, in checkout',
    ]


def test_without_a_frame_of_the_application_the_innermost_are_kept():
    outer = tuple(library("uvicorn") for _ in range(10))
    lines = text((*outer, library("h11", "next_event", 5))).splitlines()

    assert lines[0] == "  … 3 frames: uvicorn"
    assert len(lines) == 1 + SHOWN_OF_OTHERS
    assert lines[-1] == '  File "h11/inside.py", line 5, in next_event'


def test_full_stack_has_every_frame_and_whole_paths():
    lines = text(STACK, full=True).splitlines()

    assert len(lines) == len(STACK)
    assert lines[0] == f'  File "{LIBRARY}/uvicorn/inside.py", line 1, in run_asgi'


def test_innermost_lines_are_kept():
    own = tuple(frame("/srv/app/deep.py", "deep", line=number) for number in range(1, 10))

    assert text(own, depth=2).splitlines() == [
        "  [7 outer lines omitted]",
        '  File "/srv/app/deep.py", line 8, in f',
        '  File "/srv/app/deep.py", line 9, in f',
    ]


def test_paths_are_relative_to_where_a_module_is_imported_from(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, "/srv", "/srv/app"])

    assert relative("/srv/app/shop/pricing.py") == "shop/pricing.py"
    assert relative(f"{LIBRARY}/requests/api.py") == "requests/api.py"
    assert relative(os.__file__) == "os.py"
    assert relative("/elsewhere/x.py") == "/elsewhere/x.py"
