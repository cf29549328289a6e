"""What devices have said of models, and when: "I have fetched it", "I have trained from it".

One line for a device and a version, so that it stays bounded whatever a device says.
"""

from __future__ import annotations

from sqlalchemy import Connection, case, func, select
from sqlalchemy.dialects.sqlite import insert

from fanlight.storage.tables.main import device_models, models


def note_fetched(tx: Connection, device: bytes, model: bytes, now: float) -> None:
    """A device has fetched a version, which exists, and checked it; the first time counts."""
    row = insert(device_models).values(dev=device, model=model, fetched_at=now)
    first = func.coalesce(device_models.c.fetched_at, row.excluded.fetched_at)
    tx.execute(row.on_conflict_do_update(index_elements=["model", "dev"], set_={"fetched_at": first}))


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
