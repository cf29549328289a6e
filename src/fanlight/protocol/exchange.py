"""What the processes say to one another between the signed steps of a round: offers, orders, members.

Devices ask main for its *offer* (plan, model, open manifest); the aggregator asks main for its *orders* (proposal,
what the operator wants done). Both are long-polls: the asker names the version it has, the answer comes when there is
another one. Both answers are signed by main, so that nothing on the way can put words into its mouth.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, field_validator

from fanlight.protocol.closing import CLOSE_LIMIT, OutcomeForDevice
from fanlight.protocol.message import U32, U63, Blob, DeviceId, Flag, Hash, Message, Name, OptionalBlob
from fanlight.protocol.plan import ClassName

OFFER = "fanlight/offer/v1"
ORDERS = "fanlight/orders/v1"
MEMBERS = "fanlight/members/v1"

PREFIX: Final = "/protocol/v1"
"""Where the protocol's routes lie on both servers."""
LONGEST_PAUSE_S: Final = 3600
"""Main sends no device away for longer."""


class Welcome(Message):
    """A server's answer to an enrolment: the device's id and the name its token gives it."""

    device: DeviceId
    name: Name


ALONG_BYTES: Final = 1 << 16
"""What is not larger may come with the offer: a head of 51 kB does, and needs no request of its own."""


class Offer(Message):
    """What main has for one device.

    Attributes:
        fid: federation.
        version: main's change counter; ask again with ``after=version``.
        by_itself: devices train when a manifest appears; otherwise only when told.
        plan: the task's training plan (``Plan``); a measuring round uses the same of kind ``measure``.
        model: SHA-256 of the current model file; model_version: its number.
        manifest: the open round's ``SignedManifest``, if it is for this device.
        invitation: signed invitation, if the round's cohort is sampled.
        collection: the number of the round that has begun to collect the sums that the head is solved from, if any.
        pause_s: a device with nothing to do asks again at a moment drawn evenly within so many seconds; none: at once.
        file: the model's file, for a device that asked for it along and has another one, if it is small enough.
        ended: what became of the round whose end the device asked for along, if it is over, and that is small enough.
    """

    fid: Hash
    version: U63
    by_itself: Flag
    plan: Blob
    model: Hash
    model_version: U32
    manifest: OptionalBlob = None
    invitation: OptionalBlob = None
    pause_s: Annotated[int, Field(strict=True, ge=1, le=LONGEST_PAUSE_S)] | None = None
    collection: Annotated[U32, Field(ge=1)] | None = None
    file: Annotated[bytes, Field(strict=True, min_length=1, max_length=ALONG_BYTES)] | None = None
    ended: OutcomeForDevice | None = None


class Order(StrEnum):
    """What the operator (or main's policy) wants of the aggregator's round."""

    NONE = "none"
    FINISH = "finish"
    ABANDON = "abandon"


ORDERED_BY_MAIN: Final = "ordered-by-main"
"""The reason of a round that was abandoned because main has ordered it."""


class Orders(Message):
    """What main has for the aggregator.

    Attributes:
        fid: federation.
        version: main's change counter.
        members_version: changes when the list of members does; then ask for it again.
        proposal: the ``Proposal`` of a round that waits for the aggregator's signature.
        cohort: its sampled devices, none if it asks all.
        order: what to do with the open round ``mh`` (an ``Order``): ``none``, ``finish`` (close and release),
            or ``abandon``.
    """

    fid: Hash
    version: U63
    members_version: U63
    order: Name
    mh: Annotated[bytes, Field(strict=True, max_length=32)]
    proposal: OptionalBlob = None
    cohort: Annotated[tuple[DeviceId, ...], Field(max_length=1 << 20)]

    @field_validator("order")
    @classmethod
    def _check_order(cls, order: str) -> str:
        return Order(order).value


class Enrolments(Message):
    """Enrolments that the aggregator has and main may lack."""

    enrolments: Annotated[tuple[Blob, ...], Field(max_length=256)]


class Members(Message):
    """Main's list of devices that are enrolled with one key at both servers and not revoked."""

    fid: Hash
    version: U63
    devices: Annotated[tuple[DeviceId, ...], Field(max_length=1 << 20)]


class Words(Message):
    """What one server holds of a round; empty bytes until a part exists.

    Attributes:
        manifest: the ``SignedManifest``.
        cohort: whom the round asks, none if it asks all.
        close, verdict, release: as they were signed.
        outcome: the ``SignedOutcome``.
    """

    manifest: Blob
    cohort: Annotated[tuple[DeviceId, ...], Field(max_length=1 << 20)]
    close: Annotated[bytes, Field(strict=True, max_length=CLOSE_LIMIT)]
    verdict: Annotated[bytes, Field(strict=True, max_length=CLOSE_LIMIT)]
    release: Annotated[bytes, Field(strict=True, max_length=CLOSE_LIMIT)]
    outcome: Annotated[bytes, Field(strict=True, max_length=CLOSE_LIMIT)]


OTHER_REASON: Final = "other"
DECLINE_REASONS: Final = frozenset(
    {
        "below-floor",
        "demo-refused",
        "may-reject-too-many",
        "backbone-refused",
        "head-refused",
        "answers-per-day",
        "answered-before",
        "bad-layout",
        "unknown-suite",
        "needs-torch",
        "nothing-to-learn-from",
        "nothing-changed",
        "paused",
        "to-be-forgotten",
    }
)
"""Why a device may say that it does not report; any other reason is ``OTHER_REASON``. Nothing finer leaves it."""


class Decline(Message):
    """A device will not report in a round, and why (see ``because``). Signed as an HTTP request only."""

    reason: Name

    @classmethod
    def because(cls, slug: str) -> Decline:
        """What is told of a refusal with this ``slug``."""
        return cls(reason=slug if slug in DECLINE_REASONS else OTHER_REASON)


class Change(StrEnum):
    """What a device would change in the sums that the head is solved from."""

    JOINS = "joins"
    CHANGES = "changes"
    LEAVES = "leaves"


class Changing(Message):
    """A device has something to say in a round of changes, or nothing any more. Signed as an HTTP request only.

    Attributes:
        change: a ``Change``; absent: nothing.
        collection: see ``Offer``.
    """

    collection: U32
    change: Name | None = None

    @field_validator("change")
    @classmethod
    def _check_change(cls, change: str | None) -> str | None:
        return None if change is None else Change(change).value


class ClassProposal(Message):
    """A device's owner misses a class in the task; the operator decides. Signed as an HTTP request only."""

    name: ClassName
