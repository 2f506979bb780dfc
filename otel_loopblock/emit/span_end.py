"""``Span.end`` of the SDK: the last moment at which a span can still take the event.

A handler that blocks and returns ends its SERVER span in the same callback; after the callback the span
is gone, and in ``SpanProcessor.on_ending`` it already refuses events.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING, Any

from otel_loopblock import guard
from otel_loopblock.hooks import unhooked
from otel_loopblock.watch.monitor import monitor_of

if TYPE_CHECKING:
    from otel_loopblock.hooks.patches import Patches
    from otel_loopblock.runtime import Registry
    from otel_loopblock.watch.monitor import Monitor


def install(patches: Patches, registry: Registry, sdk: Any) -> None:
    """Hook the SDK's ``Span.end``.

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

    def make(original: Any) -> Any:
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

    patches.replace(sdk, "Span.end", make)
