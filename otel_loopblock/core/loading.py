"""Loads the compiled core, or says why there is none that can be used."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType

_NATIVE = "otel_loopblock.core._native"
_FOLDER = os.path.dirname(__file__)


class Absent(Exception):
    """No compiled core is to be expected here; the message says why."""


class Unusable(Absent):
    """There is one, but it cannot be used."""


def load(interface: int, names: Sequence[str]) -> ModuleType:
    """Import the compiled core.

    Args:
        interface: the number that it must say: else it is of another release.
        names: what it must have.

    Raises:
        Absent: there is none, or it is of no use.
    """
    if _is_free_threaded():
        raise Absent("this Python runs without a GIL, which to import the compiled core would turn on")
    for suffix in EXTENSION_SUFFIXES:
        if _is_cut_off(os.path.join(_FOLDER, "_native" + suffix)):
            raise Unusable(f"_native{suffix} has been cut off")
    try:
        import otel_loopblock.core._native as native
    except Exception as error:
        if not isinstance(error, ModuleNotFoundError) or error.name != _NATIVE:
            raise Unusable(f"to import it raises {type(error).__name__}: {error}") from None
        files = _extension_files()
        if files:
            raise Unusable(f"{', '.join(files)} is for another Python") from None
        raise Absent("it is not part of this installation") from None
    found = getattr(native, "INTERFACE", None)
    if found != interface:
        raise Unusable(f"{native.__file__} is of another release (interface {found}, not {interface})")
    missing = [name for name in names if not hasattr(native, name)]
    if missing:
        raise Unusable(f"{native.__file__} has no {', '.join(missing)}")
    return native


def _is_free_threaded() -> bool:
    is_gil_enabled = getattr(sys, "_is_gil_enabled", None)
    return "t" in getattr(sys, "abiflags", "") or (is_gil_enabled is not None and not is_gil_enabled())


def _is_cut_off(path: str) -> bool:
    """Whether the end of an ELF file is missing, which lists its sections: to load it may end the process."""
    try:
        with open(path, "rb") as file:
            header = file.read(64)
            size = file.seek(0, os.SEEK_END)
    except OSError:
        return False
    if not header.startswith(b"\x7fELF\x02\x01"):  # of 64 bits, little-endian; others the loader must judge
        return False
    place, entry_size, entries = (
        int.from_bytes(header[start:end], "little") for start, end in ((40, 48), (58, 60), (60, 62))
    )
    return size < max(len(header), place + entry_size * entries)


def _extension_files() -> list[str]:
    try:
        names = os.listdir(_FOLDER)
    except OSError:  # in a zip file
        return []
    return sorted(name for name in names if name.startswith("_native.") and name.endswith((".so", ".pyd")))
