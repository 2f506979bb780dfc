"""Finds what a command was pointed at: ``module:attribute`` to an object, or one line that says why not."""

from __future__ import annotations

import importlib
import sys

from otel_loopblock.naming.text import MAX_SENTENCE, printable


class BadTarget(Exception):
    """There is no such object; the message is one line for the user."""


def load_target(target: str) -> object:
    """The object that ``module:attribute`` names, as if imported from the current directory.

    Raises:
        BadTarget: it is not of that form, the module cannot be imported, or has no such attribute.
    """
    name, colon, path = target.partition(":")
    if not colon or not name or not path:
        raise BadTarget(f"{target!r} is not of the form module:attribute")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may even call sys.exit when imported
        raise BadTarget(f"cannot import {name!r}: {one_line(error)}") from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise BadTarget(f"{name!r} has no attribute {path!r}") from None
    return found


def one_line(error: BaseException) -> str:
    """Type and message of an exception, in one line."""
    message = printable(" ".join(str(error).split()), MAX_SENTENCE)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
