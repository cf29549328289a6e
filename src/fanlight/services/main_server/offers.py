"""What main offers devices: plan, model, and the open round's manifest to those who may answer.

When a round opens, all devices ask within a second, and most are told the same, word for word: that is made and signed
once, and what it depends on is read again only after something has changed.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from fanlight.errors import NotFound, StorageError
from fanlight.learning.heads import HeadKind
from fanlight.protocol import signing
from fanlight.protocol.closing import OutcomeForDevice
from fanlight.protocol.exchange import ALONG_BYTES, OFFER, Offer, Order
from fanlight.protocol.main_round import Record, State
from fanlight.protocol.manifest import invite
from fanlight.protocol.plan import Plan
from fanlight.services.main_server import collected_sums, round_table, teaching
from fanlight.services.main_server.models import Version
from fanlight.services.main_server.round_table import RoundLine
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.stragglers import WaitingRules

_LATELY = 64
"""Offers that are kept: one is for everybody, unless rounds have a cohort, whose devices each have their own."""


class _Said(NamedTuple):
    """All that an offer says: ``mh`` of the open round if the device may answer, ``invited`` if it is of its cohort."""

    version: int
    by_itself: bool
    plan: Plan
    model: Version
    mh: bytes | None
    invited: bytes | None
    pause_s: int
    collection: int | None
    along: bool
    ended: OutcomeForDevice | None


class Offers:
    """Makes them; they are asked for on the event loop.

    Args:
        service: whose state they tell.
    """

    def __init__(self, service: MainService) -> None:
        self._service = service
        self._signed = functools.lru_cache(maxsize=_LATELY)(self._sign)
        self._opened = functools.lru_cache(maxsize=1)(self._read)
        self._now = functools.lru_cache(maxsize=1)(self._read_now)
        self._file = functools.lru_cache(maxsize=1)(self._read_file)

    def to(
        self, device: bytes, have: bytes | None = None, most: int = 0, ended: OutcomeForDevice | None = None
    ) -> bytes:
        """The signed offer for a device.

        The file of another model than ``have`` comes along up to ``most`` bytes, and how a round ended likewise.
        """
        service = self._service
        version = service.news.version_of(service.news.offers, device)  # read first: a change meanwhile is news
        line, model, rules, plan, collection = self._now(service.database.commits)
        task, mh, invited = service.task, None, None
        by_itself = task.policy.by_itself if rules is None else rules.by_itself
        if line is not None and line.at is State.OPEN and line.asked is not Order.ABANDON:
            cohort = self._opened(line.mh).cohort
            mh = line.mh if not cohort or device in cohort else None
            invited = device if cohort and mh else None
        along = have != model.sha256 and model.size <= min(most, ALONG_BYTES)
        if ended is not None and len(ended.outcome.payload) > ALONG_BYTES:
            ended = None
        said = _Said(version, by_itself, plan, model, mh, invited, service.pause_s, collection, along, ended)
        return self._signed(said) if ended is None else self._sign(said)  # its proof is for this device alone

    def _sign(self, said: _Said) -> bytes:
        identity = self._service.identity
        message = Offer(
            fid=identity.trust.fid,
            version=said.version,
            by_itself=said.by_itself,
            plan=said.plan.encode(),
            model=said.model.sha256,
            model_version=said.model.number,
            manifest=self._opened(said.mh).manifest if said.mh else None,
            invitation=invite(identity.private, said.mh, said.invited) if said.mh and said.invited else None,
            pause_s=said.pause_s or None,
            collection=said.collection,
            file=self._file(said.model.sha256) if said.along else None,
            ended=said.ended,
        )
        return signing.sign(identity.private, OFFER, message.encode()).encode()

    def _read_file(self, sha256: bytes) -> bytes | None:
        """A small one, in memory if it was made here. None if it cannot be read, as who asks for it is told."""
        try:
            return self._service.model(sha256)
        except (NotFound, StorageError):
            return None

    def _read_now(self, _commits: int) -> tuple[RoundLine | None, Version, WaitingRules | None, Plan, int | None]:
        """The newest round, the current model, the rules of a round under way, the plan that is followed now.

        And the round that has begun to collect the sums that the head is solved from.
        """
        service = self._service
        with service.database.reading() as tx:
            line = round_table.latest_line(tx)
            under_way = line is not None and not line.is_over
            rules = WaitingRules.of_newest(tx, service.task.policy) if under_way else None
            solved = HeadKind(service.task.head).is_solved
            collection = collected_sums.collection(tx) if solved else None
            return line, service.models.current(tx), rules, teaching.plan_of_next(tx, service.task), collection

    def _read(self, mh: bytes) -> Record:
        """The record of a round that is open; manifest and cohort do not change any more."""
        with self._service.database.reading() as tx:
            return round_table.by_hash(tx, mh).record
