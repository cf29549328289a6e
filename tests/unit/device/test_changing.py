"""What a device says in rounds of sums: everything, an exact difference, or what takes it all back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fanlight.errors import NotPossibleNow, Refused
from fanlight.protocol.statistics import Sums
from fanlight.services.device import counted, sums_file
from fanlight.services.device.changing import say
from fanlight.services.device.counted import Counted, InQuestion
from fanlight.services.device.learned import Prepared, StoredCounts
from fanlight.services.device.store import DeviceStore
from tests.protocol_world import World, plan_of

WORLD = World(2, "changing")
OLD, NEW, THIRD = (
    Sums(np.arange(1, 13) * factor, np.arange(12) * factor, np.array([3, 1, 1, 1]) * factor) for factor in (1, 2, 3)
)
MH = b"m" * 32


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DeviceStore]:
    made = DeviceStore(tmp_path)
    yield made
    made.close()


def keep(store: DeviceStore, sums: Sums) -> bytes:
    """The file as trainings leave it; its name."""
    file = sums_file.encode(sums)
    name = hashlib.sha256(file).digest()
    with store.database.transaction() as tx:
        store._models.put_small(tx, "sums", name, file)
    return name


def prepared(store: DeviceStore, sums: Sums, *supporters: bool) -> Prepared:
    none = StoredCounts.none(2)
    return Prepared(
        state="trained", plan=bytes(32), model=bytes(32), model_version=1, head=bytes(32), examples=4, epochs=0,
        supporters=supporters, received=none, local=none, trained_at=1, sums=keep(store, sums), pictures=b"p" * 32,
    )  # fmt: skip


def proposal(kind: str, **changes: Any) -> Any:
    return WORLD.proposal(plan_of(head="analytic", kind=kind), **changes)


def count(store: DeviceStore, sums: Sums, *supporters: bool) -> None:
    """As if a round of statistics had been released with it."""
    found = say(store, proposal("statistics", round=3), MH, prepared(store, sums, *supporters), 2)
    with store.values.changing() as tx:
        counted.sent(tx, found.asked)
    with store.values.changing() as tx:
        counted.ended(tx, MH, counted=True, now=1)


def test_a_training_keeps_the_sums_that_count_or_may_count(store: DeviceStore) -> None:
    """Main has those of the round before, and a report with others is on its way."""
    count(store, OLD, True, False)
    sent = say(store, proposal("statistics", round=5), MH, prepared(store, NEW, True, True), 2)
    with store.values.changing() as tx:
        counted.sent(tx, sent.asked)
    third = sums_file.encode(THIRD)
    ready = prepared(store, THIRD, True, True)
    store.trained(ready, b"local", sums=third)
    for sums in (OLD, NEW, THIRD):
        assert store.sums_file(hashlib.sha256(sums_file.encode(sums)).digest()) == sums_file.encode(sums)


def test_a_round_of_statistics_gets_all(store: DeviceStore) -> None:
    found = say(store, proposal("statistics", round=3), MH, prepared(store, OLD, True, False), 2)
    assert found.contribution.sums is not None
    assert (found.contribution.sums - OLD).is_empty
    assert found.contribution.supporters.tolist() == [1, 0]
    assert found.asked.then is not None
    assert (found.asked.then.collection, found.asked.then.round) == (3, 3)


def test_a_round_of_changes_gets_the_difference_to_what_is_counted(store: DeviceStore) -> None:
    count(store, OLD, True, False)
    found = say(store, proposal("changes", round=5, collection=3), MH, prepared(store, NEW, True, True), 2)
    said = found.contribution
    assert said.sums is not None
    assert (said.sums - (NEW - OLD)).is_empty
    assert (said.supporters.tolist(), said.members) == ([0, 1], 0)
    assert found.asked.change == "changes"
    assert found.asked.then is not None
    assert (found.asked.then.collection, found.asked.then.round) == (3, 5)
    same = say(store, proposal("changes", round=5, collection=3), MH, prepared(store, OLD, True, False), 2)
    assert same.contribution.changes_nothing


def test_who_is_to_be_forgotten_takes_back_the_very_integers(store: DeviceStore) -> None:
    count(store, OLD, True, True)
    found = say(store, proposal("changes", round=5, collection=3), MH, None, 2)
    said = found.contribution
    assert said.sums is not None
    assert (said.sums + OLD).is_empty
    assert (said.supporters.tolist(), said.members, said.examples) == ([-1, -1], -1, 0)
    assert found.asked.then is None
    with store.values.changing() as tx:
        counted.sent(tx, found.asked)
    told = store.account.change(3, b"p" * 32, leaves=True)
    assert told == "leaves", "main is told again if it was started anew"


def test_sums_that_were_collected_anew_without_it_get_all_and_older_ones_nothing(store: DeviceStore) -> None:
    count(store, OLD, True, True)
    found = say(store, proposal("changes", round=9, collection=8), MH, prepared(store, NEW, True, True), 2)
    assert found.contribution.sums is not None
    assert (found.contribution.sums - NEW).is_empty
    assert (found.contribution.members, found.asked.change) == (1, "joins")
    with pytest.raises(Refused):
        say(store, proposal("changes", round=9, collection=2), MH, prepared(store, NEW, True, True), 2)


def test_nothing_is_said_while_an_earlier_report_is_in_question(store: DeviceStore) -> None:
    """Its end decides what the difference is to; a wrong one would stay in the sums for ever."""
    then = Counted(collection=3, round=3, sums=bytes(32), examples=1, supporters=(True, True), pictures=bytes(32))
    with store.values.changing() as tx:
        counted.sent(tx, InQuestion(mh=MH, round=3, then=then))
    with pytest.raises(NotPossibleNow) as caught:
        say(store, proposal("statistics", round=4), b"n" * 32, prepared(store, NEW, True, True), 2)
    assert caught.value.slug == "sums-in-question"
