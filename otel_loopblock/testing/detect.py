"""``detect_blocking``: fail where a loop is blocked. Context manager, sync and async, and decorator."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from otel_loopblock.config import Config
from otel_loopblock.explain.block import Block
from otel_loopblock.testing.detection import Detection
from otel_loopblock.testing.own_lines import EXCUSE, OwnLines, checked, is_own
from otel_loopblock.testing.words import EventLoopBlocked, OwnLineBlocked, excuse, headline

if TYPE_CHECKING:
    from otel_loopblock.testing.saturation import Saturation, SaturationWatch

P = ParamSpec("P")
R = TypeVar("R")


class detect_blocking:
    """Find what blocks the event loops of this process while a block of code, or a function, runs.

    ::

        async def test_predict():
            async with detect_blocking():
                await predict(...)

        with detect_blocking(threshold_ms=20, ignore=["myapp.legacy.*"]) as detected:
            asyncio.run(main())

        @detect_blocking()
        async def test_predict(): ...

    It works around ``asyncio.run`` and inside a running loop, on asyncio and uvloop, with and without the
    instrumentation. Inside a loop, only the time after entering and before leaving counts. Loops in other
    threads count too, unless a ``detect_blocking`` is open in that thread itself. Several may be nested; what
    an inner one has raised is not raised again by those around it.

    Args:
        threshold_ms: a callback of the loop that runs at least this long, in milliseconds, is a block.
        raise_on_block: raise :class:`EventLoopBlocked` on leaving; never in the place of an exception that
            the code itself raised.
        ignore: patterns (``fnmatch``) of functions or calls: a block is left out when its culprit, its call,
            or any function on its stack matches, by its qualified name (``myapp.load``, ``sqlite3.*``).
        own_lines: under pytest, what becomes of a block whose culprit is a line of a test file, a conftest or
            a fixture: ``warn`` has it among the blocks and warns (:class:`OwnLineBlocked`), ``fail`` raises
            as for any other, ``ignore`` leaves it out.
        app_paths: folders of your own code, among which the culprit is looked for; by default whatever is
            neither the standard library nor in a site-packages folder. A block whose culprit is elsewhere
            raises nothing.
        saturation_ms: raise :class:`EventLoopSaturated` on leaving where a loop was busy without a rest for
            this long, in milliseconds, with no block in that time; 0: do not look.

    Raises:
        ValueError: an argument cannot be used.
    """

    def __init__(
        self,
        threshold_ms: float = 10.0,
        raise_on_block: bool = True,
        ignore: Iterable[str] | str = (),
        *,
        own_lines: OwnLines = "warn",
        app_paths: Iterable[str] | str = (),
        saturation_ms: float = 0.0,
    ) -> None:
        # Not from the environment: a test says the same wherever it runs.
        self._config = Config.load(
            {
                "threshold_ms": threshold_ms,
                "ignore": ignore,
                "app_paths": app_paths,
                "saturation_ms": saturation_ms,
            },
            environ={},
        )
        self._raises = bool(raise_on_block)
        self._own_lines = checked(own_lines)
        self._open: Detection | None = None
        self._blocks: list[Block] = []
        self._watch: SaturationWatch | None = None
        self.saturations: list[Saturation] = []
        """Stretches in which a loop had no rest, once it has been left."""

    @property
    def blocks(self) -> list[Block]:
        """The blocks found so far, in the order in which they ended.

        Those by the garbage collector or a busy machine are among them; they alone do not raise.
        """
        detection = self._open
        return list(self._blocks if detection is None else detection.blocks)

    def __enter__(self) -> detect_blocking:
        """Begin to watch."""
        if _in_trio():
            raise RuntimeError("detect_blocking sees asyncio and uvloop loops; trio is not covered")
        if self._open is not None:
            raise RuntimeError("this detect_blocking is open already; make another one to nest them")
        config = self._config
        self._open = Detection(config.threshold_s, config.ignore, config.app_paths, own_lines=self._own_lines)
        self._open.open()
        if config.saturation_ms:
            from otel_loopblock.testing.saturation import (
                SaturationWatch,
            )  # here: most tests have no use for it

            self._watch = SaturationWatch(config.saturation_ms / 1000, config.threshold_s, config.app_paths)
            self._watch.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End, and raise :class:`EventLoopBlocked` where there is a reason to."""
        __tracebackhide__ = True  # pytest shows the line that blocked, not this one
        detection, self._open = self._open, None
        if detection is None:
            raise RuntimeError("this detect_blocking is not open")
        watch, self._watch = self._watch, None
        if watch is not None:
            self.saturations = watch.close()
        detection.close()
        self._blocks = detection.blocks
        if exc is not None or not self._raises:
            return
        excuses = [self._excuse(block) for block in self._blocks]
        if None in excuses:
            detection.settle()
            raise EventLoopBlocked.of(self._blocks, excuse_of=self._excuse)
        for block, excused in zip(self._blocks, excuses, strict=True):
            if excused == EXCUSE:
                warnings.warn(headline(block), OwnLineBlocked, stacklevel=2)
        if self.saturations:
            from otel_loopblock.testing.saturation import EventLoopSaturated

            raise EventLoopSaturated.of(self.saturations)

    def _excuse(self, block: Block) -> str | None:
        excused = excuse(block) or (EXCUSE if self._own_lines != "fail" and is_own(block) else None)
        if excused is None and self._config.app_paths:
            from otel_loopblock.testing.builder import ELSEWHERE, is_elsewhere  # it has come with the block

            excused = ELSEWHERE if is_elsewhere(block, self._config.app_paths) else None
        return excused

    async def __aenter__(self) -> detect_blocking:
        """Begin to watch; needs a running asyncio or uvloop loop."""
        _require_asyncio()
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """As :meth:`__exit__`."""
        __tracebackhide__ = True
        self.__exit__(exc_type, exc, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function or coroutine function: each call is watched on its own."""
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("detect_blocking cannot decorate a generator; use it as a context manager inside")
        if inspect.iscoroutinefunction(function):
            coroutine_function = cast("Callable[..., Any]", function)

            @functools.wraps(function)
            async def watched(*args: Any, **kwargs: Any) -> Any:
                __tracebackhide__ = True
                async with self._another():
                    return await coroutine_function(*args, **kwargs)

            return cast("Callable[P, R]", watched)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            __tracebackhide__ = True
            with self._another():
                return function(*args, **kwargs)

        return called

    def _another(self) -> detect_blocking:
        other = detect_blocking.__new__(detect_blocking)
        other._config, other._raises, other._own_lines = self._config, self._raises, self._own_lines
        other._open, other._blocks = None, []
        other._watch, other.saturations = None, []
        return other


def _in_trio() -> bool:
    lowlevel = sys.modules.get("trio.lowlevel")
    in_run = getattr(lowlevel, "in_trio_run", None)
    return in_run is not None and bool(in_run())


def _require_asyncio() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "detect_blocking sees asyncio and uvloop loops, and none is running here; trio is not covered"
        ) from None
