"""Every commit, file write and reply of a round is a moment to die at; a round goes on, and nothing promised is lost.

One round with all its steps, and a measuring round, are listed first.  Then one federation goes on from round to round,
and in each a role dies at another point: alone (SIGKILL), or with what the disk had not synced.  The usual run takes a
seeded sample of the points, ``make test-long`` all of them, each in all three ways.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Final

import pytest

from tests.crash.federation import ROLES, Power, running
from tests.crash.invariants import Invariants
from tests.crash.points import Point

POWERS: Final[tuple[Power, ...]] = ("on", "names lost", "contents lost")
VICTIMS: Final = ROLES[:3]  # both devices do the same
IS_LONG: Final = os.environ.get("FANLIGHT_LONG") == "1"
SEED: Final = int(os.environ.get("FANLIGHT_CRASH_SEED", "1"))
SAMPLE: Final = 10
CHUNKS: Final = 6 if IS_LONG else 1


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory, pictures: tuple[Path, ...]) -> dict[str, list[Point]]:
    """Every point that a victim reaches in a round, sorted, so that the same seed draws the same ones."""
    with running(tmp_path_factory.mktemp("listing"), pictures) as federation:
        federation.cycle()  # the first one computes features, and nobody has a model of an earlier round
        roles = {name: federation.roles[name] for name in VICTIMS}
        before = {name: len(role.said("point")) for name, role in roles.items()}
        for role in roles.values():
            role.command("list")
        federation.cycle()
        return {
            name: sorted(Point(said["label"], said["occurrence"]) for said in role.said("point")[before[name] :])
            for name, role in roles.items()
        }


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("victim", VICTIMS)
def test_whoever_dies_wherever_nothing_promised_is_lost(
    victim: str, chunk: int, tmp_path: Path, pictures: tuple[Path, ...], points: dict[str, list[Point]]
) -> None:
    everywhere = [(point, power) for point in points[victim] for power in POWERS]
    chosen = everywhere[chunk::CHUNKS] if IS_LONG else random.Random(f"{SEED}/{victim}").sample(everywhere, SAMPLE)
    reached = 0
    with running(tmp_path, pictures) as federation:
        invariants = Invariants(federation)
        for point, power in chosen:
            deaths, federation.power = len(federation.deaths), power
            federation.arm(victim, point)
            federation.cycle()
            invariants.check()
            reached += len(federation.deaths) - deaths
    assert len(points[victim]) > 40, "a round has more moments than that"
    assert reached >= len(chosen) * 0.8, "most points are where they were listed"
