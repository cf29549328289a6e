"""When a fleet ends: with the last turn that it waits for, which it need not look for again and again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fanlight.errors import NotEnrolled
from fanlight.services.fleet import fleet
from fanlight.services.fleet.device import SimulatedDevice
from fanlight.services.fleet.fleet import Fleet

PATIENCE_S = 60.0


class Device:
    """One that waits for news until its line breaks off.

    Args:
        follow: its one turn, if it is offered one.
    """

    number = 0

    def __init__(self, last: LastTurn, follow: Any = None) -> None:
        self.main = SimpleNamespace(remote=self)
        self.shared = SimpleNamespace(journal=last)
        self.follow = follow
        self._offers = [SimpleNamespace(version=1, pause_s=None)] if follow else []
        self._last = last
        self._ended = threading.Event()

    @contextmanager
    def open_line(self) -> Iterator[Device]:
        yield self

    def break_off(self) -> None:
        self._ended.set()

    def enrol(self) -> None:
        if self._last.is_revoked:
            raise NotEnrolled("It was revoked.")

    def forgotten(self) -> None:
        pass

    def is_at_rest(self, _offer: object) -> bool:
        return True

    def poll(self, *_arguments: object) -> object:
        if self._offers:
            return self._offers.pop()
        assert self._ended.wait(PATIENCE_S)
        raise NotEnrolled("Nobody waits for this answer.")


class LastTurn:
    """A fleet that is over while one of its two devices is in a measuring round, and ends that in its turn."""

    def __init__(self, *, revokes: bool) -> None:
        devices = [Device(self, self.follow), Device(self)]
        self.fleet = Fleet(cast("list[SimulatedDevice]", devices), lambda: 0.5, lambda _news: None, self.is_measuring)
        self.is_revoked = False
        self._revokes = revokes
        self._has_report = True
        self._looked, self._looked_again = threading.Event(), threading.Event()

    def is_measuring(self) -> bool:
        (self._looked_again if self._looked.is_set() else self._looked).set()
        return self._has_report

    def follow(self, _offer: object) -> None:
        self.fleet.end()
        assert self._looked.wait(PATIENCE_S)
        assert not self._looked_again.wait(0.5), "nothing has changed"
        if self._revokes:
            self.is_revoked = True
            raise NotEnrolled("It was revoked.")
        self._has_report = False

    def gone(self, _number: int) -> None:
        """As the journal is told."""
        self._has_report = False


@pytest.mark.parametrize("revokes", [False, True], ids=["ends its round", "is revoked"])
def test_it_ends_when_the_device_that_it_waits_for(monkeypatch: pytest.MonkeyPatch, *, revokes: bool) -> None:
    monkeypatch.setattr(fleet, "_LAST_S", 0.0)
    asyncio.run(asyncio.wait_for(LastTurn(revokes=revokes).fleet.live(), PATIENCE_S))
