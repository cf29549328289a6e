"""A request as data, what it is for, and the refusal of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from fanlight.protocol.exchange import PREFIX

_SHORTEST_ID: Final = 32  # hexadecimal digits, of a device


class Route(StrEnum):
    """What a request is for: its path without prefix, ids and query."""

    ENROLMENT = "enrolments"
    DEPARTURE = "departures"
    REVOCATION = "revocations"
    OFFER = "offer"
    MODEL = "models"
    REPORT = "rounds/reports"
    ASKED = "what is there of a report"
    BEACON = "rounds/beacons"
    OUTCOME = "rounds/outcome"
    DECLINE = "rounds/decline"
    ORDERS = "orders"
    MEMBERS = "aggregator/members"
    ENROLLED = "aggregator/enrolments"
    MANIFEST = "aggregator/manifest"
    CLOSE = "aggregator/close"
    RELEASE = "aggregator/release"
    ENDED = "aggregator/outcome"
    WORDS = "aggregator/rounds"


@dataclass(frozen=True)
class Request:
    """One request: who asks whom for what.

    Attributes:
        offset: its field ``Upload-Offset``, if it has one.
    """

    caller: str
    server: str
    method: str
    path: str
    body: bytes = field(repr=False)
    offset: str = ""

    @property
    def route(self) -> Route:
        """What it is for."""
        if self.method == "POST" and self.path.endswith(f"/reports/{self.caller}"):
            return Route.ASKED
        words = self.path.removeprefix(f"{PREFIX}/").split("?")[0].split("/")
        return Route("/".join(word for word in words if len(word) < _SHORTEST_ID and not word.isdigit()))


@dataclass(frozen=True)
class Refusal:
    """What a server said instead of an answer.

    Attributes:
        status, slug: of the problem.
        retry_after_s: when to come back, if it says so: it may be otherwise then.
    """

    status: int
    slug: str
    retry_after_s: float | None
