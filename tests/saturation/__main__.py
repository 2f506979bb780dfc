"""Prints the tables of the trial, on both loops, with the core in use: ``python -m tests.saturation``."""

from __future__ import annotations

import argparse
import logging

from otel_loopblock import core
from tests.conftest import LOOPS
from tests.saturation.trial import ROUTES, Trial, nearly_full, share_of_a_loop, three_routes

OPTIONS = {"log_interval_ms": 3_600_000}


def main(seconds: float) -> None:
    logging.getLogger("otel_loopblock").setLevel(logging.ERROR)
    print(f"core: {core.NAME}, {seconds:g} s each\n")
    print("| loop | route | true | reported | event_loop.busy | its sum / busy time |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind in LOOPS:
        found = Trial(kind, threshold_ms=200, **OPTIONS).run(three_routes, max(5.0, seconds / 10))
        true, reported, counted = found.true_shares(), found.reported_shares(), found.counted_shares()
        for route in ROUTES:
            print(
                f"| {kind} | {route} | {true[route]:.3f} | {reported[route]:.3f} | {counted[route]:.3f} "
                f"| {found.counted_s / found.busy_s:.4f} |"
            )
    print("\n| loop | load | burst, s | longest stretch, s | reported |")
    print("| --- | --- | --- | --- | --- |")
    for kind in LOOPS:
        for load in (0.1, 0.4, 0.7):
            for burst_s in (0.002, 0.05):
                found = Trial(kind, **OPTIONS).run(share_of_a_loop, seconds, load, burst_s)
                measured = found.busy_s / found.wall_s
                longest, reported = f"{found.longest_s:.3f}", len(found.saturated)
                print(f"| {kind} | {measured:.2f} | {burst_s} | {longest} | {reported} |")
        for load in (0.95, 0.99):
            found = Trial(kind, threshold_ms=200, **OPTIONS).run(nearly_full, 0.2, load)
            measured = found.busy_s / found.wall_s
            print(f"| {kind} | {measured:.2f} | for 0.2 s | {found.wall_s:.3f} | {len(found.saturated)} |")


parser = argparse.ArgumentParser(prog="python -m tests.saturation", description=__doc__)
parser.add_argument("seconds", nargs="?", type=float, default=60.0, help="each load lasts so long")
main(parser.parse_args().seconds)
