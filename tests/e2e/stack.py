"""The whole path: services, Collector, Jaeger, Prometheus, as deploy/ says, on free ports of this machine."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import yaml

from tests.e2e.backends import Jaeger, Prometheus
from tests.e2e.deployment import ROOT, Deployment
from tests.e2e.process import Program, wait_for
from tests.service.running import Service, free_port

SYSTEM = ("prometheus", "promtool")
"""Programs that the system's packages have."""

JAEGER = ("jaeger:4317", "jaeger:4318", "jaeger:8888", "jaeger:16685", "jaeger:16686", "jaeger:13133")
"""The addresses of Jaeger in the compose file."""

PHASE_S = 6.0
"""How long the innocent path is asked in each phase of the Collector's life."""


@dataclass(frozen=True)
class Binaries:
    """The real programs; Prometheus twice: the system's, and the version that the compose file pins."""

    otelcol: str
    jaeger: str
    prometheus: dict[str, str]
    promtool: dict[str, str]

    @classmethod
    def of_this_machine(cls) -> Binaries:
        built = {name: os.environ.get(f"E2E_{name.upper()}") for name in ("otelcol", "jaeger", *SYSTEM)}
        system = {name: shutil.which(name) for name in SYSTEM}
        missing = [name for found in (built, system) for name, path in found.items() if not path]
        if missing:
            raise RuntimeError(
                f"not found: {', '.join(missing)}; `make e2e` builds what it needs, all but the system's "
                "prometheus and promtool, which come with a package of that name"
            )
        prometheus, promtool = (
            {"system": str(system[name]), "pinned": str(built[name])} for name in ("prometheus", "promtool")
        )
        return cls(str(built["otelcol"]), str(built["jaeger"]), prometheus, promtool)

    def versions(self) -> dict[str, str]:
        """What each program is, as it says itself, or as Go says that built it."""
        jaeger, prometheus = "github.com/jaegertracing/jaeger", "github.com/prometheus/prometheus"
        return {
            "otelcol": f"{_said(self.otelcol, '--version')} (built from its modules)",
            "jaeger": f"{_module(self.jaeger, jaeger)} (built from its module)",
            "system": _said(self.prometheus["system"], "--version").splitlines()[0],
            "pinned": f"{_module(self.prometheus['pinned'], prometheus)} (built from its module)",
        }


def _module(program: str, module: str) -> str:
    for line in _said("go", "version", "-m", program).splitlines():
        if line.split()[1:2] == [module]:
            return " ".join(line.split()[1:3])
    raise AssertionError(f"{program} was not built from {module}")


def _said(*command: str) -> str:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.strip()


@dataclass
class Phase:
    """How the innocent path answered during one phase."""

    durations_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.durations_s)
        return ordered[min(len(ordered) - 1, math.floor(share * len(ordered)))]


def jaeger_program(binaries: Binaries, at: dict[str, str]) -> Program:
    """Jaeger as the compose file starts it; ``at`` has an address for each of ``JAEGER``."""
    return Program(
        "jaeger",
        [binaries.jaeger, *Deployment(at).arguments("jaeger")],
        health=f"http://{at['jaeger:13133']}/status",
        environ={
            "JAEGER_LISTEN_HOST": "127.0.0.1",
            "JAEGER_OTLP_GRPC_PORT": _port(at["jaeger:4317"]),
            "JAEGER_OTLP_HTTP_PORT": _port(at["jaeger:4318"]),
            "JAEGER_TELEMETRY_PORT": _port(at["jaeger:8888"]),
            "JAEGER_QUERY_GRPC_PORT": _port(at["jaeger:16685"]),
            "JAEGER_QUERY_HTTP_PORT": _port(at["jaeger:16686"]),
            "JAEGER_HEALTH_PORT": _port(at["jaeger:13133"]),
            "JAEGER_UI_CONFIG": str(ROOT / "deploy/jaeger/ui.json"),
        },
    )


def gateway_program(
    binaries: Binaries, *, http: int, health: int, telemetry: int, jaeger: str, wait_s: float
) -> Program:
    """A Collector that samples by tail, on loopback.

    Args:
        binaries: what was built.
        http: port for OTLP over HTTP.
        health: port that tells whether it is up.
        telemetry: port of its own metrics.
        jaeger: address that gets what is kept.
        wait_s: seconds after which it decides on a trace.
    """
    configs = ("collector-config.yaml", "deploy/collector/gateway.yaml")
    return Program(
        "gateway",
        [binaries.otelcol, *(f"--config={ROOT / config}" for config in configs)],
        health=f"http://127.0.0.1:{health}/",
        environ={
            "OTLP_GRPC_ENDPOINT": f"127.0.0.1:{free_port()}",
            "OTLP_HTTP_ENDPOINT": f"127.0.0.1:{http}",
            "PROMETHEUS_EXPORTER_ENDPOINT": f"127.0.0.1:{free_port()}",
            "HEALTH_CHECK_ENDPOINT": f"127.0.0.1:{health}",
            "COLLECTOR_TELEMETRY_HOST": "127.0.0.1",
            "COLLECTOR_TELEMETRY_PORT": str(telemetry),
            "JAEGER_OTLP_ENDPOINT": jaeger,
            "TAIL_DECISION_WAIT": f"{wait_s:g}s",
        },
    )


class Stack:
    """Everything that runs. The Collector can be killed and started again."""

    def __init__(self, binaries: Binaries, folder: Path) -> None:
        self.folder = folder
        names = ("collector:4317", "collector:4318", "collector:8888", "collector:8889", "collector:13133")
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in (*names, *JAEGER)}
        at = self.addresses
        self.deployment = Deployment(at)
        self.jaeger_program = jaeger_program(binaries, at)
        self.collector = Program(
            "collector",
            [binaries.otelcol, *self.deployment.arguments("collector")],
            health=f"http://{at['collector:13133']}/",
            environ={
                **self.deployment.environment("collector"),
                "OTLP_GRPC_ENDPOINT": at["collector:4317"],
                "OTLP_HTTP_ENDPOINT": at["collector:4318"],
                "PROMETHEUS_EXPORTER_ENDPOINT": at["collector:8889"],
                "HEALTH_CHECK_ENDPOINT": at["collector:13133"],
                "COLLECTOR_TELEMETRY_HOST": "127.0.0.1",
                "COLLECTOR_TELEMETRY_PORT": _port(at["collector:8888"]),
                "LOGS_VERBOSITY": "detailed",
            },
        )
        self.jaeger = Jaeger(f"http://{at['jaeger:16686']}")
        self.prometheus_programs = []
        self.prometheuses: dict[str, Prometheus] = {}
        for name, binary in binaries.prometheus.items():
            self._add_prometheus(name, binary)
        self.prometheus = self.prometheuses["system"]
        self._running = contextlib.ExitStack()

    @property
    def otlp_http(self) -> str:
        return f"http://{self.addresses['collector:4318']}"

    def service(self, app: str = "tests.service.scenarios:app", **environ: str) -> Service:
        """A service on uvloop under ``opentelemetry-instrument``, which lives until the stack ends."""
        # Exported less often than scraped, as deployed: an exemplar is offered until the next export.
        environ = {"OTEL_METRIC_EXPORT_INTERVAL": "2000", **environ}
        service = Service(app, loop="uvloop", endpoint=self.otlp_http, environ=environ)
        self._running.callback(_end, service)
        return service.__enter__()

    def keep_asking(self, url: str, *, pause_s: float) -> None:
        """Ask until the stack ends, so that there is something to see at any time."""
        self._running.enter_context(Asking(url, pause_s=pause_s))

    def start_program(self, program: Program) -> Program:
        self._running.callback(program.stop)
        return program.start()

    def stop(self) -> None:
        self._running.close()

    def _add_prometheus(self, name: str, binary: str) -> None:
        folder = self.folder / name
        folder.mkdir()
        address = f"127.0.0.1:{free_port()}"
        files = {
            "/etc/prometheus/prometheus.yml": self._prometheus_config(folder, address),
            "--storage.tsdb.path=/prometheus": Path(f"--storage.tsdb.path={folder}/tsdb"),
        }
        arguments = self.deployment.arguments("prometheus", files)
        program = Program(
            f"prometheus-{name}",
            [binary, *arguments, f"--web.listen-address={address}"],
            health=f"http://{address}/-/ready",
        )
        self.prometheus_programs.append(program)
        self.prometheuses[name] = Prometheus(f"http://{address}", name)

    def _prometheus_config(self, folder: Path, own_address: str) -> Path:
        """The file in deploy/, with addresses of this machine, and without the patience of real life."""
        mounted = ROOT / "deploy/prometheus"
        text = (mounted / "prometheus.yml").read_text().replace("prometheus:9090", own_address)
        for name, address in self.addresses.items():
            text = text.replace(name, address)
        config = yaml.safe_load(text)
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        for job in config["scrape_configs"]:
            job.pop("scrape_interval", None)
        config["rule_files"] = [str(mounted / pattern) for pattern in config["rule_files"]]
        path = folder / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        return path


class Asking:
    """Asks a path steadily from a thread of its own, and notes how long each answer took."""

    def __init__(self, url: str, *, pause_s: float = 0.02) -> None:
        self._url = url
        self._pause_s = pause_s
        self.phase = Phase()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Asking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=20) as client:
            while not self._ends.wait(self._pause_s):
                began = time.perf_counter()
                try:
                    client.get(self._url).raise_for_status()
                except httpx.HTTPError as error:
                    self.phase.failures.append(repr(error))
                self.phase.durations_s.append(time.perf_counter() - began)


def _end(service: Service) -> None:
    service.process.kill()  # its loop may hang
    service.stop()
    service.log.close()


def asked_for(url: str, seconds: float = PHASE_S) -> Phase:
    with Asking(url) as asking:
        time.sleep(seconds)
    return asking.phase


def traced(service: Service, path: str) -> str:
    """Ask for a path as a caller that is traced itself, and return the trace's id."""
    trace_id = secrets.token_hex(16)
    request = urllib.request.Request(
        service.url + path, headers={"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()
    return trace_id


def ask_without_waiting(service: Service, path: str) -> None:
    def ask() -> None:
        with contextlib.suppress(OSError):
            service.get(path, timeout=60)

    threading.Thread(target=ask, daemon=True).start()


def wait_for_blocked(stack: Stack, trace_id: str):
    """The span of a trace that carries the event of the longest block, once Jaeger has it."""

    def found():
        blocked = [span for span in stack.jaeger.trace(trace_id) if span.event("event_loop.blocked")]
        return max(
            blocked, key=lambda s: s.event("event_loop.blocked")["event_loop.block.duration"], default=None
        )

    return wait_for(found, f"trace {trace_id} with event_loop.blocked in Jaeger")


def _port(address: str) -> str:
    return address.rpartition(":")[2]


def python_versions() -> str:
    from importlib.metadata import version

    packages = ("uvicorn", "uvloop", "fastapi", "opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
    return f"CPython {sys.version.split()[0]}, " + ", ".join(f"{name} {version(name)}" for name in packages)
