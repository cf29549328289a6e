"""Every commit, file write and reply is a moment to die at; rounds go on, and nothing promised is lost.

The points of each scenario (see ``scenarios``) are listed first: those of its first start, and of a cycle. Then one
federation goes on from cycle to cycle, and in each a role dies at another point: alone (SIGKILL), or with what the
disk had not synced. Code that an earlier scenario has reached is not tried again, unless it does something else here
(see ``listing``).

The usual run takes a seeded sample of 30 points over all scenarios; ``make test-crash`` all of them, each in all three
ways, in chunks: ``make test-crash ARGS="-k 07-of-24"`` runs one of them alone, or again. A point that was not reached
is tried again; the summary at the end counts the points of each scenario, and names those that never were.
"""

from __future__ import annotations

import os
import random
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.crash.federation import Federation, Power
from tests.crash.invariants import Invariants
from tests.crash.listing import Listed, Listings, Place, When
from tests.crash.scenarios import BY_HAND, SCENARIOS, Scenario
from tests.crash.summary import TRIED, as_property

POWERS: Final[tuple[Power, ...]] = ("on", "names lost", "contents lost")
IS_LONG: Final = os.environ.get("FANLIGHT_LONG") == "1"
SEED: Final = os.environ.get("FANLIGHT_CRASH_SEED", "1")
FIRST_SAMPLE, SAMPLE, SAMPLE_OF_OTHERS = 3, 9, 3
"""Points of a usual run: in first starts, in rounds by hand, and in each of the six other scenarios."""
CHUNKS: Final = 24 if IS_LONG else 1
TRIES: Final = 4
CHUNK: Final = pytest.mark.parametrize("chunk", range(CHUNKS), ids=lambda chunk: f"{chunk + 1:02}-of-{CHUNKS}")

Deadly = tuple[Place, Power]
Record = Callable[[str, object], None]


def each(scenarios: tuple[Scenario, ...]) -> pytest.MarkDecorator:
    """A test for each."""
    return pytest.mark.parametrize("scenario", scenarios, ids=lambda scenario: scenario.name)


@pytest.fixture(scope="session")
def listings(tmp_path_factory: pytest.TempPathFactory, homes: tuple[Path, ...]) -> Listings:
    """The same for all workers of a run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "crash-points"
    folder.mkdir(exist_ok=True)
    return Listings(folder, homes, times=2 if IS_LONG else 1)


def chosen(listed: Listed, when: When, count: int, chunk: int, scenario: Scenario) -> list[Deadly]:
    """A seeded sample of places with ways to die, victim by victim; in the long run, this chunk's share of all."""
    everywhere = [(place, power) for place in listed.places[when] for power in POWERS]
    if IS_LONG:
        return [deadly for deadly in everywhere if chunk_of(deadly, scenario) == chunk]
    chance = random.Random(f"{SEED}/{scenario.name}/{when}")
    victims = sorted({place.victim for place, _ in everywhere})
    first = chance.randrange(len(victims))
    turns = [victims[(first + turn) % len(victims)] for turn in range(count)]
    shares = {victim: [deadly for deadly in everywhere if deadly[0].victim == victim] for victim in victims}
    counts = {victim: min(turns.count(victim), len(shares[victim])) for victim in victims}
    return [deadly for victim in victims for deadly in chance.sample(shares[victim], counts[victim])]


def chunk_of(deadly: Deadly, scenario: Scenario) -> int:
    """By its name alone, so that a chunk can be run alone."""
    (victim, point), power = deadly
    return zlib.crc32(f"{scenario.name} {victim} {point.label} {point.occurrence} {power}".encode()) % CHUNKS


def judge(record: Record, scenario: Scenario, when: When, listed: Listed, causes: dict[Deadly, str]) -> None:
    """Count and name; what is steady must have been reached."""
    missed = {deadly: cause for deadly, cause in causes.items() if cause}
    names = [
        f"{place.victim}, {place.point.label}, time {place.point.occurrence}, power {power}: {cause}"
        for (place, power), cause in missed.items()
    ]
    record(TRIED, as_property(scenario.name, when, len(listed.places[when]), len(causes), names))
    assert not any(listed.places[when][place] for place, _ in missed), "\n".join(names)


@pytest.mark.timeout(7200)
@CHUNK
@each(SCENARIOS)
def test_whoever_dies_wherever_nothing_promised_is_lost(
    scenario: Scenario, chunk: int, tmp_path: Path, homes: tuple[Path, ...], listings: Listings, record_property: Record
) -> None:
    listed = listings.of(scenario) if IS_LONG else None
    if listed is not None and not chosen(listed, "later", 0, chunk, scenario):
        return  # nothing of it is in this chunk
    causes: dict[Deadly, str] = {}
    federation = scenario.make(tmp_path, homes[: scenario.devices])
    try:
        federation.start()
        invariants = Invariants(federation)
        listed = listed or listings.of_running(scenario, federation)
        count = SAMPLE if scenario is BY_HAND else SAMPLE_OF_OTHERS
        for place, power in chosen(listed, "later", count, chunk, scenario):
            causes[place, power] = die(federation, invariants, place, power)
    finally:
        federation.close()
    judge(record_property, scenario, "later", listed, causes)


def die(federation: Federation, invariants: Invariants, place: Place, power: Power) -> str:
    """Let cycles go on, all of which must hold, until somebody has died there; else, after some, why nobody has."""
    reached = 0
    for _ in range(TRIES):
        role = federation.roles[federation.named(place.victim)]
        before = len(role.said("killed"))
        federation.arm(place.victim, place.point)
        federation.power = power
        federation.cycle()
        invariants.check()
        if any(said["label"] == place.point.label for said in role.said("killed")[before:]):
            return ""
        if role.is_running:
            role.command("list")  # from now on, no point is deadly
        reached = max([reached, *(said["reached"] for said in role.said("missed")[-1:])])
    return f"reached {reached} times at most in each of {TRIES} cycles"


@pytest.mark.timeout(7200)
@CHUNK
@each(SCENARIOS if IS_LONG else (BY_HAND,))
def test_whoever_dies_wherever_in_a_first_start_starts_again(
    scenario: Scenario, chunk: int, tmp_path: Path, homes: tuple[Path, ...], listings: Listings, record_property: Record
) -> None:
    listed, pictures = listings.of(scenario), homes[: scenario.devices]
    causes: dict[Deadly, str] = {}
    for place, power in chosen(listed, "first", FIRST_SAMPLE, chunk, scenario):
        # how often a device asks before a round is open depends on who is faster: again where it went otherwise
        tries = (died_at_first(scenario, place, power, tmp_path / str(attempt), pictures) for attempt in range(TRIES))
        causes[place, power] = "" if any(tries) else f"not reached so often in any of {TRIES} first starts"
    judge(record_property, scenario, "first", listed, causes)


def died_at_first(scenario: Scenario, place: Place, power: Power, folder: Path, pictures: tuple[Path, ...]) -> bool:
    """Start a new federation of which one dies at a place, and let it finish a cycle; has it died?"""
    folder.mkdir()
    federation = scenario.make(folder, pictures)
    federation.power = power
    try:
        federation.start(place.victim, place.point)
        federation.cycle()
        Invariants(federation).check()
    finally:
        federation.close()
    shutil.rmtree(folder)
    return bool(federation.deaths)
