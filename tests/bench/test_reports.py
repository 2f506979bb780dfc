"""The reports: every figure is there, whatever is missing."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from otel_loopblock.bench import cells, html, terminal
from otel_loopblock.bench.results import Blocks, Latency, Run, Stage, Step
from otel_loopblock.bench.wording import buckets, milliseconds
from otel_loopblock.local.statistics import Histogram
from otel_loopblock.naming import printable

LAG = Histogram(bounds=(0.001, 0.01, 0.1), counts=(40, 3, 2, 0), sum=0.3)


def stage(concurrency, p99_s, *, target="/predict", lag=LAG, blocks=()):
    latency = Latency(count=10, p50_s=p99_s / 2, p99_s=p99_s, max_s=p99_s * 2)
    return Stage(
        step=Step(target=target, concurrency=concurrency),
        seconds=1.0,
        target=latency if concurrency else None,
        throughput=17.5 if concurrency else 0.0,
        target_errors=3 if concurrency else 0,
        probe=latency,
        probe_errors=0,
        first_error="",
        lag=lag,
        blocks=blocks,
    )


RUN = Run(
    app="app:app",
    loop="uvloop",
    probe="/health",
    rate=50,
    stages=(
        stage(0, 0.003),
        stage(1, 0.05),
        stage(
            4,
            1.234,
            blocks=(Blocks(function="app.<locals>.f", cause="cpu", count=7, total_s=0.7),),
        ),
    ),
)


def printed(*renderables):
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for renderable in renderables:
        if callable(renderable):
            renderable(console)
        else:
            console.print(renderable)
    text = console.export_text()
    console.file.close()
    return text


def test_terminal_shows_latencies_plot_lag_and_culprits():
    text = printed(lambda console: terminal.show(RUN, console))
    for figure in ("3.00 ms", "50.0 ms", "1.23 s", "2.47 s", "17.5", "app.<locals>.f", "p99 in ms against"):
        assert figure in text
    assert "≤ 1.00 ms ████████████████████████████████████████ 40" in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("highest_s", "ticks"),
    [
        (1.83, ["0", "500", "1000", "1500", "2000"]),
        (0.0049, ["0", "1", "2", "3", "4", "5"]),
        (0.348, ["0", "50", "100", "150", "200", "250", "300", "350"]),
        (0.0001, ["0", "0.02", "0.04", "0.06", "0.08", "0.1"]),
    ],
)
def test_plot_has_round_ticks_and_the_stages_below(highest_s, ticks):
    run = replace(RUN, stages=(stage(0, highest_s / 10), stage(1, highest_s / 2), stage(16, highest_s)))
    lines = terminal.latency_plot(run, 80).plain.rstrip().splitlines()
    assert [line.split("┤")[0].strip() for line in reversed(lines) if "┤" in line] == ticks
    assert lines[-1].split() == ["0", "1", "16"]


def test_terminal_says_when_there_is_nothing():
    run = Run(app="a:a", loop="asyncio", probe="/", rate=1, stages=(stage(0, 0.001, lag=None),))
    text = printed(lambda console: terminal.show(run, console))
    assert "nothing was exported" in text
    assert "No block of 10 ms or more" in text


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_html_is_well_formed_needs_nothing_else_and_escapes_names():
    text = html.render([RUN, RUN])
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert tags.links == []
    assert "http://" not in text
    assert "https://" not in text
    assert tags.seen.count("svg") == 2 * (1 + 3)
    assert "app.&lt;locals&gt;.f" in text
    for figure in ("3.00 ms", "1.23 s", "17.5", "≤ 1.00 ms"):
        assert figure in text


HOSTILE = [
    "<script>alert(1)</script>[red]x[/red]",
    "[/nothing] [link=https://example.org]x",
    "\x1b[2J\x1b]0;title\x07\x9b",
    "a\nb\r\u2028c\u202ed",
    "caf\udce9",
    '"><img src=x onerror=alert(1)>',
    "naïve" * 2_000,
]


def hostile(name):
    blocks = (Blocks(function=name, cause=name, count=7, total_s=0.7),)
    stages = (
        stage(0, 0.003),
        stage(1, 0.05, target=f"/{name}"),
        stage(2, 0.05, target=f"/{name}", blocks=blocks),
    )
    return Run(app=name, loop="uvloop", probe=f"/{name}", rate=50, stages=stages)


@pytest.mark.parametrize("name", HOSTILE)
def test_terminal_shows_hostile_names_as_they_are_written(name):
    text = printed(lambda console: terminal.show(hostile(name), console))
    text.encode()
    assert not set(text) & set("\x1b\x07\x9b\r\u2028\u202e")
    assert printable(name)[:20].split()[0] in text


@pytest.mark.parametrize("name", HOSTILE)
def test_html_holds_no_markup_of_a_hostile_name(name):
    text = html.render([hostile(name)])
    text.encode()
    tags, plain = Tags(), Tags()
    tags.feed(text)
    plain.feed(html.render([hostile("a")]))
    assert tags.open == []
    assert tags.seen == plain.seen
    assert tags.links == []
    assert not set(text) & set("\x1b\x07\x9b\r\u2028\u202e")
    assert len(text) < 60_000


def test_html_without_lag_and_load_is_rendered():
    run = Run(app="a:a", loop="asyncio", probe="/", rate=1, stages=(stage(0, 0.001, lag=None),))
    assert "Nothing was exported" in html.render([run])


def test_nine_cells_are_one_table():
    stages = tuple(
        stage(4, 0.1 * (1 + number), target=step.target)
        for number, step in enumerate(cells.plan(seconds=1, rate=50, concurrency=4, port=0).steps)
    )
    assert len(stages) == 9
    text = printed(cells.table(Run(app="x", loop="asyncio", probe="/health", rate=50, stages=stages)))
    assert text.count("18/s") == 9
    assert text.count("/health") == 9 + 2
    assert "p99 900 ms" in text


@pytest.mark.parametrize(
    ("seconds", "words"), [(2.5, "2.50 s"), (0.25, "250 ms"), (0.025, "25.0 ms"), (0.0025, "2.50 ms")]
)
def test_durations_are_readable(seconds, words):
    assert milliseconds(seconds) == words


def test_buckets_end_with_the_last_that_has_any():
    assert buckets(LAG) == [("≤ 1.00 ms", 40), ("≤ 10.0 ms", 3), ("≤ 100 ms", 2)]
    full = Histogram(bounds=(0.1,), counts=(0, 1), sum=1)
    assert buckets(full) == [("≤ 100 ms", 0), ("> 100 ms", 1)]
