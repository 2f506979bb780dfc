"""Which call is named, from a stack: the one of the culprit's own line."""

from __future__ import annotations

import functools
import json
import sys

import pytest

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.calls import Call, call_below
from otel_loopblock.explain.own_code import OwnCode, is_generated
from otel_loopblock.explain.shared import Sample, blame
from otel_loopblock.explain.stack import Stacks, find, own_index
from otel_loopblock.watch.evidence import Endpoint, Look

KNOWN = {
    "time.sleep": KnownCall("time.sleep", "Use await asyncio.sleep(...).", "sleep", True, low_level=True),
    "socket.socket.send": KnownCall("socket.*", "Use streams.", "network", True, low_level=True),
    "lib.export": KnownCall("lib.export", "Export less.", "serialisation"),
    "lib.inner.rows": KnownCall("lib.*", "Export less.", "serialisation"),
    "other.call": KnownCall("other.call", "Else.", "driver"),
}


def named(name, module, flags="", at=0, line=1, file="/site-packages/lib.py"):
    """A frame of a function of that name."""
    namespace = {}
    exec(compile(f"{flags}def {name.rpartition('.')[2]}(): pass", file, "exec"), namespace)
    code = namespace[name.rpartition(".")[2]].__code__
    if hasattr(code, "co_qualname"):
        code = code.replace(co_qualname=name)
    return code, at, line, module


def own():
    """The application's."""


OWN = own.__code__, 0, own.__code__.co_firstlineno, __name__
IMPORTING = named("_find_and_load", "importlib._bootstrap", file="<frozen importlib._bootstrap>")
MODULE = (compile("", "/site-packages/heavy/__init__.py", "exec"), 0, 1, "heavy")


def below(*frames, leaf=None):
    return call_below((OWN, *frames), 0, leaf, KNOWN.get)


def test_known_call_deep_inside_a_library_is_said_beside_what_the_line_calls():
    call = below(named("cpu_percent", "psutil"), named("nap", "psutil"), leaf="time.sleep")

    assert call == Call("psutil.cpu_percent", False, "time.sleep", False)


def test_known_call_of_the_line_itself_is_named():
    assert below(leaf="time.sleep") == Call("time.sleep", True)


def test_call_of_a_coroutine_is_awaited():
    assert below(named("fetch", "aiolib", "async "), leaf="time.sleep").is_awaited


@pytest.mark.parametrize(
    ("frames", "name"),
    [
        ([IMPORTING, MODULE], "import heavy"),
        ([named("import_module", "importlib"), IMPORTING], "import"),
        ([named("open", "lib"), IMPORTING, MODULE], "import heavy"),
        ([named("version", "importlib.metadata", file="/lib/importlib/metadata/__init__.py")], None),
    ],
)
def test_import_says_its_module(frames, name):
    found = below(*frames).name

    assert found == name if name else found == "importlib.metadata.version"


def wrapped_frame(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper.__code__, 0, 1, "lib"


QUALIFIED = pytest.mark.skipif(sys.version_info < (3, 11), reason="code has no qualified name there")


@QUALIFIED
def test_wrapper_of_a_decorator_gives_way_to_what_it_wraps():
    assert below(wrapped_frame(own), named("read_excel", "lib.io")).name == "lib.io.read_excel"
    assert below(wrapped_frame(own)).name.endswith("wrapped_frame")


@QUALIFIED
def test_library_that_tries_again_is_named_only_where_it_waits():
    retry = named("Retrying.__call__", "tenacity")

    assert below(retry, named("get", "lib")).name == "lib.get"
    assert below(retry, leaf="time.sleep") == Call("tenacity.Retrying.__call__", False, "time.sleep")


# -- no line of the application's own ----------------------------------------------------------------------

APP = named("app", "framework")
EXPORT = named("export", "lib")
ROWS = named("rows", "lib.inner")
ENDPOINT = named("report", "service", file="/srv/service.py")


def sample(*frames, leaf=None, weight=1.0, endpoint=None):
    return Sample(tuple(frames), leaf, endpoint, weight)


def test_random_leaves_are_not_blamed():
    samples = [sample(APP, EXPORT, named(f"leaf{n}", "lib.inner"), leaf="str.find") for n in range(10)]

    blamed = blame(samples, {}.get)

    assert blamed.frame is APP
    assert blamed.call.name == "lib.export"


def test_endpoint_is_the_culprit_where_it_is_known():
    endpoint = Endpoint(ENDPOINT, 0)
    samples = [sample(APP, EXPORT, ROWS, endpoint=endpoint) for _ in range(3)]

    blamed = blame(samples, KNOWN.get)

    assert blamed.frame is ENDPOINT
    assert blamed.call.name == "lib.export"


def test_endpoint_that_runs_is_blamed_at_its_line_and_only_what_it_calls_is_named():
    running = (EXPORT[0], 2, 77, "lib")
    samples = [sample(APP, running, ROWS, endpoint=Endpoint(EXPORT, 0))]

    blamed = blame(samples, KNOWN.get)

    assert blamed.frame is running
    assert blamed.call.name == "lib.inner.rows"


def test_what_takes_less_than_most_of_the_time_is_not_named():
    samples = [sample(APP, EXPORT, weight=0.7), sample(APP, ROWS, weight=0.3)]

    assert blame(samples, {}.get).call.name == "lib.export"  # of nothing that all share: the longer one
    assert blame([*samples, sample(APP, weight=1.0)], {}.get).call.name is None


def test_middleware_around_the_endpoint_is_not_the_culprit():
    look = Look(1.0, 1.0, None, 0.0, (OWN, APP, EXPORT), None, (), endpoint=Endpoint(ENDPOINT, 1))

    place = find([look], 0.0, Stacks(OwnCode(), {}.get))

    assert place.culprit.function == "service.report"
    assert place.call.name == "lib.export"


# -- generated code ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "module", "generated"),
    [
        ("/srv/app/templates/map.html", "", True),
        ("/srv/app/templates/map.py", "", True),
        ("map_html.generated.py", "map_html", True),
        ("<string>", "app", True),
        ("<attrs generated init app.Point>", "app", True),
        ("/srv/app/views.py", "app.views", False),
        ("/usr/local/bin/serve", "__main__", False),
        ("<stdin>", "__main__", False),
        ("<ipython-input-1>", "__main__", False),
    ],
)
def test_code_that_nobody_wrote(file, module, generated):
    assert is_generated(file, module) is generated


def test_function_that_imports_a_module_of_the_applications_is_to_blame():
    module = (compile("", __file__, "exec"), 0, 1, "own_module")

    assert own_index((OWN, IMPORTING, module), OwnCode()) == 0
    assert own_index((IMPORTING, module), OwnCode()) == 1


# -- looks that came late ----------------------------------------------------------------------------------


def look(*frames, call=None):
    return Look(1.0, 1.0, None, 0.0, frames, call, ())


def resumed(function):
    """A frame that has been entered and has run nothing."""
    at = next((each.offset for each in dis_of(function) if each.opname == "RESUME"), -1)
    return function.__code__, at, function.__code__.co_firstlineno, function.__module__


def dis_of(function):
    import dis

    return dis.get_instructions(function)


@pytest.mark.parametrize(("held", "name"), [((1.0,), None), ((), "json.loads")])
def test_function_that_has_just_begun_did_not_keep_the_gil(held, name):
    place = find([look(OWN, resumed(json.loads))], 0.0, Stacks(OwnCode(), KNOWN.get), held)

    assert place.culprit.function == f"{__name__}.own"
    assert place.call.name == name


@pytest.mark.parametrize(("held", "name"), [((1.0,), None), ((), "socket.socket.send")])
def test_call_that_gives_up_the_gil_did_not_keep_it(held, name):
    place = find([look(OWN, call="socket.socket.send")], 0.0, Stacks(OwnCode(), KNOWN.get), held)

    assert place.culprit.function == f"{__name__}.own"
    assert place.call.name == name


def test_call_that_may_have_kept_the_gil_is_named():
    place = find([look(OWN, call="re.Pattern.match")], 0.0, Stacks(OwnCode(), KNOWN.get), (1.0,))

    assert place.call.name == "re.Pattern.match"


@pytest.mark.parametrize("held", [(), (1.0,)])
@pytest.mark.parametrize("hook", ["_acquireLock", "_releaseLock"])
def test_hook_that_runs_around_a_fork_is_not_the_call(hook, held):
    frames = OWN, named(hook, "logging")  # a fork in C, as uvloop's subprocess_exec

    place = find([look(*frames)], 0.0, Stacks(OwnCode(), KNOWN.get), held)

    assert place.culprit.function == f"{__name__}.own"
    assert place.call.name is None


def test_lock_that_logging_itself_takes_is_part_of_it():
    frames = OWN, named("getLogger", "logging"), named("_acquireLock", "logging")

    place = find([look(*frames, call="_thread.RLock.acquire")], 0.0, Stacks(OwnCode(), KNOWN.get))

    assert place.call.name == "logging.getLogger"
