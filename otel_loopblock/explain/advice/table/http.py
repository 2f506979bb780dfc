"""HTTP and WebSocket clients, and what stands on HTTP."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, THREAD, known_calls

_HTTPX2 = "https://github.com/pydantic/httpx2"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "requests.*",
        "network",
        "Use httpx2.AsyncClient: await client.get(url); or aiohttp.ClientSession.",
        _HTTPX2,
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "urllib3.*",
        "network",
        "Use httpx2.AsyncClient: await client.get(url); or aiohttp.ClientSession.",
        _HTTPX2,
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "httpx.Client.* httpx.request httpx.get httpx.post httpx.put httpx.patch httpx.delete httpx.head "
        "httpx.options httpx.stream",
        "network",
        "Use httpx.AsyncClient: await client.get(url).",
        "https://www.python-httpx.org/async/",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "httpx.create_ssl_context",
        "startup",
        "Make one client at start-up and keep it: each new one reads all certificates.",
        "https://www.python-httpx.org/advanced/ssl/",
        "2026-11",
    ),
    *known_calls(
        "httpx2.create_ssl_context",
        "startup",
        "Make one client at start-up and keep it: each new one reads all certificates.",
        _HTTPX2,
        "2026-11",
    ),
    *known_calls(
        "httpx2.Client.* httpx2.request httpx2.get httpx2.post httpx2.put httpx2.patch httpx2.delete "
        "httpx2.head "
        "httpx2.options httpx2.stream",
        "network",
        "Use httpx2.AsyncClient: await client.get(url).",
        _HTTPX2,
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "requests_oauthlib.*",
        "network",
        "Call it in a thread, or use authlib.integrations.httpx_client.AsyncOAuth2Client.",
        "https://docs.authlib.org/en/latest/client/httpx.html",
        "2026-11",
    ),
    *known_calls(
        "websocket.*",
        "network",
        "Use async with websockets.asyncio.client.connect(uri).",
        "https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html",
        "2026-11",
    ),
    *known_calls(
        "websockets.sync.*",
        "network",
        "Use async with websockets.asyncio.client.connect(uri).",
        "https://websockets.readthedocs.io/en/stable/reference/asyncio/client.html",
        "2026-11",
    ),
    *known_calls(
        "websockets.extensions.permessage_deflate.*",
        "compute",
        "Turn compression off: uvicorn.run(app, ws_per_message_deflate=False), or serve and connect by "
        "compression=None.",
        "https://websockets.readthedocs.io/en/stable/topics/compression.html",
        "2026-11",
    ),
    *known_calls(
        "wsproto.extensions.PerMessageDeflate.*",
        "compute",
        "Turn compression off: uvicorn.run(app, ws_per_message_deflate=False).",
        "https://www.uvicorn.org/settings/",
        "2026-11",
    ),
    *known_calls(
        "zeep.*",
        "network",
        "Use zeep.AsyncClient: await client.service.Operation(...).",
        "https://docs.python-zeep.org/en/master/client.html#asyncio",
        "2026-11",
    ),
    *known_calls(
        "selenium.*",
        "network",
        "Drive the browser in a thread, or use playwright.async_api.async_playwright().",
        "https://playwright.dev/python/docs/library",
        "2026-11",
    ),
    *known_calls(
        "playwright.sync_api.* playwright._impl._sync_base.*",
        "network",
        "Use async with playwright.async_api.async_playwright().",
        "https://playwright.dev/python/docs/library",
        "2026-11",
    ),
    *known_calls(
        "yfinance.*",
        "network",
        f"Call yfinance.download(tickers) in a thread: {IN_THREAD}.",
        THREAD,
        "2026-11",
    ),
    *known_calls(
        "feedparser.http.*",
        "network",
        "Fetch with httpx2.AsyncClient, then give the text to feedparser.parse(text).",
        "https://feedparser.readthedocs.io/en/latest/",
        "2026-11",
    ),
)
