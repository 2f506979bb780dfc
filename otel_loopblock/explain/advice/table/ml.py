"""Models that are trained here or loaded."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, known_calls

_SKLEARN = "https://scikit-learn.org/stable/computing/parallelism.html"
_XGBOOST = "https://xgboost.readthedocs.io/en/stable/prediction.html"
_LIGHTGBM = "https://lightgbm.readthedocs.io/en/stable/Python-Intro.html"
_TORCH = "https://docs.pytorch.org/docs/stable/notes/cpu_threading_torchscript_inference.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "sklearn.*.predict* sklearn.*.transform sklearn.*.decision_function sklearn.*.kneighbors",
        "inference",
        f"Run the model in a thread: {IN_THREAD}, or in a process pool if it holds the GIL.",
        _SKLEARN,
    ),
    *known_calls(
        "sklearn.*.fit*",
        "inference",
        "Train in a worker process: await loop.run_in_executor(ProcessPoolExecutor(), ...).",
        _SKLEARN,
    ),
    *known_calls(
        "sklearn.*",
        "inference",
        f"Run it in a thread: {IN_THREAD}, or in a process pool if it holds the GIL.",
        _SKLEARN,
    ),
    *known_calls(
        "joblib.load joblib.numpy_pickle.*",
        "startup",
        "Load models at start-up, not in a handler.",
        "https://joblib.readthedocs.io/en/stable/",
    ),
    *known_calls(
        "joblib.*",
        "inference",
        "Run joblib's parallel work in a thread: await asyncio.to_thread(...).",
        "https://joblib.readthedocs.io/en/stable/",
    ),
    *known_calls(
        "xgboost.*",
        "inference",
        f"Predict in a thread: {IN_THREAD}; its C code runs without the GIL.",
        _XGBOOST,
        releases_gil=True,
    ),
    *known_calls(
        "lightgbm.*",
        "inference",
        f"Predict in a thread: {IN_THREAD}; its C code runs without the GIL.",
        _LIGHTGBM,
        releases_gil=True,
    ),
    *known_calls(
        "catboost.*",
        "inference",
        f"Predict in a thread: {IN_THREAD}.",
        "https://catboost.ai/docs/en/concepts/python-quickstart",
    ),
    *known_calls(
        "torch.*",
        "inference",
        f"Run the model in a thread: {IN_THREAD}, under torch.inference_mode().",
        _TORCH,
    ),
    *known_calls(
        "tensorflow.* keras.*",
        "inference",
        f"Run model.predict in a thread: {IN_THREAD}, or serve it by TensorFlow Serving.",
        "https://www.tensorflow.org/tfx/guide/serving",
    ),
    *known_calls(
        "onnxruntime.*",
        "inference",
        f"Run the session in a thread: {IN_THREAD}; it releases the GIL.",
        "https://onnxruntime.ai/docs/performance/tune-performance/threading.html",
        releases_gil=True,
    ),
    *known_calls(
        "h2o.*",
        "inference",
        f"Call it in a thread: {IN_THREAD}; h2o waits for its Java server over HTTP.",
        "https://docs.h2o.ai/h2o/latest-stable/h2o-docs/performance-and-prediction.html",
    ),
    *known_calls(
        "spacy.*",
        "inference",
        "Run the pipeline in a worker process: await loop.run_in_executor(ProcessPoolExecutor(), ...).",
        "https://spacy.io/usage/processing-pipelines",
    ),
)
