"""Public reports of blocked loops, rebuilt with the real libraries, and what is to be said of each."""

from tests.cases import deep_calls, extensions, frameworks, generated, held_out, imports
from tests.cases.case import Case

CASES: tuple[Case, ...] = tuple(
    found
    for module in (deep_calls, frameworks, imports, generated, extensions, held_out)
    for found in vars(module).values()
    if isinstance(found, Case)
)
"""All of them."""
