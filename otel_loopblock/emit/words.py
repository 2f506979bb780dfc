"""A block in one line of text, for the log."""

from __future__ import annotations

import os

from otel_loopblock.explain.block import Block
from otel_loopblock.explain.own_code import in_library


def milliseconds(seconds: float) -> str:
    """A duration as a person reads it: ``52 ms``, ``12.3 s``."""
    if seconds < 10:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s"


def line(block: Block, request: str | None) -> str:
    """``event loop blocked 52 ms in GET /predict: app.py:42 predict → time.sleep (wait). Advice.``

    Args:
        block: the record; its names are fit to be shown (:mod:`otel_loopblock.naming.text`).
        request: name of the request's span, if there is one; likewise.
    """
    verb = "still blocked after" if block.ongoing else "blocked"
    text = f"event loop {verb} {milliseconds(block.duration_s)}"
    if request:
        text += f" in {request}"
    text += f": {place(block)}"
    if block.cause != "unknown":
        text += f" ({block.cause})"
    if block.advice:
        text += f". {block.advice}"
    return text


def place(block: Block) -> str:
    """``app.py:42 predict → time.sleep``; what is not known is left out."""
    culprit = block.culprit
    if culprit is None:
        return f"→ {block.call}" if block.call else "no stack was seen"
    text = culprit.function
    if culprit.file:
        # The name of a library's file says little: whose it is, the module does.
        name = text if in_library(culprit.file) else text.rpartition(".")[2]
        text = f"{os.path.basename(culprit.file)}:{culprit.line} {name}"
    return f"{text} → {block.call}" if block.call and block.call != culprit.function else text
