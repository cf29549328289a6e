"""What the aggregator does where its state, or main's, was put back from an older copy; see ``protocol.catching_up``.

Before the first thing that it signs in a life, it asks whether main holds words of its own that it does not know. That
main has forgotten rounds shows when it proposes one again whose number is spent, or does not know what it is told of.
"""

from __future__ import annotations

from typing import Final

import structlog

from fanlight.errors import NotFound
from fanlight.protocol.aggregator_round import TERMINAL, State
from fanlight.protocol.catching_up import aggregator_words
from fanlight.protocol.exchange import Orders
from fanlight.protocol.manifest import Proposal, SignedManifest
from fanlight.services.aggregator.main_client import MainClient
from fanlight.services.aggregator.rounds import Rounds

log = structlog.get_logger(__name__)

MAIN_RESTORED: Final = "main-restored"
"""Why a round is given up: main does not know it any more."""


class OlderCopies:
    """Finds them, and brings the one that is behind up to the other.

    Args:
        rounds: the aggregator's.
        main: whom it asks.

    Attributes:
        compared: is it known, in this life, that this state is not behind what it has signed.
    """

    def __init__(self, rounds: Rounds, main: MainClient) -> None:
        self._rounds = rounds
        self._main = main
        self.compared = False

    def compare(self) -> None:
        """Once in a life, and before anything is signed: take over what we have forgotten of our own words.

        Raises:
            RemoteError: main cannot be reached, or what it says is not signed as it should be.
        """
        if not self.compared:
            newest = self._rounds.latest()
            self._take_over_from(newest.record.number if newest is not None else 1)
            self.compared = True

    def _take_over_from(self, number: int) -> None:
        while True:
            try:
                told = self._main.words(number)
            except NotFound:
                return
            signed = SignedManifest.decode(told.manifest)
            newest = self._rounds.latest()
            number = signed.terms.proposal.round
            is_another = newest is not None and newest.record.number == number and newest.record.mh != signed.hash
            if not is_another and self._rounds.catch_up(told):
                log.warning("this state is an older copy: a round was taken over from the main server", round=number)
            number += 1

    def bring_main_up(self, orders: Orders) -> bool:
        """Tell main of the rounds that it has forgotten, as its orders show; are there any?

        One that is under way is given up first: what main needs to sum it is lost.
        """
        newest, number = self._rounds.latest(), self._forgotten_from(orders)
        if newest is None or number is None:
            return False
        if newest.record.at not in TERMINAL and newest.record.at is not State.RELEASED:
            self._rounds.abandon(MAIN_RESTORED)
        self.tell_main_from(number)
        return True

    def _forgotten_from(self, orders: Orders) -> int | None:
        """The first round that main knows less of than it had signed, as far as its orders show; None: it knows all."""
        newest = self._rounds.latest()
        if newest is None or not newest.record.main_signature or orders.mh == newest.record.mh:
            return None
        if orders.proposal is not None:
            proposal = Proposal.decode(orders.proposal)
            spent = proposal.round <= newest.record.number and newest.record.terms.proposal != proposal
            return proposal.round if spent else None
        older = [stored.record.number for stored in self._rounds.since(1) if stored.record.mh == orders.mh]
        return older[0] if older else None

    def tell_main_from(self, number: int) -> None:
        """Tell main what both had signed of the rounds from ``number`` on."""
        for stored in self._rounds.since(number):
            if stored.record.main_signature:
                log.info("the main server is told what was signed of a round", round=stored.record.number)
                self._main.catch_up(aggregator_words(stored.record))
