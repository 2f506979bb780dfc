"""The page: nothing of it is loaded or run, and nothing that comes from the service is markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from otel_loopblock.local.statistics import Histogram
from otel_loopblock.local.telemetry import Event, Span
from otel_loopblock.run import html
from otel_loopblock.run.flame import Flame
from otel_loopblock.run.ledger import Block, Culprit, Found, Route
from otel_loopblock.run.record import Report, as_json

EVIL = "<script>alert('1')</script>\"&\x1b[31m"
SAFE_TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "small", "div", "b", "span", "table",
    "thead", "tbody", "tr", "th", "td", "i", "footer",
}  # fmt: skip


def evil_report() -> Report:
    attributes = {
        "event_loop.block.duration": 0.2,
        "event_loop.block.cause": EVIL,
        "event_loop.block.call": EVIL,
        "event_loop.block.advice": EVIL,
        "code.function.name": EVIL,
        "code.file.path": EVIL,
        "code.line.number": 3,
    }
    span = Span(
        trace_id="01" * 16,
        span_id="02" * 8,
        parent_span_id=None,
        name=EVIL,
        kind="SERVER",
        start_unix_ns=10**18,
        end_unix_ns=10**18 + 300_000_000,
        attributes={},
        events=(Event(name="event_loop.blocked", time_unix_ns=10**18 + 1000, attributes=attributes),),
        links=(),
        status="UNSET",
        status_message="",
        dropped_events=0,
        scope="",
        resource={},
    )
    flame = Flame()
    flame.add(f'  File "{EVIL}", line 3, in {EVIL}\n  [in {EVIL}]\n', 0.2)
    block = Block(EVIL, 10**18, 0.2, False, attributes)
    culprit = Culprit(
        function=EVIL,
        place=f"{EVIL}:3",
        call=EVIL,
        causes=((EVIL, 1), ("wait", 1)),
        count=2,
        total_s=0.3,
        p50_s=0.1,
        p99_s=0.2,
        max_s=0.2,
        delayed=3,
        taken_s=0.4,
        advice=EVIL,
    )
    found = Found(
        culprits=(culprit,),
        routes=(Route(route=EVIL, delayed=3, waited_s=0.4, max_s=0.2),),
        lag=Histogram(bounds=(0.001, 0.1), counts=(3, 0, 2), sum=1.0),
        last=block,
        worst=block,
        longest_s=0.2,
        blocks=2,
        blocked_s=0.3,
        processes=1,
    )
    return Report(
        command=EVIL,
        began_unix_s=1.8e9,
        seconds=12.0,
        exit_code=0,
        threshold_s=0.01,
        found=found,
        flame=flame,
        worst_trace="01" * 16,
        worst_spans=(span,),
    )


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_nothing_from_the_service_is_markup():
    text = html.render(evil_report())
    reader = Reader()
    reader.feed(text)
    assert reader.tags <= SAFE_TAGS
    assert not [name for name in reader.attributes if name.startswith("on") or name in ("src", "href")]
    assert text.count("&lt;script&gt;") > 10
    assert "\x1b" not in text


def test_nothing_is_loaded():
    text = html.render(evil_report())
    assert "default-src 'none'" in text
    assert not re.search(r"https?://|url\(|@import", text)


def test_frames_are_as_wide_as_their_share():
    report = evil_report()
    flame = Flame()
    for name, seconds in (("one", 0.3), ("other", 0.1)):
        flame.add(
            f'  File "/srv/app.py", line 3, in serve\n  File "/srv/app.py", line 9, in {name}\n', seconds
        )
    text = html._flame(flame.root)
    widths = dict(re.findall(r"width:([\d.]+)%;[^>]*>(\w+)", text))
    assert {"100.000": "serve", "75.000": "one", "25.000": "other"}.items() <= widths.items()
    assert report.flame.root.total_s == 0.2


def test_long_chain_of_frames_is_one_box():
    flame = Flame()
    flame.add("".join(f'  File "/srv/app.py", line {n}, in f{n}\n' for n in range(20)), 0.1)
    text = html._flame(flame.root)
    assert "… 18 frames" in text
    assert "f19 srv/app.py:19</div>" in text.replace("  ", " ")


def test_json_has_all_figures():
    found = as_json(evil_report())
    assert found["culprits"][0]["causes"] == {EVIL: 1, "wait": 1}
    assert found["lag"]["counts"] == (3, 0, 2)
    assert found["longest"]["duration_s"] == 0.2
    assert found["flame"]["children"][0]["total_s"] == 0.2
