"""Python's own network clients, sockets and name resolution."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, PY, THREAD, known_calls

_STREAMS = f"{PY}asyncio-stream.html"
_HTTPX = "https://www.python-httpx.org/async/"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "socket.getaddrinfo socket.gethostby* socket.getfqdn socket.getnameinfo",
        "dns",
        "Use await loop.getaddrinfo(...); it resolves in a thread.",
        f"{PY}asyncio-eventloop.html#dns",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "socket.create_connection",
        "network",
        "Use await asyncio.open_connection(...).",
        f"{_STREAMS}#asyncio.open_connection",
        low_level=True,
    ),
    *known_calls(
        "socket.* socket.socket.recv* socket.socket.connect socket.socket.accept socket.socket.send*",
        "network",
        "Use asyncio streams (open_connection, start_server), or loop.sock_recv(...) and its kin.",
        f"{PY}asyncio-eventloop.html#working-with-socket-objects-directly",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "ssl.create_default_context ssl.SSLContext.load_* ssl.SSLContext.set_default_verify_paths",
        "startup",
        "Make the SSL context, or the client that makes it, once at start-up: it reads all certificates.",
        f"{PY}ssl.html#ssl.create_default_context",
        low_level=True,
    ),
    *known_calls(
        "ssl.SSLSocket.* ssl.SSLContext.wrap_socket ssl.get_server_certificate",
        "network",
        "Use await asyncio.open_connection(..., ssl=context).",
        f"{_STREAMS}#asyncio.open_connection",
        low_level=True,
    ),
    *known_calls(
        "select.* selectors.*",
        "network",
        "Use loop.add_reader(...) and loop.add_writer(...), or asyncio streams.",
        f"{PY}asyncio-eventloop.html#watching-file-descriptors",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "socketserver.* http.server.*",
        "network",
        "Use asyncio.start_server(...), or an ASGI server.",
        f"{_STREAMS}#asyncio.start_server",
        low_level=True,
    ),
    *known_calls("urllib.request.*", "network", "Use httpx.AsyncClient or aiohttp.", _HTTPX, low_level=True),
    *known_calls("http.client.*", "network", "Use httpx.AsyncClient or aiohttp.", _HTTPX, low_level=True),
    *known_calls("xmlrpc.client.*", "network", f"Call it in a thread: {IN_THREAD}.", THREAD, low_level=True),
    *known_calls(
        "smtplib.*",
        "network",
        "Use aiosmtplib.",
        "https://aiosmtplib.readthedocs.io/en/stable/",
        low_level=True,
    ),
    *known_calls("ftplib.*", "network", "Use aioftp.", "https://aioftp.readthedocs.io/", low_level=True),
    *known_calls(
        "imaplib.*", "network", "Use aioimaplib.", "https://github.com/bamthomas/aioimaplib", low_level=True
    ),
    *known_calls("poplib.*", "network", f"Use it in a thread: {IN_THREAD}.", THREAD, low_level=True),
    *known_calls(
        "telnetlib.*",
        "network",
        "Use telnetlib3.",
        "https://telnetlib3.readthedocs.io/en/latest/",
        low_level=True,
    ),
)
