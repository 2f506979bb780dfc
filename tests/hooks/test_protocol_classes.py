"""Protocol classes of any shape work as they do without the hooks."""

from __future__ import annotations

import asyncio
import time
from unittest import mock

import pytest
import uvloop

from otel_loopblock.testing import detect_blocking


@pytest.fixture
def detected():
    with detect_blocking(raise_on_block=False) as detected:
        yield detected


def talk(factory, loop_kind, data=b"x"):
    """Have a server's protocol go through a connection; return what went wrong."""
    errors = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: errors.append(context.get("exception")))
        server = await loop.create_server(factory, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(data)
        await asyncio.sleep(0.02)
        writer.close()
        await asyncio.sleep(0.02)
        server.close()

    loop = uvloop.new_event_loop() if loop_kind == "uvloop" else asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    return errors


def test_method_of_the_base_may_be_called_by_keyword(detected, loop_kind):
    class Base(asyncio.Protocol):
        def connection_made(self, transport):
            made.append(type(self))

    class Derived(Base):
        def connection_made(self, transport):
            super().connection_made(transport=transport)

    made = []

    assert talk(Base, loop_kind) == []
    assert talk(Derived, loop_kind) == []
    assert made == [Base, Derived]


@pytest.mark.parametrize("wrap", [staticmethod, classmethod])
def test_static_and_class_methods_are_timed(detected, loop_kind, wrap):
    def data_received(*args):
        got.append(args)
        time.sleep(0.05)

    got = []
    kind = type("Server", (asyncio.Protocol,), {"data_received": (own := wrap(data_received))})

    assert talk(kind, loop_kind) == []
    if loop_kind == "uvloop":
        assert type(vars(kind)["data_received"]) is wrap
        assert vars(kind)["data_received"] is not own
    assert got == [((b"x",) if wrap is staticmethod else (kind, b"x"))]
    assert [found.call for found in detected.blocks] == ["time.sleep"]


def test_static_method_without_a_first_argument_is_timed(detected, loop_kind):
    class Server(asyncio.Protocol):
        @staticmethod
        def connection_lost(exc):
            time.sleep(0.05)

    assert talk(Server, loop_kind) == []
    assert [found.call for found in detected.blocks] == ["time.sleep"]


def test_mock_as_a_class_attribute_stays_a_mock(detected, loop_kind):
    class Server(asyncio.Protocol):
        data_received = mock.Mock()

    assert talk(Server, loop_kind) == []
    assert Server.data_received.call_args_list == [mock.call(b"x")]


def test_base_that_is_patched_later_is_called_through_a_subclass(detected, loop_kind):
    class Base(asyncio.Protocol):
        def data_received(self, data):
            pytest.fail("patched")

    class Derived(Base):
        pass

    assert talk(Derived, loop_kind, b"") == []
    with mock.patch.object(Base, "data_received") as patched:
        assert talk(Derived, loop_kind) == []

    assert patched.call_args_list == [mock.call(b"x")]


def test_subclass_gets_no_copies_of_what_it_inherits(loop_kind):
    class Base(asyncio.Protocol):
        def data_received(self, data):
            time.sleep(0.05)

    class Derived(Base):
        pass

    own, own_of_base = dict(vars(Derived)), dict(vars(Base))
    with detect_blocking(raise_on_block=False) as detected:
        assert talk(Derived, loop_kind) == []
        assert talk(Base, loop_kind) == []
        assert dict(vars(Derived)) == own

    assert dict(vars(Base)) == own_of_base
    assert [found.call for found in detected.blocks] == ["time.sleep"] * 2


def test_asyncios_own_base_classes_are_left_alone(loop_kind):
    before = [dict(vars(kind)) for kind in asyncio.Protocol.__mro__[:-1]]
    with detect_blocking(raise_on_block=False):
        assert talk(asyncio.Protocol, loop_kind) == []
        assert [dict(vars(kind)) for kind in asyncio.Protocol.__mro__[:-1]] == before


def test_method_inherited_from_a_class_in_c_is_timed(detected, loop_kind):
    """As asyncpg's protocol does: nobody can patch the class that has it."""

    # No type in C of the standard library has a method of this name: this one refuses as they do.
    class Meta(type):
        def __setattr__(cls, name, value):
            if cls.__name__ == "Fixed":
                raise TypeError("cannot set attribute of immutable type")
            super().__setattr__(name, value)

    class Fixed(metaclass=Meta):
        def data_received(self, data):
            time.sleep(0.05)

        def connection_made(self, transport):
            """Nothing."""

    class Derived(Fixed, metaclass=Meta):
        def connection_lost(self, exc):
            """Nothing."""

        def eof_received(self):
            """Nothing."""

    class Last(Derived):
        """Like its base."""

    class Other(Fixed, metaclass=Meta):
        """Has the same base, and no part in the rest."""

        def connection_lost(self, exc):
            """Nothing."""

        def eof_received(self):
            """Nothing."""

    assert talk(Last, loop_kind) == []
    assert ("data_received" in vars(Derived)) == (loop_kind == "uvloop")
    assert "data_received" not in vars(Last)
    assert talk(Other, loop_kind) == []
    assert talk(Last, loop_kind) == []
    assert [found.call for found in detected.blocks] == ["time.sleep"] * 3


def test_class_beside_one_in_c_gets_none_of_its_methods(detected):
    class Mixin:
        """Comes between, and does not derive from it."""

    class Meta(type):
        def __setattr__(cls, name, value):
            if cls.__name__ == "Fixed":
                raise TypeError("cannot set attribute of immutable type")
            super().__setattr__(name, value)

    class Fixed(metaclass=Meta):
        def connection_made(self, transport):
            """Nothing."""

        def data_received(self, data):
            time.sleep(0.05)

    class Server(Mixin, Fixed, asyncio.Protocol):
        """Is timed itself."""

    own = dict(vars(Mixin))

    assert talk(Server, "uvloop") == []
    assert dict(vars(Mixin)) == own
    assert [found.call for found in detected.blocks] == ["time.sleep"]


def test_class_that_has_no_hash_is_no_error(detected, loop_kind):
    class Unhashable(type):
        __hash__ = None

    class Server(asyncio.Protocol, metaclass=Unhashable):
        def data_received(self, data):
            got.append(data)

    got = []

    assert talk(Server, loop_kind) == []
    assert got == [b"x"]
