"""Who has reported in an open round has fetched its model: main notes that with the beacon, and not once more."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from fanlight.storage.tables.main import device_models, devices
from tests.services_world import ProtocolDevice, World, running, wait


def noted(world: World, device: ProtocolDevice) -> list[tuple[bytes | None, bytes | None]]:
    """Which model main has noted that a device has: with the device, and with the model."""
    mine = select(devices.c.has_model, device_models.c.model).where(devices.c.dev == device.id)
    with world.main.service.database.reading() as tx:
        return [(row[0], row[1]) for row in tx.execute(mine.outerjoin(device_models, device_models.c.dev == device.id))]


def test_a_beacon_says_that_the_device_has_the_model(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        device, _ = world.enrolled(2)
        service, model = world.main.service, device.offer().model
        assert noted(world, device) == [(None, None)]
        device.report()
        assert noted(world, device) == [(model, model)]
        assert service.presence.has_said(device.id, model)
        commits = service.database.commits
        device.main.offer(model)
        assert service.database.commits == commits, "the next poll has nothing new to say"


def test_a_beacon_that_comes_when_the_round_is_over_says_nothing_of_models(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        one, other, late = world.enrolled(3)
        model, sent = late.offer().model, late.commit()
        record = late.device.take_receipt(sent.record, late.upload(sent))
        for device in (one, other):
            device.report()
        world.aggregate()
        wait(lambda: world.round(1, state="complete"), "the round is over")
        late.main.beacon(record.mh, record.receipt)
        assert noted(world, late) == [(None, None)], "it may have a newer one by now"
        assert not world.main.service.presence.has_said(late.id, model)
