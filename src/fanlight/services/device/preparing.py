"""The preparation of the next report, within a transaction of the store: read, moved to its next state, used up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from fanlight.errors import NotPossibleNow
from fanlight.protocol.device_round import PREPARATION, Preparation, PreparationEvent
from fanlight.services.device import memories
from fanlight.services.device.learned import Held, Prepared
from fanlight.services.device.values import put, stored

PREPARED: Final = "prepared"
"""Under this key it is kept."""


@dataclass(frozen=True)
class Use:
    """A preparation, and what uses it up: its owner's word to send it, or the answer to a round by itself.

    Attributes:
        prepared, event: these.
        share: of the length of its update that is sent, the rest being clipped off.
    """

    prepared: Prepared
    event: PreparationEvent
    share: float = 1.0


def prepared_now(tx: Connection) -> Prepared | None:
    """How far it is; None if nothing was ever trained."""
    return stored(tx, Prepared, PREPARED)


def state_of(prepared: Prepared | None) -> Preparation:
    """The state that it is in."""
    return prepared.at if prepared else Preparation.IDLE


def is_for(prepared: Prepared, held: Held) -> bool:
    """Was it made for this model and its plan?"""
    return (prepared.plan, prepared.model) == (held.plan.hash, held.sha256)


def move(tx: Connection, prepared: Prepared, event: PreparationEvent) -> Prepared:
    """Keep ``prepared`` as it is after ``event``; returns it.

    Raises:
        NotPossibleNow: that cannot happen to it.
    """
    moved = prepared.with_(state=PREPARATION.next(prepared.at, event).value)
    put(tx, PREPARED, moved)
    return moved


def use_up(tx: Connection, use: Use, mh: bytes) -> None:
    """It has become the report for the manifest with this hash.

    Raises:
        NotPossibleNow: it is another one by now.
    """
    if prepared_now(tx) != use.prepared:
        raise NotPossibleNow(
            "There was a training, or a new model, while the report was built.",
            slug="prepared-anew",
            next="Send the model again.",
        )
    move(tx, use.prepared.with_(sent_in=mh), use.event)
    memories.sent(tx, use.prepared.head, mh, use.share)
