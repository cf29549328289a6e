"""What devices have said of models, and when: "I have fetched it", "I have trained from it".

One line for a device and a version, so that it stays bounded whatever a device says.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, case, func, select, true, update
from sqlalchemy.dialects.sqlite import insert

from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import beacons, device_models, devices, models

_ROW: Final = insert(device_models)
_FIRST: Final = func.coalesce(device_models.c.fetched_at, _ROW.excluded.fetched_at)
_FETCHED: Final = Statement(
    _ROW.on_conflict_do_update(index_elements=["model", "dev"], set_={"fetched_at": _FIRST}),
    "dev",
    "model",
    "fetched_at",
)
_HAS_MODEL: Final = Statement(update(devices).where(devices.c.dev == bindparam("wanted")), "has_model")


def note_fetched(tx: Connection, device: bytes, model: bytes, now: float) -> None:
    """A device has fetched a version, which exists, and checked it; the first time counts."""
    _HAS_MODEL.run(tx, wanted=device, has_model=model)
    _FETCHED.run(tx, dev=device, model=model, fetched_at=now)


def note_ready(tx: Connection, device: bytes, model: bytes, since: float, now: float) -> None:
    """A device has trained from a version; the first time after ``since`` counts, when the newest round opened.

    Nothing is kept of models that there are not.
    """
    if tx.execute(select(models.c.version).where(models.c.sha256 == model)).first() is None:
        return
    row = insert(device_models).values(dev=device, model=model, ready_at=now)
    kept, old = row.excluded.ready_at, device_models.c.ready_at
    first = case((old >= since, old), else_=kept)
    tx.execute(row.on_conflict_do_update(index_elements=["model", "dev"], set_={"ready_at": first}))


def forget_ready(tx: Connection, model: bytes, sent_in: bytes | None = None) -> None:
    """Devices have to train from a version again.

    Args:
        tx: the caller's transaction.
        model: SHA-256 of the version.
        sent_in: of a failed round: only those whose report was in it; by default all, for devices that go back to a
            version fetch it anew.
    """
    lost = select(beacons.c.dev).where(beacons.c.mh == sent_in)
    who = [table.c.dev.in_(lost) if sent_in is not None else true() for table in (device_models, devices)]
    tx.execute(update(device_models).where(device_models.c.model == model, who[0]).values(ready_at=None))
    tx.execute(update(devices).where(devices.c.ready_model == model, who[1]).values(ready_plan=None, ready_model=None))
