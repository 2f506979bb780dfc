"""Models that are trained here or loaded."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, known_calls

_SKLEARN = "https://scikit-learn.org/stable/computing/parallelism.html"
_TORCH = "https://docs.pytorch.org/docs/stable/notes/cpu_threading_torchscript_inference.html"
_MOJO = "https://docs.h2o.ai/driverless-ai/latest-stable/docs/userguide/scoring-pipeline-cpp.html"
_MLFLOW = "https://mlflow.org/docs/latest/api_reference/python_api/mlflow.pyfunc.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "sklearn.*.predict* sklearn.*.transform sklearn.*.decision_function sklearn.*.kneighbors",
        "inference",
        f"Run the model in a thread: {IN_THREAD}, or in a process pool.",
        _SKLEARN,
        "2026-11",
    ),
    *known_calls(
        "sklearn.*.fit*",
        "inference",
        "Train in a worker process: await loop.run_in_executor(pool, ...).",
        _SKLEARN,
        "2026-11",
    ),
    *known_calls(
        "sklearn.*",
        "inference",
        f"Run it in a thread: {IN_THREAD}, or in a process pool.",
        _SKLEARN,
        "2026-11",
    ),
    *known_calls(
        "joblib.load joblib.numpy_pickle.*",
        "startup",
        "Load models at start-up: joblib.load(filename).",
        "https://joblib.readthedocs.io/en/stable/persistence.html",
        "2026-11",
    ),
    *known_calls(
        "joblib.*",
        "inference",
        "Run joblib.Parallel(...) in a thread: await asyncio.to_thread(...).",
        "https://joblib.readthedocs.io/en/stable/",
        "2026-11",
    ),
    *known_calls(
        "xgboost.*",
        "inference",
        f"Predict in a thread: {IN_THREAD}; its C code runs without the GIL.",
        "https://xgboost.readthedocs.io/en/stable/prediction.html",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "xgboost.Booster.load_model xgboost.XGBModel.load_model xgboost.*.load_model",
        "startup",
        "Load the model at start-up: model.load_model(fname).",
        "https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html",
        "2026-11",
    ),
    *known_calls(
        "lightgbm.*",
        "inference",
        f"Predict in a thread: {IN_THREAD}; its C code runs without the GIL.",
        "https://lightgbm.readthedocs.io/en/stable/Python-Intro.html",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "lightgbm.Booster.__init__ lightgbm.basic.Booster.__init__",
        "startup",
        "Load the model at start-up: lightgbm.Booster(model_file=...).",
        "https://lightgbm.readthedocs.io/en/stable/Python-Intro.html",
        "2026-11",
    ),
    *known_calls(
        "catboost.*",
        "inference",
        f"Predict in a thread: {IN_THREAD}.",
        "https://catboost.ai/docs/en/concepts/python-quickstart",
        "2026-11",
    ),
    *known_calls(
        "catboost.*.load_model",
        "startup",
        "Load the model at start-up: model.load_model(fname).",
        "https://catboost.ai/docs/en/concepts/python-reference_catboost_load_model",
        "2026-11",
    ),
    *known_calls(
        "torch.*",
        "inference",
        "Run the model in a thread, under torch.inference_mode(): await asyncio.to_thread(...).",
        _TORCH,
        "2026-11",
    ),
    *known_calls(
        "torch.load torch.jit.load torch.hub.load torch.package.* torch.nn.Module.load_state_dict "
        "torch.serialization.load torch.hub.*",
        "startup",
        "Load models at start-up: torch.load(path, weights_only=True).",
        "https://docs.pytorch.org/docs/stable/generated/torch.load.html",
        "2026-11",
    ),
    *known_calls(
        "torch.compile torch._dynamo.* torch._inductor.*",
        "startup",
        "Compile and warm up at start-up: torch.compile(model) compiles at the first call.",
        "https://docs.pytorch.org/docs/stable/generated/torch.compile.html",
        "2026-11",
    ),
    *known_calls(
        "tensorflow.* keras.*",
        "inference",
        "Run model.predict(x) in a thread: await asyncio.to_thread(...), or serve it by TensorFlow Serving.",
        "https://www.tensorflow.org/tfx/guide/serving",
        "2026-11",
    ),
    *known_calls(
        "keras.models.load_model keras.saving.* keras.src.saving.* tensorflow.keras.models.load_model "
        "tensorflow.saved_model.load tensorflow.python.saved_model.*",
        "startup",
        "Load models at start-up: keras.models.load_model(filepath).",
        "https://keras.io/api/models/model_saving_apis/",
        "2026-11",
    ),
    *known_calls(
        "onnxruntime.*",
        "inference",
        f"Run the session in a thread: {IN_THREAD}; it releases the GIL.",
        "https://onnxruntime.ai/docs/performance/tune-performance/threading.html",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "onnxruntime.InferenceSession.__init__ "
        "onnxruntime.capi.onnxruntime_inference_collection.InferenceSession.__init__ "
        "onnxruntime.*.InferenceSession._create_inference_session "
        "onnxruntime.InferenceSession._create_inference_session",
        "startup",
        "Make the session at start-up: onnxruntime.InferenceSession(path).",
        "https://onnxruntime.ai/docs/api/python/api_summary.html",
        "2026-11",
    ),
    *known_calls(
        "h2o.*",
        "inference",
        "Call it in a thread: await asyncio.to_thread(...); h2o waits for its Java server over HTTP.",
        "https://docs.h2o.ai/h2o/latest-stable/h2o-docs/performance-and-prediction.html",
        "2026-11",
    ),
    *known_calls(
        "h2o.init h2o.connect h2o.load_model h2o.upload_model h2o.import_mojo h2o.upload_mojo",
        "startup",
        "Do it at start-up: h2o.init() starts a Java server, h2o.load_model(path) reads the model.",
        "https://docs.h2o.ai/h2o/latest-stable/h2o-docs/save-and-load-model.html",
        "2026-11",
    ),
    *known_calls(
        "daimojo.*", "inference", f"Predict in a thread: {IN_THREAD}, or in a process pool.", _MOJO, "2026-11"
    ),
    *known_calls(
        "daimojo.model daimojo.model.__init__ daimojo.cppmojo.MojoPipeline.__init__",
        "startup",
        "Load the pipeline at start-up: daimojo.model(path).",
        _MOJO,
        "2026-11",
    ),
    *known_calls(
        "mlflow.*",
        "network",
        f"Log and fetch in a thread: {IN_THREAD}.",
        "https://mlflow.org/docs/latest/ml/tracking/",
        "2026-11",
    ),
    *known_calls(
        "mlflow.pyfunc.PyFuncModel.*",
        "inference",
        "Predict in a thread: await asyncio.to_thread(model.predict, data), or in a process pool.",
        _MLFLOW,
        "2026-11",
    ),
    *known_calls(
        "mlflow.*.load_model mlflow.artifacts.*",
        "startup",
        "Load models at start-up: mlflow.pyfunc.load_model(model_uri).",
        _MLFLOW,
        "2026-11",
    ),
    *known_calls(
        "shap.*",
        "inference",
        "Explain in a worker process: await loop.run_in_executor(pool, ...).",
        "https://shap.readthedocs.io/en/latest/",
        "2026-11",
    ),
)
