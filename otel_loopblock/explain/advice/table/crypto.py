"""Passwords, tokens, encryption."""

from __future__ import annotations

from otel_loopblock.explain.advice.known import KnownCall
from otel_loopblock.explain.advice.table.words import IN_THREAD, known_calls

ENTRIES: tuple[KnownCall, ...] = (
    *known_calls(
        "bcrypt.*",
        "compute",
        f"Hash passwords in a thread: {IN_THREAD}; bcrypt releases the GIL.",
        "https://github.com/pyca/bcrypt",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "passlib.*",
        "compute",
        "Hash in a thread: await asyncio.to_thread(...); passlib is kept up no more: pwdlib.PasswordHash is.",
        "https://frankie567.github.io/pwdlib/",
        "2026-11",
    ),
    *known_calls(
        "pwdlib.*",
        "compute",
        "Hash passwords in a thread: await asyncio.to_thread(password_hash.verify, password, hash).",
        "https://frankie567.github.io/pwdlib/",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "argon2.*",
        "compute",
        "Hash passwords in a thread: await asyncio.to_thread(hasher.verify, hash, password).",
        "https://argon2-cffi.readthedocs.io/en/stable/",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "django.contrib.auth.hashers.*",
        "compute",
        f"Hash passwords in a thread: {IN_THREAD}.",
        "https://docs.djangoproject.com/en/stable/topics/auth/passwords/",
        "2026-11",
    ),
    *known_calls(
        "cryptography.*",
        "compute",
        f"Sign, derive keys and encrypt large data in a thread: {IN_THREAD}.",
        "https://cryptography.io/en/latest/",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "jwt.*",
        "compute",
        f"Sign and verify in a thread: {IN_THREAD}.",
        "https://pyjwt.readthedocs.io/en/stable/",
        "2026-11",
    ),
    *known_calls(
        "jwt.encode jwt.api_jwt.PyJWT.encode",
        "compute",
        "Sign by EdDSA or HMAC, which are quick, or in a thread: await asyncio.to_thread(jwt.encode, ...).",
        "https://pyjwt.readthedocs.io/en/stable/algorithms.html",
        "2026-11",
    ),
    *known_calls(
        "jwt.PyJWKClient.* jwt.jwks_client.*",
        "network",
        "Fetch keys in a thread, and keep the client: await "
        "asyncio.to_thread(client.get_signing_key_from_jwt, token).",
        "https://pyjwt.readthedocs.io/en/stable/usage.html",
        "2026-11",
    ),
    *known_calls(
        "jose.*",
        "compute",
        f"Sign and verify in a thread: {IN_THREAD}.",
        "https://python-jose.readthedocs.io/en/latest/",
        "2026-11",
    ),
    *known_calls(
        "authlib.jose.* joserfc.*",
        "compute",
        f"Sign and verify in a thread: {IN_THREAD}.",
        "https://jose.authlib.org/en/",
        "2026-11",
    ),
    *known_calls(
        "authlib.integrations.requests_client.*",
        "network",
        "Use authlib.integrations.httpx_client.AsyncOAuth2Client: await client.fetch_token(url).",
        "https://docs.authlib.org/en/latest/client/httpx.html",
        "2026-11",
    ),
    *known_calls(
        "nacl.*",
        "compute",
        f"Hash and encrypt in a thread: {IN_THREAD}; libsodium runs without the GIL.",
        "https://pynacl.readthedocs.io/en/latest/",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "Crypto.* Cryptodome.*",
        "compute",
        f"Encrypt, sign and derive keys in a thread: {IN_THREAD}.",
        "https://www.pycryptodome.org/",
        "2026-11",
        releases_gil=True,
    ),
    *known_calls(
        "Crypto.PublicKey.*.generate Cryptodome.PublicKey.*.generate Crypto.Util.number.*",
        "compute",
        "Make keys at start-up, or in a process pool.",
        "https://www.pycryptodome.org/src/public_key/rsa",
        "2026-11",
    ),
)
