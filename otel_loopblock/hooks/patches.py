"""Replaces attributes and puts back the very objects that were there.

Somebody else may have put a wrapper over ours by then, or may put ours back later. So ours stays where it is
not on top, and every wrapper asks :attr:`Patches.active` first: once the patches are undone it only calls the
original, for good.

What is put in place are objects of the core and plain functions, because a wrapt proxy costs 730 ns per call
where a function costs 120. wrapt tells when a module has been imported. It is imported itself only when such
a module is: that takes as long as to import all the rest here, and most test suites have neither uvloop nor
an SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple, Protocol, TypeVar

from otel_loopblock import guard

_MISSING = object()


class Switch(Protocol):
    """What can be made to do nothing but to call the original."""

    active: bool


AnySwitch = TypeVar("AnySwitch", bound=Switch)


class _Replaced(NamedTuple):
    parent: Any
    attribute: str
    replacement: Any
    own: Any
    """What ``parent`` had itself; :data:`_MISSING` where it had inherited it."""


class Patches:
    """The replacements made since :meth:`Hooks.install`, undone in reverse order."""

    # Wrappers read "active" at each call: nothing is cheaper that all of them can share than a slot.
    __slots__ = ("_added", "_awaited", "_replaced", "_switched", "active")

    def __init__(self) -> None:
        self._replaced: list[_Replaced] = []
        self._added: list[tuple[list[Any], Any]] = []
        self._switched: list[Switch] = []
        self._awaited = _Awaited()
        self.active = True
        """Whether the wrappers do anything. ``False`` is for good: new patches have a flag of their own."""

    def replace(self, target: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace ``target.name`` by ``make(original)``.

        Args:
            target: a module, a class, or the name of a module.
            name: the attribute; may be dotted below a module (``Span.end``).
            make: gets the original function, returns what takes its place; that is made to look like it.

        Raises:
            AttributeError: when there is no such attribute.
        """
        parent = importlib.import_module(target) if isinstance(target, str) else target
        *path, attribute = name.split(".")
        for part in path:
            parent = getattr(parent, part)
        original = getattr(parent, attribute)
        replacement = make(original)
        # Of a class method the function inside is what can be made to look like the other's.
        alike(getattr(original, "__func__", original), getattr(replacement, "__func__", replacement))
        self.put(parent, attribute, replacement)

    def put(self, parent: Any, attribute: str, replacement: Any) -> None:
        """Set ``parent.attribute``; :meth:`restore` puts back what ``parent`` had itself, if anything."""
        self._replaced.append(
            _Replaced(parent, attribute, replacement, vars(parent).get(attribute, _MISSING))
        )
        setattr(parent, attribute, replacement)

    def add_to(self, members: list[Any], member: Any, place: int | None = None) -> None:
        """Add ``member`` to a list, at its end by default; :meth:`restore` takes it out again."""
        self._added.append((members, member))
        members.insert(len(members) if place is None else place, member)

    def switch(self, replacement: AnySwitch) -> AnySwitch:
        """Have :meth:`restore` make ``replacement`` inactive, which the core cannot ask us; returns it."""
        self._switched.append(replacement)
        return replacement

    def when_imported(self, module: str, install: Callable[[Any], None]) -> None:
        """Call ``install(module)`` now if it is imported, else once it is, while these patches are active."""

        def imported(found: Any) -> None:
            if self.active:
                install(found)

        hook = functools.partial(guard.call, f"instrument {module}", imported)
        if sys.modules.get(module) is not None:  # None there: its import is forbidden
            hook(sys.modules[module])
        else:
            self._awaited.add(module, hook)
            if self._awaited not in sys.meta_path:
                self.add_to(sys.meta_path, self._awaited, 0)

    def restore(self) -> None:
        """Put everything back, last first; called again it goes on where it was interrupted.

        Calls no function of ours: whatever has failed, this is what gives the application its own.
        """
        self.active = False
        while self._switched:
            self._switched[-1].active = False
            self._switched.pop()
        while self._added:
            members, member = self._added[-1]
            with contextlib.suppress(ValueError):  # somebody has taken it out, or put something around it
                members.remove(member)
            self._added.pop()
        while self._replaced:
            parent, attribute, replacement, own = self._replaced[-1]
            try:
                if vars(parent).get(attribute) is not replacement:
                    pass  # somebody else's is on top
                elif own is _MISSING:  # it was inherited
                    delattr(parent, attribute)
                else:
                    setattr(parent, attribute, own)
            except Exception:
                guard.failed("put back what was patched")
            self._replaced.pop()


def alike(original: Any, wrapper: Any) -> Any:
    """Have ``wrapper`` say of itself what ``original`` says: name, documentation, signature, attributes."""
    marks = dict(vars(wrapper))
    functools.update_wrapper(wrapper, original)
    vars(wrapper).update(marks)  # the original may be a wrapper of ours that does nothing any more
    if inspect.iscoroutinefunction(original):
        if sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(wrapper)
        else:  # asyncio believes this, inspect looks at the code and cannot be told
            wrapper._is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)
    return wrapper


class _Awaited:
    """A finder that finds nothing: it is asked first, and leaves the modules that are awaited to wrapt's."""

    def __init__(self) -> None:
        self._hooks: dict[str, list[Callable[[Any], None]]] = {}

    def add(self, module: str, hook: Callable[[Any], None]) -> None:
        """Have ``hook(module)`` called once it is imported."""
        self._hooks.setdefault(module, []).append(hook)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Called at each import of a module that is not imported yet."""
        if not guard.call(f"wait for the import of {name}", self._leave_to_wrapt, name):
            return None
        return importlib.util.find_spec(name)  # asks all finders again, wrapt's among them

    def _leave_to_wrapt(self, name: str) -> bool:
        hooks = self._hooks.pop(name, ())
        if hooks:
            import wrapt

            for hook in hooks:
                wrapt.register_post_import_hook(hook, name)
        return bool(hooks)
