"""A whole device, put together: what its pages show and what its agent does work on the same parts."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from fanlight.errors import NotPossibleNow
from fanlight.learning.backbones import CompiledBackbone
from fanlight.learning.inference import Extractor
from fanlight.learning.model_file import HeadModel
from fanlight.services.device.agent import Agent
from fanlight.services.device.client import AggregatorClient, MainClient
from fanlight.services.device.fetched_backbones import fetching
from fanlight.services.device.home_learning import HomeLearning
from fanlight.services.device.home_models import HomeModels
from fanlight.services.device.identity import Identity
from fanlight.services.device.learner import Learner
from fanlight.services.device.library import Library, Surroundings
from fanlight.services.device.library.own_names import OwnNames
from fanlight.services.device.library.proposing import propose_class
from fanlight.services.device.local_algorithm import local_algorithm
from fanlight.services.device.made import Fetch, compiled_backbone, model_features
from fanlight.services.device.membership import Membership
from fanlight.services.device.offers import Offers
from fanlight.services.device.pictures import Pictures
from fanlight.services.device.rounds import Rounds
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.device.sides import Sides
from fanlight.services.device.steps import Steps
from fanlight.services.device.store import DeviceStore
from fanlight.services.device.wishes import Wishes
from fanlight.services.federation import Token, moved, read_token
from fanlight.services.http.jobs import Jobs
from fanlight.services.http.remote import Remote
from fanlight.services.http.waiting import Notifier
from fanlight.storage.folder_lock import FolderLock


@dataclass(frozen=True)
class Chances:
    """Where time and chance come from.

    Attributes:
        clock: unix seconds.
        randomness: that many secret bytes.
        jitter: a number in [0, 1), fresh each call; nothing secret depends on it.
        sleep: wait some seconds; by default, until then or the end of the process.
    """

    clock: Callable[[], float] = time.time
    randomness: Callable[[int], bytes] = os.urandom
    jitter: Callable[[], float] = random.random
    sleep: Callable[[float], object] | None = None


@dataclass(frozen=True)
class DeviceRole:
    """The parts of a running device."""

    settings: DeviceSettings
    token: Token
    identity: Identity
    store: DeviceStore
    pictures: Pictures
    library: Library
    offers: Offers
    rounds: Rounds
    membership: Membership
    jobs: Jobs
    pages: Notifier
    steps: Steps
    agent: Agent
    chances: Chances
    stopping: threading.Event
    lock: FolderLock
    fetch: Fetch
    home: HomeLearning

    def backbone(self, model: HeadModel) -> CompiledBackbone:
        """What a model was trained on, ready to run; errors as in ``made.compiled_backbone``."""
        return _backbone(self.settings.state, model, self.fetch)

    @property
    def name(self) -> str:
        """What the owner calls this device; else what the operator does."""
        return self.settings.name or self.token.name

    @property
    def servers(self) -> tuple[Remote, Remote]:
        """Main and the aggregator."""
        return self.rounds.main.remote, self.rounds.aggregator.remote

    def acknowledge_equivocation(self) -> None:
        """The owner has read that the aggregator contradicted itself, and wants to go on."""
        self.store.evidence.acknowledge(int(self.chances.clock()))
        self.agent.wake()

    def leave(self) -> None:
        """Leave the federation: here at once, at each server as soon as it can be told (see ``Membership.leave``).

        What was made of the pictures is deleted; the pictures are the owner's.

        Raises:
            StorageError: the disk failed; this device has left all the same.
        """
        self.membership.leave()
        self.pages.notify()
        self.pictures.forget_made()

    def forget(self, *, on: bool) -> None:
        """Have this device's pictures taken out of the sums that the head is solved from, in company; then leave.

        Raises:
            NotPossibleNow: main counts nothing of this device, so it can leave at once.
        """
        account = self.store.account
        if on and account.counted is None and account.in_question is None:
            raise NotPossibleNow(
                "No sums with this device's pictures are kept anywhere.",
                slug="nothing-counted",
                next="You can leave at once.",
            )
        self.rounds.wishes.forget(on)
        self.pages.notify()

    def come_back(self) -> None:
        """Undo ``leave`` before any server knows of it.

        Raises:
            NotPossibleNow: one does.
        """
        self.membership.come_back()
        self.pages.notify()

    def stop(self) -> None:
        """End the jobs, the loop, the connections and the database, in this order, and give the state folder back."""
        self.stopping.set()
        self.pages.close()
        self.jobs.close()
        self.agent.stop()
        for server in self.servers:
            server.close()
        self.store.close()
        self.lock.release()


MakeLearner = Callable[[DeviceStore, Pictures, Callable[[], float], Callable[[int], bytes]], Learner]


def build_role(
    settings: DeviceSettings,
    *,
    chances: Chances | None = None,
    transport: httpx.MockTransport | None = None,
    learner: MakeLearner = Learner,
) -> DeviceRole:
    """Put a device together; nothing is started.

    Args:
        settings: what the owner said.
        chances: clock and generators, for tests.
        transport: replaces the network, for tests.
        learner: makes what turns pictures into a local model; benchmarks have one that does nothing.

    Raises:
        NotFound, NotAuthentic, SettingsError: the token file is missing or not what it should be.
        StorageError: the state folder cannot be used, is in use, or belongs to another federation.
    """
    token = moved(read_token(settings.token), main_url=settings.main_url, aggregator_url=settings.aggregator_url)
    lock = FolderLock(settings.state)
    lock.acquire()
    try:
        return _build(settings, token, lock, chances or Chances(), transport, learner)
    except BaseException:
        lock.release()
        raise


def _build(
    settings: DeviceSettings,
    token: Token,
    lock: FolderLock,
    chances: Chances,
    transport: httpx.MockTransport | None,
    make_learner: MakeLearner,
) -> DeviceRole:
    identity = Identity(settings.state, token.trust)
    store = DeviceStore(settings.state)

    def remote(title: str, url: str) -> Remote:
        device = identity.device
        return Remote(
            title,
            url,
            key_id=device.device.hex(),
            private=device.private,
            clock=chances.clock,
            transport=transport,
        )

    main = MainClient(remote("The main server", token.main_url), token.trust)
    aggregator = AggregatorClient(remote("The secure aggregator", token.aggregator_url))
    wishes, own = Wishes(store, settings), OwnNames(store.database)
    fetch = fetching(settings.state, main, lambda: wishes.floors)
    sides = Sides(store.database)
    pictures = Pictures(
        settings.data,
        settings.state,
        sides=sides,
        client=settings.client,
        threads=settings.threads,
        batch=settings.batch,
        fetch=fetch,
        counted=lambda: own.counted,
    )
    offers = Offers(store, main)
    learner = make_learner(store, pictures, chances.clock, chances.randomness)
    rounds = Rounds(identity, store, offers, learner, main, aggregator, wishes, chances.clock, chances.randomness)
    pages, stopping = Notifier(), threading.Event()
    jobs = Jobs(on_change=pages.notify)
    steps = Steps(rounds, jobs, chances.jitter, chances.sleep or stopping.wait)
    library = Library(_surroundings(settings, sides, rounds, jobs, chances, fetch, own, lambda: home))
    home = _home(settings, library, rounds, jobs, chances, fetch)
    membership = Membership(token, identity, store, {"main": main, "aggregator": aggregator}, wishes, chances.clock)
    membership.recover()
    agent = Agent(
        membership,
        rounds,
        steps,
        clock=chances.clock,
        jitter=chances.jitter,
        poll_wait_s=settings.poll_wait_s,
        on_change=pages.notify,
        at_leisure=home.notice_model,
    )
    wishes.on_change = agent.wake
    return DeviceRole(
        settings=settings,
        token=token,
        identity=identity,
        store=store,
        pictures=pictures,
        library=library,
        offers=offers,
        rounds=rounds,
        membership=membership,
        jobs=jobs,
        pages=pages,
        steps=steps,
        agent=agent,
        chances=chances,
        stopping=stopping,
        lock=lock,
        fetch=fetch,
        home=home,
    )


def _backbone(state: Path, model: HeadModel, fetch: Fetch) -> CompiledBackbone:
    return compiled_backbone(state, model.backbone_id, model.backbone_sha256, model.weight.shape[0], fetch)


def _surroundings(
    settings: DeviceSettings,
    sides: Sides,
    rounds: Rounds,
    jobs: Jobs,
    chances: Chances,
    fetch: Fetch,
    own: OwnNames,
    home: Callable[[], HomeLearning],
) -> Surroundings:
    store = rounds.store

    def classes() -> Sequence[str]:
        return store.held.plan.classes if store.held else ()

    def changed() -> None:
        rounds.learner.pictures.changed()
        home().follow()

    return Surroundings(
        folder=settings.data,
        client=settings.client,
        state=settings.state,
        database=store.database,
        jobs=jobs,
        clock=chances.clock,
        sides=sides,
        threads=settings.threads,
        classes=classes,
        model=lambda: home().asked(),
        backbone=lambda model: _backbone(settings.state, model, fetch),
        propose=partial(propose_class, rounds.main.remote),
        on_change=changed,
        own=own,
    )


def _seen(rounds: Rounds) -> object:
    """Changes whenever what answers may do so: with the global model, its plan, and what its algorithm remembers."""
    held = rounds.store.held
    if held is None:
        return None
    remembered = rounds.store.memories.newest() if local_algorithm(held.plan).own else None
    return held.sha256, held.plan.hash, remembered


def _home(
    settings: DeviceSettings, library: Library, rounds: Rounds, jobs: Jobs, chances: Chances, fetch: Fetch
) -> HomeLearning:
    def extractor(model: HeadModel) -> Extractor:
        compiled = _backbone(settings.state, model, fetch)
        return model_features(settings.state, model, compiled, threads=settings.threads)

    return HomeLearning(
        library,
        HomeModels(rounds.store.database, rounds.store.values),
        jobs,
        answering=rounds.answering,
        seen=partial(_seen, rounds),
        extractor=extractor,
        clock=chances.clock,
    )
