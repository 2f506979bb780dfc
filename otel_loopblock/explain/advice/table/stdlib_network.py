"""Python's own network clients, sockets and name resolution."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, PY, THREAD, known_calls

_STREAMS = f"{PY}asyncio-stream.html"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "socket.getaddrinfo socket.gethostby* socket.getfqdn socket.getnameinfo",
        "dns",
        "Use await loop.getaddrinfo(host, port); it resolves in a thread.",
        f"{PY}asyncio-eventloop.html#dns",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "socket.create_connection",
        "network",
        "Use await asyncio.open_connection(host, port).",
        f"{_STREAMS}#asyncio.open_connection",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "socket.* socket.socket.recv* socket.socket.connect socket.socket.accept socket.socket.send*",
        "network",
        "Use asyncio.open_connection(host, port), asyncio.start_server(...), or loop.sock_recv(sock, n).",
        f"{PY}asyncio-eventloop.html#working-with-socket-objects-directly",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "ssl.create_default_context ssl.SSLContext.load_* ssl.SSLContext.set_default_verify_paths",
        "startup",
        "Make the SSL context, or the client that makes it, once at start-up: it reads all certificates.",
        f"{PY}ssl.html#ssl.create_default_context",
        "2026-11",
    ),
    *known_calls(
        "ssl.SSLSocket.* ssl.SSLContext.wrap_socket ssl.get_server_certificate",
        "network",
        "Use await asyncio.open_connection(host, port, ssl=context).",
        f"{_STREAMS}#asyncio.open_connection",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "select.* selectors.*",
        "network",
        "Use loop.add_reader(fd, callback) and loop.add_writer(fd, callback), or "
        "asyncio.open_connection(...).",
        f"{PY}asyncio-eventloop.html#watching-file-descriptors",
        "2026-11",
        releases_gil=True,
        low_level=True,
    ),
    *known_calls(
        "socketserver.* http.server.*",
        "network",
        "Use asyncio.start_server(callback, host, port), or an ASGI server.",
        f"{_STREAMS}#asyncio.start_server",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "urllib.request.* http.client.*",
        "network",
        "Use httpx2.AsyncClient: await client.get(url); or aiohttp.ClientSession.",
        "https://github.com/pydantic/httpx2",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "xmlrpc.client.*", "network", f"Call it in a thread: {IN_THREAD}.", THREAD, "2026-11", low_level=True
    ),
    *known_calls(
        "smtplib.*",
        "network",
        "Use await aiosmtplib.send(message, hostname=...).",
        "https://aiosmtplib.readthedocs.io/en/stable/",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "ftplib.*",
        "network",
        "Use async with aioftp.Client.context(host).",
        "https://aioftp.readthedocs.io/",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "imaplib.*",
        "network",
        "Use aioimaplib.IMAP4_SSL(host): await client.login(user, password).",
        "https://github.com/iroco-co/aioimaplib",
        "2026-11",
        low_level=True,
    ),
    *known_calls(
        "poplib.*", "network", f"Use it in a thread: {IN_THREAD}.", THREAD, "2026-11", low_level=True
    ),
    *known_calls(
        "telnetlib.*",
        "network",
        "Use await telnetlib3.open_connection(host, port).",
        "https://telnetlib3.readthedocs.io/en/latest/",
        "2026-11",
        low_level=True,
    ),
)
