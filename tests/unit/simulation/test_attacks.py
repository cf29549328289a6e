"""Each attack by the identity that defines it, and which middle of shards stands it."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fanlight.errors import SettingsError
from fanlight.learning.algorithms.robust import ROBUST
from fanlight.learning.datasets.chance import Chance
from fanlight.simulation.attacks.attack import Attack
from fanlight.simulation.attacks.backdoor import stamped
from fanlight.simulation.attacks.little_is_enough import greatest_z
from fanlight.simulation.attacks.min_max import greatest_gamma
from fanlight.simulation.attacks.registry import ATTACKS, planned

DEVICES, LENGTH = 48, 300
SEEDS = st.integers(0, 1000)


def updates(count: int, seed: int = 1) -> NDArray[np.float64]:
    """(count, d): one direction of length 1, and to each row noise of half that length."""
    chance = Chance("updates", seed)
    common = chance.normals(LENGTH)
    scattered = chance.normals(count * LENGTH).reshape(count, LENGTH) / np.sqrt(4 * LENGTH)
    rows: NDArray[np.float64] = common / np.linalg.norm(common) + scattered
    return rows


def crafted(line: str, honest: NDArray[np.float64], devices: int = DEVICES) -> NDArray[np.float64]:
    told = planned(line)
    assert told is not None
    found = told.attack.craft(honest, devices, Chance("craft", 3))
    assert found.shape == honest.shape
    return found


def test_sign_flip_is_the_opposite() -> None:
    honest = updates(5)
    assert np.array_equal(crafted("sign-flip:0.1,factor=3", honest), -3 * honest)


def test_scaling_by_the_number_of_devices_replaces_the_model() -> None:
    honest = updates(DEVICES)
    honest[1:] = 0.0  # as if the others had converged
    sent = np.concatenate([crafted(f"scaling:0.02,factor={DEVICES}", honest[:1]), honest[1:]])
    assert sent.mean(axis=0) == pytest.approx(honest[0])


def test_noise_is_as_long_as_it_should_be_and_of_no_direction() -> None:
    honest = updates(20)
    sent = crafted("noise:0.4,factor=10", honest)
    mean = honest.mean(axis=0)
    assert np.linalg.norm(sent, axis=1) == pytest.approx(10 * np.linalg.norm(mean), rel=0.15)
    assert np.abs(sent @ mean / np.linalg.norm(sent, axis=1) / np.linalg.norm(mean)).max() < 0.25


def test_labels_flipped_twice_are_what_they_were() -> None:
    relabel = ATTACKS["label-flip"].make().relabel
    assert relabel is not None
    labels = np.arange(10)
    assert relabel(labels, 10).tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert np.array_equal(relabel(relabel(labels, 10), 10), labels)


@pytest.mark.parametrize("shape", [(28, 28), (64, 48, 3), (2, 2)])
def test_a_backdoors_mark_is_in_one_corner_and_on_any_picture_the_same(shape: tuple[int, ...]) -> None:
    dark, bright = np.full(shape, 10, np.uint8), np.full(shape, 240, np.uint8)
    side = max(2, round(min(shape[:2]) * 0.15))
    for picture in (dark, bright):
        before = picture.copy()
        marked = stamped(picture, 15)
        assert np.array_equal(picture, before)
        assert np.array_equal(marked[:-side], picture[:-side])
        assert np.array_equal(marked[:, :-side], picture[:, :-side])
        assert set(np.unique(marked[-side:, -side:])) == {0, 255}
    assert np.array_equal(stamped(dark, 15)[-side:, -side:], stamped(bright, 15)[-side:, -side:])


@given(st.integers(1, 60), st.integers(2, 200))
def test_lie_has_as_many_honest_beyond_it_as_it_needs_for_a_majority(attackers: int, devices: int) -> None:
    z = greatest_z(devices, attackers)
    honest, needed = devices - attackers, devices // 2 + 1 - attackers
    if needed <= 0:  # they are a majority by themselves
        assert z == pytest.approx(NormalDist().inv_cdf(0.999))
        return
    beyond = honest * (1 - NormalDist().cdf(z))
    assert beyond == pytest.approx(min(max(needed, 0.001 * honest), honest / 2))


def test_lies_z_in_known_cases() -> None:
    assert greatest_z(50, 24) == pytest.approx(1.4261, abs=1e-4)  # Φ⁻¹(24/26)
    assert greatest_z(51, 12) == pytest.approx(NormalDist().inv_cdf(25 / 39))
    assert greatest_z(10, 2) == 0.0


def test_lie_is_z_standard_deviations_from_the_mean() -> None:
    honest = updates(12)
    for line, z in (("lie:0.25", greatest_z(DEVICES, 12)), ("lie:0.25,z=1.5", 1.5)):
        sent = crafted(line, honest)
        assert (sent == sent[0]).all()
        assert sent[0] == pytest.approx(honest.mean(axis=0) - z * honest.std(axis=0))


@given(st.integers(2, 12), SEEDS)
def test_min_max_is_as_far_as_it_may_and_no_further(count: int, seed: int) -> None:
    honest = updates(count, seed)
    sent = crafted("min-max:0.2", honest)[0]
    bound = max(np.linalg.norm(one - other) for one in honest for other in honest)
    assert np.linalg.norm(honest - sent, axis=1).max() == pytest.approx(bound)
    further = honest.mean(axis=0) - 1.01 * greatest_gamma(honest) * honest.std(axis=0)
    assert np.linalg.norm(honest - further, axis=1).max() > bound


@pytest.mark.parametrize("line", ["min-max:0.1", "lie:0.1"])
def test_an_attacker_alone_has_nothing_to_go_by(line: str) -> None:
    honest = updates(1)
    assert crafted(line, honest) == pytest.approx(honest)


@given(st.integers(1, 20), SEEDS)
def test_ipm_turns_the_mean_around(attackers: int, seed: int) -> None:
    honest = updates(DEVICES, seed)
    for epsilon, turned in ((0.5, False), (1.2 * (DEVICES - attackers) / attackers, True)):
        sent = honest.copy()
        sent[:attackers] = crafted(f"ipm:0.2,epsilon={epsilon}", honest[:attackers])
        assert (sent[:attackers] @ honest[:attackers].mean(axis=0) < 0).all()
        assert bool(sent.mean(axis=0) @ honest[attackers:].mean(axis=0) < 0) == turned


SHARDS = 16


def distances(line: str, attackers: int = 3) -> dict[str, float]:
    """How far mean and middles of 16 shards of three are from the mean of the honest, in units of its length."""
    honest = updates(DEVICES)
    sent = honest.copy()
    sent[:attackers] = crafted(line, honest[:attackers])
    order = Chance("shards", 5).shuffled(np.arange(DEVICES))
    means = np.array([sent[order[shard::SHARDS]].mean(axis=0) for shard in range(SHARDS)])
    right = honest[attackers:].mean(axis=0)
    middles = {name: middle(means) for name, middle in ROBUST.items()} | {"mean": means.mean(axis=0)}
    return {name: float(np.linalg.norm(found - right) / np.linalg.norm(right)) for name, found in middles.items()}


@pytest.mark.parametrize("line", ["scaling:0.06", "noise:0.06", "ipm:0.06", "sign-flip:0.06,factor=10"])
@pytest.mark.parametrize("middle", ["median", "trimmed-mean", "geometric-median"])
def test_what_breaks_the_mean_does_not_break_a_middle(line: str, middle: str) -> None:
    found = distances(line)
    assert found["mean"] > 0.18
    assert found[middle] < 0.55 * found["mean"]
    assert found[middle] < 0.2


@pytest.mark.parametrize("line", ["scaling:0.06", "noise:0.06", "ipm:0.06", "sign-flip:0.06,factor=10"])
def test_krum_takes_an_honest_shard(line: str) -> None:
    spread = 0.5 / np.sqrt(3)  # of a mean of three: an update's noise is half as long as what they agree in
    assert distances(line)["krum"] < 1.2 * spread


@pytest.mark.parametrize("line", ["lie:0.06", "min-max:0.06"])
def test_what_is_made_to_pass_passes_but_moves_nothing_far(line: str) -> None:
    spread = 0.5 / np.sqrt(3)
    assert all(distance < 1.2 * spread for distance in distances(line).values())


def test_a_share_of_the_devices_attacks() -> None:
    told = planned("sign-flip:0.25")
    assert told is not None
    assert int(told.attackers(100, seed=1).sum()) == 25
    assert np.array_equal(told.attackers(100, seed=1), told.attackers(100, seed=1))
    assert not np.array_equal(told.attackers(100, seed=1), told.attackers(100, seed=2))
    assert planned("") is None


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_can_be_told_with_its_defaults(name: str) -> None:
    told = planned(f"{name}:0.1")
    assert told is not None
    assert isinstance(told.attack, Attack)
    assert told.recipe is ATTACKS[name]
    assert told.recipe.paper
    assert told.recipe.stopped_by


@pytest.mark.parametrize(
    ("line", "flaw", "next_"),
    [
        ("bribe:0.1", "no 'bribe'", "Choose one of sign-flip"),
        ("sign-flip", "from 0 to 1", "sign-flip:0.2,factor=1"),
        ("sign-flip:1.5", "from 0 to 1", "sign-flip:0.2"),
        ("sign-flip:0.1,times=3", "does not know 'times'", "sign-flip:0.2"),
        ("sign-flip:0.1+noise:0.1", "at once", "Keep one"),
        ("backdoor:0.1,target=0.5", "whole number", "backdoor:0.2,target=0"),
        ("lie:0.1,z=-1", "from 0 to 100", "lie:0.2,z=0"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(line: str, flaw: str, next_: str) -> None:
    with pytest.raises(SettingsError, match=flaw) as caught:
        planned(line)
    assert caught.value.message.startswith("attack: ")
    assert next_ in caught.value.next
