"""Pictures, drawings, documents."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, NO_THREAD, POOLS, known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "PIL.*",
        "compute",
        f"Decode, resize and save in a thread: {IN_THREAD}, or in a process pool.",
        "https://pillow.readthedocs.io/en/stable/reference/Image.html",
        "2026-11",
    ),
    *known_calls(
        "cv2.*",
        "compute",
        f"Run it in a thread: {IN_THREAD}; OpenCV's bindings release the GIL.",
        "https://github.com/opencv/opencv/blob/4.x/modules/python/src2/cv2_util.hpp",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "matplotlib.*",
        "compute",
        "Draw in a process pool: matplotlib is not thread-safe.",
        "https://matplotlib.org/stable/users/faq.html",
        "2026-11",
    ),
    *known_calls(
        "reportlab.* weasyprint.*",
        "compute",
        f"Make documents in a process pool; {NO_THREAD}: it is Python code.",
        POOLS,
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "pypdf.* PyPDF2.* pdfplumber.* pdfminer.*",
        "compute",
        f"Read documents in a process pool; {NO_THREAD}: it is Python code.",
        "https://pypdf.readthedocs.io/en/stable/",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "pymupdf.* fitz.*",
        "compute",
        f"Read and render documents in a process pool; {NO_THREAD}: PyMuPDF holds the GIL.",
        "https://pymupdf.readthedocs.io/en/latest/recipes-multiprocessing.html",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "docx.* pptx.*",
        "compute",
        f"Read and write documents in a process pool; {NO_THREAD}: it is Python code.",
        "https://python-docx.readthedocs.io/en/latest/",
        "2026-11",
        releases_gil=False,
    ),
    *known_calls(
        "pytesseract.*",
        "process",
        f"Recognise text in a thread: {IN_THREAD}; it starts tesseract.",
        "https://github.com/madmaze/pytesseract",
        "2026-11",
    ),
)
