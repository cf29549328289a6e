"""A world as its stores show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, select

from fanlight.protocol import aggregator_round, device_round, main_round
from fanlight.protocol.closing import RECORD_LIMIT
from fanlight.storage.tables import aggregator as aggregator_tables
from fanlight.storage.tables import device as device_tables
from fanlight.storage.tables import main as main_tables
from tests.faults.roles import MAIN
from tests.faults.routes import AGGREGATOR
from tests.faults.world import World


@dataclass(frozen=True)
class View:
    """A world as its stores show it at one moment.

    Attributes:
        main, aggregator: their rounds by manifest hash. A round that is only proposed has no hash yet.
        proposed: such a round's number.
        receipts, beacons: by manifest hash and device.
        known: the devices that each server has ever taken.
        gone: those that have left a server, or were revoked there.
        devices: the records of each device's reports.
    """

    main: dict[bytes, main_round.Record]
    aggregator: dict[bytes, aggregator_round.Record]
    proposed: list[int]
    receipts: dict[tuple[bytes, bytes], bytes]
    beacons: dict[tuple[bytes, bytes], bytes]
    known: dict[str, set[bytes]]
    gone: set[bytes]
    devices: dict[bytes, list[device_round.Record]]

    @classmethod
    def of(cls, world: World) -> View:
        """Of a world in which everybody is up."""
        rounds = [
            main_round.Record.decode(row.record, limit=RECORD_LIMIT) for row in rows(world, MAIN, main_tables.rounds)
        ]
        there = [
            aggregator_round.Record.decode(row.record, limit=RECORD_LIMIT)
            for row in rows(world, AGGREGATOR, aggregator_tables.rounds)
        ]
        taken = {
            MAIN: rows(world, MAIN, main_tables.devices),
            AGGREGATOR: rows(world, AGGREGATOR, aggregator_tables.devices),
        }
        return cls(
            main={record.mh: record for record in rounds if record.mh},
            aggregator={record.mh: record for record in there},
            proposed=[record.number for record in rounds if not record.mh],
            receipts={(row.mh, row.dev): row.receipt for row in rows(world, AGGREGATOR, aggregator_tables.reports)},
            beacons={(row.mh, row.dev): row.receipt for row in rows(world, MAIN, main_tables.beacons)},
            known={server: {row.dev for row in members} for server, members in taken.items()},
            gone={row.dev for members in taken.values() for row in members if row.left_at or row.revoked_at},
            devices={
                process.life.id: [
                    device_round.Record.decode(row.record) for row in rows(world, name, device_tables.reports)
                ]
                for name, process in world.devices.items()
            },
        )


def rows(world: World, role: str, table: Table) -> Sequence[Any]:
    """All rows of a table, through the role's own database."""
    with world.database(role).reading() as tx:
        return tx.execute(select(table)).all()
