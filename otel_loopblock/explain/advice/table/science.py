"""Arrays, tables, graphs, statistics, sound."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, NO_THREAD, known_calls

_NUMPY = "https://numpy.org/doc/stable/reference/thread_safety.html"
_POLARS_IO = "https://docs.pola.rs/api/python/stable/reference/io.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "numpy.dot numpy.matmul numpy.inner numpy.vdot numpy.linalg.* numpy.ndarray.dot",
        "compute",
        f"Multiply matrices in a thread: {IN_THREAD}; BLAS runs without the GIL.",
        _NUMPY,
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "numpy.*",
        "compute",
        "Large arrays in a thread: await asyncio.to_thread(...); arrays of objects hold the GIL and need "
        "processes.",
        _NUMPY,
        "2026-11",
    ),
    *known_calls(
        "scipy.*",
        "compute",
        f"Run it in a thread: {IN_THREAD}, or in a process pool.",
        "https://docs.scipy.org/doc/scipy/tutorial/thread_safety.html",
        "2026-11",
    ),
    *known_calls(
        "statsmodels.*",
        "compute",
        "Fit models in a worker process: await loop.run_in_executor(pool, ...).",
        "https://www.statsmodels.org/stable/index.html",
        "2026-11",
    ),
    *known_calls(
        "pandas.*",
        "compute",
        "Run it in a thread: await asyncio.to_thread(...), or in a process pool: much of pandas holds "
        "the GIL.",
        "https://pandas.pydata.org/docs/user_guide/enhancingperf.html",
        "2026-11",
    ),
    *known_calls(
        "pandas.read_excel pandas.DataFrame.to_excel pandas.ExcelFile.* pandas.io.excel.*",
        "serialisation",
        f"Read and write workbooks in a process pool; {NO_THREAD}: it is Python code.",
        "https://pandas.pydata.org/docs/reference/api/pandas.read_excel.html",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "polars.*",
        "compute",
        f"Run it in a thread: {IN_THREAD}; polars releases the GIL.",
        "https://docs.pola.rs/user-guide/misc/multiprocessing/",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "polars.LazyFrame.collect polars.collect_all",
        "compute",
        "Use await frame.collect_async(), or await polars.collect_all_async(frames).",
        "https://docs.pola.rs/api/python/stable/reference/lazyframe/api/polars.LazyFrame.collect_async.html",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "polars.read_csv",
        "compute",
        "Use await polars.scan_csv(source).collect_async(), or a thread: await asyncio.to_thread(...).",
        _POLARS_IO,
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "polars.read_parquet",
        "compute",
        "Use await polars.scan_parquet(source).collect_async(), or a thread: await asyncio.to_thread(...).",
        _POLARS_IO,
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "pyarrow.*",
        "compute",
        f"Run it in a thread: {IN_THREAD}.",
        "https://arrow.apache.org/docs/python/",
        "2026-11",
    ),
    *known_calls(
        "dask.*",
        "compute",
        f"Compute in a thread: {IN_THREAD}; its scheduler has threads of its own.",
        "https://docs.dask.org/en/stable/scheduling.html",
        "2026-11",
    ),
    *known_calls(
        "xarray.*",
        "compute",
        "Load and compute in a thread: await asyncio.to_thread(dataset.load).",
        "https://docs.xarray.dev/en/stable/user-guide/dask.html",
        "2026-11",
    ),
    *known_calls(
        "h5py.*",
        "file",
        f"Read and write in a thread, one at a time: {IN_THREAD}.",
        "https://docs.h5py.org/en/stable/high/file.html",
        "2026-11",
    ),
    *known_calls(
        "geopandas.* shapely.*",
        "compute",
        f"Run it in a thread: {IN_THREAD}, or in a process pool.",
        "https://geopandas.org/en/stable/docs.html",
        "2026-11",
    ),
    *known_calls(
        "networkx.*",
        "compute",
        f"Use a smaller graph, or a process pool; {NO_THREAD}: it is Python code.",
        "https://networkx.org/documentation/stable/",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "librosa.*",
        "compute",
        f"Load and transform sound in a thread: {IN_THREAD}, or in a process pool.",
        "https://librosa.org/doc/latest/",
        "2026-11",
    ),
    *known_calls(
        "soundfile.*",
        "compute",
        f"Read and write sound in a thread: {IN_THREAD}; its C code frees the GIL.",
        "https://python-soundfile.readthedocs.io/en/latest/",
        "2026-11",
        releases_gil=True,
    ),
)
