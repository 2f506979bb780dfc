"""Clients of other protocols: SSH, LDAP, DNS, gRPC, serial lines, terminals."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, known_calls

_ASYNCSSH = "https://asyncssh.readthedocs.io/en/latest/"

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "pexpect.*",
        "process",
        "Use await child.expect(pattern, async_=True).",
        "https://pexpect.readthedocs.io/en/stable/api/pexpect.html",
        "2026-11",
    ),
    *known_calls(
        "dns.resolver.* dns.query.*",
        "dns",
        "Use await dns.asyncresolver.resolve(name, type).",
        "https://dnspython.readthedocs.io/en/stable/async.html",
        "2026-11",
    ),
    *known_calls(
        "paramiko.*",
        "network",
        "Use asyncssh.connect(host): async with, await connection.run(command).",
        _ASYNCSSH,
        "2026-11",
    ),
    *known_calls(
        "fabric.* invoke.*",
        "network",
        "Use asyncssh.connect(host): async with, await connection.run(command).",
        _ASYNCSSH,
        "2026-11",
    ),
    *known_calls(
        "netmiko.*",
        "network",
        f"Talk to the device in a thread: {IN_THREAD}.",
        "https://ktbyers.github.io/netmiko/docs/netmiko/",
        "2026-11",
    ),
    *known_calls(
        "serial.*",
        "network",
        "Use await serial_asyncio.open_serial_connection(url=port), or read in a thread.",
        "https://pyserial-asyncio.readthedocs.io/en/latest/",
        "2026-11",
    ),
    *known_calls(
        "ldap.* ldap3.*",
        "network",
        "Use bonsai.LDAPClient(url).connect(is_async=True), or a thread: await asyncio.to_thread(...).",
        "https://bonsai.readthedocs.io/en/latest/",
        "2026-11",
    ),
    *known_calls(
        "grpc._channel.* grpc._interceptor.* google.api_core.grpc_helpers.*",
        "network",
        "Use grpc.aio.insecure_channel(target) or grpc.aio.secure_channel(...): await stub.Method(request).",
        "https://grpc.github.io/grpc/python/grpc_asyncio.html",
        "2026-11",
        low_level=True,
    ),
)
