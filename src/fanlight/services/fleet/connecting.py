"""The front door: a study, tokens and the servers' address in, a result out."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fanlight.protocol.device_round import Floors
from fanlight.protocol.manifest import MOST_REJECTED_PERCENT
from fanlight.protocol.plan import Plan
from fanlight.protocol.signing import raw_public_key
from fanlight.services.device.client import AggregatorClient, MainClient
from fanlight.services.device.identity import KeyFolder
from fanlight.services.device.offers import allowed_backbones
from fanlight.services.device.wishes import HEADS
from fanlight.services.federation import Token
from fanlight.services.fleet.attendance import Attendance
from fanlight.services.fleet.device import Shared, SimulatedDevice
from fanlight.services.fleet.diary import Diary
from fanlight.services.fleet.fleet import Fleet
from fanlight.services.fleet.gang import Gang
from fanlight.services.fleet.journal import Journal
from fanlight.services.fleet.kept import Kept
from fanlight.services.fleet.lessons import Lessons
from fanlight.services.fleet.outcome import result_of
from fanlight.services.fleet.terms import check_data, check_plan, check_study, in_order_of
from fanlight.services.http.remote import Remote
from fanlight.simulation import data
from fanlight.simulation.attacks.registry import planned
from fanlight.simulation.cheats import Cheats
from fanlight.simulation.data import Data
from fanlight.simulation.folder import write
from fanlight.simulation.memories import Memories
from fanlight.simulation.population import Population, divide
from fanlight.simulation.result import Line, Result
from fanlight.simulation.study import Study
from fanlight.simulation.threads import single_threaded
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.folder_lock import FolderLock

_ANSWERS_PER_DAY: Final = 500
"""A deployed device's, unless its owner changes it."""


@dataclass(frozen=True)
class Watch:
    """Who is told how it goes; all are called from whatever thread.

    Attributes:
        on_line: of each round that a version came of.
        on_news: of what else happens, in words.
        on_features: how many pictures of how many have features, if that has to be worked out.
    """

    on_line: Callable[[Line], object]
    on_news: Callable[[str], object]
    on_features: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Attributes:
        folder: of these devices and their result; who runs it again goes on as the same devices.
        state: where features of pictures are kept from one study to the next.
    """

    folder: Path
    state: Path


def floors(*, k_min: int, accept_demo: bool) -> Floors:
    """What the devices of a fleet allow, as deployed ones do whose owner said so."""
    return Floors(
        k_min=k_min,
        accept_demo=accept_demo,
        answers_per_day=_ANSWERS_PER_DAY,
        r_max_percent=MOST_REJECTED_PERCENT,
        backbones=allowed_backbones(),
        heads=HEADS,
    )


def folder_of(tokens: Sequence[Token], state: Path) -> Path:
    """Where the devices with these tokens are if no other place is named."""
    key = hashlib.sha256(raw_public_key(tokens[0].private)).hexdigest()
    return state / "connected" / f"{tokens[0].trust.fid.hex()[:8]}-{key[:8]}"


def connect(
    study: Study,
    tokens: Sequence[Token],
    places: Places,
    allowed: Floors,
    watch: Watch,
    examples: Data | None = None,
) -> Result | None:
    """Have simulated devices take part in rounds of live servers until so many versions have come of them.

    Args:
        study: what the devices have, who cheats, how many rounds; the rest is the task's.
        tokens: one for each device, with the servers' addresses.
        places, allowed, watch: see these.
        examples: features of one's own, in place of the study's data set.

    Returns:
        what was found; after an interruption, of the rounds until then; None if there were none.

    Raises:
        SettingsError, DataError, NotPossibleNow: the study, its data and the task do not go together.
        RemoteError: a server is not there at the beginning, or refuses.
        StorageError: the folder is in use, of another study, or cannot be written.
    """
    check_study(study)
    lock = FolderLock(places.folder)
    lock.acquire()
    try:
        with single_threaded(), closing(_Connection(study, tokens, places, allowed, watch, examples)) as connection:
            return connection.run()
    finally:
        lock.release()


class _Connection:
    """One run; arguments as in ``connect``."""

    def __init__(
        self,
        study: Study,
        tokens: Sequence[Token],
        places: Places,
        allowed: Floors,
        watch: Watch,
        examples: Data | None,
    ) -> None:
        self._study = study
        self._examples = examples
        self._folder = places.folder
        self._places = places
        self._allowed = allowed
        self._watch = watch
        self._token = tokens[0]
        self._kept = Kept(places.folder, study)
        self._servers: dict[str, Remote] = {}
        self._devices = self._made(tokens)

    def close(self) -> None:
        """Close all connections."""
        for server in self._servers.values():
            server.close()

    def run(self) -> Result | None:
        lines = self._kept.lines()
        first = self._devices[0]
        first.enrol()  # whoever cannot be reached, or refuses, is known before much is begun
        offer = first.main.offer()
        plan = Plan.decode(offer.plan)
        population = self._population(plan)
        self._kept.begin()
        fleet = Fleet(self._devices, random.random, self._watch.on_news, lambda: journal.is_measuring)

        def told(line: Line) -> None:
            self._kept.keep(line)
            self._watch.on_line(line)
            if journal.is_done:
                fleet.end()

        journal = Journal(population, time.monotonic, self._study.rounds, lines, told, self._watch.on_news)
        shared = self._shared(population, journal)
        for device in self._devices:
            device.shared, device.fleet = shared, self._devices
        first.fetch(offer)
        self._watch.on_news(
            f"{len(self._devices)} devices begin with version {offer.model_version} of {self._token.main_url}."
        )
        try:
            if not journal.is_done:
                asyncio.run(fleet.live())
        except KeyboardInterrupt:
            self._watch.on_news("Stopped. The same command goes on as the same devices.")
        if not journal.lines or journal.latest is None:
            return None
        result = result_of(self._study, self._token, journal, journal.latest, population)
        write(result, journal.latest.received.layout, self._folder)
        return result

    def _made(self, tokens: Sequence[Token]) -> list[SimulatedDevice]:
        made, servers = list[SimulatedDevice](), self._servers
        for number, token in enumerate(tokens):
            place = self._folder / "devices" / raw_public_key(token.private).hex()[:16]
            machine = KeyFolder(place).device(token.trust)
            names = (("The main server", token.main_url), ("The secure aggregator", token.aggregator_url))
            key_id, private = machine.device.hex(), machine.private
            for title, url in names:
                if url not in servers:
                    servers[url] = Remote(title, url, key_id=key_id, private=private, clock=time.time)
            main, aggregator = (servers[url].asked_by(key_id, private) for _, url in names)
            clients = MainClient(main, token.trust), AggregatorClient(aggregator)
            made.append(SimulatedDevice(number, token, machine, *clients, Diary(place / "diary.jsonl")))
        return made

    def _shared(self, population: Population, journal: Journal) -> Shared:
        study = self._study
        return Shared(
            lessons=Lessons(study, population),
            journal=journal,
            floors=self._allowed,
            attendance=Attendance(study.made_world),
            gang=Gang(self._cheats, study.devices),
            memories=Memories(self._folder / "memories"),
            models=BlobFolder(self._folder / "models"),
            is_done=lambda: journal.is_done,
            clock=time.time,
            monotonic=time.monotonic,
            randomness=os.urandom,
        )

    @property
    def _cheats(self) -> Cheats:
        return Cheats.of(planned(self._study.attack), self._study.devices, self._study.seed)

    def _population(self, plan: Plan) -> Population:
        study = self._study
        check_plan(plan, study)
        found = self._examples or data.load(
            study.dataset,
            self._places.state,
            as_pixels=False,
            picture_size=plan.picture_size,
            on_progress=self._watch.on_features,
        )
        check_data(plan, found)
        return divide(study, in_order_of(plan.classes, found), self._cheats)
