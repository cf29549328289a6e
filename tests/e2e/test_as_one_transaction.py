"""What the aggregator stores as one on the way of a round, and what is so when it cannot, or dies before."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from fanlight.errors import StorageError
from fanlight.protocol.aggregator_round import Record, State
from fanlight.protocol.closing import read_releases
from fanlight.protocol.exchange import Orders
from fanlight.services.aggregator import round_table
from fanlight.services.aggregator.masked_sums import MaskedSums
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.main_server.service import MainService
from fanlight.storage.tables import aggregator as tables
from tests.services_world import ProtocolDevice, World, running, wait

Patch = pytest.MonkeyPatch


@pytest.fixture
def saved(monkeypatch: Patch) -> list[str]:
    """The states that rounds are stored in at the aggregator, from now on."""
    save, states = round_table.save, list[str]()

    def noted(tx: Connection, record: Record, now: float) -> None:
        states.append(record.state)
        save(tx, record, now)

    monkeypatch.setattr(round_table, "save", noted)
    return states


def collected(world: World) -> list[ProtocolDevice]:
    devices = world.enrolled(2)
    for device in devices:
        device.report()
    return devices


def test_verdict_and_release_are_stored_as_one_and_logged_in_their_order(tmp_path: Path, saved: list[str]) -> None:
    with running(tmp_path) as world:
        collected(world)
        world.owner("main").step("/aggregate_models")
        wait(lambda: "outcome" in world.log_types("aggregator"), "the aggregator has main's outcome, durably")
        assert saved == ["collecting", "closed", "released", "finished"]
        service = world.aggregator.service
        with service.database.reading() as tx:
            entries = {entry.type: entry for entry in service.log.entries(tx)}
        assert list(entries)[-5:] == ["manifest", "close", "verdict", "release", "outcome"]
        (release,) = read_releases(entries["release"].payload)
        assert release.log_head == entries["verdict"].head
        world.check_traces()


def test_by_hand_the_verdict_is_stored_by_itself(tmp_path: Path, saved: list[str]) -> None:
    with running(tmp_path) as world:
        collected(world)
        world.owner("aggregator").step("/aggregate_models")
        world.owner("aggregator").step("/send_model_secagg")
        assert saved == ["collecting", "closed", "agreed", "released", "finished"]


@pytest.mark.parametrize("dies", [False, True], ids=["the disk fails", "it dies"])
def test_what_cannot_be_stored_is_stored_later(
    dies: bool, tmp_path: Path, saved: list[str], monkeypatch: Patch
) -> None:
    save = round_table.save

    def fails(tx: Connection, record: Record, now: float) -> None:
        if record.at is State.RELEASED:
            raise StorageError("the disk is full")
        save(tx, record, now)

    with running(tmp_path) as world:
        collected(world)
        with monkeypatch.context() as broken:
            broken.setattr(round_table, "save", fails)
            world.owner("main").start("/aggregate_models")
            wait(lambda: world.aggregator.service.main_problem, "it could not be stored")
            stored = world.aggregator.service.rounds.latest()
            assert stored is not None
            assert stored.record.at is State.CLOSED, "main is asked for its verdict again"
            if dies:
                world.stop_aggregator()
        if dies:
            world.start_aggregator()
        wait(lambda: world.round(1, state="released", participants=2), "main has the sum")
        world.owner("main").step("/send_model_clients")
        world.check_traces()


def test_a_round_whose_report_is_lost_is_given_up_with_the_verdict_in_the_log(tmp_path: Path, saved: list[str]) -> None:
    with running(tmp_path) as world:
        collected(world)
        world.aggregator.service.files.delete(*world.report_files())
        world.owner("main").start("/aggregate_models")
        wait(lambda: world.round(1, state="abandoned", reason="report-lost"), "main knows")
        wait(lambda: world.open_round() == 2, "the next round is open")
        assert saved[:4] == ["collecting", "closed", "agreed", "abandoned"]
        assert world.log_types("aggregator")[-4:] == ["close", "verdict", "outcome", "manifest"]


def test_a_sum_that_cannot_be_kept_now_is_computed_again_from_the_agreed_set(
    tmp_path: Path, saved: list[str], monkeypatch: Patch
) -> None:
    keep, tried = MaskedSums.keep, itertools.count()

    def fails_once(sums: MaskedSums, *arguments: Any) -> None:
        if next(tried) == 0:
            raise StorageError("the disk is full", slug="disk-full")
        keep(sums, *arguments)

    monkeypatch.setattr(MaskedSums, "keep", fails_once)
    with running(tmp_path) as world:
        collected(world)
        world.owner("main").start("/aggregate_models")
        wait(lambda: "finished" in saved, "the aggregator has main's outcome")
        assert saved == ["collecting", "closed", "agreed", "released", "finished"]


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
