"""The report from synthetic records, as it stands on a terminal."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree

import pytest
from rich.console import Console

from otel_loopblock.demo.endpoints import ENDPOINTS
from otel_loopblock.demo.picture import save_svg
from otel_loopblock.demo.promises import promises
from otel_loopblock.demo.report import report
from otel_loopblock.local.findings import Findings
from otel_loopblock.local.waterfall import Axis, waterfall
from otel_loopblock.local.wording import milliseconds
from otel_loopblock.naming import printable
from tests.demo.records import (
    MS,
    all_metrics,
    all_spans,
    blocked,
    delayed,
    load,
    make_span,
    request,
    whole_run,
)

LINES = [f"shop.py:{max(endpoint.lines)}" for endpoint in ENDPOINTS]


def printed(run, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(report(run, promises(run), width))
    return console.file.getvalue()


def row(text, *words):
    """The first line with all of the words."""
    return next(line for line in text.splitlines() if all(word in line for word in words))


def test_words_of_the_culprits_table_are_whole_at_80_columns():
    lines = {line[:45].split("  ")[0].strip() for line in printed(whole_run(), 80).splitlines()}
    names = [endpoint.function.rpartition(".")[2] for endpoint in ENDPOINTS]
    assert {f"{name} {line}" for name, line in zip(names, LINES, strict=True)} <= lines
    assert {"→ time.sleep", "→ sqlite3.Connection.execute", "→ json.loads"} <= lines


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_nothing_is_wider_than_the_terminal(width):
    assert max(map(len, printed(whole_run(), width).splitlines())) <= width


def test_waterfall_has_the_block_where_it_was_on_the_axis():
    text = printed(whole_run())
    span = row(text, "work", "━")
    block = row(text, "event_loop.blocked", "█")
    assert block.index("█") == span.index("━")
    assert abs(block.count("█") - span.count("━")) <= 1
    assert "100 ms" in block
    server = row(text, "GET /blocking/payment", "━")
    assert server.index("━") < span.index("━")


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>[red]x[/red]",
        "[/nothing]",
        "\x1b[2J\x1b]0;t\x07\x9b",
        "a\rb\u2028c\u202e",
        "caf\udce9",
        "é" * 9_000,
    ],
)
def test_hostile_names_are_shown_as_they_are_written(name, tmp_path):
    hostile = {
        "event_loop.block.advice": name,
        "code.file.path": f"/srv/{name}.py",
        "code.stacktrace": f'  File "/srv/{name}", line 70, in {name}\n',
    }
    event = blocked(10, 100, function=name, call=name, cause=name, **hostile)
    culprit = request("/blocking/payment", 0, 130, trace=1, events=[event])
    inner = make_span(name, 5, 125, parent=culprit)
    victim = request("/stock", 112, 140, trace=2, events=[delayed(112, 60, culprit)])
    run = whole_run(spans=[culprit, inner, victim])

    text = printed(run)
    text.encode()
    assert not set(text) & set("\x1b\x07\x9b\r\u2028\u202e")
    assert text.count("\n") < 200
    assert printable(name)[:10] in text

    save_svg(tmp_path / "report.svg", lambda width: report(run, promises(run), width))
    svg = (tmp_path / "report.svg").read_text("utf-8")
    assert "<script" not in svg
    assert xml.etree.ElementTree.fromstring(svg).tag.endswith("svg")


def test_victim_stands_below_the_culprit_with_its_delay_and_link():
    text = printed(whole_run())
    block, delay = row(text, "event_loop.blocked", "█"), row(text, "event_loop.delayed", "▒")
    assert abs(block.index("█") - delay.index("▒")) <= 1
    assert "≤ 100 ms" in delay
    assert "a span link to trace 00000000000000000000000000000001." in " ".join(text.split())


def test_request_that_arrived_amid_a_block_waited_before_its_span_began():
    culprit = request("/blocking/payment", 0, 130, trace=1, events=[blocked(10, 100)])
    victim = request("/stock", 112, 140, trace=2, events=[delayed(112, 60, culprit)])
    findings = Findings([culprit, victim])
    table = waterfall(
        findings.trace(culprit.trace_id),
        findings.blocks,
        100,
        victim=findings.trace(victim.trace_id),
        delays=findings.delays,
    )
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    text = console.file.getvalue()
    end_of_delay = row(text, "event_loop.delayed").rindex("▒")
    assert abs(end_of_delay - row(text, "GET /stock").index("━")) <= 1


def test_without_victims_the_longest_block_of_the_first_endpoint_is_shown():
    spans = [span for span in all_spans() if not span.events_named("event_loop.delayed")]
    text = printed(whole_run(spans=spans))
    assert "GET /blocking/payment  " in text
    assert "▒" not in text


def test_event_is_shown_with_cause_place_advice_and_stack():
    text = printed(whole_run())
    assert row(text, "event_loop.block.cause").split()[1:] == ["wait"]
    assert row(text, "code.function.name").split()[1:] == [
        "otel_loopblock.demo.shop.charge_card",
        f"({LINES[0]})",
    ]
    assert "Use await asyncio.sleep(...)." in row(text, "event_loop.block.advice")
    assert 'File "…/app.py", line 70, in payment' in text


def test_culprits_have_line_call_cause_count_and_quantiles():
    text = printed(whole_run())
    assert row(text, "top_customers", "cpu").split() == [
        "top_customers", LINES[2], "cpu", "1", "100", "ms", "100", "ms", "0",
    ]  # fmt: skip
    assert "→ sqlite3.Connection.execute" in text


def test_lag_has_counts_before_and_after_by_bucket():
    text = printed(whole_run())
    assert re.findall(r"\d+", row(text, "≤ 1 ms")) == ["1", "10", "38"]
    assert re.findall(r"\d+", row(text, "≤ 5 ms")) == ["5", "9"]
    assert re.findall(r"\d+", row(text, "≤ 250 ms")) == ["250", "5"]
    assert "45% of the time before, 0% of the time after" in text


def test_promise_that_was_not_kept_is_one_line():
    text = printed(whole_run(metrics=[]), width=200)
    assert row(text, "NO ", "event_loop.lag was not received").startswith("NO Offloading halves")


def test_report_of_a_run_in_which_nothing_arrived_still_says_so():
    run = whole_run(
        spans=[],
        metrics=[],
        before=load(0, 1000, []),
        threaded=load(1000, 1000, []),
        crowd=load(1000, 1500, []),
        after=load(1500, 2500, []),
    )
    text = printed(run)
    assert "ok" not in text.split()
    assert text.count("NO ") == len(promises(run))


def test_report_survives_a_lag_without_values():
    metrics = all_metrics(all_spans())
    empty = [m for m in metrics if m.name != "event_loop.lag"] + [metrics[0]] * 2
    assert "was not received" in printed(whole_run(metrics=empty))


def test_short_bar_is_one_cell_and_within_the_axis():
    axis = Axis(0, 100 * MS, 10)
    assert axis.bar(99 * MS, 100 * MS, "x", "").plain == " " * 9 + "x"
    assert axis.bar(-50 * MS, 0, "x", "").plain == "x"
    assert axis.bar(500 * MS, 900 * MS, "x", "").plain == " " * 9 + "x"
    assert axis.bar(0, 200 * MS, "x", "").plain == "x" * 10


def test_milliseconds_read_well():
    assert [milliseconds(s) for s in (0.0004, 0.0032, 0.00996, 0.12, 1.277)] == [
        "0.4 ms", "3.2 ms", "10 ms", "120 ms", "1277 ms",
    ]  # fmt: skip


def test_picture_loads_nothing_from_elsewhere(tmp_path):
    run = whole_run()
    save_svg(tmp_path / "demo.svg", lambda width: report(run, promises(run), width))
    svg = (tmp_path / "demo.svg").read_text()
    assert "event_loop.blocked" in svg.replace("&#160;", " ")
    assert "@font-face" not in svg
    assert re.findall(r"(?:url|href)[=(][^)#]*https?://[^)]*", svg) == []
