"""Passwords, tokens, encryption."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "bcrypt.*",
        "compute",
        f"Hash passwords in a thread: {IN_THREAD}; slow is what they are made to be.",
        "https://github.com/pyca/bcrypt",
    ),
    *known_calls(
        "passlib.*",
        "compute",
        f"Hash passwords in a thread: {IN_THREAD}, or in a process pool if it holds the GIL.",
        "https://passlib.readthedocs.io/en/stable/",
    ),
    *known_calls(
        "argon2.*",
        "compute",
        f"Hash passwords in a thread: {IN_THREAD}.",
        "https://argon2-cffi.readthedocs.io/en/stable/",
    ),
    *known_calls(
        "cryptography.*",
        "compute",
        f"Do key derivation and large data in a thread: {IN_THREAD}.",
        "https://cryptography.io/en/latest/",
    ),
    *known_calls(
        "jwt.*",
        "compute",
        f"Sign with RSA in a thread: {IN_THREAD}, or use EdDSA or HMAC, which are quick.",
        "https://pyjwt.readthedocs.io/en/stable/",
    ),
)
