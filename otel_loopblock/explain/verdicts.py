"""What earlier blocks of the same place said about threads: one line must not get two answers."""

from __future__ import annotations

from collections import OrderedDict

MAX_PLACES = 512
"""Places that are remembered; the one heard of longest ago goes first."""


class Verdicts:
    """Remembers for each place whether a thread was said to help, and whether it was said not to."""

    def __init__(self) -> None:
        self._said: OrderedDict[tuple[str, int, str], tuple[bool, bool]] = OrderedDict()

    def agrees(self, place: tuple[str, int, str], helps: bool | None) -> bool:
        """Note what a block says, and tell whether no block of this place has ever said otherwise.

        Args:
            place: file, line and call of the culprit.
            helps: whether a thread would help; ``None`` where the block does not say.
        """
        yes, no = self._said.get(place, (False, False))
        yes, no = yes or helps is True, no or helps is False
        if yes or no:
            self._said[place] = yes, no
            self._said.move_to_end(place)
            if len(self._said) > MAX_PLACES:
                self._said.popitem(last=False)
        return not (yes and no)
