"""Replaces attributes and puts back the very objects that were there.

wrapt finds and replaces (``resolve_path``, ``apply_patch``, post-import hooks); what is put in place
are plain functions, because a wrapt proxy costs 730 ns per call where a function costs 120.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import wrapt

from otel_loopblock import guard

_MISSING = object()


class Patches:
    """The replacements made since :meth:`Hooks.install`, undone in reverse order."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], object]] = []
        self.active = True

    def replace(self, target: Any, name: str, make: Callable[[Any], Any]) -> None:
        """Replace ``target.name`` by ``make(original)``.

        Args:
            target: a module, a class, or the name of a module.
            name: the attribute; may be dotted below a module (``Span.end``).
            make: gets the original function, returns what takes its place.

        Raises:
            AttributeError: when there is no such attribute.
        """
        parent, attribute, original = wrapt.resolve_path(target, name)
        # An inherited attribute has no place of its own: it is restored by deleting ours.
        own = vars(parent).get(attribute, _MISSING)
        wrapt.apply_patch(parent, attribute, make(original))
        if own is _MISSING:
            self.undo_with(lambda: delattr(parent, attribute))
        else:
            self.undo_with(lambda: setattr(parent, attribute, own))

    def undo_with(self, undo: Callable[[], object]) -> None:
        """Have ``undo()`` called by :meth:`restore`."""
        self._undo.append(undo)

    def when_imported(self, module: str, install: Callable[[Any], None]) -> None:
        """Call ``install(module)`` now if it is imported, else once it is, while these patches are active."""

        def imported(found: Any) -> None:
            if not self.active:
                return
            try:
                install(found)
            except Exception:
                guard.failed(f"instrument {module}")

        if sys.modules.get(module) is not None:  # None there: its import is forbidden
            imported(sys.modules[module])
        else:
            wrapt.register_post_import_hook(imported, module)

    def restore(self) -> None:
        """Put everything back, last first."""
        self.active = False
        while self._undo:
            undo = self._undo.pop()
            try:
                undo()
            except Exception:
                guard.failed("put back what was patched")
