"""What the kernel says of threads and limits."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from otel_loopblock.watch import cgroup
from otel_loopblock.watch.lateness import Lateness

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts this")


@linux
def test_thread_that_waits_gets_a_cpu_once_per_wait_and_does_not_queue():
    before = cgroup.scheduling(threading.get_native_id())
    for _ in range(10):
        time.sleep(0.001)
    after = cgroup.scheduling(threading.get_native_id())

    assert before is not None
    assert after is not None
    assert after.runs - before.runs >= 10
    assert after.queued_s >= before.queued_s


def test_thread_that_does_not_exist_is_not_known():
    assert cgroup.scheduling(2**31 - 1) is None


def test_where_there_is_no_linux_nothing_is_known(monkeypatch):
    monkeypatch.setattr(cgroup.sys, "platform", "darwin")
    cgroup._reader.cache_clear()
    cgroup._stat_file.cache_clear()
    try:
        assert cgroup.scheduling(threading.get_native_id()) is None
        assert cgroup.throttling() is None
    finally:
        cgroup._reader.cache_clear()
        cgroup._stat_file.cache_clear()


COUNTERS_2 = "usage_usec 5\nnr_periods 9\nnr_throttled 3\nthrottled_usec 1500000\n"
COUNTERS_1 = "nr_periods 9\nnr_throttled 4\nthrottled_time 2500000000\n"


@pytest.mark.parametrize(
    ("membership", "file", "content", "expected"),
    [
        ("0::/pod/app\n", "pod/app/cpu.stat", COUNTERS_2, (3, 1.5)),
        ("0::/../host/path\n", "cpu.stat", COUNTERS_2, (3, 1.5)),
        ("4:cpu,cpuacct:/app\n0::/\n", "cpu,cpuacct/app/cpu.stat", COUNTERS_1, (4, 2.5)),
        ("4:cpu:/host\n", "cpu/cpu.stat", COUNTERS_1, (4, 2.5)),
    ],
    ids=["version 2", "version 2 in a container", "version 1", "version 1 in a container"],
)
def test_counters_of_the_cgroup_are_found(tmp_path, monkeypatch, membership, file, content, expected):
    (tmp_path / "cgroup").write_text(membership)
    stat = tmp_path / "mounted" / file
    stat.parent.mkdir(parents=True)
    stat.write_text(content)

    found = cgroup.find_stat_file(str(tmp_path / "cgroup"), str(tmp_path / "mounted"))

    assert found is not None
    monkeypatch.setattr(cgroup, "_stat_file", lambda: found)
    assert cgroup.throttling() == expected


def test_group_without_a_limit_has_no_counters(tmp_path):
    (tmp_path / "cgroup").write_text("0::/\n1:name=systemd:/\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 5\n")

    assert cgroup.find_stat_file(str(tmp_path / "cgroup"), str(tmp_path)) is None


class Counters:
    """Stands in for the kernel: (queued, runs) of the thread that asks."""

    def __init__(self, monkeypatch):
        self.now = cgroup.Scheduling(10.0, 100)
        monkeypatch.setattr(cgroup, "scheduling", lambda thread: self.now)
        monkeypatch.setattr(cgroup, "throttling", lambda: None)
        self.lateness = Lateness()
        self.lateness.begin(0.0)

    def wake_up(self, due, at, queued, runs):
        self.now = cgroup.Scheduling(self.now.queued_s + queued, self.now.runs + runs)
        self.lateness.woke_up(due, at)
        return self.lateness.explain(due, at, 0.0)


def test_watchdog_that_asked_for_the_gil_at_each_interval_waited_for_it(monkeypatch):
    delay = Counters(monkeypatch).wake_up(1.0, 1.1, queued=0.0, runs=20)

    assert delay.asked
    assert delay.gil_s == delay.long_s == pytest.approx(0.1)
    assert delay.stopped_s == 0.0


def test_watchdog_that_did_not_ask_was_stopped(monkeypatch):
    delay = Counters(monkeypatch).wake_up(1.0, 1.1, queued=0.0, runs=2)

    assert not delay.asked
    assert delay.gil_s == 0.0
    assert delay.stopped_s == pytest.approx(0.1)


def test_wait_for_a_cpu_is_neither(monkeypatch):
    delay = Counters(monkeypatch).wake_up(1.0, 1.1, queued=0.099, runs=1)

    assert delay.gil_s + delay.stopped_s == pytest.approx(0.001)


def test_short_delay_is_taken_for_the_gil(monkeypatch):
    delay = Counters(monkeypatch).wake_up(1.0, 1.005, queued=0.0, runs=2)

    assert delay.gil_s == pytest.approx(0.005)
    assert delay.long_s == delay.stopped_s == 0.0


def test_wake_up_that_has_not_run_at_all_says_nothing(monkeypatch):
    counters = Counters(monkeypatch)

    delay = counters.lateness.explain_missing(1.0, 1.1, 0.0)

    assert delay.gil_s == delay.stopped_s == 0.0


def test_ticks_that_were_on_time_are_not_counted_as_waits(monkeypatch):
    counters = Counters(monkeypatch)
    for number in range(7):
        counters.now = cgroup.Scheduling(counters.now.queued_s, counters.now.runs + 1)
        counters.lateness.woke_up(0.1 * number, 0.1 * number)

    assert counters.wake_up(1.0, 1.1, queued=0.0, runs=2).stopped_s == pytest.approx(0.1)


@pytest.mark.parametrize(("runs", "stopped_s"), [(42, 0.1), (60, 0.0)])
def test_wake_ups_that_did_without_the_gil_are_not_counted_as_waits_for_it(monkeypatch, runs, stopped_s):
    counters = Counters(monkeypatch)
    counters.lateness.woke_up_before(40)

    assert counters.wake_up(1.0, 1.1, queued=0.0, runs=runs).stopped_s == pytest.approx(stopped_s)


@pytest.mark.parametrize(("runs", "stopped_s", "gil_s"), [(40, 0.0, 0.0), (42, 0.1, 0.0), (60, 0.0, 0.1)])
def test_nor_are_those_before_a_wake_up_that_has_not_come(monkeypatch, runs, stopped_s, gil_s):
    counters = Counters(monkeypatch)
    counters.now = cgroup.Scheduling(counters.now.queued_s, counters.now.runs + runs)
    delay = counters.lateness.explain_missing(1.0, 1.1, 0.0, 40)

    assert (delay.stopped_s, delay.gil_s) == (pytest.approx(stopped_s), pytest.approx(gil_s))


def test_thread_that_has_just_begun_reads_no_file_for_which_it_gives_up_the_gil(monkeypatch):
    counters = Counters(monkeypatch)
    monkeypatch.setattr(cgroup, "throttling", lambda: pytest.fail("read"))
    counters.lateness = Lateness()
    counters.lateness.begin_thread(0.0)

    assert counters.wake_up(1.0, 1.1, queued=0.0, runs=20).asked
