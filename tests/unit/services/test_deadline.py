"""A deadline is kept by a thread of its own; only that it is, and not when to the second."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator

import pytest

from fanlight.services.aggregator.deadline import Deadline

PATIENCE_S = 60.0


class Time:
    """How long it is until the deadline, and what has happened."""

    def __init__(self) -> None:
        self.left_s = math.inf
        self.up = threading.Event()
        self.calls = 0
        self.deadline = Deadline(lambda: self.left_s, self._note, "deadline-of-the-tests")

    def _note(self) -> None:
        self.calls += 1
        self.left_s = math.inf
        self.up.set()


@pytest.fixture
def time() -> Iterator[Time]:
    made = Time()
    yield made
    made.deadline.stop(PATIENCE_S)


def test_it_is_kept_if_it_was_there_from_the_beginning(time: Time) -> None:
    time.left_s = 0.01
    time.deadline.start()
    assert time.up.wait(PATIENCE_S)


def test_one_that_comes_later_is_kept_and_the_next_one_as_well(time: Time) -> None:
    time.deadline.start()
    for calls in (1, 2):
        time.left_s = 0.01
        time.deadline.look()
        assert time.up.wait(PATIENCE_S)
        time.up.clear()
        assert time.calls == calls


def test_one_that_comes_earlier_is_not_slept_through(time: Time) -> None:
    time.left_s = 1000.0
    time.deadline.start()
    time.left_s = 0.01
    time.deadline.look()
    assert time.up.wait(PATIENCE_S)


def test_stopping_ends_the_wait_and_calls_nobody(time: Time) -> None:
    time.left_s = 1000.0
    time.deadline.start()
    time.deadline.stop(PATIENCE_S)
    assert "deadline-of-the-tests" not in [thread.name for thread in threading.enumerate()]
    assert time.calls == 0
