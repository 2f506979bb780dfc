"""Language models: clients of services, and models that run here."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, known_calls

_TRANSFORMERS = "https://huggingface.co/docs/transformers/pipeline_webserver"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "openai.OpenAI.* openai._base_client.SyncAPIClient.* openai.resources.*",
        "network",
        "Use openai.AsyncOpenAI: await client.chat.completions.create(...).",
        "https://github.com/openai/openai-python",
    ),
    *known_calls(
        "anthropic.Anthropic.* anthropic._base_client.SyncAPIClient.* anthropic.resources.*",
        "network",
        "Use anthropic.AsyncAnthropic: await client.messages.create(...).",
        "https://github.com/anthropics/anthropic-sdk-python",
    ),
    *known_calls(
        "transformers.*",
        "inference",
        f"Run the pipeline in a thread: {IN_THREAD}, fed by one queue.",
        _TRANSFORMERS,
    ),
    *known_calls(
        "sentence_transformers.*", "inference", f"Encode in a thread: {IN_THREAD}.", "https://sbert.net/"
    ),
    *known_calls(
        "llama_cpp.*",
        "inference",
        f"Run the model in a thread: {IN_THREAD}, or behind its server.",
        "https://github.com/abetlen/llama-cpp-python",
    ),
    *known_calls(
        "faiss.*",
        "inference",
        f"Search in a thread: {IN_THREAD}; faiss releases the GIL.",
        "https://github.com/facebookresearch/faiss/wiki/Threads-and-asynchronous-calls",
        releases_gil=True,
    ),
)
