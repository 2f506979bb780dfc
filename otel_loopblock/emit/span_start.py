"""``Span.start`` of the SDK: lets a span find its local root, whose route and name a report carries.

A span knows its parent by id only; here the parent is still at hand as an object. A local root may be that
of a request that arrived during a block: where one has just ended, its aftermath is told.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from otel_loopblock import guard
from otel_loopblock.delayed.aftermath import aftermaths
from otel_loopblock.emit.context import ROOT
from otel_loopblock.watch.monitor import monitor_of

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches


def install(patches: Patches, registry: object, sdk: Any) -> None:
    """Hook the SDK's ``Span.start``.

    Args:
        patches: undo it.
        registry: is not needed.
        sdk: the module ``opentelemetry.sdk.trace``.
    """

    def make(original: Any) -> Any:
        running_loop = asyncio._get_running_loop

        def start(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            if not patches.active:
                return result
            try:
                parent = self.parent
                if parent is None or parent.is_remote:
                    loop = running_loop()
                    monitor = monitor_of(loop)
                    if monitor is not None and monitor.following:
                        task = asyncio.current_task(loop)
                        for aftermath in aftermaths(monitor):
                            aftermath.span_started(self, task)
                else:
                    above = trace.get_current_span(args[1] if len(args) > 1 else kwargs.get("parent_context"))
                    if above.get_span_context() == parent:
                        setattr(self, ROOT, getattr(above, ROOT, above))
            except Exception:
                guard.failed("follow a span to its root")
            return result

        return start

    patches.replace(sdk, "Span.start", make)
