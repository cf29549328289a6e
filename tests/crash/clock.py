"""The clock of the processes under test, which can be moved.

Only the process from which they are forked imports this, before anything of Fanlight: so whoever has taken
``time.time`` as its clock has taken this one.
"""

from __future__ import annotations

import time


class Clock:
    """Unix seconds, ``shift_s`` ahead of the real ones."""

    def __init__(self) -> None:
        self.shift_s = 0.0
        self._real = time.time

    def __call__(self) -> float:
        """The time."""
        return self._real() + self.shift_s


CLOCK = Clock()
time.time = CLOCK
