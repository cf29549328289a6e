"""Lines that die without a word, while new connections work: a round goes on by a fresh try, while the test is patient.

That is 60 s for each thing that is waited for, which is longer than anything takes and far less than a round was held
up before anybody looked at a clock.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import Unreachable
from fanlight.protocol.aggregator_round import State
from fanlight.protocol.main_round import Step
from fanlight.protocol.main_server import MainServer
from fanlight.services.aggregator.main_client import LONG_POLL_S
from fanlight.services.device.client import AggregatorClient
from fanlight.services.http import silence
from fanlight.services.http.remote import Remote
from tests.cutting_proxy import cut, cut_polls
from tests.services_world import running, wait


def post(what: str) -> bytes:
    return f"POST /protocol/v1/aggregator/{what} ".encode()


def test_a_round_whose_close_is_swallowed_is_completed(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        for device in world.enrolled(2):
            device.report()
        wire = world.aggregator.service.main._remote.wire
        with cut(wire, world.ports["main"].number, swallows=[post("close")]) as line:
            world.aggregate()
            assert line.swallows == [], "it was swallowed"
        assert world.round(1, state="complete", participants=2)
        world.check_traces()


def test_whatever_the_aggregator_says_may_be_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "ANSWER_S", 1.0)  # it is tried again anyhow, and each is a second here instead of 8
    with running(tmp_path) as world:
        wire = world.aggregator.service.main._remote.wire
        words = ("enrolments", "manifest", "close", "release", "outcome")
        with cut(wire, world.ports["main"].number, swallows=[post(word) for word in words]) as line:
            for device in world.enrolled(2):
                device.report()
            world.aggregate()
            wait(lambda: line.swallows == [], "each was swallowed")
            wait(lambda: world.open_round() == 2, "and the next round opens")
        assert world.round(1, state="complete", participants=2)
        world.check_traces()


def test_a_release_that_comes_again_while_its_sum_is_computed_waits_for_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Computed side by side, each would take longer, and whoever asks would lose patience again."""
    computing, most, really = [0], [0], MainServer.take_release

    def take_release(*arguments: Any) -> Step:
        computing[0] += 1
        most[0] = max(most[0], computing[0])
        threading.Event().wait(0.5)  # time for the other one to come in, if nothing holds it up
        computing[0] -= 1
        return really(*arguments)

    with running(tmp_path) as world:
        for device in world.enrolled(2):
            device.report()
        world.owner("aggregator").step("/aggregate_models")
        signed, y = world.aggregator.service.rounds.release()
        monkeypatch.setattr(MainServer, "take_release", take_release)
        with ThreadPoolExecutor(2) as threads:
            first, second = threads.map(world.main.service.rounds.release, [signed] * 2, [y.copy(), y.copy()])
        assert first == second
        assert most == [1]
        wait(lambda: world.round(1, participants=2), "the round is released")


def test_a_report_that_is_swallowed_is_sent_again(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        first, second = world.enrolled(2)
        url = world.ports["aggregator"].url
        made = Remote("The aggregator", url, key_id=first.id.hex(), private=first.private, clock=world.clock)
        first.aggregator = AggregatorClient(made)  # no more patient than a device is
        sent = first.commit()
        with cut(first.aggregator.remote.wire, world.ports["aggregator"].number, swallows=[b"PUT "]):
            with pytest.raises(Unreachable):
                first.report(sent)
            first.report(sent)
        made.close()
        second.report()
        world.aggregate()
        assert world.round(1, state="complete", participants=2)
        world.check_traces()


def test_news_reach_those_whose_long_polls_have_died(tmp_path: Path) -> None:
    """The first poll of each that waits is swallowed."""
    with running(tmp_path, by_itself=True) as world:
        number = world.ports["main"].number
        world.stop_aggregator()
        with cut_polls(number, swallows=[f"wait={LONG_POLL_S:g}".encode()]) as to_aggregator:
            world.start_aggregator()
            with cut_polls(number, swallows=[b"wait=2"]) as to_device:
                world.add_device(poll_wait_s=2).start()
                other = world.protocol_device()
                other.enrol()
                wait(lambda: world.open_round() == 1 and world.report_files(), "the device has reported")
                other.report()
                wait(lambda: world.round(1, state="complete", participants=2), "the round is complete")
                assert to_aggregator.swallows == to_device.swallows == []
                world.devices[0].stop()
            world.stop_aggregator()


def test_a_window_is_kept_while_whoever_works_with_main_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, window_s=10) as world:
        service, newcomer = world.aggregator.service, world.protocol_device()
        with cut(service.main._remote.wire, world.ports["main"].number) as line:
            world.enrolled(2)
            number = world.open_round()
            monkeypatch.setattr(silence, "ANSWER_S", 3600.0)  # nothing but the end of the line ends a wait
            line.swallows.append(post("enrolments"))
            newcomer.enrol()
            wait(lambda: line.swallows == [], "the aggregator tells main of the newcomer, and waits")

            def given_up() -> bool:
                stored = service.rounds.latest()
                return stored is not None and (stored.record.number, stored.record.at) == (number, State.ABANDONED)

            wait(given_up, "the round is given up")
            assert service._work.locked(), "while it goes on waiting"
        assert number is not None
        wait(lambda: world.round(number, state="abandoned", reason="window-passed"), "main is told of it afterwards")
        wait(lambda: world.open_round() == number + 1, "and the next round opens")
        world.check_traces()
