"""What the operator sees at a glance of a main server with a past."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from fanlight.errors import NotPossibleNow
from fanlight.services.main_server.app import MainServerParts
from fanlight.storage.tables.main import device_models, devices
from tests.unit.main_server.past import add_member, add_report, add_round, server


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[MainServerParts]:
    _app, made = server(tmp_path / "federation", demo=True)
    yield made
    made.service.close()


def test_when_no_round_opens_any_more_the_steps_say_so_and_what_to_do(parts: MainServerParts) -> None:
    for number in range(1, 6):
        add_member(parts, number)
    parts.service.change_policy(by_itself=True, rounds=1)
    add_round(parts, 1)
    for number in range(2, 5):
        add_round(parts, number, kind="measure", state="abandoned", reason="window-passed")
    aggregate, publish, _measure = parts.overview.steps()
    assert aggregate.reason == "No round is open. All rounds are done."
    assert publish.reason == "There is no new model to publish. All rounds are done."
    for step in (aggregate, publish):
        assert "Training rounds by the policy: 1. For more, raise that number" in step.next
        assert not step.possible
    for refused in (parts.steps.aggregate, parts.steps.publish):
        with pytest.raises(NotPossibleNow, match=r"All rounds are done\."):
            refused()
    parts.service.change_policy(rounds=2)
    assert "A round opens when" in parts.overview.steps()[0].next


def test_a_pause_is_ended_on_the_page_of_the_task(parts: MainServerParts) -> None:
    parts.service.change_policy(paused=True)
    for step in parts.overview.steps()[:2]:
        assert "Rounds are paused." in step.reason
        assert step.next == "To train on, let rounds go on (/task)."


def test_who_has_left_or_is_revoked_counts_neither_among_those_that_have_the_model_nor_among_all(
    parts: MainServerParts,
) -> None:
    names = [add_member(parts, number) for number in range(1, 6)]
    with parts.service.database.transaction() as tx:
        model = parts.service.models.current(tx).sha256
        tx.execute(update(devices).where(devices.c.dev.in_(names[:4])).values(has_model=model))
        tx.execute(update(devices).where(devices.c.dev == names[0]).values(revoked_at=2))
        tx.execute(update(devices).where(devices.c.dev == names[1]).values(left_at=2))
    status = parts.overview.status()
    publish = next(step for step in parts.overview.steps() if step.route == "/send_model_clients")
    assert (status["devices_with_model"], status["members"]) == (2, 3)
    assert dict(publish.facts)["Devices that have it"] == "2 of 3"
    assert parts.overview.census() == {"here": 0, "away": 3, "waiting": 0, "left": 1, "revoked": 1}


def test_a_device_that_says_late_that_it_had_the_model_had_it_when_it_announced_or_reported(
    parts: MainServerParts,
) -> None:
    early, late, silent, tester = (add_member(parts, number) for number in range(1, 5))
    with parts.service.database.transaction() as tx:
        model = parts.service.models.current(tx).sha256
        for device, fetched, ready in ((early, 1.0, 2.0), (late, 9.0, 2.0)):
            tx.execute(insert(device_models).values(dev=device, model=model, fetched_at=fetched, ready_at=ready))
    add_round(parts, 1)
    for device in (early, late, silent):
        add_report(parts, 1, device, at=4.0)
    add_round(parts, 2, kind="measure")
    add_report(parts, 2, tester, at=7.0)
    assert [moments(parts, 1, device) for device in (early, late, silent)] == [
        (1.0, 2.0, 4.0),
        (2.0, 2.0, 4.0),
        (4.0, 4.0, 4.0),
    ]
    assert moments(parts, 1, tester) == (None, None, None)
    assert moments(parts, 2, tester) == (7.0, None, 7.0)


def moments(parts: MainServerParts, number: int, device: bytes) -> tuple[float | None, ...]:
    seen = parts.overview.timeline(number)
    assert seen is not None
    (row,) = (row for row in seen["devices"] if row["device"] == device.hex())
    return tuple(row["moments"][moment] for moment in ("model", "announced", "report"))
