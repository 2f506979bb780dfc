"""Durations and names as a person reads them."""

from __future__ import annotations


def milliseconds(seconds: float) -> str:
    """``3.2 ms``, ``120 ms``."""
    value = seconds * 1000
    return f"{value:.1f} ms" if value < 9.95 else f"{value:.0f} ms"


def short(function: str | None) -> str:
    """A function without its packages: ``shop.charge_card``."""
    return ".".join((function or "an unknown function").replace(".<locals>", "").split(".")[-2:])
