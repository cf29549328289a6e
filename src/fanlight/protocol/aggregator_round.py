"""A round as the aggregator keeps it: its states, what can happen in each, the stored record and reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fanlight.protocol.log import LogEntry
from fanlight.protocol.manifest import Manifest, manifest_terms
from fanlight.protocol.message import U32, Blob, Hash, Message, Name
from fanlight.protocol.report import Envelope
from fanlight.protocol.shards import Lots
from fanlight.protocol.transitions import Table


class State(StrEnum):
    """How far a round is at the aggregator."""

    OFFERED = "offered"
    COLLECTING = "collecting"
    CLOSED = "closed"
    AGREED = "agreed"
    RELEASED = "released"
    FINISHED = "finished"
    ABANDONED = "abandoned"


class Event(StrEnum):
    """What can happen to a round at the aggregator; the values complete "it cannot …"."""

    OPEN = "open"
    REPORT = "take a report"
    CLOSE = "close"
    AGREE = "take the verdict"
    RELEASE = "release"
    FINISH = "finish"
    ABANDON = "abandon"


TERMINAL: Final = frozenset({State.FINISHED, State.ABANDONED})

TABLE: Final = Table(
    "aggregator",
    {
        (State.OFFERED, Event.OPEN): State.COLLECTING,
        (State.COLLECTING, Event.OPEN): State.COLLECTING,
        (State.COLLECTING, Event.REPORT): State.COLLECTING,
        (State.COLLECTING, Event.CLOSE): State.CLOSED,
        (State.COLLECTING, Event.ABANDON): State.ABANDONED,
        (State.CLOSED, Event.CLOSE): State.CLOSED,
        (State.CLOSED, Event.AGREE): State.AGREED,
        (State.CLOSED, Event.ABANDON): State.ABANDONED,
        (State.AGREED, Event.AGREE): State.AGREED,
        (State.AGREED, Event.RELEASE): State.RELEASED,
        (State.AGREED, Event.ABANDON): State.ABANDONED,
        (State.RELEASED, Event.RELEASE): State.RELEASED,
        (State.RELEASED, Event.FINISH): State.FINISHED,
        (State.FINISHED, Event.FINISH): State.FINISHED,
        (State.ABANDONED, Event.ABANDON): State.ABANDONED,
    },
    {
        State.OFFERED: "Wait until the main server has signed the manifest.",
        State.COLLECTING: "Wait for the devices' reports, then aggregate (/aggregate_models).",
        State.CLOSED: "Wait for the main server's verdict.",
        State.AGREED: "Send the aggregated model to the main server (/send_model_secagg).",
        State.RELEASED: "Wait for the main server's acknowledgement.",
        State.FINISHED: "Wait for the next round.",
        State.ABANDONED: "Wait for the next round.",
    },
    {
        State.OFFERED: "The main server has not signed this round yet.",
        State.COLLECTING: "The round is open: devices send their reports.",
        State.CLOSED: "The round is closed; which of its reports count is not known yet.",
        State.AGREED: "The reports of this round are added up already.",
        State.RELEASED: "The sum of this round is released already.",
        State.FINISHED: "This round is finished.",
        State.ABANDONED: "This round was given up.",
    },
)


class Record(Message):
    """One round as the aggregator stores it; empty bytes until a part exists.

    ``secret`` is what places in shards are drawn with; empty if there are none.
    """

    state: Name
    number: U32
    attempt: U32
    mh: Hash
    manifest: Blob
    countersigned: Blob
    main_signature: bytes = b""
    cohort: tuple[bytes, ...] = ()
    close: bytes = b""
    verdict: bytes = b""
    release: bytes = b""
    outcome: bytes = b""
    secret: bytes = b""

    @property
    def at(self) -> State:
        """The state, typed."""
        return State(self.state)

    @property
    def terms(self) -> Manifest:
        """The manifest, decoded."""
        return manifest_terms(self.manifest)

    @property
    def lots(self) -> Lots:
        """What places in shards follow from, once main has signed."""
        return Lots(self.secret, self.mh, self.main_signature)


@dataclass(frozen=True)
class Held:
    """A report that is held: who sent it, and all of it but y."""

    device: bytes
    envelope: Envelope


@dataclass(frozen=True)
class Step:
    """What a function of this module decided: the record to store, the reply to send, the log entries to append."""

    record: Record
    reply: bytes
    entries: tuple[LogEntry, ...] = ()
