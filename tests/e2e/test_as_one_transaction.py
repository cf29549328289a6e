"""What the aggregator stores as one on the way of a round, and what is so when it cannot, or dies before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from fanlight.errors import StorageError
from fanlight.protocol.exchange import Orders
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.main_server.service import MainService
from fanlight.storage.tables import aggregator as tables
from tests.services_world import ProtocolDevice, World, running, wait

Patch = pytest.MonkeyPatch


def collected(world: World) -> list[ProtocolDevice]:
    devices = world.enrolled(2)
    for device in devices:
        device.report()
    return devices


def with_the_next_proposal(main: MainService, service: AggregatorService, monkeypatch: Patch) -> list[bytes]:
    """Main proposes the next round before it answers the outcome; the outcomes that it is told."""
    real, told = service.main.outcome, list[bytes]()

    def outcome(data: bytes) -> Orders:
        told.append(data)
        answer = real(data)
        if answer.proposal is None:
            wait(lambda: getattr(main.latest(), "state", "") == "proposed", "main has proposed the next round")
            answer = real(data)
        return answer

    monkeypatch.setattr(service.main, "outcome", outcome)
    return told


def told_main(service: AggregatorService, number: int) -> bool:
    with service.database.reading() as tx:
        return bool(tx.execute(select(tables.rounds.c.told_main).where(tables.rounds.c.number == number)).scalar())


def test_that_main_was_told_is_stored_with_the_round_that_it_proposes_then(tmp_path: Path, monkeypatch: Patch) -> None:
    with running(tmp_path, by_itself=True) as world:
        service = world.aggregator.service
        told, alone = with_the_next_proposal(world.main.service, service, monkeypatch), list[int]()
        monkeypatch.setattr(service.rounds, "told_main", alone.append)
        collected(world)
        wait(lambda: world.open_round() == 2, "the next round is open")
        assert (len(told), alone) == (1, []), "main is told once, and no transaction is spent on that"
        assert told_main(service, 1)


def test_an_aggregator_that_dies_before_that_is_stored_tells_main_again(tmp_path: Path, monkeypatch: Patch) -> None:
    with running(tmp_path, by_itself=True) as world:
        service = world.aggregator.service
        told = with_the_next_proposal(world.main.service, service, monkeypatch)

        def broken_disk(*_: Any) -> bytes:
            raise StorageError("the disk failed")

        devices = collected(world)
        monkeypatch.setattr(service.rounds, "offer", broken_disk)
        wait(lambda: service.main_problem, "the next round cannot be signed")
        assert not told_main(service, 1)
        world.restart_aggregator()
        wait(lambda: world.open_round() == 2, "the next round is open")
        assert len(told) == 1
        assert told_main(world.aggregator.service, 1)
        assert world.round(1, state="complete", participants=2)
        assert world.log_types("main").count("outcome") == 2, "of both signatures each"
        for device in devices:
            device.report()
        assert wait(lambda: world.round(2, state="complete", participants=2), "rounds go on")


def test_an_outcome_that_main_is_told_again_is_over_for_main_once(tmp_path: Path, monkeypatch: Patch) -> None:
    with running(tmp_path) as world:
        world.enrolled(2)
        service, over = world.aggregator.service, list[Any]()
        monkeypatch.setattr(world.main.service.rounds, "_over", over.append)
        stored = service.abandon_round("by-hand")
        service.main.outcome(stored.record.outcome)
        assert len(over) == 1
