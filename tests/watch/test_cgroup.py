"""What the kernel says of limits."""

from __future__ import annotations

import pytest

from otel_loopblock.watch import cgroup


def test_where_there_is_no_linux_nothing_is_known(monkeypatch):
    monkeypatch.setattr(cgroup.sys, "platform", "darwin")
    cgroup._stat_file.cache_clear()
    try:
        assert cgroup.throttling() is None
    finally:
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
