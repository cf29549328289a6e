"""What an algorithm has a device remember advances only with a released round that has its report in the sum."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fanlight.learning.algorithms.lineage import Lineage
from fanlight.learning.algorithms.local import Outcome
from fanlight.services.device import memories
from fanlight.services.device.memories import Left, left_of
from fanlight.services.device.store import DeviceStore
from fanlight.storage.tables.device import rounds

MH = [bytes([number]) * 32 for number in range(30)]
NOTHING = np.zeros(2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DeviceStore]:
    made = DeviceStore(tmp_path)
    yield made
    made.close()


def left(value: float, algorithm: str = "scaffold") -> Left:
    outcome = Outcome(NOTHING, NOTHING, {"control": np.full(2, value)}, control=np.full(2, -value), steps=value)
    found = left_of(algorithm, outcome, NOTHING)
    assert found is not None
    return found


def answer(store: DeviceStore, mh: bytes) -> None:
    """The device's report goes into the round whose number is that of its manifest."""
    with store.database.transaction() as tx:
        line = {"mh": mh, "number": MH.index(mh), "kind": "train", "learned": b"", "asked_again": False}
        tx.execute(rounds.insert().values(line))


def train_and_send(store: DeviceStore, value: float, mh: bytes) -> None:
    answer(store, mh)
    with store.database.transaction() as tx:
        memories.trained(tx, mh, left(value))
    with store.database.transaction() as tx:
        memories.sent(tx, mh, mh)


def end(store: DeviceStore, mh: bytes, *, counted: bool, again: bool = False) -> None:
    with store.database.transaction() as tx:
        memories.ended(tx, mh, counted=counted, may_be_sent_again=again)


def known(store: DeviceStore, *spans: tuple[int, int], algorithm: str = "scaffold", asked: str = "") -> list[float]:
    """What it remembers of rounds of an algorithm, if it is asked for the same, or for another."""
    lineage = Lineage(algorithm, spans) if spans else None
    return [float(vector[0]) for vector in store.memories.remembered(asked or algorithm, lineage).values()]


def test_it_counts_when_the_round_does(store: DeviceStore) -> None:
    train_and_send(store, 1.0, MH[1])
    assert known(store, (1, 1)) == []
    assert store.memories.in_question() == {MH[1]}
    end(store, MH[1], counted=True)
    assert known(store, (1, 1)) == [1.0]
    assert known(store, (1, 1), algorithm="feddyn") == []
    assert store.memories.in_question() == frozenset()


def test_it_does_not_when_the_report_was_left_out_or_the_round_failed(store: DeviceStore) -> None:
    train_and_send(store, 1.0, MH[1])
    end(store, MH[1], counted=False)
    assert known(store, (1, 1)) == []
    assert store.memories.in_question() == frozenset()


def test_after_an_abandoned_round_it_is_sent_again(store: DeviceStore) -> None:
    train_and_send(store, 1.0, MH[0])
    assert store.memories.to_send(MH[0]) == {}
    end(store, MH[0], counted=False, again=True)
    assert {name: vector[0] for name, vector in store.memories.to_send(MH[0]).items()} == {"control": -1, "steps": 1}
    answer(store, MH[1])
    with store.database.transaction() as tx:
        memories.sent(tx, MH[0], MH[1])
    end(store, MH[1], counted=True)
    assert known(store, (1, 1)) == [1.0]


def test_training_anew_forgets_what_was_not_sent(store: DeviceStore) -> None:
    for value in (1.0, 2.0):
        with store.database.transaction() as tx:
            memories.trained(tx, MH[int(value)], left(value))
    assert store.memories.to_send(MH[1]) == {}
    with store.database.transaction() as tx:
        memories.trained(tx, MH[3], None)
    assert store.memories.to_send(MH[2]) == {}


def test_after_going_back_it_is_what_it_was_then(store: DeviceStore) -> None:
    for number in range(1, 5):
        train_and_send(store, float(number), MH[number])
        end(store, MH[number], counted=True)
    assert [known(store, (1, number)) for number in range(1, 5)] == [[1.0], [2.0], [3.0], [4.0]]
    assert known(store, (1, 9)) == [4.0], "it was not in those since"
    assert known(store, (1, 1), (9, 9)) == [1.0], "that went on from version 1 without it"
    train_and_send(store, 9.0, MH[9])
    end(store, MH[9], counted=True)
    assert known(store, (1, 1), (9, 9)) == [9.0]
    assert known(store, (1, 2)) == [2.0], "not what was learned when version 1 was started from once more"


def test_it_begins_anew_where_the_server_does(store: DeviceStore) -> None:
    """Another algorithm has been there in between, or a head that was solved, or a new line."""
    train_and_send(store, 1.0, MH[1])
    end(store, MH[1], counted=True)
    assert known(store, (3, 3)) == []
    assert known(store) == []
    assert known(store, (1, 1), asked="feddyn") == []


def test_only_the_newest_are_kept(store: DeviceStore) -> None:
    for number in range(1, 21):
        train_and_send(store, float(number), MH[number])
        end(store, MH[number], counted=True)
    assert known(store, (1, 20)) == [20.0]
    assert known(store, (1, 4)) == []


def test_nothing_is_left_where_the_difference_says_it_all() -> None:
    assert left_of("fedprox", Outcome(np.ones(2), np.ones(2)), np.ones(2)) is None
    found = left_of("fedbuff", Outcome(np.ones(2) / 2, np.ones(2)), np.ones(2))
    assert found is not None
    assert found.algorithm == "fedbuff"


def test_what_follows_the_update_advances_by_what_was_sent_of_it(store: DeviceStore) -> None:
    """FedDyn's: of an update of length 2 a quarter is sent, or half of it in a round after an abandoned one."""
    for mh, shares in ((MH[1], (0.25,)), (MH[2], (0.25, 0.5)), (MH[5], (0.25, 1.0)), (MH[8], (1.0,))):
        outcome = Outcome(np.full(2, 2.0), np.ones(2), {"own_gradient": np.full(2, 10.0)}, {"own_gradient": -3.0})
        rounds_of = [MH[MH.index(mh) + place] for place in range(len(shares))]
        for place, (of_round, share) in enumerate(zip(rounds_of, shares, strict=True)):
            answer(store, of_round)
            with store.database.transaction() as tx:
                if not place:
                    memories.trained(tx, mh, left_of("feddyn", outcome, outcome.update))
                memories.sent(tx, mh, of_round, share)
            is_last = place == len(shares) - 1
            end(store, of_round, counted=is_last, again=not is_last)
            assert is_last or store.memories.to_send(mh)["update"].tolist() == [2, 2], "whole, for another clip"
        number = MH.index(rounds_of[-1])
        before = 10.0 + 3.0 * 2.0
        assert known(store, (number, number), algorithm="feddyn") == [before - 3.0 * 2.0 * shares[-1]]
