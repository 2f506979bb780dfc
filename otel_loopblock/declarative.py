"""Declarative configuration: what the file named by ``OTEL_CONFIG_FILE`` says of this package.

OpenTelemetry reads ``instrumentation/development: python: loopblock:`` in it into a :class:`Configuration`.
What is wrong in the file takes no service down, as what is wrong in the environment does not.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import typing
from typing import Any

from otel_loopblock import config

_logger = logging.getLogger("otel_loopblock")

_OPTIONS = {option.name: option for option in dataclasses.fields(config.Config)}
_TYPES = typing.get_type_hints(config.Config)


def _init(self: Any, **given: Any) -> None:
    """Keep what can be used; one warning for each option that is left out."""
    for name in given.keys() - _OPTIONS.keys():
        _logger.warning("In OTEL_CONFIG_FILE, loopblock: %s. It is left out.", config.unknown(name))
    for name, option in _OPTIONS.items():
        value = given.get(name)
        allowed = None if value is None else config.must_be(option, value)
        if allowed is not None:
            _logger.warning(
                "In OTEL_CONFIG_FILE, loopblock: %s: %r cannot be used; it must be %s. It is left out.",
                name,
                value,
                allowed,
            )
            value = None
        setattr(self, name, value)


Configuration = dataclasses.make_dataclass(
    "Configuration",
    [(name, _TYPES[name] | None, dataclasses.field(default=None)) for name in _OPTIONS],
    namespace={
        "__module__": __name__,
        "__doc__": "The options of :class:`~otel_loopblock.config.Config` as in a file; ``None``: not given.",
        "__init__": _init,
    },
    init=False,
)


def switched_off() -> bool:
    """Whether the file says ``enabled: false``.

    OpenTelemetry's configuration does not instrument then. But the loader of ``opentelemetry-instrument``
    comes after it and instruments whatever is installed.
    """
    path = os.environ.get("OTEL_CONFIG_FILE")
    if not path:
        return False
    try:
        from opentelemetry.configuration import load_config_file  # only who has such a file needs it

        instrumentation = load_config_file(path).instrumentation_development
    except Exception:  # OpenTelemetry has told what is wrong with it when it read it
        return False
    options = instrumentation and instrumentation.python and instrumentation.python.get("loopblock")
    return isinstance(options, dict) and not options.get("enabled", True)
