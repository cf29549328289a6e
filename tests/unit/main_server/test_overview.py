"""What the operator sees at a glance of a main server with a past."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from fanlight.services.main_server.app import MainServerParts
from fanlight.storage.tables.main import devices
from tests.unit.main_server.past import add_member, server


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[MainServerParts]:
    _app, made = server(tmp_path / "federation", demo=True)
    yield made
    made.service.close()


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
