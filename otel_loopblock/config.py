"""The options: one frozen dataclass, made once from keywords and the environment.

Nothing else in the package reads ``OTEL_PYTHON_LOOPBLOCK_*``.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from otel_loopblock.naming.patterns import check_advice

_logger = logging.getLogger("otel_loopblock")

ENVIRONMENT_PREFIX = "OTEL_PYTHON_LOOPBLOCK_"

FORMS = ("event", "span", "log")
"""What a block can become."""

Stack = Literal["folded", "full"]


class _Rejected(Exception):
    """A value cannot be used; the message says what is allowed."""


def _number(minimum: float, *, above: bool = False) -> Callable[[object], float]:
    allowed = f"a finite number {'above' if above else 'of at least'} {minimum:g}"

    def convert(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise _Rejected(allowed)
        try:
            number = float(value)
        except ValueError:
            raise _Rejected(allowed) from None
        if not math.isfinite(number) or number < minimum or (above and number == minimum):
            raise _Rejected(allowed)
        return number

    return convert


def _integer(minimum: int) -> Callable[[object], int]:
    allowed = f"a whole number of at least {minimum}"

    def convert(value: object) -> int:
        if isinstance(value, (bool, float)) or not isinstance(value, (int, str)):
            raise _Rejected(allowed)
        try:
            number = int(value)
        except ValueError:
            raise _Rejected(allowed) from None
        if number < minimum:
            raise _Rejected(allowed)
        return number

    return convert


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False}
    words["off"] = False
    if isinstance(value, str) and value.strip().lower() in words:
        return words[value.strip().lower()]
    raise _Rejected("true or false")


def _report(value: object) -> tuple[str, ...]:
    """The forms of a report, in the order of :data:`FORMS`; ``all`` stands for all of them."""
    allowed = f"a comma-separated list of {', '.join(FORMS)}, or all"
    given = value.lower().split(",") if isinstance(value, str) else value
    if not isinstance(given, Iterable):
        raise _Rejected(allowed)
    forms = {form.strip() if isinstance(form, str) else form for form in given}
    if "all" in forms:
        forms = {*forms - {"all"}, *FORMS}
    if not forms or not forms <= set(FORMS):
        raise _Rejected(allowed)
    return tuple(form for form in FORMS if form in forms)


def _stack(value: object) -> Stack:
    match value.strip().lower() if isinstance(value, str) else value:
        case "folded":
            return "folded"
        case "full":
            return "full"
    raise _Rejected("folded or full")


def _patterns(value: object) -> tuple[str, ...]:
    """A sequence of strings; a string is split at commas, as OpenTelemetry's lists are."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    if isinstance(value, Iterable):
        parts = tuple(os.fspath(part) if isinstance(part, os.PathLike) else part for part in value)
        if all(isinstance(part, str) and part for part in parts):
            return parts
    raise _Rejected("a comma-separated string or a sequence of non-empty strings")


def _sentences(value: object) -> Mapping[str, str]:
    allowed = "a mapping of call patterns to sentences (in the environment: a JSON object)"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise _Rejected(allowed) from None
    if not isinstance(value, Mapping):
        raise _Rejected(allowed)
    try:
        for pattern, sentence in value.items():
            check_advice(pattern, sentence)
    except ValueError as error:
        raise _Rejected(f"{allowed}: {error}") from None
    return dict(value)


def _option(default: Any, convert: Callable[[object], Any], text: str) -> Any:
    metadata = {"convert": convert, "text": text}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the user may choose. Durations are in milliseconds, as OpenTelemetry's options are."""

    threshold_ms: float = _option(
        10.0, _number(0, above=True), "a callback that runs at least this long is a block"
    )
    heartbeat_interval_ms: float = _option(
        100.0, _number(0), "how often the lag of each loop is measured; 0 turns the measurement off"
    )
    watchdog: bool = _option(
        True,
        _boolean,
        "sample the stack of a blocked loop from a thread; without it no culprit is known (and no thread is "
        "there before the first block, for programs that fork)",
    )
    stack: Stack = _option(
        "folded", _stack, "`folded`: frames of frameworks are summed up in a line; `full`: all are shown"
    )
    stack_depth: int = _option(32, _integer(1), "innermost frames kept in `code.stacktrace`")
    max_samples: int = _option(32, _integer(2), "stack samples kept per block")
    max_events_per_second: float = _option(
        100.0, _number(0, above=True), "events, spans and log events per second; metrics are never limited"
    )
    max_events_per_span: int = _option(
        16, _integer(1), "events on one span (a span keeps 128 and drops the oldest, yours included)"
    )
    report: tuple[str, ...] = _option(
        ("event", "span"),
        _report,
        "what a block becomes: a comma-separated list of `event`, `span`, `log`, or `all`",
    )
    ignore: tuple[str, ...] = _option(
        (), _patterns, "patterns of functions (`app.legacy.*`) whose blocks are metrics only"
    )
    app_paths: tuple[str, ...] = _option(
        (),
        _patterns,
        "folders of the application's own code; by default whatever is not the standard library, "
        "not in site-packages and not import machinery",
    )
    hang_after_ms: float = _option(
        2000.0,
        _number(0),
        "a callback running this long is reported while it lasts, again at each doubling; 0: never",
    )
    saturation_ms: float = _option(
        100.0,
        _number(0),
        "a loop that has been busy without a rest for this long, with no block in it, is saturated; 0: off",
    )
    log_interval_ms: float = _option(
        60_000.0,
        _number(0),
        "at most one line per culprit in this time, WARNING, at start-up INFO; 0: one per block",
    )
    max_functions: int = _option(
        100, _integer(1), "distinct `code.function.name` values in metrics, then `other`"
    )
    max_delayed_requests: int = _option(
        100,
        _integer(0),
        "requests made to wait that get an event of their own, per block; the rest is counted",
    )
    advice: Mapping[str, str] = _option(
        {}, _sentences, "your own advice: call pattern to sentence (in the environment: a JSON object)"
    )

    @property
    def threshold_s(self) -> float:
        """The threshold in seconds."""
        return self.threshold_ms / 1000

    @classmethod
    def load(
        cls, options: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
    ) -> Config:
        """Make the configuration: a keyword wins over the environment, the environment over the default.

        Args:
            options: keywords of ``instrument()``; ``None`` as a value means "not given".
            environ: the environment; that of the process by default.

        Raises:
            ValueError: for a keyword that is unknown or has a value that cannot be used. What comes
                from the environment never raises: it is warned about once, and the default is used.
        """
        environ = os.environ if environ is None else environ
        given = {name: value for name, value in (options or {}).items() if value is not None}
        fields = {f.name: f for f in dataclasses.fields(cls)}
        for name in given:
            if name not in fields:
                raise ValueError(f"loopblock: {unknown(name)}")
        values: dict[str, Any] = {}
        for name, option in fields.items():
            convert = option.metadata["convert"]
            variable = ENVIRONMENT_PREFIX + name.upper()
            if name in given:
                try:
                    values[name] = convert(given[name])
                except _Rejected as error:
                    raise ValueError(
                        f"loopblock: {name}={given[name]!r} cannot be used; it must be {error}"
                    ) from None
            elif environ.get(variable, "").strip():
                try:
                    values[name] = convert(environ[variable])
                except _Rejected as error:
                    default = getattr(cls(), name)
                    _logger.warning(
                        "%s=%r cannot be used; it must be %s. The default, %r, is used.",
                        variable,
                        environ[variable],
                        error,
                        _as_written(default),
                    )
        return cls(**values)


def unknown(name: str) -> str:
    """What is wrong with an option of a name that there is not, and which may have been meant."""
    import difflib  # here: a mistake is rare

    names = [f.name for f in dataclasses.fields(Config)]
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(names)}"
    return f"unknown option {name!r}; {hint}"


def must_be(option: dataclasses.Field[Any], value: object) -> str | None:
    """What a value of this option must be, in words; ``None`` where this one can be used."""
    try:
        option.metadata["convert"](value)
    except _Rejected as error:
        return str(error)
    return None


def option_help() -> list[tuple[str, str, object, str]]:
    """Name, environment variable, default and meaning of every option, as the README lists them."""
    defaults = Config()
    return [
        (
            f.name,
            ENVIRONMENT_PREFIX + f.name.upper(),
            _as_written(getattr(defaults, f.name)),
            f.metadata["text"],
        )
        for f in dataclasses.fields(Config)
    ]


def _as_written(value: object) -> object:
    return ",".join(value) if isinstance(value, tuple) else value
