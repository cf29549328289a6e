"""Keys of rounds that are over are destroyed, also if something fails in between."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
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


def keys(world: World, role: str) -> set[str]:
    return {path.name for path in (world.federation / role / "round-keys").iterdir()}


def test_the_aggregators_goes_though_main_does_not_hear_how_the_round_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = world.aggregator.service
    service.stop(60)  # only what the operator does by hand
    service.close_round()

    def away(_outcome: bytes) -> None:
        raise Unreachable("Main is away.")

    monkeypatch.setattr(service.main, "outcome", away)
    assert keys(world, "aggregator") == {"round-1.key"}
    with pytest.raises(Unreachable):
        service.release_round()
    assert keys(world, "aggregator") == set()
    assert list((world.federation / "aggregator" / "reports").iterdir()) == []


def test_mains_goes_at_the_next_try_if_the_disk_refuses(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = world.main.service.rounds
    destroy, refused = rounds._keys.destroy, list[int]()

    def refuse(number: int) -> None:
        refused.append(number)
        raise StorageError("The disk is read-only.")

    monkeypatch.setattr(rounds._keys, "destroy", refuse)
    world.aggregate()
    wait(lambda: refused, "main has tried to destroy the key")
    assert world.round(1, state="complete"), "the round has ended all the same"
    assert "round-1.key" in keys(world, "main")
    monkeypatch.setattr(rounds._keys, "destroy", destroy)
    rounds.destroy_spent_keys()
    assert "round-1.key" not in keys(world, "main")


@pytest.mark.parametrize("role", ["main", "aggregator"])
def test_two_who_come_to_it_at_once_do_not_get_in_each_others_way(
    role: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.aggregator.service.stop(60)
    numbers, at_once = range(100, 103), threading.Barrier(2, timeout=0.2)
    if role == "main":
        main = world.main.service.rounds
        keys_, destroy = main._keys, main.destroy_spent_keys
        main._spent += numbers
        over: Sequence[object] = main._spent
    else:
        aggregator = world.aggregator.service.rounds
        keys_, destroy = aggregator._keys, aggregator.destroy_ended
        aggregator._over += [(number, []) for number in numbers]
        over = aggregator._over
    for number in numbers:
        keys_.store(number, keys_.fresh())
    real = keys_.destroy

    def slowly(number: int) -> None:
        with suppress(threading.BrokenBarrierError):
            at_once.wait()
        real(number)

    monkeypatch.setattr(keys_, "destroy", slowly)
    with ThreadPoolExecutor(2) as both:
        for done in [both.submit(destroy) for _ in range(2)]:
            done.result(60)
    assert not over
    assert not keys(world, role) & {f"round-{number}.key" for number in numbers}
