"""A device's part in a round: the states of its preparation and of its report, the owner's floors, what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from fanlight.protocol.closing import (
    Result,
)
from fanlight.protocol.digests import digest
from fanlight.protocol.message import U32, Blob, Hash, Message, Name, Time
from fanlight.protocol.transitions import Table

SECONDS_PER_DAY: Final = 86_400


class Preparation(StrEnum):
    """How far a device is with a plan and a model."""

    IDLE = "idle"
    TRAINED = "trained"
    ANNOUNCED = "announced"
    SENT = "sent"


class PreparationEvent(StrEnum):
    """What its owner has it do, and what rounds bring; the values complete "it cannot …"."""

    TRAIN = "train"
    ANNOUNCE = "announce"
    SEND = "send its model"
    ANSWER = "answer a round by itself"
    NEW_MODEL = "take a new model"
    ABANDONED = "have its model back"
    ENDED = "end"


PREPARATION: Final = Table(
    "device",
    {
        (Preparation.IDLE, PreparationEvent.TRAIN): Preparation.TRAINED,
        (Preparation.IDLE, PreparationEvent.NEW_MODEL): Preparation.IDLE,
        (Preparation.TRAINED, PreparationEvent.TRAIN): Preparation.TRAINED,
        (Preparation.TRAINED, PreparationEvent.ANNOUNCE): Preparation.ANNOUNCED,
        (Preparation.TRAINED, PreparationEvent.ANSWER): Preparation.SENT,
        (Preparation.TRAINED, PreparationEvent.NEW_MODEL): Preparation.IDLE,
        (Preparation.ANNOUNCED, PreparationEvent.TRAIN): Preparation.TRAINED,
        (Preparation.ANNOUNCED, PreparationEvent.ANNOUNCE): Preparation.ANNOUNCED,
        (Preparation.ANNOUNCED, PreparationEvent.SEND): Preparation.SENT,
        (Preparation.ANNOUNCED, PreparationEvent.ANSWER): Preparation.SENT,
        (Preparation.ANNOUNCED, PreparationEvent.NEW_MODEL): Preparation.IDLE,
        (Preparation.SENT, PreparationEvent.TRAIN): Preparation.TRAINED,
        (Preparation.SENT, PreparationEvent.NEW_MODEL): Preparation.IDLE,
        (Preparation.SENT, PreparationEvent.ABANDONED): Preparation.ANNOUNCED,
        (Preparation.SENT, PreparationEvent.ENDED): Preparation.IDLE,
    },
    {
        Preparation.IDLE: "Train locally first (/modeltrain).",
        Preparation.TRAINED: "Send the status to the main server first (/sendstatus).",
        Preparation.SENT: "Wait for the next model; or train again (/modeltrain), to announce and send anew.",
    },
    {
        Preparation.IDLE: "Nothing has been trained for this round yet.",
        Preparation.TRAINED: "What was trained has not been announced yet.",
        Preparation.SENT: "What was trained has been sent already.",
    },
)


class Delivery(StrEnum):
    """How far a report is."""

    COMMITTED = "committed"
    RECEIPTED = "receipted"
    CONFIRMED = "confirmed"
    ENDED = "ended"


class DeliveryEvent(StrEnum):
    """What can happen to a report."""

    RECEIPT = "take the receipt"
    CONFIRM = "be confirmed by main"
    END = "end"


DELIVERY: Final = Table(
    "device",
    {
        (Delivery.COMMITTED, DeliveryEvent.RECEIPT): Delivery.RECEIPTED,
        (Delivery.COMMITTED, DeliveryEvent.END): Delivery.ENDED,
        (Delivery.RECEIPTED, DeliveryEvent.RECEIPT): Delivery.RECEIPTED,
        (Delivery.RECEIPTED, DeliveryEvent.CONFIRM): Delivery.CONFIRMED,
        (Delivery.RECEIPTED, DeliveryEvent.END): Delivery.ENDED,
        (Delivery.CONFIRMED, DeliveryEvent.CONFIRM): Delivery.CONFIRMED,
        (Delivery.CONFIRMED, DeliveryEvent.END): Delivery.ENDED,
        (Delivery.ENDED, DeliveryEvent.END): Delivery.ENDED,
    },
    {Delivery.ENDED: "Wait for the next round."},
)


@dataclass(frozen=True)
class Floors:
    """What this device's owner allows.

    Attributes:
        k_min: fewest devices in a sum that this device will join, at least 2.
        accept_demo: take part in rounds marked as a demonstration; lowers ``k_min`` to 2 for them.
        answers_per_day: most reports in 24 hours, over all tasks and attempts.
        r_max_percent: most of a round's reports that main may reject, percent.
        backbones: allowed registry ids and the SHA-256 of their compiled graphs, 32 bytes each.
        heads: allowed heads.
    """

    k_min: int
    accept_demo: bool
    answers_per_day: int
    r_max_percent: int
    backbones: Mapping[str, bytes]
    heads: frozenset[str]


@dataclass(frozen=True)
class History:
    """What the device has answered before.

    Attributes:
        answered: manifest hash by ``answer_key``, at least under that of the manifest in question; abandoned rounds are
            not in it.
        last_day: reports in the last 24 hours.
    """

    answered: Mapping[bytes, bytes]
    last_day: int


class Record(Message):
    """One report as the device stores it, without y, of which there are the hashes of all chunks, one after the other.

    A record of before they were kept has none of them.
    """

    delivery: Name
    number: U32
    kind: Name
    mh: Hash
    plan: Hash
    model: Hash
    attempt: U32
    envelope: Blob
    length: U32
    committed_at: Time
    receipt: bytes = b""
    outcome: bytes = b""
    chunks: Blob = b""

    @property
    def at(self) -> Delivery:
        """The state, typed."""
        return Delivery(self.delivery)

    @property
    def answer_key(self) -> bytes:
        """What this report uses up: see ``answer_key``."""
        return answer_key(self.plan, self.attempt, self.model)


@dataclass(frozen=True)
class End:
    """What became of a report.

    Attributes:
        record: the new one.
        result, reason: the round's.
        was_included: was it summed, and the sum not left out of the round.
        left_out: why the shard that it was summed in was left out (a slug); empty if it was not.
    """

    record: Record
    result: Result
    reason: str
    was_included: bool
    left_out: str = ""


@lru_cache(maxsize=64)
def answer_key(plan: bytes, attempt: int, model: bytes) -> bytes:
    """What a device answers at most once; remembered, since it is asked of each unfinished report several times."""
    return digest("fanlight/answer/v1", plan, attempt, model)
