"""The hooks on spans of the SDK: on their end and on their start.

``Span.end`` is the last moment at which a span can still take the event. A handler that blocks and returns
ends its SERVER span in the same callback; after the callback the span is gone, and in
``SpanProcessor.on_ending`` it already refuses events.

``Span.start`` lets a span find its local root, whose route and name a report carries. A span knows its parent
by id only; here the parent is still at hand as an object. A local root may be that of a request that arrived
during a block: where one has just ended, its aftermath is told.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from otel_loopblock import guard
from otel_loopblock.delayed.aftermath import aftermaths
from otel_loopblock.emit.context import ROOT
from otel_loopblock.hooks import unhooked
from otel_loopblock.watch.monitor import monitor_of

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches
    from otel_loopblock.runtime import Registry
    from otel_loopblock.watch.monitor import Monitor


def install(patches: Patches, registry: Registry, sdk: Any) -> None:
    """Hook the SDK's ``Span.end`` and ``Span.start``.

    Args:
        patches: undo it.
        registry: knows who listens.
        sdk: the module ``opentelemetry.sdk.trace``.
    """

    def charge(monitor: Monitor, span: Any, now: float, end_time: int | None) -> None:
        for listener in registry.listeners:
            try:
                listener.span_ending(monitor, span, now, end_time)
            except Exception:
                guard.failed("charge a block to a span")

    def make_end(original: Any) -> Any:
        running_loop = asyncio._get_running_loop

        def end(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not patches.active:
                return original(self, *args, **kwargs)
            # A span that ends on another thread than the loop's has no running loop, and is left alone.
            loop = running_loop()
            if loop is not None:
                monitor = monitor_of(loop)
                if monitor is None:
                    unhooked.found(loop, registry)
                elif monitor.started != 0.0:
                    now = perf_counter()
                    if now - monitor.started >= registry.threshold_s:
                        charge(monitor, self, now, args[0] if args else kwargs.get("end_time"))
            return original(self, *args, **kwargs)

        return end

    patches.replace(sdk, "Span.end", make_end)

    def make_start(original: Any) -> Any:
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

    patches.replace(sdk, "Span.start", make_start)
