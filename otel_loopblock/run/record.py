"""A run when it is over, and the same as JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from otel_loopblock.local.telemetry import Span
from otel_loopblock.run.flame import Flame, Node
from otel_loopblock.run.ledger import Block, Found
from otel_loopblock.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What is reported of a run."""

    command: str
    began_unix_s: float
    seconds: float
    exit_code: int
    """Negative: the signal that ended it."""
    threshold_s: float | None
    found: Found
    flame: Flame
    worst_trace: str | None
    worst_spans: tuple[Span, ...]

    def trouble(self) -> str | None:
        """Why there may be nothing to see, in a line."""
        found = self.found
        if not found.processes:
            return (
                "no Python process of the service has reported: otel-loopblock[run] must be installed in the "
                "environment that the command runs in"
            )
        if found.lag is None and not found.blocks and self.exit_code > 0:
            return (
                f"the service ended by itself after {self.seconds:.1f} s, exit code {self.exit_code}, before "
                "an event loop ran; its own output says why"
            )
        if found.lag is None and not found.blocks:
            return (
                "no asyncio or uvloop event loop ran in the service: there is nothing that could be blocked "
                "(a synchronous server, or a loop of another kind)"
            )
        if not found.blocks:
            return "nothing blocked the loop"
        return None


def as_json(report: Report) -> Mapping[str, Any]:
    """All figures, in seconds."""
    found = report.found
    return {
        "otel_loopblock": __version__,
        "command": report.command,
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(report.began_unix_s)),
        "seconds": round(report.seconds, 3),
        "exit_code": report.exit_code,
        "threshold_s": report.threshold_s,
        "trouble": report.trouble(),
        "processes": found.processes,
        "blocks": found.blocks,
        "blocked_s": found.blocked_s,
        "longest_to_blame_s": found.longest_s,
        "longest": _block(found.worst),
        "culprits": [{**asdict(culprit), "causes": dict(culprit.causes)} for culprit in found.culprits],
        "routes": [asdict(route) for route in found.routes],
        "lag": None if found.lag is None else asdict(found.lag),
        "flame": _node(report.flame.root),
    }


def _block(block: Block | None) -> Mapping[str, Any] | None:
    if block is None:
        return None
    return {
        "duration_s": block.duration_s,
        "function": block.function,
        "place": block.place,
        "call": block.call,
        "cause": block.cause,
        "advice": block.advice,
        "started_unix_ns": block.started_unix_ns,
    }


def _node(node: Node) -> Mapping[str, Any]:
    return {
        "name": node.name,
        "where": node.where,
        "total_s": node.total_s,
        "children": [_node(child) for child in node.children.values()],
    }
