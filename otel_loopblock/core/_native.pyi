# What the compiled core offers, and its twin in pure/ as well.

from collections.abc import Callable
from contextvars import Context, ContextVar
from types import CodeType
from typing import Any, Protocol
from weakref import ref

_Frames = tuple[tuple[CodeType, int, int, str], ...]

CALLERS: frozenset[CodeType]
INTERFACE: int
LOADED: int
LONG_CALLBACK: int
TELLS_LATENESS: bool
WOKEN: int

class Monitor:
    started: float
    busy: float
    runs: int
    is_main: int
    threshold: float
    looked_at: float
    look_due: float
    before_at: float
    before_cpu: float
    before_process_cpu: float
    before_busy: float
    woke_cpu: float
    waiter: Waiter | None
    unwatched: Any
    loop: ref[Any] | None
    clock: int | None
    def tick(self, now: float, cpu_s: float, saturation_s: float, block_s: float) -> int: ...
    @property
    def stretch(self) -> tuple[int, float, float, float, int]: ...
    @property
    def callback(self) -> Any: ...
    @property
    def context(self) -> Context | None: ...
    def callback_ended(self, ended: float, callback: Any, context: Context | None, turns: int, /) -> None: ...

# What Run, Scheduler and Method return: of their type in C, a function in Python.
class Replacement(Protocol):
    active: bool
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

# The mapping is a dict from a loop's id to its monitor, read at each callback.
def Run(
    handle_class: type,
    original: Callable[..., Any],
    monitors: dict[int, Any],
    attach: Callable[[Any], Monitor | None] | None,
    turns: int,
) -> Replacement: ...
def Scheduler(
    original: Callable[..., Any],
    position: int,
    monitors: dict[int, Any],
    attach: Callable[[Any], Monitor | None] | None,
    turns: int,
) -> Replacement: ...

# What a Scheduler puts in the place of a callback; nobody else makes one.
class Call:
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any: ...

def Method(original: Callable[..., Any], monitors: dict[int, Any], turns: int) -> Replacement: ...

class Waiter:
    saturation_s: float
    threshold_s: float
    sample_s: float
    variable: ContextVar[Any] | None
    @property
    def wants_sample(self) -> int: ...
    def samples(self) -> list[tuple[Monitor, float, _Frames, tuple[int, Any, Any] | None, Any]]: ...
    @property
    def asleep(self) -> int: ...
    @property
    def due(self) -> float: ...
    @property
    def woke(self) -> float: ...
    def wait(
        self, monitors: tuple[Monitor, ...], tick_s: float, limit_s: float = ...
    ) -> tuple[int, float, float, float]: ...
    def wake(self) -> None: ...
    def refresh(self) -> None: ...
    def queued(self) -> float | None: ...

def postponing(function: Callable[..., Any], /) -> Callable[..., Any]: ...
def scheduling(native_id: int, /) -> tuple[float, int] | None: ...
def stack(thread_id: int, depth: int) -> _Frames | None: ...
def thread_clock() -> int | None: ...
def threads() -> tuple[int, ...]: ...
def unwrap(callback: Any, /) -> Any: ...
def variable(thread_id: int, code: CodeType, instruction: int, name: str) -> tuple[Any] | None: ...
