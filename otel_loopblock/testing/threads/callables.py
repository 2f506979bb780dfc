"""What to call a callable in a report."""

from __future__ import annotations

import functools
from contextvars import Context
from typing import Any


def name_of(fn: Any) -> str:
    """Module and qualified name of what is called in the end, below ``partial`` and ``Context.run``."""
    while isinstance(fn, functools.partial):
        # asyncio.to_thread hands partial(context.run, function, …) to the executor.
        in_context = fn.args and isinstance(getattr(fn.func, "__self__", None), Context)
        fn = fn.args[0] if in_context else fn.func
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    return f"{module}.{name}" if module and name else name or repr(fn)
