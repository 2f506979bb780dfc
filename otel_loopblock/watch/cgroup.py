"""What Linux says of the CPU limit of this process's cgroup; elsewhere the answer is ``None``."""

from __future__ import annotations

import sys
from functools import lru_cache

from otel_loopblock import guard
from otel_loopblock.watch.evidence import Throttling

_PROC = "/proc/self"
_CGROUPS = "/sys/fs/cgroup"


def throttling() -> Throttling | None:
    """How often and for how long this process's cgroup was kept from running by its CPU limit.

    From ``cpu.stat``, of cgroup version 2 or 1; ``None`` where there is no limit to be seen from here, as
    in a container whose limit is set on a group above its own. Gives up the GIL.
    """
    path = _stat_file()
    if path is None:
        return None
    try:
        with open(path) as file:
            fields = dict(line.split(maxsplit=1) for line in file)
        periods = int(fields["nr_throttled"])
        if "throttled_usec" in fields:
            return Throttling(periods, int(fields["throttled_usec"]) / 1e6)
        return Throttling(periods, int(fields["throttled_time"]) / 1e9)
    except (OSError, ValueError, KeyError):
        return None


@lru_cache(maxsize=1)
def _stat_file() -> str | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return find_stat_file(f"{_PROC}/cgroup", _CGROUPS)
    except (OSError, ValueError):
        return None
    except Exception:
        guard.failed("find the cgroup")
        return None


def find_stat_file(membership: str, mounted: str) -> str | None:
    """The ``cpu.stat`` that has throttling counters for a process.

    Args:
        membership: path of a ``/proc/<pid>/cgroup``.
        mounted: where the cgroup file systems are.

    Raises:
        OSError: ``membership`` cannot be read.
    """
    with open(membership) as file:
        groups = [line.rstrip("\n").split(":", 2) for line in file]
    for _, controllers, group in groups:
        if "cpu" in controllers.split(","):
            roots = [f"{mounted}/{controllers}", f"{mounted}/cpu"]
        elif not controllers:
            roots = [mounted, f"{mounted}/unified"]
        else:
            continue
        # In a container the path may be the host's, while its own group is what is mounted.
        for root in roots:
            for folder in (root + group.rstrip("/"), root):
                if _has_counters(f"{folder}/cpu.stat"):
                    return f"{folder}/cpu.stat"
    return None


def _has_counters(path: str) -> bool:
    try:
        with open(path) as file:
            return "nr_throttled" in file.read()
    except OSError:
        return False
