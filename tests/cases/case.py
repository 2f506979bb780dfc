"""What a case is: something that blocks a loop by a real library, and what is to be said of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

Request = Callable[[], Awaitable[Any]]
"""Blocks the loop once, for some 30 to 200 ms."""


@dataclass(frozen=True, slots=True)
class Case:
    """One way to block a loop."""

    name: str
    kind: int
    """Number of the fault that it stands for; the table is ordered by it."""
    culprit: str
    """How the name of the right culprit ends."""
    calls: frozenset[str]
    """Right names of the call."""
    prepare: Callable[[], AbstractContextManager[Request]]
    """Makes what the requests need."""
    needs: tuple[str, ...] = ()
    """Modules that must be installed."""
    wrong: tuple[str, ...] = ()
    """What no advice may say: it contradicts the code that is there."""

    @property
    def can_run(self) -> bool:
        """Whether its libraries are installed."""
        return all(importlib.util.find_spec(name) is not None for name in self.needs)


def case(
    kind: int, culprit: str, calls: str, *, needs: str = "", wrong: tuple[str, ...] = ()
) -> Callable[[Callable[[], AbstractContextManager[Request]]], Case]:
    """Make a case of a context manager's function.

    Args:
        kind: of the fault.
        culprit: how the right function's name ends.
        calls: right names of the call, separated by ``|``.
        needs: modules that must be installed, separated by blanks.
        wrong: what no advice may say.
    """

    def make(prepare: Callable[[], AbstractContextManager[Request]]) -> Case:
        named = frozenset(calls.split("|"))
        return Case(prepare.__name__, kind, culprit, named, prepare, tuple(needs.split()), wrong)

    return make


async def ask(app: Any, path: str, body: bytes = b"", method: str = "GET") -> None:
    """Send an ASGI application one request, as a server would."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"here"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200, message

    await app(scope, receive, send)
