"""What the package costs a whole server: requests per second with and without it, in turns.

    python benchmarks/throughput.py [--seconds 3] [--rounds 5]

Needs ``wrk`` (Debian: ``apt-get install wrk``). Real uvicorn with httptools, one worker; the load comes from
a process of its own over loopback. Prints the median of the ratios on / off of neighbouring runs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def server(app: str, loop: str, *, on: bool) -> Iterator[str]:
    """A server in a process of its own; yields its address."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", f"apps:{app}", "--port", str(port), "--loop", loop),
            *("--http", "httptools", "--log-level", "warning", "--no-access-log"),
        ],
        cwd=HERE,
        env={**os.environ, "LOOPBLOCK": "on" if on else "off"},
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait()


def requests_per_second(url: str, seconds: int) -> float:
    """What wrk counts, after a second of warming up."""
    command = ["wrk", "-t1", "-c32"]
    subprocess.run([*command, "-d1s", url], capture_output=True, check=True)
    done = subprocess.run([*command, f"-d{seconds}s", url], capture_output=True, check=True, text=True)
    found = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    if found is None or "Non-2xx" in done.stdout:
        raise SystemExit(f"wrk did not measure:\n{done.stdout}")
    return float(found[1])


def measure(app: str, loop: str, rounds: int, seconds: int) -> tuple[list[float], list[float]]:
    """Requests per second without and with the package, a pair per round."""
    off, on = [], []
    with server(app, loop, on=False) as bare, server(app, loop, on=True) as hooked:
        for _ in range(rounds):
            off.append(requests_per_second(bare, seconds))
            on.append(requests_per_second(hooked, seconds))
    return off, on


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--app", choices=["raw", "fastapi"], action="append")
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is not installed (Debian: apt-get install wrk)")
    table = Table(title=f"requests per second, median of {args.rounds} rounds in turns")
    for column in ("loop", "app", "off", "on", "ratio", "ratios"):
        table.add_column(column, justify="right" if column in ("off", "on", "ratio") else "left")
    for loop in ("asyncio", "uvloop"):
        for app in args.app or ("raw", "fastapi"):
            off, on = measure(app, loop, args.rounds, args.seconds)
            ratios = [a / b for a, b in zip(on, off, strict=True)]
            table.add_row(
                loop,
                app,
                f"{statistics.median(off):.0f}",
                f"{statistics.median(on):.0f}",
                f"{statistics.median(ratios):.3f}",
                " ".join(f"{ratio:.2f}" for ratio in ratios),
            )
    Console().print(table)


if __name__ == "__main__":
    main()
