"""What the demonstration asks for, and what it expects to be found: one place for load and checks."""

from __future__ import annotations

from dataclasses import dataclass

from otel_loopblock.demo import shop


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One operation of the shop, in its two variants."""

    name: str
    blocks_by: str
    """How, in words."""
    function: str
    """The synchronous function that it calls: the culprit, fully qualified."""
    call: str | None
    """How the name of the call under it must begin; ``None`` where it computes itself."""
    cause: str | None = None
    """The cause, where it does not depend on what else the machine does."""

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
        function=f"{shop.__name__}.{shop.charge_card.__name__}",
        call="time.sleep",
        cause="wait",
    ),
    Endpoint(
        name="bundle",
        blocks_by="computes",
        function=f"{shop.__name__}.{shop.best_bundle.__name__}",
        call=None,
    ),
    Endpoint(
        name="customers",
        blocks_by="queries sqlite3",
        function=f"{shop.__name__}.{shop.top_customers.__name__}",
        call="sqlite3",
    ),
    Endpoint(
        name="catalogue",
        blocks_by="parses JSON",
        function=f"{shop.__name__}.{shop.cheapest_product.__name__}",
        call="json",
    ),
)

INNOCENT = "/stock"
"""The path of the operation that only awaits, and suffers from the others."""
