"""The module that a file is."""

from __future__ import annotations

import sys
from functools import lru_cache


@lru_cache(maxsize=1024)
def module_in(file: str) -> str | None:
    """The name of the loaded module whose code is in ``file``; ``None`` where none is known."""
    for name, module in list(sys.modules.items()):
        # Not by getattr: a module may have a __getattr__ of its own.
        found = getattr(module, "__dict__", {}).get("__file__")
        if found == file:
            return name
    return None
