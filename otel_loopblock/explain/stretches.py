"""Which span a blocked stretch belongs to: each goes to the innermost span that covers a threshold of it.

Spans end from the inside out, so whoever ends first, and covers enough, takes the stretch; what it
leaves is for the spans around it. No stretch is taken twice. Plain arithmetic on ``perf_counter``
seconds, no clock and no span in here.
"""

from __future__ import annotations

from typing import NamedTuple

MAX_LEFT = 64
"""Stretches that may wait for an outer span; the oldest is dropped."""


class Stretch(NamedTuple):
    """A part of a callback, from and to in seconds."""

    began: float
    ended: float


class Charges:
    """What of the running callback of one loop has been taken already."""

    __slots__ = ("callback", "left", "until")

    def __init__(self) -> None:
        self.callback = 0.0
        """Start of the callback that this is about; a new one begins with a clean sheet."""
        self.until = 0.0
        self.left: list[Stretch] = []

    def take(self, callback: float, span_started: float, now: float, threshold_s: float) -> list[Stretch]:
        """Take what a span that ends now has to answer for.

        Args:
            callback: when the running callback started.
            span_started: when the span started.
            now: the moment that counts as the span's end.
            threshold_s: the shortest stretch that counts.

        Returns:
            The stretches, oldest first; often none.
        """
        self._begin(callback)
        taken: list[Stretch] = []
        left: list[Stretch] = []
        for stretch in self.left:
            # A span may be given an end in the past: it covers nothing that came after.
            began, ended = max(stretch.began, span_started), min(stretch.ended, now)
            if ended - began >= threshold_s:
                taken.append(Stretch(began, ended))
                self._leave(left, stretch.began, began, threshold_s)
                self._leave(left, ended, stretch.ended, threshold_s)
            else:
                left.append(stretch)
        self.left = left
        base = max(callback, self.until)
        began = max(base, span_started)
        if now - began >= threshold_s:
            taken.append(Stretch(began, now))
            self._leave(left, base, began, threshold_s)
            self.until = now
        return taken

    def cover(self, callback: float, ended: float, threshold_s: float) -> bool:
        """Whether spans have taken all of a callback but for what is shorter than a threshold."""
        return (
            self.callback == callback
            and not self.left
            and ended - self.until < threshold_s < ended - callback
        )

    def rest(self, callback: float, ended: float, threshold_s: float) -> list[Stretch]:
        """Take whatever no span has taken when the callback ends."""
        self._begin(callback)
        stretches = self.left
        self._leave(stretches, max(callback, self.until), ended, threshold_s)
        self.left = []
        self.until = ended
        return stretches

    def _begin(self, callback: float) -> None:
        if self.callback != callback:
            self.callback = callback
            self.until = callback
            self.left = []

    @staticmethod
    def _leave(left: list[Stretch], began: float, ended: float, threshold_s: float) -> None:
        if ended - began >= threshold_s:
            left.append(Stretch(began, ended))
            del left[:-MAX_LEFT]
