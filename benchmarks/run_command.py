"""What ``otel-loopblock run`` costs the service, and what it keeps.

    python benchmarks/run_command.py [--seconds 5] [--rounds 5]
    python benchmarks/run_command.py --minutes 10

Needs ``wrk`` (Debian: ``apt-get install wrk``). In turns: the same service under our command, and under
``opentelemetry-instrument`` with an OTLP exporter whose receiver drops what it gets. Requests per second, and
the CPU time that the service's own process takes for one, which other work on the machine changes less. With
``--minutes`` the memory of the command itself under load, where one request in fifty blocks the loop.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from fastapi import FastAPI
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
HERTZ = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
START_S = 60.0

sys.path.insert(0, str(HERE.parent))
from tests.service.running import free_port  # noqa: E402

app = FastAPI()
"""The service."""
_asked = 0


@app.get("/")
async def root() -> dict[str, int]:
    """Do nothing."""
    return {"pid": os.getpid()}


@app.get("/mixed")
async def mixed() -> dict[str, int]:
    """Block the loop for 20 ms, once in fifty times."""
    global _asked
    _asked += 1
    if _asked % 50 == 0:
        time.sleep(0.02)
    return {"pid": os.getpid()}


class _Dropping(BaseHTTPRequestHandler):
    """Takes OTLP, keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def service(words: Sequence[str], loop: str, environ: dict[str, str]) -> Iterator[tuple[str, int, int]]:
    """A service under a command; yields its address, its process and that of the command."""
    port = free_port()
    command = subprocess.Popen(
        [
            *(*words, "uvicorn", "run_command:app", "--port", str(port), "--loop", loop),
            *("--http", "httptools", "--log-level", "warning", "--no-access-log"),
        ],
        cwd=HERE,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            **environ,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                with urllib.request.urlopen(url) as answer:
                    pid = json.load(answer)["pid"]
                break
            except OSError:
                if time.monotonic() > deadline or command.poll() is not None:
                    raise SystemExit(f"{' '.join(words)}: the service did not start") from None
                time.sleep(0.1)
        yield url, pid, command.pid
    finally:
        command.send_signal(signal.SIGINT)
        command.wait()


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HERTZ


def resident_mib(pid: int) -> float:
    """Memory of a process that is resident, in MiB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def load(url: str, seconds: int) -> tuple[int, float]:
    """Load a service; how many requests it answered, and how many per second."""
    done = subprocess.run(
        ["wrk", "-t1", "-c16", f"-d{seconds}s", url], capture_output=True, check=True, text=True
    )
    requests, rate = (
        re.search(r"(\d+) requests in", done.stdout),
        re.search(r"Requests/sec:\s*([\d.]+)", done.stdout),
    )
    if requests is None or rate is None or "Non-2xx" in done.stdout:
        raise SystemExit(f"wrk did not measure:\n{done.stdout}")
    return int(requests[1]), float(rate[1])


def compare(loop: str, rounds: int, seconds: int, nowhere: str) -> list[tuple[float, float, float, float]]:
    """Requests per second and CPU µs per request, under ``opentelemetry-instrument`` and under ours."""
    exporting = {"OTEL_EXPORTER_OTLP_ENDPOINT": nowhere, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    found = []
    with (
        service(["opentelemetry-instrument"], loop, exporting) as (other, other_pid, _),
        service(["otel-loopblock", "run", "--"], loop, {}) as (ours, our_pid, _),
    ):
        load(other, 1), load(ours, 1)
        for _ in range(rounds):
            row = []
            for url, pid in ((other, other_pid), (ours, our_pid)):
                before = cpu_s(pid)
                requests, rate = load(url, seconds)
                row += [rate, (cpu_s(pid) - before) / requests * 1e6]
            found.append(tuple(row))
    return found


def watch_memory(loop: str, minutes: int) -> list[float]:
    """Memory of the command, in MiB, at the start of a load and after each minute of it."""
    with service(["otel-loopblock", "run", "--"], loop, {}) as (url, _, command):
        load(f"{url}mixed", 5)
        found = [resident_mib(command)]
        for _ in range(minutes):
            load(f"{url}mixed", 60)
            found.append(resident_mib(command))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=int, default=0, help="of load, for the memory of the command")
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed (Debian: apt-get install wrk)")
    console = Console()
    if args.minutes:
        for loop in ("asyncio", "uvloop"):
            memory = watch_memory(loop, args.minutes)
            console.print(
                f"{loop}: MiB resident, minute by minute: " + " ".join(f"{mib:.1f}" for mib in memory)
            )
        return
    sink = ThreadingHTTPServer(("127.0.0.1", 0), _Dropping)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    table = Table(
        title=f"otel-loopblock run / opentelemetry-instrument, {args.rounds} rounds in turns, medians"
    )
    for column in ("loop", "requests per second", "CPU µs per request", "ratio of CPU (rounds)"):
        table.add_column(column)
    for loop in ("asyncio", "uvloop"):
        rounds = compare(loop, args.rounds, args.seconds, f"http://127.0.0.1:{sink.server_address[1]}")
        other_rate, other_cpu, our_rate, our_cpu = (
            statistics.median(each) for each in zip(*rounds, strict=True)
        )
        ratios = [row[3] / row[1] for row in rounds]
        table.add_row(
            loop,
            f"{our_rate:.0f} / {other_rate:.0f}",
            f"{our_cpu:.0f} / {other_cpu:.0f}",
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        )
    console.print(table)


if __name__ == "__main__":
    main()
