"""A device's report, where the protocol is run."""

from __future__ import annotations

from typing import Protocol

from fanlight.core.randomness import Keystream
from fanlight.protocol.contribution import Contribution
from fanlight.simulation.orders import Order, Words


class Reporter(Protocol):
    """Makes reports of contributions."""

    def report(self, order: Order, device: int, contribution: Contribution, stream: Keystream) -> tuple[Words, str]:
        """The masked vector, and the envelope, hexadecimal."""
        ...
