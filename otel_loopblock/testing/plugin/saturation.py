"""Fails the tests in which a loop had no rest; only there where the option asks for it."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from otel_loopblock.testing.plugin.settings import Settings
from otel_loopblock.testing.saturation import EventLoopSaturated, SaturationWatch


class SaturationPlugin:
    """Watches each test for as long as it is called.

    Args:
        settings: the options.
    """

    def __init__(self, settings: Settings) -> None:
        self._durations_s = settings.saturation_ms / 1000, settings.threshold_ms / 1000

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Watch one test; where it fails by itself, that stands."""
        if item.get_closest_marker("loopblock_off") is not None:
            return (yield)
        watch = SaturationWatch(*self._durations_s)
        watch.open()
        try:
            result = yield
        finally:
            found = watch.close()
        if found:
            raise EventLoopSaturated.of(found)
        return result
