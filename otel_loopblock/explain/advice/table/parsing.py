"""Formats: what turns objects into text or bytes, and back."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, NO_THREAD, PY, known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "pydantic.* pydantic_core.*",
        "serialisation",
        f"Validate less at once, or in a process pool; {NO_THREAD}: it builds Python objects.",
        "https://docs.pydantic.dev/latest/concepts/performance/",
        releases_gil=False,
    ),
    *known_calls(
        "json.*",
        "serialisation",
        f"Send or parse less at once, or use orjson, which is faster, or a process pool; {NO_THREAD}.",
        "https://github.com/ijl/orjson",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "orjson.* ujson.* simplejson.* msgpack.* rapidjson.*",
        "serialisation",
        f"Send or parse less at once, in pages, or use a process pool; {NO_THREAD}: it holds the GIL.",
        "https://github.com/ijl/orjson",
        releases_gil=False,
    ),
    *known_calls(
        "pickle.* marshal.* dill.* cloudpickle.*",
        "serialisation",
        f"Pickle less at once, or load at start-up; {NO_THREAD}: it holds the GIL.",
        f"{PY}pickle.html",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "yaml.*",
        "serialisation",
        f"Load YAML at start-up, with yaml.CSafeLoader, or use a process pool; {NO_THREAD}.",
        "https://pyyaml.org/wiki/PyYAMLDocumentation",
        releases_gil=False,
    ),
    *known_calls(
        "tomllib.* tomli.* configparser.*",
        "serialisation",
        f"Read configuration at start-up; {NO_THREAD}: it is Python code.",
        f"{PY}tomllib.html",
        releases_gil=False,
    ),
    *known_calls(
        "xml.etree.* xml.dom.* xml.sax.*",
        "serialisation",
        f"Feed documents in pieces, or parse in a process pool; {NO_THREAD}: it builds Python objects.",
        f"{PY}xml.etree.elementtree.html",
        releases_gil=False,
    ),
    *known_calls(
        "lxml.etree.parse lxml.etree.fromstring lxml.etree.XML lxml.etree.HTML",
        "serialisation",
        f"Parse in a thread: {IN_THREAD}; lxml frees the GIL while it parses.",
        "https://lxml.de/FAQ.html",
        releases_gil=True,
    ),
    *known_calls(
        "lxml.*",
        "serialisation",
        f"Do it in a thread: {IN_THREAD}, or in a process pool if it holds the GIL.",
        "https://lxml.de/FAQ.html",
    ),
    *known_calls(
        "bs4.* html.parser.*",
        "serialisation",
        f"Parse large pages in a process pool; {NO_THREAD}: it is Python code.",
        "https://www.crummy.com/software/BeautifulSoup/bs4/doc/",
        releases_gil=False,
    ),
    *known_calls(
        "csv.* openpyxl.*",
        "serialisation",
        f"Read and write it in pieces, or in a process pool; {NO_THREAD}: it builds Python objects.",
        f"{PY}csv.html",
        releases_gil=False,
        low_level=True,
    ),
    *known_calls(
        "base64.*",
        "serialisation",
        f"Encode less at once, or stream it; {NO_THREAD}: it holds the GIL.",
        f"{PY}base64.html",
        releases_gil=False,
        low_level=True,
    ),
)
