"""Pictures, drawings, documents."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, NO_THREAD, PY, known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "PIL.*",
        "compute",
        f"Decode, resize and save in a thread: {IN_THREAD}, or in a process pool.",
        "https://pillow.readthedocs.io/en/stable/reference/Image.html",
    ),
    *known_calls(
        "cv2.*",
        "compute",
        f"Run it in a thread: {IN_THREAD}; OpenCV's bindings release the GIL.",
        "https://github.com/opencv/opencv/blob/4.x/modules/python/src2/cv2_util.hpp",
        releases_gil=True,
    ),
    *known_calls(
        "matplotlib.*",
        "compute",
        "Draw in a process pool: matplotlib is not thread-safe.",
        "https://matplotlib.org/stable/users/faq.html",
    ),
    *known_calls(
        "reportlab.* weasyprint.*",
        "compute",
        f"Make documents in a process pool; {NO_THREAD}: it is Python code.",
        f"{PY}concurrent.futures.html#processpoolexecutor",
        releases_gil=False,
    ),
)
