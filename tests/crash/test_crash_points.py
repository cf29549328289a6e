"""Every commit, file write and reply of a round is a moment to die at; a round goes on, and nothing promised is lost.

The points of a first start, and of one training round with a measuring round, are listed first.  Then one federation
goes on from round to round, and in each a role dies at another point: alone (SIGKILL), or with what the disk had not
synced.  The usual run takes a seeded sample of 30 points; ``make test-crash`` all of them, each in all three ways, in
chunks: ``make test-crash ARGS="-k 07-of-24"`` runs one of them alone, or again.
"""

from __future__ import annotations

import os
import random
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.crash.federation import ROLES, Federation, Power, running
from tests.crash.invariants import Invariants
from tests.crash.points import Point
from tests.crash.role import Role

POWERS: Final[tuple[Power, ...]] = ("on", "names lost", "contents lost")
VICTIMS: Final = ROLES[:3]  # both devices do the same
IS_LONG: Final = os.environ.get("FANLIGHT_LONG") == "1"
SEED: Final = os.environ.get("FANLIGHT_CRASH_SEED", "1")
FIRST_SAMPLE, SAMPLE = 2, 8
CHUNKS: Final = 24 if IS_LONG else 1
CHUNK: Final = pytest.mark.parametrize("chunk", range(CHUNKS), ids=lambda chunk: f"{chunk + 1:02}-of-{CHUNKS}")

Points = dict[str, list[Point]]


@dataclass(frozen=True)
class Listed:
    """Every point that each victim reaches in its first start, and in a round; sorted, so a seed draws the same."""

    first: Points
    later: Points


@pytest.fixture(scope="session")
def listed(tmp_path_factory: pytest.TempPathFactory, pictures: tuple[Path, ...]) -> Listed:
    with running(tmp_path_factory.mktemp("listing"), pictures) as federation:
        roles = {name: federation.roles[name] for name in VICTIMS}
        first = {name: said_by(role, 0) for name, role in roles.items()}
        federation.cycle()  # of the first one, much happens once: features, and nobody has an older model
        before = {name: len(role.said("point")) for name, role in roles.items()}
        for role in roles.values():
            role.command("list")
        federation.cycle()
        return Listed(first, {name: said_by(role, before[name]) for name, role in roles.items()})


def said_by(role: Role, since: int) -> list[Point]:
    return sorted(Point(said["label"], said["occurrence"]) for said in role.said("point")[since:])


def chosen(points: list[Point], count: int, chunk: int, seed: str) -> list[tuple[Point, Power]]:
    """A seeded sample of points with ways to die; in the long run, this chunk's share of all."""
    everywhere = [(point, power) for point in points for power in POWERS]
    if IS_LONG:
        return [(point, power) for point, power in everywhere if chunk_of(point, power) == chunk]
    return random.Random(seed).sample(everywhere, count)


def chunk_of(point: Point, power: Power) -> int:
    """By its name alone: each worker of a run makes its own list, and these need not be of the same length."""
    return zlib.crc32(f"{point.label} {point.occurrence} {power}".encode()) % CHUNKS


@pytest.mark.timeout(3600)
@CHUNK
@pytest.mark.parametrize("victim", VICTIMS)
def test_whoever_dies_wherever_in_a_round_nothing_promised_is_lost(
    victim: str, chunk: int, tmp_path: Path, pictures: tuple[Path, ...], listed: Listed
) -> None:
    sample = chosen(listed.later[victim], SAMPLE, chunk, f"{SEED}/{victim}")
    with running(tmp_path, pictures) as federation:
        invariants = Invariants(federation)
        for point, power in sample:
            federation.arm(victim, point)
            federation.power = power
            federation.cycle()
            invariants.check()
        died = len(federation.deaths)
    assert len(listed.later[victim]) > 40, "a round has more moments than that"
    assert died >= len(sample) * 0.8, "most points are where they were listed"


@pytest.mark.timeout(3600)
@CHUNK
@pytest.mark.parametrize("victim", VICTIMS)
def test_whoever_dies_wherever_in_a_first_start_starts_again(
    victim: str, chunk: int, tmp_path: Path, pictures: tuple[Path, ...], listed: Listed
) -> None:
    died = 0
    sample = chosen(listed.first[victim], FIRST_SAMPLE, chunk, f"{SEED}/{victim}")
    for number, (point, power) in enumerate(sample):
        # how often a device asks before a round is open depends on who is faster: once more where it went otherwise
        tries = (first_start(victim, point, power, tmp_path / f"{number}-{attempt}", pictures) for attempt in range(2))
        died += next((deaths for deaths in tries if deaths), 0)
    assert len(listed.first[victim]) > 10, "a first start has more moments than that"
    assert died >= min(len(sample) - 1, len(sample) * 0.8), "most points are where they were listed"


def first_start(victim: str, point: Point, power: Power, folder: Path, pictures: tuple[Path, ...]) -> int:
    """Start a new federation of which one dies at ``point``, and let it finish a round; how often somebody died."""
    folder.mkdir()
    federation = Federation(folder, pictures)
    federation.power = power
    try:
        federation.start(victim, point)
        federation.cycle()
        Invariants(federation).check()
    finally:
        federation.close()
    shutil.rmtree(folder)
    return len(federation.deaths)
