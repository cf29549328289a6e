"""The three roles as processes that can die: what a life of each is made of, and what it does in one turn.

All is the product's own, from the tables up to the services; only the network (``lines``), the pictures (a learner that
draws its updates) and the threads that would call ``turn`` are not. A role's folder and ``Store`` outlive it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import cast
from unittest import mock

from fanlight.errors import FanlightError, NotAuthentic, Refused, StorageError
from fanlight.protocol.device_round import Preparation, PreparationEvent
from fanlight.protocol.exchange import PREFIX, Order
from fanlight.protocol.identities import Role as Part
from fanlight.services.aggregator import main_client
from fanlight.services.aggregator import service as aggregator_service
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.device import store as device_store
from fanlight.services.device.client import AggregatorClient, MainClient
from fanlight.services.device.deliveries import Deliveries
from fanlight.services.device.identity import Identity
from fanlight.services.device.membership import Membership
from fanlight.services.device.offers import Offers as DeviceOffers
from fanlight.services.device.pictures import Pictures
from fanlight.services.device.rounds import Rounds
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.device.store import DeviceStore
from fanlight.services.device.wishes import Wishes
from fanlight.services.federation import load_server_identity, read_token
from fanlight.services.http.jobs import Point
from fanlight.services.http.remote import Remote
from fanlight.services.main_server import service as main_service
from fanlight.services.main_server.conductor import Conductor
from fanlight.services.main_server.offers import Offers as MainOffers
from fanlight.services.main_server.service import MainService
from tests.faults.learner import DrawnLearner
from tests.faults.lines import Line, Net
from tests.faults.routes import AGGREGATOR, AggregatorRoutes, MainRoutes
from tests.faults.stores import Store

MAIN = "main"


@dataclass(frozen=True)
class Surroundings:
    """What all roles of a world share.

    Attributes:
        folder: of the federation's state.
        net: the lines.
        clock: unix seconds.
        randomness: that many bytes, never the same.
    """

    folder: Path
    net: Net
    clock: Callable[[], float]
    randomness: Callable[[int], bytes]


class Main:
    """A life of the main server."""

    def __init__(self, around: Surroundings, store: Store) -> None:
        state = around.folder / MAIN
        identity = load_server_identity(state, Part.MAIN)
        with _at_home(main_service, store):
            self.service = MainService(state, identity, around.clock, around.clock, around.randomness)
        self.routes = MainRoutes(self.service, MainOffers(self.service))
        self.conductor = Conductor(self.service)
        self.database = self.service.database

    def conduct(self) -> None:
        """Whatever the policy asks for next."""
        self.conductor.advance()

    def order(self, order: Order) -> None:
        """Its operator orders the aggregator to finish the open round, or to abandon it."""
        with self.service.database.transaction() as tx:
            self.service.rounds.ask(order, tx)

    def close(self) -> None:
        self.service.close()


class Aggregator:
    """A life of the secure aggregator."""

    def __init__(self, around: Surroundings, store: Store) -> None:
        state = around.folder / AGGREGATOR
        identity = load_server_identity(state, Part.AGGREGATOR)
        self._line = Line(around.net, AGGREGATOR, MAIN, identity.private)
        with (
            _at_home(aggregator_service, store),
            mock.patch.object(main_client, "Remote", return_value=self._line),
        ):
            clocks = around.clock, around.clock
            self.service = AggregatorService(state, identity, *clocks, around.randomness, lambda: 0.5)
        self.routes = AggregatorRoutes(self.service)
        self.database = self.service.database

    def follow(self) -> None:
        """One turn of ``AggregatorService._follow_orders``."""
        try:
            orders = self.service.main._read_orders(self._line.send("GET", f"{PREFIX}/orders"))
            self.service._follow_all(orders)
            self.service._end_in_time()
        except FanlightError as error:
            if isinstance(error, StorageError):
                raise
            self.service._end_without_main()

    def close(self) -> None:
        self.service.close()


class Device:
    """A life of a device.

    Args:
        around, store: its surroundings and its store.
        name: of its folder and token.
        randomness: its own.
    """

    def __init__(self, around: Surroundings, store: Store, name: str) -> None:
        state, token = around.folder / name, read_token(around.folder / "tokens" / f"{name}.json")
        with mock.patch.object(device_store, "Database", store.open):
            self.store = DeviceStore(state)
        identity = Identity(state, token.trust)
        self.id = identity.device.device

        def line(server: str) -> Remote:
            return cast("Remote", Line(around.net, self.id.hex(), server, identity.device.private))

        main, aggregator = MainClient(line(MAIN), token.trust), AggregatorClient(line(AGGREGATOR))
        settings = DeviceSettings(state=state, token=around.folder, data=around.folder, accept_demo=True)
        wishes = Wishes(self.store, settings)
        learner = DrawnLearner(self.store, cast("Pictures", None), around.clock, around.randomness)
        offers = DeviceOffers(self.store, main)
        parts = (identity, self.store, offers, learner, main, aggregator, wishes, around.clock, around.randomness)
        self.rounds = Rounds(*parts)
        servers = {MAIN: main, AGGREGATOR: aggregator}
        self.membership = Membership(token, identity, self.store, servers, wishes, around.clock)
        self.membership.recover()
        self._deliveries = Deliveries(self.rounds, lambda: 0.5)
        self.database = self.store.database
        self._has_ends_come_along = name.endswith(("1", "3", "5", "7", "9"))  # the others are from before that

    def enrol(self) -> None:
        self.membership.enrol()

    def poll(self) -> None:
        """Take main's offer."""
        awaited = self.rounds.awaited_end() if self._has_ends_come_along else None
        main, offers = self.rounds.main, self.rounds.offers
        offers.take(main.poll_offer(main.remote.open_line(), 0, 0, offers.have, awaited))

    def answer(self) -> None:
        """Build and keep the report for the round that it knows of, as its agent would."""
        signed = self.rounds.offers.manifest
        if signed is None or self.rounds.store.report(signed.hash) is not None:
            return
        with suppress(Refused, NotAuthentic):
            opening = self.rounds.examine()
            if not opening.trains:
                self.rounds.commit_measuring(opening, _unseen)
                return
            if self.rounds.offers.preparation in (Preparation.IDLE, Preparation.SENT):
                self.rounds.learner.train(opening.held, _unseen)
            self.rounds.commit_training(opening, PreparationEvent.ANSWER)

    def upload(self) -> None:
        """Deliver what is not acknowledged."""
        self._deliveries.deliver()

    def hear(self) -> None:
        """Ask what became of rounds that are offered no more."""
        self._deliveries.end()

    def leave(self) -> None:
        """Leave, for good."""
        self.membership.leave()

    def turn(self) -> None:
        """One turn of ``Agent._turn``."""
        if self.rounds.wishes.kept.left:
            self.membership.say_goodbye()
            return
        self.enrol()
        self.poll()
        self._deliveries.end_what_matters_now()
        self.rounds.ask_again()
        self.upload()
        self.answer()
        self.upload()
        self.hear()

    def close(self) -> None:
        self.store.close()


@contextmanager
def _at_home(service: ModuleType, store: Store) -> Iterator[None]:
    """A service that starts finds its database in ``store``; the lock on its folder goes with the process that dies."""
    with mock.patch.object(service, "Database", store.open), mock.patch.object(service, "FolderLock", _Unlocked):
        yield


class _Unlocked:
    """Stands in for the lock of a folder: two processes never share one here."""

    def __init__(self, folder: Path) -> None:
        """There is nothing to remember."""

    def acquire(self) -> None:
        """It is free."""

    def release(self) -> None:
        """It was never held."""


def _unseen(fraction: float, text: str = "", point: Point | None = None) -> None:
    """Progress at which nobody looks."""
