"""Starts receiver, server and clients, and takes one stage after the other."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from otel_loopblock.bench import telemetry
from otel_loopblock.bench.client import TIMEOUT_S, Job, Outcome
from otel_loopblock.bench.results import Latency, Run, Stage, Step
from otel_loopblock.local.environment import service_environment, uninstrumented_environment
from otel_loopblock.local.receiver import ReceiverProcess
from otel_loopblock.local.service import ServiceProcess
from otel_loopblock.local.telemetry import Metric

Progress = Callable[[str, float], None]
"""Called with what is being done, and how many seconds of measuring have been done since the last call."""


class BenchError(Exception):
    """The benchmark cannot go on; the message is one line."""


class BadPlan(BenchError):
    """What was asked for cannot be measured, whatever the app does: wrong usage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to measure."""

    app: str
    """``module:attribute``, as uvicorn wants it."""
    probe: str
    """Path of the innocent endpoint."""
    steps: tuple[Step, ...]
    seconds: float
    """Per stage."""
    rate: float
    """Requests to the probe per second."""
    method: str = "GET"
    body: str | None = None
    """JSON for the target."""
    port: int = 0
    """0: any free one."""
    app_paths: tuple[Path, ...] = ()
    """Folders of the application's own code, if not the usual."""


def measure(plan: Plan, loop: str, progress: Progress) -> Run:
    """Run all steps of a plan on one loop.

    Args:
        plan: what to measure.
        loop: ``asyncio`` or ``uvloop``.
        progress: told how it goes on.

    Raises:
        BadPlan: bad module, missing endpoint, port in use.
        BenchError: the app does not start, dies, or answers the target with errors only.
    """
    if plan.port:
        _check_port(plan.port)
    with contextlib.ExitStack() as stack:
        receiver = stack.enter_context(ReceiverProcess())
        progress(f"starting {plan.app} on {loop}", 0.0)
        service = _start(stack, plan, loop, receiver)
        for path, method, body in _endpoints(plan):
            _check_endpoint(service.url, path, method, body)
        load, probe = (stack.enter_context(_Client()) for _ in range(2))
        stages = []
        for step in plan.steps:
            label = f"{loop}: {step.target} × {step.concurrency}" if step.concurrency else f"{loop}: idle"
            done = functools.partial(progress, label)
            stages.append(_stage(plan, step, service, receiver, load, probe, done))
            if not service.is_alive():
                raise BenchError(f"{plan.app} died under load: {_last_line(service.output())}")
    return Run(app=plan.app, loop=loop, probe=plan.probe, rate=plan.rate, stages=tuple(stages))


def _stage(
    plan: Plan,
    step: Step,
    service: ServiceProcess,
    receiver: ReceiverProcess,
    load: _Client,
    probe: _Client,
    progress: Callable[[float], None],
) -> Stage:
    started = time.time_ns()
    progress(0.0)
    probe.begin(Job(url=service.url + plan.probe, seconds=plan.seconds, rate=plan.rate))
    if step.concurrency:
        load.begin(
            Job(
                url=service.url + step.target,
                seconds=plan.seconds,
                method=plan.method,
                body=plan.body,
                concurrency=step.concurrency,
            )
        )
    tick = plan.seconds / 20
    for _ in range(20):
        time.sleep(tick)
        progress(tick)
    probed = probe.outcome()
    loaded = load.outcome() if step.concurrency else None
    ended = time.time_ns()
    metrics = _exported(receiver, ended)
    if loaded is not None and not loaded.latencies_s:
        raise BenchError(f"{step.target} never answered as it should: {loaded.first_error}")
    if not probed.latencies_s:
        raise BenchError(f"{plan.probe} never answered as it should: {probed.first_error}")
    return Stage(
        step=step,
        seconds=plan.seconds,
        target=Latency.of(loaded.latencies_s) if loaded is not None else None,
        throughput=loaded.in_time / plan.seconds if loaded is not None else 0.0,
        target_errors=loaded.errors if loaded is not None else 0,
        probe=Latency.of(probed.latencies_s),
        probe_errors=probed.errors,
        first_error=(loaded.first_error if loaded is not None else "") or probed.first_error,
        lag=telemetry.lag_between(metrics, started, ended),
        blocks=telemetry.blocks_between(metrics, started, ended),
    )


def _exported(receiver: ReceiverProcess, since_unix_ns: int) -> list[Metric]:
    """All metrics, once those up to now have come."""
    try:
        return receiver.wait_for_metrics(lambda m: telemetry.exported_after(m, since_unix_ns), timeout_s=15)
    except TimeoutError:
        return receiver.metrics()


def _start(stack: contextlib.ExitStack, plan: Plan, loop: str, receiver: ReceiverProcess) -> ServiceProcess:
    environ = dict(
        service_environment(
            receiver.endpoint, threshold_ms=10.0, service_name="bench", app_paths=plan.app_paths
        )
    )
    # Spans would cost the server time that is not the application's; the blocks are in the metrics.
    environ["OTEL_TRACES_EXPORTER"] = "none"
    environ["OTEL_PYTHON_LOOPBLOCK_LOG_INTERVAL_MS"] = "3600000"
    service = ServiceProcess(plan.app, loop=loop, environ=environ, health=plan.probe, port=plan.port)
    try:
        return stack.enter_context(service)
    except RuntimeError as error:
        why = _last_line(service.output() or str(error))
        kind = BadPlan if "Error loading ASGI app" in why else BenchError
        raise kind(f"{plan.app} did not start on {loop}: {why}") from error


def _endpoints(plan: Plan) -> list[tuple[str, str, str | None]]:
    targets = dict.fromkeys(step.target for step in plan.steps)
    return [(plan.probe, "GET", None), *((target, plan.method, plan.body) for target in targets)]


def _check_endpoint(url: str, path: str, method: str, body: str | None) -> None:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
            response = client.request(method, url + path, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise BenchError(f"{method} {path} was not answered: {type(error).__name__} {error}") from error
    if response.status_code in (404, 405):
        raise BadPlan(f"the app has no endpoint {method} {path}: it answers {response.status_code}")
    if response.status_code >= 400:
        raise BenchError(f"{method} {path} answers {response.status_code}")


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BadPlan(f"port {port} cannot be used: {reason}") from None


def _last_line(output: str) -> str:
    lines: Sequence[str] = [line.strip() for line in output.splitlines() if line.strip()]
    # uvicorn says last that the start-up failed, and our own log may say what was slow about it.
    noise = ("Application startup failed", "event loop blocked")
    lines = [line for line in lines if not any(words in line for words in noise)] or lines
    return lines[-1] if lines else "it printed nothing"


class _Client:
    """A client process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "otel_loopblock.bench.client"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=uninstrumented_environment(),
            start_new_session=True,  # a Ctrl-C is for the starter
        )

    def __enter__(self) -> _Client:
        self._read()  # it has imported what it needs
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def begin(self, job: Job) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(dataclasses.asdict(job)) + "\n")
        self._process.stdin.flush()

    def outcome(self) -> Outcome:
        return Outcome(**self._read())

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError("a client process ended unexpectedly")
        found: dict[str, Any] = json.loads(line)
        return found
