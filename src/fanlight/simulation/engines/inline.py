"""All work in this process, one device after the other: for debugging, and where processes cannot be forked."""

from __future__ import annotations

from dataclasses import dataclass

from fanlight.simulation.learners import Published
from fanlight.simulation.orders import Done, Note, Order
from fanlight.simulation.workshop import Workshop


@dataclass(frozen=True)
class Inline:
    """The engine without workers."""

    workshop: Workshop

    def carry_out(self, order: Order, published: Published) -> Done:
        """Have all groups of an order learn; errors as in ``Workshop.carry_out``."""
        sums, notes = self.workshop.empty_sums(order), list[Note]()
        for group in order.groups:
            notes += self.workshop.carry_out(order, published, group, sums)
        return Done(sums, tuple(sorted(notes)))

    def close(self) -> None:
        """Nothing to end."""
