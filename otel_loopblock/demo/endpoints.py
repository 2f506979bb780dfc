"""What the demonstration asks for, and what it expects to be found: one place for load and checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from otel_loopblock.demo import shop


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One operation of the shop, in its two variants."""

    name: str
    blocks_by: str
    """How, in words."""
    calls: Callable[..., Any]
    """The synchronous function that it calls: the culprit."""
    call: str | None
    """How the name of the call under it must begin; ``None`` where it computes itself."""
    cause: str | None = None
    """The cause, where it does not depend on what else the machine does."""

    @property
    def function(self) -> str:
        """The culprit's name, fully qualified."""
        return f"{self.calls.__module__}.{self.calls.__qualname__}"

    @property
    def lines(self) -> frozenset[int]:
        """The culprit's lines."""
        return frozenset(line for _, _, line in self.calls.__code__.co_lines() if line)

    @property
    def blocking(self) -> str:
        """The path of the variant that blocks the loop."""
        return f"/blocking/{self.name}"

    @property
    def offloaded(self) -> str:
        """The path of the variant that does not."""
        return f"/offloaded/{self.name}"


ENDPOINTS = (
    Endpoint(
        name="payment",
        blocks_by="sleeps",
        calls=shop.charge_card,
        call="time.sleep",
        cause="wait",
    ),
    Endpoint(
        name="bundle",
        blocks_by="computes",
        calls=shop.best_bundle,
        call=None,
    ),
    Endpoint(
        name="customers",
        blocks_by="queries sqlite3",
        calls=shop.top_customers,
        call="sqlite3",
    ),
    Endpoint(
        name="catalogue",
        blocks_by="parses JSON",
        calls=shop.cheapest_product,
        call="json",
    ),
)

THREADED = "/threaded/catalogue"
"""The path of the operation whose thread keeps the GIL."""

KEEPS_THE_GIL = shop.dearest_product
"""What it calls there."""

INNOCENT = "/stock"
"""The path of the operation that only awaits, and suffers from the others."""

QUOTE = "/quote"
"""The path of the operation that is fast alone, and fills the loop together with others of its kind."""

QUOTE_FUNCTION = f"{shop.supplier_offer.__module__}.{shop.supplier_offer.__qualname__}"
"""What it fills the loop with."""
