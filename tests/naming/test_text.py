"""What others chose is shown on one line, without controls, in valid Unicode, and bounded."""

from __future__ import annotations

import dis
import random
import sys
from types import ModuleType

import pytest

from otel_loopblock.naming import called_name, display_name, printable, printable_path, qualified_name
from otel_loopblock.naming.text import CUT, MAX_NAME, MAX_PATH


@pytest.mark.parametrize("text", ["", "app.load", "Größe", "名前", "[red]", "<script>", "→ a b", "👩‍👩‍👧"])
def test_ordinary_text_stays_as_it_is(text):
    assert printable(text) == text
    assert printable_path(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x00", "\\x00"),
        ("\u2028", "\\u2028"),
        ("\u202eevil", "\\u202eevil"),
        ("caf\udce9", "caf\\udce9"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_cannot_be_shown_is_escaped_as_python_writes_it(text, shown):
    assert printable(text) == shown
    assert printable_path(text) == shown


def test_of_a_long_name_the_beginning_is_kept_and_of_a_long_path_the_end():
    assert printable("a" * 10_000 + "b") == "a" * (MAX_NAME - 1) + CUT
    assert printable_path("a" * 10_000 + "b") == CUT + "a" * (MAX_PATH - 2) + "b"
    assert printable("\x1b" * 10_000) == ("\\x1b" * MAX_NAME)[: MAX_NAME - 1] + CUT


def test_names_of_code_are_fit_to_be_shown_with_a_module_and_without():
    code = (lambda: None).__code__.replace(co_name="a\nb" + "c" * 10_000)
    if sys.version_info >= (3, 11):
        code = code.replace(co_qualname=code.co_name)
    for name in (qualified_name(code, None), qualified_name(code, "m"), display_name(code, "m.n\n")):
        assert "\\nb" in name
        assert name.isprintable()
        assert len(name) == MAX_NAME
    assert display_name((lambda: None).__code__, "m\udce9").startswith("m\\udce9.")


def test_name_that_a_package_offers_is_fit_to_be_shown(monkeypatch):
    package, module = ModuleType("shop\x1b"), ModuleType("shop\x1b.inner")
    exec("def load(): pass", vars(module))
    package.load = module.load
    for each in (package, module):
        monkeypatch.setitem(sys.modules, each.__name__, each)

    assert display_name(module.load.__code__, module.__name__) == "shop\\x1b.load"


def test_name_of_a_call_is_fit_to_be_shown():
    kind = type("K\x1b" + "k" * 10_000, (), {"__call__": lambda self: None})

    def calls(thing):
        return thing()

    lasti = next(i.offset for i in dis.get_instructions(calls) if i.opname in ("CALL", "CALL_FUNCTION"))

    name = called_name(calls.__code__, lasti, __name__, lambda name: (kind(),))

    assert name is not None
    assert "K\\x1bk" in name
    assert len(name) == MAX_NAME


def test_whatever_there_is_becomes_one_bounded_line_that_can_be_sent():
    choose = random.Random(7)
    for _ in range(300):
        points = choose.choices(range(sys.maxunicode + 1), k=choose.randrange(700))
        points += choose.choices(range(0xD800, 0xE000), k=3) + choose.choices(range(32), k=3)
        choose.shuffle(points)
        text = "".join(map(chr, points))
        for shown, most in ((printable(text), MAX_NAME), (printable_path(text), MAX_PATH)):
            shown.encode("utf-8")
            assert len(shown) <= most
            assert len(shown.splitlines()) <= 1
            assert not set(map(ord, shown)) & {*range(32), *range(127, 160)}
