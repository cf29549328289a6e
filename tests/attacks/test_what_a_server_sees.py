"""Two demonstrations: what a plain update says of one device's pictures, and that a server's view says nothing.

The attacks and the data are the same on both sides. On one side the attacker has the update, as the server of plain
federated averaging has it. On the other it has what servers of ours have: the aggregator, with its round key, y without
its own mask; main, if a vector leaks to it, y without the other one; whoever listens, y.

Pictures, secrets and seeds are fixed, so the figures are the same each time (but for those of the sealed seeds, whose
ephemeral keys are the operating system's). Thresholds are five standard deviations of what guessing gives: chance
crosses one of them once in 1.7 million tries.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.masks import add_mask, subtract_mask
from fanlight.core.packing import unpack
from fanlight.core.randomness import Keystream
from fanlight.core.segments import slices
from fanlight.learning.heads import zero_head
from fanlight.protocol.contribution import W_MAX, Contribution, centre, encode
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key, open_seed
from tests.attacks.picture_attacks import SETS, Attacker, Pictures, Reals, picture_in
from tests.protocol_world import Round, Sent, World, contribution_of, plan_of, secret

SIGMAS = 5.0
WORLD = World(2, "seen")
VICTIM, OTHER = WORLD.owners


def at_chance(wins: int, trials: int, chance: float) -> bool:
    """Is this as often as somebody is right who guesses, within five standard deviations?"""
    return abs(wins - trials * chance) <= SIGMAS * math.sqrt(trials * chance * (1 - chance))


# ---- views of one report


def without(told: Round, sent: Sent, label: str) -> NDArray[np.uint32]:
    """y, unpacked, without the mask of one server, as that server can take it off."""
    vector = unpack(sent.y, told.proposal.layout).copy()
    sealed = {MASK_MAIN: sent.envelope.sealed_main, MASK_AGGREGATOR: sent.envelope.sealed_aggregator}[label]
    private = {MASK_MAIN: told.main_round_key, MASK_AGGREGATOR: told.aggregator_round_key}[label]
    seed = open_seed(sealed, private, label, told.a.mh, sent.owner.id)
    subtract_mask(vector, mask_key(seed, label, told.a.mh, sent.owner.id))
    return vector


def aggregators(told: Round, sent: Sent) -> NDArray[np.uint32]:
    """What the aggregator has of a report: y, and the key to its own mask."""
    return without(told, sent, MASK_AGGREGATOR)


def mains(told: Round, sent: Sent) -> NDArray[np.uint32]:
    """What main would have of a report that leaks to it on the way."""
    return without(told, sent, MASK_MAIN)


def wires(told: Round, sent: Sent) -> NDArray[np.uint32]:
    """What a tap, a proxy or a backup has."""
    return unpack(sent.y, told.proposal.layout)


View = Callable[[Round, Sent], NDArray[np.uint32]]
OURS: list[View] = [aggregators, mains, wires]
PLAIN = "plain"


# ---- what a plain update says, and a view of ours does not


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """The pictures of homes."""
    return Pictures.drawn(tmp_path_factory.mktemp("backbone"), "homes")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """The attacker's own, none of them the same."""
    return Pictures.drawn(tmp_path_factory.mktemp("backbone"), "attacker")


def told_of(pictures: Pictures, update_bits: int) -> Round:
    plan = plan_of(features=pictures.x.shape[1], classes=("circle", "square", "triangle", "star"))
    return Round(WORLD, plan, update_bits=update_bits).open()


def views_of(told: Round, update: Reals, examples: int, name: str) -> dict[str, Reals]:
    """The update in the clear, as in plain federated averaging, and where it is in what servers of ours have."""
    said = replace(contribution_of(told.plan, 0), update=update, examples=examples)
    sent, segment = told.commit(VICTIM, said, seed=name), told.proposal.layout[1]
    place = slices(told.proposal.layout)["update"]
    ours = {view.__name__: ring.centre(view(told, sent)[place], segment.bits).astype(np.float64) for view in OURS}
    return {PLAIN: update, **ours}


HOMES = 120
"""Devices attacked in each case."""


@pytest.mark.parametrize("each", [1, 8])
@pytest.mark.parametrize("when", ["first round", "later round"])
def test_classes_are_read_from_a_plain_update_and_not_from_what_a_server_sees(
    theirs: Pictures, own: Pictures, each: int, when: str
) -> None:
    """Which of 15 sets of classes does a device have? Guessing is right once in 15 times.

    In the first round the attacker is right nearly always; later, when the model knows the classes and moves little,
    still several times as often as by guessing (five standard deviations of that are 18 in a hundred).
    """
    start = zero_head(theirs.x.shape[1], 4) if when == "first round" else own.head()
    told, attacker = told_of(theirs, update_bits=0), Attacker(own, start, each)
    draws = np.random.default_rng(2)
    wins: Counter[str] = Counter()
    for home in range(HOMES):
        classes = SETS[draws.integers(len(SETS))]
        which = theirs.some(classes, each, draws)
        update = theirs.update(start, which, f"home-{home}")
        for name, seen in views_of(told, update, which.size, f"{when}-{home}").items():
            wins[name] += attacker.classes_in(seen) == classes
    assert wins[PLAIN] >= HOMES * (0.95 if when == "first round" else 0.25), wins
    for view in OURS:
        assert at_chance(wins[view.__name__], HOMES, 1 / len(SETS)), wins


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_pictures_are_read_from_a_plain_update_and_not_from_what_a_server_sees(theirs: Pictures, classes: int) -> None:
    """Which of 160 pictures has the device learned? It has one of each class; guessing is right once in 160 times."""
    told, start = told_of(theirs, update_bits=16), zero_head(theirs.x.shape[1], 4)
    draws = np.random.default_rng(3)
    wins: Counter[str] = Counter()
    for home in range(HOMES):
        labels = draws.choice(4, classes, replace=False).tolist()
        which = theirs.some(labels, 1, draws)
        update = theirs.update(start, which, f"small-{home}")
        for name, seen in views_of(told, update, which.size, f"{classes}-{home}").items():
            found = [picture_in(seen, label, labels, theirs) for label in labels]
            wins[name] += sum(a == b for a, b in zip(found, which.tolist(), strict=True))
    trials = HOMES * classes
    assert wins[PLAIN] >= 0.95 * trials, wins
    for view in OURS:
        assert at_chance(wins[view.__name__], trials, 1 / theirs.y.size), wins


# ---- the distinguisher: the attacker chooses two updates, and is to say which of them was sent


TRIALS = 1000
"""Whoever is right in 58 of 100 would be seen (500 ± 5·√250): an advantage of 16 in a hundred over guessing."""
MASKS = 10_000
"""Right in 52.5 of 100."""


@dataclass(frozen=True)
class Game:
    """Two contributions as unlike as the protocol allows."""

    told: Round
    choices: tuple[Contribution, Contribution]

    @classmethod
    def of(cls, update_bits: int) -> Game:
        """Updates of the greatest length in opposite directions, most and least weight, opposite classes."""
        told = Round(WORLD, plan_of(features=99), update_bits=update_bits).open()
        pattern = np.where(np.arange(told.plan.parameters) % 2, 1.0, -1.0) * 1e6
        base = contribution_of(told.plan, 1)
        most = replace(base, update=pattern, examples=W_MAX, supporters=np.array([True, False]))
        return cls(told, (replace(most, examples=W_MAX // 2, supporters=~most.supporters, update=-pattern), most))

    def numbers(self, view: NDArray[np.uint32]) -> Reals:
        """A view's numbers, each segment's in its ring."""
        return centre(self.told.proposal.layout, view).astype(np.float64)

    @cached_property
    def expected(self) -> tuple[Reals, Reals]:
        """What the choices are before masking; rounding moves them by less than a step."""
        layout = self.told.proposal.layout
        first, second = (encode(layout, choice, Keystream(secret("any"))) for choice in self.choices)
        return self.numbers(first), self.numbers(second)

    def played(self, trials: int) -> list[Trial]:
        """So many reports, of either choice by a coin."""
        coins = Keystream(secret("coins")).uint32(trials) % 2
        found = []
        for number, bit in enumerate(coins.tolist()):
            sent = self.told.commit(VICTIM, self.choices[bit], seed=f"game-{number}")
            views = {view.__name__: self.numbers(view(self.told, sent)) for view in OURS}
            found.append(Trial(bit, sent, {PLAIN: sent.plain.astype(np.float64), **views}))
        return found


@dataclass(frozen=True)
class Trial:
    """One report: the secret bit, what was sent, and what each attacker has of the vector."""

    bit: int
    sent: Sent
    views: dict[str, Reals]


Guess = Callable[[Game, Reals], int]


def along_the_difference(game: Game, seen: Reals) -> int:
    """The best there is against noise that is alike in all directions."""
    first, second = game.expected
    return int((seen - (first + second) / 2) @ (second - first) > 0)


def near_one_of_both(game: Game, seen: Reals) -> int:
    """How many numbers are within a step of what they would be."""
    first, second = (int((np.abs(seen - expected) <= 1).sum()) for expected in game.expected)
    return int(second > first)


def by_the_weight(_: Game, seen: Reals) -> int:
    """The first number is how many pictures there are."""
    return int(abs(seen[0]) > 0.75 * W_MAX)


def by_the_lowest_bits(_: Game, seen: Reals) -> int:
    return int(seen.sum()) % 2


CERTAIN: list[Guess] = [along_the_difference, near_one_of_both, by_the_weight]
"""Those that are never wrong where they see the vector; without them the others' failing would mean nothing."""
GUESSES: list[Guess] = [*CERTAIN, by_the_lowest_bits]


def wins(game: Game, guess: Guess, trials: list[Trial], view: str) -> int:
    return sum(guess(game, trial.views[view]) == trial.bit for trial in trials)


def learned(trials: list[Trial], view: str) -> tuple[int, int]:
    """A distinguisher that learns from the first half of the trials: how often it is right in the other half."""
    x = np.stack([trial.views[view] for trial in trials])
    x /= np.abs(x).max(axis=0) + 1
    y = np.array([2 * trial.bit - 1 for trial in trials])
    half = len(trials) // 2
    line = np.linalg.solve(x[:half].T @ x[:half] + np.eye(x.shape[1]), x[:half].T @ y[:half])
    return int(((x[half:] @ line > 0) == (y[half:] > 0)).sum()), len(trials) - half


def beside(sent: Sent) -> bytes:
    """What is sent beside the vector: the sizes, and the envelope with its hashes, signature and sealed seeds."""
    sizes = len(sent.record.envelope), sent.y.nbytes
    return b"".join(size.to_bytes(4, "big") for size in sizes) + sent.record.envelope


def told_by_a_bit(trials: list[Trial], seen: list[bytes]) -> tuple[int, int]:
    """The bit of all ``seen`` that says most in the first half of the trials: how often it is right in the other."""
    longest = max(map(len, seen))
    rows = np.stack([np.frombuffer(one.ljust(longest, b"\0"), np.uint8) for one in seen])
    agrees = np.unpackbits(rows, axis=1) == np.array([[trial.bit] for trial in trials])
    half = len(trials) // 2
    right = agrees[:half].mean(axis=0)
    best = int(np.abs(right - 0.5).argmax())
    return int((agrees[half:, best] == (right[best] > 0.5)).sum()), len(trials) - half


@pytest.mark.parametrize("update_bits", [0, 10])
def test_a_distinguisher_that_chose_both_updates_is_right_half_the_time(update_bits: int) -> None:
    """And always where the vector is plain: had the masks a hole, these would find it."""
    game = Game.of(update_bits)
    trials = game.played(TRIALS)
    for guess in CERTAIN:
        assert wins(game, guess, trials, PLAIN) == TRIALS, guess.__name__
    assert learned(trials, PLAIN) == (TRIALS // 2, TRIALS // 2)
    for view in OURS:
        for guess in GUESSES:
            found = wins(game, guess, trials, view.__name__)
            assert at_chance(found, TRIALS, 0.5), (view.__name__, guess.__name__, found)
        assert at_chance(*learned(trials, view.__name__), 0.5), view.__name__


@pytest.mark.parametrize("update_bits", [0, 10])
def test_nothing_beside_the_vector_says_which_of_both_was_sent(update_bits: int) -> None:
    """And always where the envelope or a size tells: then one bit of it does."""
    trials = Game.of(update_bits).played(TRIALS)
    honest = [beside(trial.sent) for trial in trials]
    assert at_chance(*told_by_a_bit(trials, honest), 0.5)
    certain = TRIALS // 2, TRIALS // 2
    assert (
        told_by_a_bit(trials, [one + bytes([trial.bit]) for one, trial in zip(honest, trials, strict=True)]) == certain
    )
    sizes = [one[:3] + bytes([one[3] + 2 * trial.bit]) + one[4:] for one, trial in zip(honest, trials, strict=True)]
    assert told_by_a_bit(trials, sizes) == certain, "an envelope that is two bytes longer"


@pytest.mark.parametrize("bits", [32, 26, 18])
def test_one_mask_alone_hides_which_of_two_vectors_it_is_on(bits: int) -> None:
    """The core of it, many more times: one mask of a device's, whose seed the attacker does not have."""
    length, half = 16, 1 << (bits - 1)
    choices = [np.full(length, value, np.int64) for value in (-half, half - 1)]
    secrets = Keystream(secret("masks"))
    coins = secrets.uint32(MASKS) % 2
    right, ones = 0, 0
    for coin in coins.tolist():
        vector = ring.to_ring(choices[coin], bits)
        add_mask(vector, mask_key(secrets.bytes(32), MASK_MAIN, secret("round"), VICTIM.id))
        numbers = ring.centre(vector, bits)
        right += int(numbers.sum() > 0) == coin
        ones += int(np.unpackbits((vector & np.uint32((1 << bits) - 1)).view(np.uint8)).sum())
    assert at_chance(right, MASKS, 0.5)
    assert at_chance(ones, MASKS * length * bits, 0.5), "and every bit is a coin"


def test_main_cannot_tell_which_device_said_what() -> None:
    """Two devices, two updates, one sum: even if both vectors leak to main, it cannot say who said which."""
    game, trials = Game.of(0), 300
    coins = Keystream(secret("who")).uint32(trials) % 2
    right, place = 0, slices(game.told.proposal.layout)["update"]
    first, second = game.expected
    for number, coin in enumerate(coins.tolist()):
        said = [replace(game.choices[bit], examples=W_MAX) for bit in (1 - coin, coin)]
        sent = [game.told.commit(owner, said[i], seed=str(number)) for i, owner in enumerate((VICTIM, OTHER))]
        total = sum(one.plain[place] for one in sent)
        assert np.abs(total).max() <= 1, "opposite updates: the sum is their rounding, the same both ways"
        assert int((sent[1].plain - sent[0].plain) @ (second - first) > 0) == coin, "in the clear it is plain"
        views = [game.numbers(mains(game.told, one)) for one in sent]
        right += int((views[1] - views[0]) @ (second - first) > 0) == coin
    assert at_chance(right, trials, 0.5)


def test_a_report_has_the_same_size_whatever_it_says() -> None:
    for update_bits in (0, 10):
        trials = Game.of(update_bits).played(20)
        assert len({(len(trial.sent.record.envelope), trial.sent.y.nbytes) for trial in trials}) == 1
