"""Calls into extensions: under the name that one imports, and for the right reason."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cases.case import Request, case

_NO_THREAD = ("a thread would not help",)
_THREAD = ("to_thread", "in a thread")


@case(7, ".hashing_a_password.<locals>.request", "bcrypt.checkpw", needs="bcrypt", wrong=_NO_THREAD)
@contextmanager
def hashing_a_password() -> Iterator[Request]:
    import bcrypt

    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(10))

    async def request() -> None:
        bcrypt.checkpw(b"secret", hashed)

    yield request


@case(
    7,
    ".fitting.<locals>.request",
    "sklearn.linear_model.LogisticRegression.fit|sklearn.linear_model._logistic.LogisticRegression.fit",
    needs="sklearn numpy",
)
@contextmanager
def fitting() -> Iterator[Request]:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(1).normal(size=(60_000, 20))
    classes = (rows[:, 0] + rows[:, 1] ** 2 > 0.5).astype(int)
    model = LogisticRegression(max_iter=300, tol=1e-9)

    async def request() -> None:
        model.fit(rows, classes)

    yield request


@case(
    8, ".threads_of_its_own.<locals>.request", "argon2.PasswordHasher.hash", needs="argon2", wrong=_NO_THREAD
)
@contextmanager
def threads_of_its_own() -> Iterator[Request]:
    import argon2

    hasher = argon2.PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4)

    async def request() -> None:
        hasher.hash("secret")

    yield request


@case(6, ".backtracking.<locals>.request", "re.Pattern.match", wrong=_THREAD)
@contextmanager
def backtracking() -> Iterator[Request]:
    pattern, text = re.compile(r"(a+)+$"), "a" * 21 + "b"

    async def request() -> None:
        pattern.match(text)

    yield request


@case(6, ".then_something_else.<locals>.request", "json.dumps", wrong=("asyncio.sleep",))
@contextmanager
def then_something_else() -> Iterator[Request]:
    rows = [{"n": n, "text": "word " * 8} for n in range(60_000)]

    async def request() -> None:
        json.dumps(rows)
        time.sleep(0)  # gives up the GIL, as each send does

    yield request
