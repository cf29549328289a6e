"""A device leaves a running federation: with an open round, with a server that is away, and both servers forget it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from fanlight.protocol import identities
from fanlight.protocol.exchange import ClassProposal
from fanlight.services.aggregator.app import AggregatorParts
from fanlight.storage.tables import aggregator as there
from fanlight.storage.tables import main as here
from tests.services_world import CLIENT, Owner, ProtocolDevice, World, running, wait


def leave(device: ProtocolDevice) -> None:
    message = identities.leave(device.device.trust.fid, device.id, device.private, int(device.world.clock()))
    for server in (device.main, device.aggregator):
        server.leave(message)


def receipts(parts: AggregatorParts, device: ProtocolDevice) -> int:
    with parts.service.database.transaction() as tx:
        return len(tx.execute(select(there.reports.c.mh).where(there.reports.c.dev == device.id)).all())


def test_a_report_that_arrived_counts_and_later_rounds_go_on_without_the_device(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        devices = world.enrolled(3)
        for device in devices:
            device.report()
        leaver = devices[0]
        leaver.main.remote.send("POST", "/protocol/v1/class-proposals", content=ClassProposal(name="triangle").encode())
        leave(leaver)
        world.aggregate()
        first = world.round(1)
        assert first is not None
        assert (first["state"], first["participants"]) == ("complete", 3)
        wait(lambda: world.open_round() == 2, "round 2 is open without the device")
        for device in devices[1:]:
            device.report()
        world.aggregate()
        second = world.round(2)
        assert second is not None
        assert second["participants"] == 2
        for role in world.ports:
            assert world.log_types(role).count("left") == 1
        world.check_traces()


def test_servers_keep_only_what_they_need(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        devices = world.enrolled(3)
        for device in devices:
            device.report()
        world.aggregate()
        wait(lambda: world.open_round() == 2, "round 2 is open")
        leaver = devices[0]
        leaver.main.remote.send("POST", "/protocol/v1/class-proposals", content=ClassProposal(name="triangle").encode())
        assert receipts(world.aggregator, leaver) == 1
        leave(leaver)
        assert receipts(world.aggregator, leaver) == 0
        with world.main.service.database.transaction() as tx:
            for table in (here.beacons, here.class_proposals):
                assert not tx.execute(select(table.c.dev).where(table.c.dev == leaver.id)).all()
            row = tx.execute(select(here.devices).where(here.devices.c.dev == leaver.id)).one()
        assert (row.ready_plan, row.ready_model, row.has_model) == (None, None, None)
        assert row.left_at is not None
        listed = {line["device"]: line["left"] for line in world.owner("main").get("/api/v1/devices")["devices"]}
        assert listed == {device.id.hex(): device is leaver for device in devices}


def put(owner: Owner, path: str, on: bool) -> int:
    return CLIENT.put(owner.url + path, json={"on": on}, headers=owner._headers()).status_code


def test_a_real_device_leaves_while_the_aggregator_is_away(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        devices = [world.add_device().start() for _ in range(2)]
        leaver = devices[0]
        wait(leaver.sees_round, "the device sees the round")
        world.stop_aggregator()
        assert put(leaver.owner, "/api/v1/left", True) == 200
        leaving = leaver.owner.status()["leaving"]
        assert leaving["main"]["knows"]
        assert not leaving["aggregator"]["knows"]
        assert leaving["aggregator"]["problem"]["slug"] == "unreachable"
        assert put(leaver.owner, "/api/v1/left", False) == 409
        world.start_aggregator()
        assert put(leaver.owner, "/api/v1/left", True) == 200
        assert leaver.owner.status()["leaving"]["aggregator"]["knows"]
        left(world, leaver.id)


def left(world: World, device: str) -> None:
    """Both servers count it no more."""
    for part in (world.main, world.aggregator):
        assert bytes.fromhex(device) not in part.service.membership.public_keys()
