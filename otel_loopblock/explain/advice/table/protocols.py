"""Clients of other protocols: SSH, LDAP, DNS, gRPC, terminals."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "pexpect.*",
        "process",
        "Use await child.expect(..., async_=True).",
        "https://pexpect.readthedocs.io/en/stable/api/pexpect.html",
    ),
    *known_calls(
        "dns.resolver.*",
        "dns",
        "Use dns.asyncresolver.",
        "https://dnspython.readthedocs.io/en/stable/async.html",
    ),
    *known_calls("paramiko.*", "network", "Use asyncssh.", "https://asyncssh.readthedocs.io/en/latest/"),
    *known_calls("fabric.*", "network", "Use asyncssh.", "https://asyncssh.readthedocs.io/en/latest/"),
    *known_calls("ldap.* ldap3.*", "network", "Use bonsai.", "https://bonsai.readthedocs.io/en/latest/"),
    *known_calls(
        "grpc._channel.* grpc._interceptor.* google.api_core.grpc_helpers.*",
        "network",
        "Use grpc.aio: await stub.Method(...).",
        "https://grpc.github.io/grpc/python/grpc_asyncio.html",
        low_level=True,
    ),
)
