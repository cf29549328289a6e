"""Who is there, who may be, and who has declined: on a clock that only grows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from fanlight.errors import StorageError
from fanlight.services.main_server import announcements
from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.models import Models
from fanlight.services.main_server.presence import PRESENT_S, Presence
from fanlight.storage.tables.main import devices
from tests.unit.main_server.past import add_member, server

ONE, OTHER = b"1" * 16, b"2" * 16


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[MainServerParts]:
    _app, made = server(tmp_path / "federation", demo=True)
    yield made
    made.service.close()


class Time:
    """Seconds since something."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_nobody_is_missed_until_everybody_has_had_the_time_to_ask() -> None:
    time = Time()
    presence = Presence(time, lambda: 30.0)
    assert not presence.is_present(ONE)
    assert presence.may_be_present(ONE)
    time.now += PRESENT_S + 29.0
    assert presence.may_be_present(ONE)
    assert presence.changes_in_s() == 1.0
    time.now += 1.0
    assert not presence.may_be_present(ONE)
    assert presence.changes_in_s() == math.inf


def test_who_was_seen_leaving_is_missed_at_once() -> None:
    presence = Presence(Time())
    presence.see(ONE)
    presence.lose(ONE, since=1000.0)
    presence.lose(OTHER, since=1000.0)
    assert not presence.may_be_present(ONE)
    assert not presence.may_be_present(OTHER)
    assert presence.see(ONE), "it was away"
    assert presence.may_be_present(ONE)
    presence.lose(ONE, since=999.0)  # an older connection breaks: heard of later
    assert presence.is_present(ONE)


def test_a_late_word_on_a_round_that_is_over_changes_nothing() -> None:
    presence = Presence(Time())
    presence.decline(ONE, 1, "paused")
    presence.decline(ONE, 2, "below-floor")
    before = presence.declined(2)
    presence.decline(OTHER, 1, "paused")
    presence.decline(OTHER, 2, "paused")
    assert before == {ONE: "below-floor"}
    assert presence.declined(2) == {ONE: "below-floor", OTHER: "paused"}
    assert not presence.declined(1)


def test_a_model_is_noted_once_that_is_stored(parts: MainServerParts, monkeypatch: pytest.MonkeyPatch) -> None:
    device = add_member(parts, 1)
    with parts.service.database.reading() as tx:
        model = parts.service.models.current(tx).sha256

    def full(self: Models, tx: object, sha256: bytes) -> bool:
        raise StorageError("No room left on the disk.", slug="disk-full")

    with monkeypatch.context() as patch:
        patch.setattr(Models, "is_published", full)
        with pytest.raises(StorageError):
            announcements.take_acknowledgement(parts.service, device, model)
    assert not parts.service.presence.has_said(device, model)
    announcements.take_acknowledgement(parts.service, device, model)
    assert parts.service.presence.has_said(device, model)
    with parts.service.database.reading() as tx:
        assert tx.execute(select(devices.c.has_model).where(devices.c.dev == device)).scalar_one() == model
