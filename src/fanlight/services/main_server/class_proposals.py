"""Classes that devices' owners would like and the task does not have; the operator sees them, and decides."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from fanlight.errors import MalformedMessage, Refused
from fanlight.protocol.exchange import ClassProposal
from fanlight.protocol.plan import CLASS_NAME_RULE, is_class_name
from fanlight.storage.tables.main import class_proposals, devices

MOST_OF_A_DEVICE: Final = 20
"""A device cannot fill the operator's page."""


def take(tx: Connection, device: bytes, data: bytes, classes: tuple[str, ...], now: float) -> None:
    """Keep a device's proposal; the same one again changes nothing.

    Raises:
        MalformedMessage: no proposal, or no name that a class can have.
        Refused: the task has that class, or the device has proposed too many.
    """
    name = ClassProposal.decode(data).name
    if not is_class_name(name):
        raise MalformedMessage(f"A class has a name of {CLASS_NAME_RULE}.")
    if name in classes:
        raise Refused("The task has this class already.", slug="class-known")
    known = class_proposals.c
    others = select(func.count()).select_from(class_proposals).where(known.dev == device, known.name != name)
    if tx.execute(others).scalar_one() >= MOST_OF_A_DEVICE:
        raise Refused(
            f"A device may propose {MOST_OF_A_DEVICE} classes.", next="Ask the operator.", slug="too-many-proposals"
        )
    row = insert(class_proposals).values(name=name, dev=device, proposed_at=now)
    tx.execute(row.on_conflict_do_nothing())


def listed(tx: Connection) -> list[dict[str, Any]]:
    """What is proposed and by which devices, the most wanted first."""
    known = class_proposals.c
    rows = tx.execute(
        select(known.name, devices.c.name.label("device"), known.proposed_at)
        .join(devices, devices.c.dev == known.dev)
        .order_by(known.proposed_at, known.name)
    )
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        entry = found.setdefault(row.name, {"name": row.name, "proposed_at": row.proposed_at, "devices": []})
        entry["devices"].append(row.device)
    return sorted(found.values(), key=lambda entry: -len(entry["devices"]))


def dismiss(tx: Connection, name: str) -> None:
    """Forget a proposal, whoever made it."""
    tx.execute(class_proposals.delete().where(class_proposals.c.name == name))
