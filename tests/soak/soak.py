"""Loads a service in rounds; after each it compares what was reported with the truth.

Checked: each planned block is reported exactly once, on its span; no report of a time at which the service's
loop was alive; memory, threads, descriptors and objects of the process do not grow.
"""

from __future__ import annotations

import json
import os
import random
import socket
import statistics
import time
import urllib.error
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from otel_loopblock.local.receiver import ReceiverProcess, Span
from tests.service.running import Service

BLOCK_S = 0.08
THRESHOLD_MS = 50
GAP_S = 0.03
"""How long the loop must have stood still for the service to note it."""

PLANNED = ("/block", "/inner", "/timer", "/fail_after", "/loop")
OTHERS = ("/small", "/small", "/executor", "/sync", "/fail", "/cancel", "/slow", "/health")
BLOCKING_SHARE = 0.06

BOUNDS: dict[str, Callable[[float], float]] = {
    "RSS, MiB": lambda before: before + 8,
    "threads": lambda before: before + 1,
    "descriptors": lambda before: before + 2,
    "objects": lambda before: before * 1.02 + 500,
}
"""What the median of the last quarter may be, by that of the second one: the first is for warming up."""

POINT = "opentelemetry.sdk.metrics._internal.aggregation._ExplicitBucketHistogramAggregation"
OF_A_POINT = 12
"""Objects that the SDK keeps for each combination of attributes of a histogram. Their number is limited, but
where the process often has no CPU there is for long another callback that was never long before."""


@dataclass(frozen=True)
class Reported:
    """A report, as it came in by OTLP."""

    number: int | None
    """Of the planned block whose span carries it."""
    thread: int
    began: int
    duration_ns: int
    cause: str
    function: str

    @property
    def ended(self) -> int:
        return self.began + self.duration_ns


@dataclass
class Outcome:
    """What was found on one loop."""

    loop: str
    requests: Counter[str] = field(default_factory=Counter)
    planned: int = 0
    reported: int = 0
    counted: int = 0
    others: list[Reported] = field(default_factory=list)
    """Blocks that nobody planned: on a busy machine the process has no CPU for a while."""
    gaps: list[tuple[int, int]] = field(default_factory=list)
    """When the service's loop stood still."""
    samples: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in BOUNDS})
    types: list[Counter[str]] = field(default_factory=list)
    """How many objects there were of each type, by round."""
    violations: list[str] = field(default_factory=list)

    def quarters(self, name: str) -> tuple[float, float]:
        """The medians of the second and of the last quarter."""
        samples = self.samples[name]
        quarter = max(1, len(samples) // 4)
        return statistics.median(samples[quarter : 2 * quarter]), statistics.median(samples[-quarter:])

    def text(self) -> str:
        """The figures."""
        lines = [
            f"{self.loop}: {sum(self.requests.values())} requests, {len(self.samples['objects'])} rounds",
            f"  planned blocks {self.planned}, reported once {self.reported}; "
            f"in the histogram {self.counted}, not planned {len(self.others)} "
            f"{dict(Counter(each.cause for each in self.others))}",
        ]
        for name in BOUNDS:
            before, after = self.quarters(name)
            lines.append(f"  {name}: {before:.1f} in the second quarter, {after:.1f} in the last")
        points = [types[POINT] for types in self.types]
        lines.append(
            f"  (objects without {OF_A_POINT} for each metric point: {points[0]} to {points[-1]} points)"
        )
        grown = self.types[-1] - self.types[len(self.types) // 2]
        lines.append(f"  objects more at the end than in the middle: {dict(grown.most_common(8))}")
        return "\n".join(lines + [f"  VIOLATION: {each}" for each in self.violations])


def soak(loop: str, seconds: float, workers: int = 4) -> Outcome:
    """Load a service on one kind of loop for so long."""
    outcome = Outcome(loop)
    with (
        ReceiverProcess() as receiver,
        Service(
            "tests.soak.app:app",
            loop=loop,
            endpoint=receiver.endpoint,
            environ={
                "SOAK_BLOCK_S": str(BLOCK_S),
                "SOAK_GAP_S": str(GAP_S),
                "OTEL_PYTHON_LOOPBLOCK_THRESHOLD_MS": str(THRESHOLD_MS),
                "OTEL_PYTHON_LOOPBLOCK_LOG_INTERVAL_MS": "600000",
            },
        ) as service,
    ):
        service.get("/truth")  # before the first round
        _settle(receiver)
        before = counted = _count(receiver)
        receiver.reset()
        plan = random.Random(1)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            _load(service, plan, outcome, min(5.0, seconds / 10), workers)
            truth = json.loads(service.get("/truth"))
            _settle(receiver)
            spans, counted = receiver.spans(), _count(receiver)
            receiver.reset()
            compare(truth, reports(spans), outcome)
            # Now that all spans have been sent.
            types = Counter(json.loads(service.get("/health/objects")))
            _sample(service.process.pid, types, outcome)
        outcome.counted = counted - before
        look_for_false_ones(json.loads(service.get("/truth")), outcome)
        if "otel_loopblock failed" in (output := service.output()):
            outcome.violations.append(output[output.index("otel_loopblock failed") :][:2000])
    seen = outcome.reported + len(outcome.others)
    # A callback with two reports is counted once.
    if not outcome.planned <= outcome.counted <= seen:
        outcome.violations.append(
            f"the histogram has {outcome.counted}, of {outcome.planned} planned, {seen} seen"
        )
    for name, bound in BOUNDS.items():
        before, after = outcome.quarters(name)
        if after > bound(before):
            outcome.violations.append(f"{name} grew from {before:.1f} to {after:.1f}")
    return outcome


def compare(truth: dict[str, Any], found: list[Reported], outcome: Outcome) -> None:
    """Compare what was reported in a round with what the service knows of it."""
    left = list(found)
    for number, thread, began, ended in truth["planted"]:
        outcome.planned += 1
        middle = (began + ended) // 2
        mine = [each for each in left if each.thread == thread and each.began <= middle <= each.ended]
        left = [each for each in left if each not in mine]
        if len(mine) != 1:
            outcome.violations.append(f"block {number} reported {len(mine)} times: {mine}")
        elif mine[0].number != number:
            outcome.violations.append(f"block {number} is on the span of another: {mine[0]}")
        elif mine[0].duration_ns < (ended - began) * 0.99 - 1e6:
            outcome.violations.append(f"block {number} of {(ended - began) / 1e6:.0f} ms: {mine[0]}")
        else:
            outcome.reported += 1
    outcome.others += left
    outcome.gaps += map(tuple, truth["gaps"])


def look_for_false_ones(truth: dict[str, Any], outcome: Outcome) -> None:
    """Look whether the loop stood still when it is said to have been blocked."""
    outcome.gaps += map(tuple, truth["gaps"])  # the round's last one may have been noted since
    for each in outcome.others:
        if each.thread == truth["thread"] and not any(
            ended - began >= each.duration_ns - 1e6 and began <= each.ended and ended >= each.began
            for began, ended in outcome.gaps
        ):
            outcome.violations.append(f"reported while the loop was alive: {each}")


def reports(spans: list[Span]) -> list[Reported]:
    """All reports among spans."""
    numbers = {span.span_id: span.attributes.get("soak.number") for span in spans}
    return [
        _reported(numbers.get(span.parent_span_id), span.start_unix_ns, span.attributes)
        for span in spans
        if span.name == "event_loop.blocked"
    ]


def _reported(number: Any, began: int, attributes: Any) -> Reported:
    return Reported(
        number,
        attributes["thread.id"],
        began,
        int(attributes["event_loop.block.duration"] * 1e9),
        attributes["event_loop.block.cause"],
        attributes.get("code.function.name", ""),
    )


def _load(service: Service, plan: random.Random, outcome: Outcome, seconds: float, workers: int) -> None:
    deadline = time.monotonic() + seconds

    def work(seed: int) -> Counter[str]:
        mine, done = random.Random(seed), Counter[str]()
        while time.monotonic() < deadline:
            path = mine.choice(PLANNED if mine.random() < BLOCKING_SHARE else OTHERS)
            done[path] += 1
            if path in PLANNED:
                # Odd ones sleep: in a thread beside the service's loop they must not compute.
                number = mine.randrange(1, 2**40) | (path == "/loop")
                _get(service, f"{path}?number={number}")
            elif path == "/slow":
                _ask_and_leave(service.port, path)
            else:
                _get(service, path)
        return done

    with ThreadPoolExecutor(workers) as pool:
        for done in pool.map(work, [plan.randrange(2**40) for _ in range(workers)]):
            outcome.requests += done
    time.sleep(0.3)  # what nobody waited for ends as well


def _get(service: Service, path: str) -> None:
    try:
        service.get(path)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != 500:  # a planned one
            raise


def _ask_and_leave(port: int, path: str) -> None:
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n".encode())
        time.sleep(0.005)


def _count(receiver: ReceiverProcess) -> int:
    """Callbacks in the histogram, since the service began."""
    metrics = receiver.metrics("event_loop.block.duration")
    return sum(point.count for point in metrics[-1].points) if metrics else 0


def _settle(receiver: ReceiverProcess) -> None:
    """Wait until no more spans come: they are exported every 200 ms."""
    last, since = -1, time.monotonic()
    while time.monotonic() - since < 1.2:
        if (now := receiver.counts().spans) != last:
            last, since = now, time.monotonic()
        time.sleep(0.1)


def _sample(pid: int, types: Counter[str], outcome: Outcome) -> None:
    with open(f"/proc/{pid}/status") as file:
        status = dict(line.split(":", 1) for line in file)
    samples = outcome.samples
    samples["RSS, MiB"].append(int(status["VmRSS"].split()[0]) / 1024)
    samples["threads"].append(int(status["Threads"]))
    samples["descriptors"].append(len(os.listdir(f"/proc/{pid}/fd")))
    samples["objects"].append(sum(types.values()) - OF_A_POINT * types[POINT])
    outcome.types.append(types)
