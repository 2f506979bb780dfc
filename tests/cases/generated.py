"""Code that no person wrote: the function that has it run is the culprit."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cases.case import Request, case

_PAGE = (
    "<html>\n{% macro cell(row) %}<td>{{ row.name | upper }}</td>{% endmacro %}\n<table>\n"
    "{% for row in rows %}<tr>{{ cell(row) }}</tr>\n{% endfor %}</table>\n</html>\n"
)


@case(
    5,
    ".jinja_template.<locals>.request",
    "jinja2.Template.render|jinja2.environment.Template.render",
    needs="jinja2",
)
@contextmanager
def jinja_template() -> Iterator[Request]:
    import jinja2

    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "map.html"), "w", encoding="utf-8") as file:
            file.write(_PAGE)
        template = jinja2.Environment(loader=jinja2.FileSystemLoader(folder)).get_template("map.html")
        rows = [{"name": f"row {n}"} for n in range(9000)]

        async def request() -> None:
            template.render(rows=rows)

        yield request


@case(5, ".of_a_dataclass.<locals>.request", "None")
@contextmanager
def of_a_dataclass() -> Iterator[Request]:
    @dataclasses.dataclass(order=True)
    class Point:
        x: int
        y: int

    points = [Point(n % 977, n) for n in range(300_000)]

    async def request() -> None:
        for one in points:
            one < points[0]  # noqa: B015

    yield request


@case(5, ".of_a_text.<locals>.request", "None")
@contextmanager
def of_a_text() -> Iterator[Request]:
    code = compile("for number in range(900_000):\n    number * number\n", "rule.txt", "exec")

    async def request() -> None:
        exec(code, {})

    yield request
