"""Names as users import them."""

from __future__ import annotations

import functools
import sys
import types

import pytest

from otel_loopblock.naming import display_name, imported_module, spelled_name
from otel_loopblock.naming.public import public_name


@pytest.fixture
def package(monkeypatch):
    """``acme``, which offers what ``acme._impl.core`` defines, in part decorated."""
    impl = types.ModuleType("acme._impl.core")
    exec("def read(): pass\ndef hidden(): pass\nclass Reader:\n    def fetch(self): pass\n", vars(impl))
    acme = types.ModuleType("acme")

    @functools.wraps(impl.read)
    def wrapper():
        pass

    acme.read, acme.Reader = wrapper, impl.Reader
    acme.Producer = type("Producer", (), {"__module__": "cacme"})
    for module in (acme, types.ModuleType("acme._impl"), impl):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    display_name.cache_clear()
    return acme, impl


@pytest.mark.skipif(sys.version_info < (3, 11), reason="names of methods need co_qualname")
def test_function_goes_by_the_package_that_offers_it(package):
    _, impl = package

    assert display_name(impl.read.__code__, "acme._impl.core") == "acme.read"
    assert display_name(impl.Reader.fetch.__code__, "acme._impl.core") == "acme.Reader.fetch"
    assert display_name(impl.hidden.__code__, "acme._impl.core") == "acme._impl.core.hidden"


def test_class_of_an_extension_goes_by_whoever_offers_it(package):
    acme, _ = package

    assert public_name("cacme", "Producer.flush", acme.Producer) == "acme.Producer.flush"
    assert public_name("builtins", "dict.get", dict) == "dict.get"
    assert public_name("_thread", "lock.acquire", None) == "threading.Lock.acquire"


def imports():
    import json.decoder  # noqa: F401


def imports_relatively():
    from . import conftest  # noqa: F401


def imports_by_name(importlib, name):
    importlib.import_module("json.encoder")
    importlib.import_module(name)


def instructions(function, *names):
    import dis

    return [each.offset for each in dis.get_instructions(function) if each.opname in names]


CALLS = "CALL", "CALL_METHOD", "CALL_FUNCTION"


def test_module_of_an_import_is_read_from_the_instruction():
    (at,) = instructions(imports, "IMPORT_NAME")
    (relative,) = instructions(imports_relatively, "IMPORT_NAME")
    constant, variable = instructions(imports_by_name, *CALLS)

    assert imported_module(imports.__code__, at) == "json.decoder"
    assert imported_module(imports_relatively.__code__, relative) is None
    assert imported_module(imports_by_name.__code__, constant) == "json.encoder"
    assert imported_module(imports_by_name.__code__, variable) is None
    assert spelled_name(imports_by_name.__code__, constant) == "import_module"
