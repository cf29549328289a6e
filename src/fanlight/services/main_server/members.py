"""Who is a member of the whole federation: enrolled with one key at both servers; asked in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, case, delete, func, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from fanlight.protocol.identities import Member
from fanlight.services.main_server import round_table
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import (
    beacons,
    class_proposals,
    device_models,
    devices,
    enrolled_at_aggregator,
    quarantined,
)

_JOINED: Final = enrolled_at_aggregator.c.dev == devices.c.dev
_KEYS: Final = (
    select(devices.c.dev, devices.c.public_key)
    .join(enrolled_at_aggregator, _JOINED)
    .where(devices.c.revoked_at.is_(None))
)
_STAYS: Final = devices.c.left_at.is_(None)
_REPORTED: Final = devices.c.dev.in_(select(beacons.c.dev).where(beacons.c.mh == bindparam("wanted")))
_CONFIRMED: Final = Statement(_KEYS.where(_STAYS))
_COUNT_CONFIRMED: Final = Statement(select(func.count()).select_from(_KEYS.where(_STAYS).subquery()))
_SIGNERS: Final = Statement(_KEYS.where(or_(_STAYS, _REPORTED)))
_SILENT: Final = (
    select(devices.c.dev)
    .join(enrolled_at_aggregator, _JOINED)
    .outerjoin(beacons, and_(beacons.c.dev == devices.c.dev, beacons.c.mh == bindparam("wanted")))
    .where(devices.c.revoked_at.is_(None), _STAYS, beacons.c.dev.is_(None))
)


def confirmed(tx: Connection) -> dict[bytes, bytes]:
    """Current public key by device, of those enrolled with one key at both servers and not revoked or gone."""
    return _keys(_CONFIRMED.all(tx))


def count_confirmed(tx: Connection) -> int:
    """How many of them there are."""
    return int(_COUNT_CONFIRMED.scalar(tx))


def signers(tx: Connection, mh: bytes) -> dict[bytes, bytes]:
    """Whose reports count in a round: the confirmed, and who left after its receipt for the round was seen here."""
    return _keys(_SIGNERS.all(tx, wanted=mh))


def counts(tx: Connection) -> tuple[int, int, int]:
    """How many devices have enrolled here, how many of them were revoked, and how many of the others have left."""
    revoked, left = devices.c.revoked_at.is_not(None), devices.c.left_at.is_not(None)
    known = select(func.count(), func.count(case((revoked, 1))), func.count(case((and_(~revoked, left), 1))))
    total, were_revoked, have_left = tx.execute(known.select_from(devices)).one()
    return total, were_revoked, have_left


def silent(tx: Connection, mh: bytes) -> Iterator[bytes]:
    """The confirmed whose receipt for a round has not arrived, read from the database as they are asked for."""
    with tx.execute(_SILENT, {"wanted": mh}) as found:
        yield from found.scalars()


def take_from_aggregator(tx: Connection, members: Iterable[Member]) -> None:
    """These have enrolled at the aggregator too."""
    for member in members:
        row = insert(enrolled_at_aggregator).values(dev=member.device, token_key=member.token_key)
        tx.execute(row.on_conflict_do_nothing())


def with_a_token_of_another(tx: Connection) -> list[bytes]:
    """Enrolments of devices whose token another device has used at the aggregator: neither is a member."""
    here, there = devices.c, enrolled_at_aggregator.c
    found = select(here.enrolment).join(enrolled_at_aggregator, there.token_key == here.token_key)
    return list(tx.execute(found.where(there.dev != here.dev)).scalars())


def forget(tx: Connection, device: bytes) -> None:
    """Delete what is kept of a device that has left; its receipt for the newest round counts until that is over."""
    values = {"ready_plan": None, "ready_model": None, "has_model": None}
    tx.execute(update(devices).where(devices.c.dev == device).values(**values))
    for table in (class_proposals, device_models, quarantined):
        tx.execute(delete(table).where(table.c.dev == device))
    newest, mine = round_table.latest_line(tx), beacons.c.dev == device
    tx.execute(delete(beacons).where(and_(mine, beacons.c.mh != newest.mh) if newest else mine))


def _keys(rows: Iterable[Any]) -> dict[bytes, bytes]:
    return {row.dev: row.public_key for row in rows}
