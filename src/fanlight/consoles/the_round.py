"""The seven steps of a round, and where each is performed: every console shows the whole way, not only its own part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

RoleName = Literal["main", "aggregator", "device"]

ROLE_TITLES: Final[Mapping[RoleName, str]] = {
    "main": "Main server",
    "aggregator": "Secure aggregator",
    "device": "Device",
}


@dataclass(frozen=True)
class RoundStep:
    """One of the seven.

    Attributes:
        number: 1 to 7.
        title: in a word, the same on tabs, cards and pages.
        where: the role whose work it is.
        routes: the page of the step, at the roles that have one.
    """

    number: int
    title: str
    where: str
    routes: Mapping[RoleName, str] = field(default_factory=dict)


ROUND: Final = (
    RoundStep(1, "Train", "each device", {"device": "/modeltrain"}),
    RoundStep(2, "Announce", "each device", {"device": "/sendstatus"}),
    RoundStep(3, "Send", "each device", {"device": "/sendmodel"}),
    RoundStep(4, "Aggregate", "aggregator", {"aggregator": "/aggregate_models", "main": "/aggregate_models"}),
    RoundStep(5, "Release", "aggregator", {"aggregator": "/send_model_secagg", "main": "/aggregate_models"}),
    RoundStep(6, "Publish", "main server", {"main": "/send_model_clients"}),
    RoundStep(7, "Measure", "main server", {"main": "/measure"}),
)


def numbers_of(role: RoleName, route: str) -> str:
    """Which of the seven a step's page performs, such as ``4–5``; empty for a route that is none of them."""
    numbers = [step.number for step in ROUND if step.routes.get(role) == route]
    return "–".join(str(number) for number in sorted({*numbers[:1], *numbers[-1:]}))


def title_of(role: RoleName, route: str) -> str:
    """What a step's page performs, in a word (the first step's); the route itself if it is none of the seven."""
    return next((step.title for step in ROUND if step.routes.get(role) == route), route)


def titled(role: RoleName, *routes: str) -> tuple[tuple[str, str], ...]:
    """(route, title) of the pages of these steps, as tabs name them."""
    return tuple((route, title_of(role, route)) for route in routes)
