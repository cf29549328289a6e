"""One thread gives signs of life in whatever takes long, and in nothing else."""

from __future__ import annotations

import threading

import pytest
from structlog.testing import capture_logs

from fanlight.errors import Unreachable
from fanlight.services.device import signs_of_life
from fanlight.services.device.signs_of_life import SignsOfLife


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signs_of_life, "EVERY_S", 0.02)


def given(count: int) -> tuple[SignsOfLife, threading.Event, list[str]]:
    """Signs of life, an event after ``count`` of them, and the threads that gave them."""
    enough, threads = threading.Event(), list[str]()

    def give() -> None:
        threads.append(threading.current_thread().name)
        if len(threads) >= count:
            enough.set()
        if len(threads) == 1:
            raise Unreachable("Nobody answers.")

    return SignsOfLife(give), enough, threads


def test_they_are_given_again_and_again_by_one_thread_that_keeps_no_process() -> None:
    before = set(threading.enumerate())
    signs, enough, threads = given(5)
    for _ in range(3):
        with signs:
            assert enough.wait(60)
    assert len(set(threads)) == 1
    (giving,) = set(threading.enumerate()) - before
    assert giving.daemon
    signs.close()
    giving.join(60)
    assert not giving.is_alive(), "a device that has stopped leaves none"


def test_a_block_that_begins_after_the_end_has_signs_too() -> None:
    signs, enough, _ = given(3)
    signs.close()
    with signs:
        signs.close()
    with signs:
        assert enough.wait(60)
    signs.close()


def test_none_is_under_way_after_the_end() -> None:
    under_way, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def give() -> None:
        under_way.set()
        may_end.wait(60)
        ended.set()

    def turn() -> None:
        with signs:
            assert under_way.wait(60)

    signs = SignsOfLife(give)
    turning = threading.Thread(target=turn, daemon=True)
    turning.start()
    assert under_way.wait(60)
    turning.join(0.1)
    assert turning.is_alive(), "it waits for the one that is under way"
    may_end.set()
    turning.join(60)
    assert not turning.is_alive()
    assert ended.is_set()
    signs.close()


def test_none_is_given_outside() -> None:
    signs, enough, threads = given(2)
    with signs:
        assert enough.wait(60)
    count = len(threads)
    assert not threading.Event().wait(0.2)
    assert len(threads) == count
    signs.close()


def test_what_nobody_expects_is_told_and_the_next_one_is_given() -> None:
    twice, calls = threading.Event(), list[int]()

    def give() -> None:
        calls.append(1)
        if len(calls) > 1:
            twice.set()
        raise RuntimeError("a fault of the program")

    signs = SignsOfLife(give)
    with capture_logs() as lines, signs:
        assert twice.wait(60)
    signs.close()
    assert lines[0]["event"] == "no sign of life could be given"
