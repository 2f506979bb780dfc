"""Arrays, tables, and what computes on them."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, known_calls

_NUMPY = "https://numpy.org/doc/stable/reference/thread_safety.html"
_PANDAS = "https://pandas.pydata.org/docs/user_guide/enhancingperf.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "numpy.dot numpy.matmul numpy.inner numpy.vdot numpy.linalg.* numpy.ndarray.dot",
        "compute",
        f"Multiply matrices in a thread: {IN_THREAD}; BLAS runs without the GIL.",
        _NUMPY,
        releases_gil=True,
    ),
    *known_calls(
        "numpy.*",
        "compute",
        f"Large arrays in a thread: {IN_THREAD}; arrays of objects hold the GIL and need processes.",
        _NUMPY,
    ),
    *known_calls(
        "scipy.*",
        "compute",
        f"Run it in a thread: {IN_THREAD}, or in a process pool if it holds the GIL.",
        "https://docs.scipy.org/doc/scipy/tutorial/thread_safety.html",
    ),
    *known_calls(
        "pandas.*",
        "compute",
        f"Run it in a thread: {IN_THREAD}, or in a process pool: much of pandas holds the GIL.",
        _PANDAS,
    ),
    *known_calls(
        "polars.*",
        "compute",
        "Use await frame.lazy().collect_async(), or a thread: await asyncio.to_thread(...).",
        "https://docs.pola.rs/user-guide/misc/multiprocessing/",
    ),
    *known_calls(
        "pyarrow.*", "compute", f"Run it in a thread: {IN_THREAD}.", "https://arrow.apache.org/docs/python/"
    ),
)
