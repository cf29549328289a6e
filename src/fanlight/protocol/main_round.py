"""A round as the main server keeps it: its states, what can happen in each, and the stored record."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from fanlight.protocol.contribution import Totals
from fanlight.protocol.log import LogEntry
from fanlight.protocol.manifest import (
    Proposal,
    SignedManifest,
)
from fanlight.protocol.message import U32, Blob, Message, Name
from fanlight.protocol.transitions import Table


class State(StrEnum):
    """How far a round is at the main server."""

    PROPOSED = "proposed"
    OPEN = "open"
    JUDGED = "judged"
    DISMISSED = "dismissed"
    RELEASED = "released"
    COMPLETE = "complete"
    FAILED = "failed"
    ABANDONED = "abandoned"


class Event(StrEnum):
    """What can happen to a round at the main server; the values complete "it cannot …"."""

    OPEN = "open"
    BEACON = "take a beacon"
    ACCEPT = "accept the close"
    DISMISS = "dismiss the close"
    RELEASE = "take the release"
    FAIL = "fail"
    COUNTERSIGN = "take the aggregator's signature"
    PUBLISH = "publish"
    ABANDON = "abandon"


TERMINAL: Final = frozenset({State.COMPLETE, State.FAILED, State.ABANDONED})

_OPENED: Final = (State.OPEN, State.JUDGED, State.DISMISSED, State.RELEASED, State.COMPLETE, State.FAILED)

TABLE: Final = Table(
    "main server",
    {
        (State.PROPOSED, Event.OPEN): State.OPEN,
        (State.OPEN, Event.OPEN): State.OPEN,
        (State.OPEN, Event.ACCEPT): State.JUDGED,
        (State.OPEN, Event.DISMISS): State.DISMISSED,
        (State.OPEN, Event.ABANDON): State.ABANDONED,
        (State.JUDGED, Event.RELEASE): State.RELEASED,
        (State.JUDGED, Event.FAIL): State.FAILED,
        (State.JUDGED, Event.ABANDON): State.ABANDONED,
        (State.DISMISSED, Event.ABANDON): State.ABANDONED,
        (State.RELEASED, Event.PUBLISH): State.COMPLETE,
        (State.COMPLETE, Event.PUBLISH): State.COMPLETE,
        (State.ABANDONED, Event.ABANDON): State.ABANDONED,
        # A receipt that comes late is still evidence, and its sender wants an answer.
        **{(state, Event.BEACON): state for state in (*_OPENED, State.ABANDONED)},
        **{(state, Event.COUNTERSIGN): state for state in (State.RELEASED, State.COMPLETE, State.FAILED)},
    },
    {
        State.PROPOSED: "Start the secure aggregator and wait until it has signed the manifest.",
        State.OPEN: "Wait for the devices' reports, then aggregate (/aggregate_models).",
        State.JUDGED: "Send the aggregated model from the secure aggregator (/send_model_secagg).",
        State.DISMISSED: "Wait for the secure aggregator to give the round up.",
        State.RELEASED: "Publish the new model (/send_model_clients).",
        State.COMPLETE: "Wait for the next round.",
        State.FAILED: "Wait for the next round.",
        State.ABANDONED: "Wait for the next round.",
    },
    {
        State.PROPOSED: "The secure aggregator has not signed this round yet.",
        State.OPEN: "The round is open: its reports are not added up yet.",
        State.JUDGED: "The secure aggregator is adding up the reports of this round.",
        State.DISMISSED: "The reports of this round cannot be added up.",
        State.RELEASED: "The sum of this round is here already.",
        State.COMPLETE: "This round is complete.",
        State.FAILED: "This round has failed.",
        State.ABANDONED: "This round was given up.",
    },
)


class Record(Message):
    """One round as main stores it; empty bytes until a part exists."""

    state: Name
    number: U32
    attempt: U32
    kind: Name
    proposal: Blob
    cohort: tuple[bytes, ...] = ()
    mh: bytes = b""
    manifest: bytes = b""
    close: bytes = b""
    verdict: bytes = b""
    release: bytes = b""
    signed_outcome: bytes = b""
    outcome: bytes = b""

    @property
    def at(self) -> State:
        """The state, typed."""
        return State(self.state)

    @property
    def terms(self) -> Proposal:
        """The proposal, decoded."""
        return _terms(self.proposal)

    @property
    def signed_manifest(self) -> SignedManifest:
        """The manifest with both signatures; only once it is open."""
        return SignedManifest.decode(self.manifest)


@lru_cache(maxsize=4)
def _terms(proposal: bytes) -> Proposal:
    """Every report of a round asks for the same."""
    return Proposal.decode(proposal)


@dataclass(frozen=True)
class Step:
    """What a function of this module decided: the record to store, the reply to send, the log entries to append.

    ``flaws``, once sums were unmasked: of each the check that it has failed, ``ok`` if none. For main's operator alone:
    what is signed, sent or in the log says of all ``SUM_NOT_USABLE``.
    """

    record: Record
    reply: bytes
    entries: tuple[LogEntry, ...] = ()
    totals: Totals | None = None
    flaws: tuple[str, ...] = ()
