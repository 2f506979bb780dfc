"""The report as one page that needs nothing else: tables, a flame graph, a waterfall, all of them plain HTML.

Bars are boxes with shares of the page's width: they fit a telephone as well, and nothing must be run.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from html import escape as escape_markup

from otel_loopblock.local.findings import Findings
from otel_loopblock.local.waterfall import waited
from otel_loopblock.naming import printable
from otel_loopblock.run import view
from otel_loopblock.run.flame import Node
from otel_loopblock.run.ledger import Culprit, Route
from otel_loopblock.run.record import Report
from otel_loopblock.version import __version__

MAX_ROWS = 50
"""Of a table."""
NARROWEST = 0.002
"""Share of all blocked time below which a frame is not drawn: it could not be seen."""
LONGEST_CHAIN = 3
"""Frames in a row, each with all the time of the one above, that are drawn; more are one box."""
SHORTEST_S = 0.0005
"""Spans that are shorter are left out of the waterfall, as in the terminal."""

_STYLE = """
*{box-sizing:border-box}
body{font:15px/1.45 system-ui,sans-serif;max-width:72rem;margin:0 auto;padding:1rem;color:#1d2330}
h1{font-size:1.3rem;margin:.5rem 0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.figures{display:flex;flex-wrap:wrap;gap:.5rem 2rem;margin:1rem 0}.figures b{display:block;font-size:1.4rem}
.figures span{color:#566}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%}
th,td{padding:.35rem .6rem;border-bottom:1px solid #dde;text-align:right;vertical-align:top}
td{white-space:nowrap}th{vertical-align:bottom}
th{color:#566;font-weight:normal}
.text{text-align:left}.name{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:11rem}
.name small,p small{color:#566;display:block;overflow-wrap:anywhere}
.culprits td{border:0;padding-bottom:0}.culprits .name{min-width:14rem}
.culprits .call{min-width:8rem}
.culprits .wrapped{white-space:normal}
.culprits .advice{color:#17663a;text-align:left;white-space:normal;padding:0 .6rem .5rem}
.culprits .advice{border-bottom:1px solid #dde}
@media(max-width:52rem){
th,td{padding:.35rem .3rem}.name{min-width:6rem}
.culprits thead{display:none}.culprits tr{display:flex;flex-wrap:wrap;gap:0 1rem}
.culprits td{padding:.1rem 0;text-align:left}.culprits .name{flex-basis:100%}
.culprits .advice{flex-basis:100%;padding:.1rem 0 .6rem}
.culprits td[data-is]:not(:empty)::before{content:attr(data-is) " ";color:#566}
}
.flame{position:relative;border:1px solid #dde;overflow:hidden}
.flame div{position:absolute;height:21px;border:1px solid #fff;border-width:0 1px 1px 0;padding:0 .3rem;
font-size:12px;line-height:20px;overflow:hidden;white-space:nowrap;text-overflow:ellipsis;border-radius:2px}
.bars{display:grid;grid-template-columns:minmax(5rem,max-content) 1fr max-content;gap:.15rem .6rem;
align-items:center;font-size:13px}
.bars .label{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;max-width:38vw}
.bars .right{text-align:right}
.track{position:relative;height:15px;background:#f2f4f7}
.track i{position:absolute;top:0;bottom:0;min-width:2px;background:#4a90b8}
.track i.late,.track i.blocked{background:#d64545}.track i.delayed{background:#e3a62f}
.track i.fine{background:#4aa86b}
footer{margin:2rem 0;color:#566;font-size:13px}
"""


def render(report: Report) -> str:
    """The whole document."""
    found = report.found
    title = f"What blocked {report.command}"
    trouble = report.trouble()
    parts = [f"<h1>{escape(title)}</h1>", _figures(report)]
    if trouble is not None:
        parts.append(f"<p>{escape(trouble[0].upper() + trouble[1:])}.</p>")
    if found.culprits:
        parts.append(_section("Culprits", _culprits(found.culprits[:MAX_ROWS])))
    if report.flame.root.children:
        parts.append(_section("Blocked time, by stack", _flame(report.flame.root)))
    if found.routes:
        parts.append(_section("Who had to wait", _routes(found.routes[:MAX_ROWS])))
    if found.lag is not None and found.lag.count:
        most = max(found.lag.counts)
        rows = [
            (name, [(0.0, count / most, "late" if late else "fine")], str(count))
            for name, count, late in view.buckets(found.lag)
        ]
        parts.append(_section("The loop's lag: how late a timer ran", _bars(rows)))
    if report.worst_trace is not None and report.worst_spans:
        parts.append(_section("The longest block on a trace", _waterfall(report)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy"'
        " content=\"default-src 'none';style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}"
        f"<footer>otel-loopblock {escape(__version__)}</footer></body></html>\n"
    )


def escape(text: str) -> str:
    """Text as HTML shows it; as little of it is believed as in a terminal."""
    return escape_markup(printable(text, 2000))


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def _figures(report: Report) -> str:
    found = report.found
    figures = [
        (view.duration(report.seconds), "watched"),
        (str(found.blocks), "blocks"),
        (view.duration(found.blocked_s), "blocked in all"),
        (view.duration(found.worst.duration_s) if found.worst is not None else "–", "the longest"),
        (view.duration(sum(route.waited_s for route in found.routes)), "waited by others"),
    ]
    boxes = "".join(
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in figures
    )
    return f'<div class="figures">{boxes}</div>'


def _culprits(culprits: Sequence[Culprit]) -> str:
    texts, figures = ("call", "cause"), ("count", "p50", "p99", "longest", "in all", "taken from others")
    rows = []
    for culprit in culprits:
        place = culprit.place or ""
        shown = "/".join(place.split("/")[-2:])
        values = [
            culprit.call or "(itself)",
            view.causes(culprit),
            str(culprit.count),
            view.optional(culprit.p50_s),
            view.optional(culprit.p99_s),
            view.duration(culprit.max_s),
            view.duration(culprit.total_s),
            view.duration(culprit.taken_s) if culprit.delayed else "",
        ]
        kinds = ["name call", "text wrapped", *[""] * len(figures)]
        cells = "".join(
            f'<td class="{kind}" data-is="{name}">{escape(value)}</td>'
            for kind, name, value in zip(kinds, (*texts, *figures), values, strict=True)
        )
        name = escape(culprit.function or "an unknown function")
        small = f'<small title="{escape(place)}">{escape(shown)}</small>' if place else ""
        rows.append(f'<td class="name">{name}{small}</td>{cells}')
        rows.append(f'<td class="advice" colspan="{len(values) + 1}">{escape(culprit.advice or "")}</td>')
    return _table(("function", *texts), figures, rows, kind="culprits")


def _routes(routes: Sequence[Route]) -> str:
    rows = []
    for route in routes:
        figures = (str(route.delayed), view.duration(route.waited_s), view.duration(route.max_s))
        cells = "".join(f"<td>{escape(figure)}</td>" for figure in figures)
        rows.append(f'<td class="name">{escape(route.route or "(no route)")}</td>{cells}')
    return _table(("route",), ("requests", "waited in all", "longest"), rows)


def _table(texts: Sequence[str], figures: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    head = "".join(f'<th class="text">{escape(name)}</th>' for name in texts)
    head += "".join(f"<th>{escape(name)}</th>" for name in figures)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table class="{kind}">{table}</table></div>'


def _flame(root: Node) -> str:
    boxes: list[str] = []
    depths = [0]
    for node, names, depth, left_s in _boxes(root, 0, 0.0):
        depths.append(depth)
        left, width = (100 * seconds / root.total_s for seconds in (left_s, node.total_s))
        text = names[0] if len(names) == 1 else f"… {len(names)} frames"
        share = f"{view.duration(node.total_s)}, {node.total_s / root.total_s:.0%}"
        tip = "\n".join((*map(escape, names), escape(share)))
        hue = 10 + zlib.crc32(names[0].partition("  ")[0].encode("utf-8", "replace")) % 45
        colour = f"hsl({hue},85%,72%)" if len(names) == 1 else "#e4e7ec"
        boxes.append(
            f'<div title="{tip}" style="left:{left:.3f}%;width:{width:.3f}%;top:{21 * depth}px;'
            f'background:{colour}">{escape(text)}</div>'
        )
    height = 21 * (max(depths) + 1) + 2
    note = (
        "<p><small>Width: time blocked. Outermost frames at the top; point at one for its line.</small></p>"
    )
    return f'<div class="flame" style="height:{height}px">{"".join(boxes)}</div>{note}</p>'


def _boxes(
    node: Node, depth: int, left_s: float, root_s: float = 0.0
) -> Iterator[tuple[Node, list[str], int, float]]:
    """What is drawn: the frame, its name or those of a chain, how deep, and where it begins."""
    root_s = root_s or node.total_s
    chain = [node]
    while len(chain[-1].children) == 1:
        (child,) = chain[-1].children.values()
        if child.total_s < 0.999 * chain[-1].total_s:
            break
        chain.append(child)
    names = [f"{frame.name}  {frame.where}".rstrip() for frame in chain]
    if len(chain) > LONGEST_CHAIN + 1:
        groups = [names[:1], names[1 : 1 - LONGEST_CHAIN], *([name] for name in names[1 - LONGEST_CHAIN :])]
    else:
        groups = [[name] for name in names]
    for group in groups:
        yield node, group, depth, left_s
        depth += 1
    for child in sorted(chain[-1].children.values(), key=lambda child: -child.total_s):
        if child.total_s >= NARROWEST * root_s:
            yield from _boxes(child, depth, left_s, root_s)
        left_s += child.total_s


def _waterfall(report: Report) -> str:
    findings = Findings(report.worst_spans)
    began = min(span.start_unix_ns for span in report.worst_spans)
    length = max(1, max(span.end_unix_ns for span in report.worst_spans) - began)

    def bar(start_ns: int, end_ns: int, kind: str) -> tuple[float, float, str]:
        start, end = (min(1.0, max(0.0, (moment - began) / length)) for moment in (start_ns, end_ns))
        return start, end - start, kind

    rows: list[tuple[str, list[tuple[float, float, str]], str]] = []
    traces = dict.fromkeys((str(report.worst_trace), *(span.trace_id for span in report.worst_spans)))
    for row in (row for trace_id in traces for row in findings.trace(trace_id)):
        span = row.span
        of_it = [block for block in findings.blocks if block.span.span_id == span.span_id]
        waits = [delay for delay in findings.delays if delay.span.span_id == span.span_id]
        if span.duration_s < SHORTEST_S and row.depth and not of_it and not waits:
            continue
        bars = [bar(span.start_unix_ns, span.end_unix_ns, "span")]
        bars += [bar(block.started_unix_ns, block.ended_unix_ns, "blocked") for block in of_it]
        for delay in waits:
            bars.append(bar(*waited(delay, findings.blocks), "delayed"))
        rows.append(("\u2003" * row.depth + span.name, bars, view.duration(span.duration_s)))
    worst = report.found.worst
    note = ""
    if worst is not None:
        note = f"<p>{escape(view.line(worst))}</p>"
    legend = "<p><small>Red: the loop was blocked. Yellow: a request that had to wait for it.</small></p>"
    return note + _bars(rows) + legend


def _bars(rows: Sequence[tuple[str, Sequence[tuple[float, float, str]], str]]) -> str:
    """Rows of a name, bars (start and length as shares, and a class) and a figure."""
    cells = []
    for name, bars, figure in rows:
        drawn = "".join(
            f'<i class="{kind}" style="left:{100 * start:.3f}%;width:{100 * length:.3f}%"></i>'
            for start, length, kind in bars
            if length > 0
        )
        cells.append(
            f'<span class="label" title="{escape(name)}">{escape(name)}</span>'
            f'<span class="track">{drawn}</span>'
            f'<span class="right">{escape(figure)}</span>'
        )
    return f'<div class="bars">{"".join(cells)}</div>'
