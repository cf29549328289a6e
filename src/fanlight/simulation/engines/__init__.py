"""What carries a round's work out: in this process, in forked ones, or on Ray; all with the same outcome."""

from __future__ import annotations

from typing import Protocol

from fanlight.errors import SettingsError
from fanlight.simulation.learners import Published
from fanlight.simulation.orders import Done, Order
from fanlight.simulation.workshop import Workshop

ENGINES = ("forked", "inline", "ray")


class Engine(Protocol):
    """Workers that have been told of a workshop."""

    def carry_out(self, order: Order, published: Published) -> Done:
        """Have all groups of an order learn.

        Raises:
            FanlightError: what a device failed with; the engine can be closed then, nothing else.
        """
        ...

    def close(self) -> None:
        """End the workers."""
        ...


def check_engine(name: str) -> None:
    """See whether there is such an engine.

    Raises:
        SettingsError: there is none.
    """
    if name not in ENGINES:
        raise SettingsError(f"There is no engine {name!r}.", next=f"Choose one of {', '.join(ENGINES)}.")


def engine(name: str, workshop: Workshop, workers: int) -> Engine:
    """The engine of this name, with so many workers.

    Raises:
        SettingsError: there is none, or what it needs is not installed.
    """
    check_engine(name)
    if name == "inline":
        from fanlight.simulation.engines.inline import Inline

        return Inline(workshop)
    if name == "forked":
        from fanlight.simulation.engines.forked import Forked

        return Forked(workshop, workers)
    from fanlight.simulation.engines.on_ray import OnRay

    return OnRay(workshop, workers)
