"""Text: patterns, comparing, languages, markup."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import NO_THREAD, known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "regex.*",
        "compute",
        "Bound it: regex.search(pattern, string, timeout=1), in a thread: await asyncio.to_thread(...).",
        "https://github.com/mrabarnett/mrab-regex",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "rapidfuzz.*",
        "compute",
        f"Compare less at once, or in a process pool; {NO_THREAD}: it holds the GIL.",
        "https://rapidfuzz.github.io/RapidFuzz/",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "rapidfuzz.process.cdist rapidfuzz.process*.cdist",
        "compute",
        "Compare in a thread: await asyncio.to_thread(rapidfuzz.process.cdist, queries, choices).",
        "https://rapidfuzz.github.io/RapidFuzz/Usage/process.html",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "nltk.*",
        "compute",
        f"Process less at once, or in a process pool; {NO_THREAD}: it is Python code.",
        "https://www.nltk.org/",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "nltk.download nltk.downloader.* nltk.data.load nltk.data.find nltk.corpus.util.*",
        "startup",
        "Load corpora and models at start-up: nltk.download(name), nltk.data.load(url).",
        "https://www.nltk.org/data.html",
        "2026-11",
    ),
    *known_calls(
        "markdown.* mistune.* docutils.*",
        "compute",
        f"Render once and keep the result, or in a process pool; {NO_THREAD}: it is Python code.",
        "https://python-markdown.github.io/reference/",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "spacy.*",
        "inference",
        "Run the pipeline in a process pool: await loop.run_in_executor(pool, ...).",
        "https://spacy.io/usage/processing-pipelines",
        "2026-11",
    ),
    *known_calls(
        "spacy.load spacy.util.load_model*",
        "startup",
        "Load the pipeline at start-up: spacy.load(name).",
        "https://spacy.io/usage/models",
        "2026-11",
    ),
)
