"""Keys of rounds that are over are destroyed, also if something fails in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from fanlight.errors import StorageError, Unreachable
from tests.services_world import World, running, wait


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as made:
        for device in made.enrolled(2):
            device.report()
        yield made


def key_of(world: World, role: str) -> int | None:
    kept = world.round_key(role)
    return kept.number if kept is not None else None


def test_the_aggregators_goes_though_main_does_not_hear_how_the_round_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = world.aggregator.service
    service.stop(60)  # only what the operator does by hand
    service.close_round()

    def away(_outcome: bytes) -> None:
        raise Unreachable("Main is away.")

    monkeypatch.setattr(service.main, "outcome", away)
    assert key_of(world, "aggregator") == 1
    with pytest.raises(Unreachable):
        service.release_round()
    assert key_of(world, "aggregator") is None
    assert list((world.federation / "aggregator" / "reports").iterdir()) == []


def refusing(monkeypatch: pytest.MonkeyPatch, world: World) -> list[int]:
    """Main's disk takes no zeros; the rounds whose keys it was to overwrite."""
    refused = list[int]()

    def refuse(number: int) -> None:
        refused.append(number)
        raise StorageError("The disk is read-only.")

    monkeypatch.setattr(world.main.service.rounds._keys, "destroy", refuse)
    return refused


def test_mains_goes_at_the_next_look_if_the_disk_refuses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    service = world.main.service
    service.change_policy(paused=True)
    refused = refusing(monkeypatch, world)
    world.aggregate()
    wait(lambda: refused, "main has tried to destroy the key")
    assert world.round(1, state="complete"), "the round has ended all the same"
    assert key_of(world, "main") == 1
    monkeypatch.undo()
    service.news.tell()
    wait(lambda: key_of(world, "main") is None, "the policy has looked again")
    wait(lambda: not service.rounds.has_spent_key, "and it is done with")


def test_the_next_rounds_takes_its_place(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, world)
    world.aggregate()
    wait(lambda: key_of(world, "main") == key_of(world, "aggregator") == 2, "the next round is open")


def test_two_who_come_to_it_at_once_do_not_get_in_each_others_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.aggregator.service.stop(60)
    rounds, at_once = world.aggregator.service.rounds, threading.Barrier(2, timeout=0.2)
    rounds._over += [(number, []) for number in (100, 101, 102)]
    rounds._keys.store(102, rounds._keys.fresh())
    real = rounds._keys.destroy

    def slowly(number: int) -> None:
        with suppress(threading.BrokenBarrierError):
            at_once.wait()
        real(number)

    monkeypatch.setattr(rounds._keys, "destroy", slowly)
    with ThreadPoolExecutor(2) as both:
        for done in [both.submit(rounds.destroy_ended) for _ in range(2)]:
            done.result(60)
    assert not rounds._over
    assert key_of(world, "aggregator") is None
