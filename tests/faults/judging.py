"""What of an outcome was seen outside, and the table of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.server import HUNG, Job, Setting

KINDS = ("RuntimeError", "MemoryError", "RecursionError", "KeyboardInterrupt")
"""What is raised. The last is the user's: it goes through, but nothing hangs, and all is taken away."""

BEFORE, AFTER, NEVER = "before", "after", "never"
BARE, HEALTHY = Job("", "", NEVER), Job("", "", BEFORE)

GUARDS = {
    "guard:_count": "the guard",
    "guard:failed": "the guard",
    "guard:let_through": "the guard",
    "guard:is_asynchronous": "the guard",
    "guard:_is_handler": "the guard",
    "guard:_handlers": "the guard",
    "guard:_is_interpreted": "the guard",
    "guard:_is_of_ours": "the guard",
    "guard:call": "the guard",
    "guard:call_all": "the guard",
    "core.pure.callbacks:Run.<locals>._run": "a try, and the original",
    "core.pure.callbacks:Scheduler.<locals>.schedule": "a try, and the original",
    "core.pure.callbacks:Method.<locals>.method": "a try, and the original",
    "core.pure.callbacks:Call.__call__": "a try, and the callback",
    "core.pure.callbacks:Call.__getattr__": "asks the callback",
    "core.pure.callbacks:Call.__class__": "asks the callback",
    "core.pure.callbacks:Call.__repr__": "asks the callback",
    "core.pure.callbacks:Call.__str__": "asks the callback",
    "core.pure.callbacks:Call.__eq__": "asks the callback",
    "core.pure.callbacks:Call.__hash__": "asks the callback",
    "core.pure.callbacks:_report": "a try",
    "delayed.aftermath:Aftermath._next_turn": "a try",
    "emit.span_hooks:_make_end.<locals>.end": "a try, and the original",
    "emit.span_hooks:_make_start.<locals>.start": "a try, and the original",
    "frames:Looking.__exit__": "turns the collector on again",
    "hooks.gc_pauses:install.<locals>.collected": "a try",
    "hooks.listening:_make.<locals>.create": "a guarded call, and the original",
    "hooks.listening:_telling.<locals>.make_protocol": "a guarded call, and the original",
    "hooks.patches:Patches.restore": "puts back what is the application's",
    "hooks.patches:_Awaited.find_spec": "a guarded call, and the finders of others",
    "hooks.protocols:install.<locals>.covering.<locals>.make_protocol": "the original, and a guarded call",
    "hooks.protocols:install.<locals>.make_start_tls.<locals>.start_tls": "a guarded call, and the original",
    "hooks.protocols:install.<locals>.make_transporter.<locals>.transporter": "a try, and the original",
    "hooks.run_forever:_make.<locals>.run_forever": "a try, and the original",
    "instrumentor:LoopBlockInstrumentor.instrument": "a try",
    "instrumentor:LoopBlockInstrumentor.uninstrument": "a try",
    "instrumentor:LoopBlockInstrumentor._uninstrument": "guarded calls",
    "watch.loops:Loops._forget": "a try",
    "watch.monitor:Monitor.callback_ended": "a try",
}
"""What the host calls, and what that consists of. It cannot be guarded: there is nobody left to do it."""

WAKES_THE_WATCHDOG = "core.pure.wait:Waiter._release"
"""Nothing else does: where it fails, our thread sleeps until the process ends."""


@dataclass
class Result:
    """Of one setting."""

    setting: Setting
    functions: int
    injected: Counter[str] = field(default_factory=Counter)
    """By what was raised."""
    reached: Counter[str] = field(default_factory=Counter)
    seen: dict[Job, list[str]] = field(default_factory=dict)
    """What was seen outside, each time."""
    once: dict[Job, list[str]] = field(default_factory=dict)
    """What was seen the first time, and not again."""


def problems(job: Job, outcome: Mapping[str, Any], expected: Mapping[str, Any]) -> list[str]:
    """What was seen outside, in words.

    Args:
        job: the process.
        outcome: of it.
        expected: that of a run without us.
    """
    if outcome["exit_code"] == HUNG:
        return [HUNG]
    if "seen" not in outcome:
        return [f"no outcome, exit code {outcome['exit_code']}: {outcome['printed'][-1000:]}"]
    found = []
    if outcome["not_restored"]:
        found.append(f"not restored: {', '.join(outcome['not_restored'][:4])}")
    found += _differences("afterwards", outcome["bare"], expected["bare"])
    if job.kind == "KeyboardInterrupt":
        return found
    found += outcome["raised"]
    for name in ("seen", "spans", "logged"):
        found += _differences(name, outcome[name], expected[name])
    if outcome["printed"] or outcome["exit_code"]:
        found.append(f"exit code {outcome['exit_code']}, printed: {outcome['printed'][-300:]}")
    found += [f"logged again: {line}" for line in outcome["repeated"]]
    if job.function != WAKES_THE_WATCHDOG:
        found += [f"left: {name}" for name in outcome["threads"]]
    return found


def _differences(name: str, found: Sequence[Any], expected: Sequence[Any]) -> list[str]:
    for one, other in zip(found, expected, strict=False):
        if one != other:
            return [f"{name}: {one} instead of {other}"[:300]]
    if len(found) < len(expected):
        return [f"{name}: {expected[len(found)]} is missing"[:300]]
    return [f"{name}: {found[len(expected)]} as well"[:300]] if len(found) > len(expected) else []


def judge(
    setting: Setting,
    functions: int,
    expected: Mapping[str, Any],
    outcomes: Mapping[Job, Mapping[str, Any]],
    again: Mapping[Job, Mapping[str, Any]],
) -> Result:
    """The result of all processes.

    Args:
        setting: where.
        functions: how many there are.
        expected: the outcome of a run without us.
        outcomes: of all.
        again: those that were seen, tried again.
    """
    result = Result(setting, functions)
    for job, outcome in outcomes.items():
        result.injected[job.kind] += 1
        result.reached[job.kind] += outcome.get("calls", 1) > 0
        found = problems(job, outcome, expected)
        if found:
            steady = problems(job, again[job], expected)
            (result.seen if steady else result.once)[job] = steady or found
    return result


def table(results: Sequence[Result]) -> str:
    """What is printed."""
    lines = []
    for result in results:
        for title, jobs in (
            ("seen outside", result.seen),
            ("seen once, and not when tried again", result.once),
        ):
            for job, found in sorted(jobs.items()):
                lines.append(f"{title}: {result.setting.core} {result.setting.loop}: {job.function}")
                lines.append(f"    {job.kind} {job.when}: " + "; ".join(found))
    head = f"{'core':8}{'loop':9}{'raised':19}{'injected':>9}{'reached':>9}{'seen':>6}{'once':>6}"
    lines += ["", head]
    for result in results:
        for kind in KINDS:
            if result.injected[kind]:
                seen = sum(job.kind == kind for job in result.seen)
                once = sum(job.kind == kind for job in result.once)
                lines.append(
                    f"{result.setting.core:8}{result.setting.loop:9}{kind:19}"
                    f"{result.injected[kind]:>9}{result.reached[kind]:>9}{seen:>6}{once:>6}"
                )
    total = [sum(sum(each.values()) for each in (result.injected for result in results))]
    total.append(sum(sum(result.reached.values()) for result in results))
    total += [sum(len(result.seen) for result in results), sum(len(result.once) for result in results)]
    lines.append(
        f"{'':36}" + "".join(f"{each:>{width}}" for each, width in zip(total, (9, 9, 6, 6), strict=True))
    )
    return "\n".join(lines)
