"""Frameworks and templates."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import NO_THREAD, known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "jinja2.*",
        "compute",
        f"Cache what is rendered, or render large pages in a process pool; {NO_THREAD}: it is Python code.",
        "https://jinja.palletsprojects.com/en/stable/api/",
        releases_gil=False,
    ),
)
