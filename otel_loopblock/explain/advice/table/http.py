"""HTTP and WebSocket clients."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import known_calls

_HTTPX = "https://www.python-httpx.org/async/"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls("requests.*", "network", "Use httpx.AsyncClient or aiohttp.", _HTTPX, low_level=True),
    *known_calls("urllib3.*", "network", "Use httpx.AsyncClient or aiohttp.", _HTTPX, low_level=True),
    *known_calls(
        "httpx.Client.* httpx.request httpx.get httpx.post httpx.put httpx.patch httpx.delete httpx.head "
        "httpx.options httpx.stream",
        "network",
        "Use httpx.AsyncClient: await client.get(...).",
        _HTTPX,
        low_level=True,
    ),
    *known_calls(
        "websocket.*",
        "network",
        "Use websockets.asyncio.client.",
        "https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html",
    ),
)
