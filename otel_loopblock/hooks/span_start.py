"""``Span.start`` of the SDK: lets a span find its local root, whose route and name a report carries.

A span knows its parent by id only; here the parent is still at hand as an object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from otel_loopblock import guard
from otel_loopblock.emit.context import ROOT

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches
    from otel_loopblock.registry import Registry


def install(patches: Patches, registry: Registry) -> None:
    """Hook the SDK's ``Span.start``, now or when the SDK is imported."""

    def make(original: Any) -> Any:
        def start(self: Any, start_time: int | None = None, parent_context: Any = None) -> None:
            original(self, start_time, parent_context)
            try:
                parent = self.parent
                if parent is not None and not parent.is_remote:
                    above = trace.get_current_span(parent_context)
                    if above.get_span_context() == parent:
                        setattr(self, ROOT, getattr(above, ROOT, above))
            except Exception:
                guard.failed("follow a span to its root")

        return start

    patches.when_imported(
        "opentelemetry.sdk.trace", lambda module: patches.replace(module, "Span.start", make)
    )
