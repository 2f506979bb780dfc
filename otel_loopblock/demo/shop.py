"""The synchronous functions of the demonstration's shop; nothing here knows of a loop.

They are ordinary: what matters is only where they are called from. A process pool can import this module
without the web framework.
"""

from __future__ import annotations

import json
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

PAYMENT_S = 0.12
"""How long the payment provider takes to answer."""

ORDERS = 200_000
CUSTOMERS = 5_000
PRODUCTS = 40_000
BUDGET = 12_000


def charge_card(amount: float) -> str:
    """Ask a payment provider, by a client that waits as ``requests`` would."""
    time.sleep(PAYMENT_S)
    return f"charged {amount:.2f}"


def best_bundle(prices: list[int], budget: int) -> int:
    """The most of ``budget`` that a choice of ``prices`` can use up: a knapsack, in pure Python."""
    best = [0] * (budget + 1)
    for price in prices:
        for left in range(budget, price - 1, -1):
            used = best[left - price] + price
            if used > best[left]:
                best[left] = used
    return best[budget]


def top_customers(database: Path) -> list[tuple[int, float]]:
    """The ten customers who spent most: no index helps, every order is read."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(
            "SELECT customer, sum(amount) AS spent FROM orders GROUP BY customer ORDER BY spent DESC LIMIT 10"
        ).fetchall()


def cheapest_product(catalogue: Path) -> dict[str, Any]:
    """The cheapest product of a supplier's catalogue, a JSON document of some megabytes."""
    text = catalogue.read_text()
    products: list[dict[str, Any]] = json.loads(text)
    return min(products, key=lambda product: product["price"])


def dearest_product(catalogue: Path) -> dict[str, Any]:
    """The dearest product, for a report made in a thread: ``json.loads`` keeps the GIL there as well."""
    products: list[dict[str, Any]] = json.loads(catalogue.read_text())
    return max(products, key=lambda product: product["price"])


def supplier_offer(prices: list[int], supplier: int) -> int:
    """What one supplier asks for a basket: a millisecond or two of Python, and no block."""
    asked = 0
    for year in range(100):
        for price in prices:
            asked = (asked + price * (supplier + year)) % 1_000_003
    return asked


def make_data(folder: Path) -> tuple[Path, Path]:
    """Write the orders and the catalogue.

    Args:
        folder: where to.

    Returns:
        The database of orders and the catalogue.
    """
    chance = random.Random(7)
    database = folder / "orders.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE orders (customer INTEGER, amount REAL)")
        connection.executemany(
            "INSERT INTO orders VALUES (?, ?)",
            ((chance.randrange(CUSTOMERS), chance.uniform(1, 500)) for _ in range(ORDERS)),
        )
    catalogue = folder / "catalogue.json"
    products = [
        {"id": number, "price": chance.uniform(1, 900), "tags": ["new", "sale"], "size": {"w": 20, "h": 30}}
        for number in range(PRODUCTS)
    ]
    catalogue.write_text(json.dumps(products))
    return database, catalogue


def basket() -> list[int]:
    """Prices, in cents."""
    chance = random.Random(3)
    return [chance.randrange(100, 3_000) for _ in range(80)]
