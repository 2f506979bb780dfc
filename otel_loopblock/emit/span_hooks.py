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
from asyncio import current_task
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from opentelemetry import trace

from otel_loopblock import guard
from otel_loopblock.clocks import perf_counter
from otel_loopblock.delayed.aftermath import aftermaths
from otel_loopblock.emit.context import ROOT
from otel_loopblock.hooks.patches import Patches
from otel_loopblock.watch.loops import loops
from otel_loopblock.watch.monitor import Monitor

Charge: TypeAlias = Callable[[Monitor, Any, float, "int | None"], None]
"""Gets the monitor of the loop, the span, ``perf_counter`` now, and the end that the span is to have."""

Unknown: TypeAlias = Callable[[asyncio.AbstractEventLoop], None]
"""Gets the running loop, on its thread. Never raises."""


def install(patches: Patches, sdk: Any, *, threshold_s: float, charge: Charge, unknown: Unknown) -> None:
    """Hook the SDK's ``Span.end`` and ``Span.start``.

    Args:
        patches: undo it.
        sdk: the module ``opentelemetry.sdk.trace``.
        threshold_s: how long a callback must have run, in seconds, that a span which ends is charged.
        charge: charges a span; what it raises is caught and counted.
        unknown: is told of a running loop without a monitor.
    """
    patches.replace(sdk, "Span.end", partial(_make_end, patches, threshold_s, charge, unknown))
    patches.replace(sdk, "Span.start", partial(_make_start, patches, unknown))


def _make_end(patches: Patches, threshold_s: float, charge: Charge, unknown: Unknown, original: Any) -> Any:
    running_loop, monitor_by_id = asyncio._get_running_loop, loops.table.get

    def end(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not patches.active:
            return original(self, *args, **kwargs)
        try:
            # A span that ends on another thread than the loop's has no running loop, and is left alone.
            loop = running_loop()
            if loop is not None:
                monitor = monitor_by_id(id(loop))
                if monitor is None:
                    unknown(loop)
                elif monitor.started != 0.0:
                    now = perf_counter()
                    if now - monitor.started >= threshold_s and monitor.get_loop() is loop:
                        charge(monitor, self, now, args[0] if args else kwargs.get("end_time"))
        except Exception:
            try:
                guard.failed("charge a block to a span")
            except Exception:  # not ours; the span ends all the same
                original(self, *args, **kwargs)
                raise
        return original(self, *args, **kwargs)

    return end


def _make_start(patches: Patches, unknown: Unknown, original: Any) -> Any:
    running_loop = asyncio._get_running_loop

    def start(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        if not patches.active:
            return result
        try:
            parent = self.parent
            if parent is None or parent.is_remote:
                loop = running_loop()
                monitor = loops.of(loop)
                if monitor is None:
                    if loop is not None:
                        unknown(loop)
                elif monitor.following:
                    task = current_task(loop)
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
