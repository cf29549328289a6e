"""What a device tells the main server of itself, under its own id and in the clear: no mask hides that, and no sum."""

from __future__ import annotations

from pathlib import Path

from fanlight.protocol.exchange import PREFIX, Change, ClassProposal
from fanlight.protocol.manifest import SignedManifest
from fanlight.protocol.plan import Plan
from fanlight.services.main_server import class_proposals
from fanlight.storage.tables.main import devices
from tests.services_world import ProtocolDevice, World, running


def ready(world: World, device: ProtocolDevice) -> bytes:
    offer = device.offer()
    return device.device.announce(Plan.decode(offer.plan), offer.model, int(world.clock()))


def test_main_knows_of_each_device_what_it_has_what_it_changes_what_it_misses_and_why_it_is_silent(
    tmp_path: Path,
) -> None:
    with running(tmp_path) as world:
        victim, _ = world.enrolled(2)
        offer = victim.offer()
        assert offer.manifest is not None
        victim.main.offer(have=offer.model)
        victim.main.announce(ready(world, victim))
        victim.main.tell_change(1, Change.LEAVES)
        wish = ClassProposal(name="my neighbour's cat").encode()
        victim.main.remote.send("POST", f"{PREFIX}/class-proposals", content=wish)
        number = world.open_round()
        assert number is not None
        victim.main.decline(SignedManifest.decode(offer.manifest).hash, "nothing-to-learn-from")

        main = world.main.service
        assert main.presence.is_present(victim.id)
        assert main.presence.has_said(victim.id, offer.model)
        assert main.presence.declined(number) == {victim.id: "nothing-to-learn-from"}
        assert main.changers.counts([victim.id])[Change.LEAVES] == 1
        with main.database.reading() as tx:
            row = tx.execute(devices.select().where(devices.c.dev == victim.id)).one()
            (wished,) = class_proposals.listed(tx)
        assert (row.has_model, row.ready_model) == (offer.model, offer.model)
        assert (wished["name"], wished["devices"]) == ("my neighbour's cat", [row.name])
