"""A main server with a past, written straight into its database: rounds, versions, figures, log entries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fastapi import FastAPI
from sqlalchemy import Connection, insert

from fanlight.consoles.main_server import install
from fanlight.protocol.contribution import Measured, Totals
from fanlight.protocol.exchange import Order
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_round import Record
from fanlight.protocol.plan import Kind
from fanlight.services.federation import init_federation
from fanlight.services.main_server import measurements
from fanlight.services.main_server.app import MainServerParts, create_app
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.task import HeadName, Task
from fanlight.storage.tables import main as tables

CLASSES = ("cat", "dog")
RECEIVED, LOCAL = [[40, 20], [30, 60]], [[48, 12], [15, 75]]
BETTER = [[50, 10], [10, 80]]


def server(
    folder: Path, *, demo: bool = False, classes: tuple[str, ...] = CLASSES, head: HeadName = "softmax"
) -> tuple[FastAPI, MainServerParts]:
    """A main server with its pages, which nobody listens to."""
    return server_of(folder, Task.default(classes=classes, demo=demo, head=head))


def server_of(folder: Path, task: Task) -> tuple[FastAPI, MainServerParts]:
    """As ``server``, with any task."""
    init_federation(
        folder, main_url="http://localhost:8000", aggregator_url="http://localhost:8003", task_json=task.to_json()
    )
    app, parts = create_app(MainServerSettings(state=folder / "main"))
    install(app, parts)
    return app, parts


def add_round(
    parts: MainServerParts,
    number: int,
    *,
    state: str = "complete",
    kind: str = "train",
    reason: str = "too few",
    supporters: Sequence[int] = (),
) -> None:
    """A round that is over, from the current model; a training round adds a version, published.

    ``supporters`` are devices with pictures of each class; all five of the round by default.
    """
    service = parts.service
    with service.database.transaction() as tx:
        current = service.models.current(tx)
        terms = service.proposals._terms(tx, Kind(kind), number, 0, (), bytes(32), None).encode()
        record = Record(state=state, number=number, attempt=0, kind=kind, proposal=terms, mh=bytes([number]) * 32)
        tx.execute(
            insert(tables.rounds).values(
                number=number, kind=kind, mh=bytes([number]) * 32, state=state, record=record.encode(),
                model=current.sha256,
                asked=Order.NONE.value, participants=5, reason="ok" if state == "complete" else reason,
                opened_at=1_800_000_000.0 + number, ended_at=1_800_000_010.0 + number,
            )
        )  # fmt: skip
        if kind == "train" and state == "complete":
            _add_version(parts, tx, number, supporters)
        service.log.append(tx, [LogEntry("verdict", b"round %d" % number)])


def add_member(parts: MainServerParts, number: int, *, name: str = "") -> bytes:
    """A device enrolled at both servers; its id."""
    device = bytes([number]) * 16
    keys = {"public_key": bytes([number]) * 32, "token_key": bytes([100 + number]) * 32}
    with parts.service.database.transaction() as tx:
        row = {"dev": device, "name": name or f"device-{number}", "enrolment": b"", "enrolled_at": 1} | keys
        tx.execute(insert(tables.devices).values(row))
        tx.execute(insert(tables.enrolled_at_aggregator).values(dev=device, token_key=keys["token_key"]))
    return device


def add_report(parts: MainServerParts, number: int, device: bytes, at: float = 1.0) -> None:
    """The receipt for a device's report to round ``number``."""
    row = {"mh": bytes([number]) * 32, "dev": device, "report_id": device * 2, "receipt": b"", "received_at": at}
    with parts.service.database.transaction() as tx:
        tx.execute(insert(tables.beacons).values(row))


def measure(parts: MainServerParts, number: int, received: list[list[int]], local: list[list[int]] = LOCAL) -> None:
    """Figures of the model that round ``number`` started from."""
    both = [Measured(np.array(matrix, np.int64), 30.0) for matrix in (received, local)]
    with parts.service.database.transaction() as tx:
        model = tx.execute(tables.rounds.select().where(tables.rounds.c.number == number)).one().model
        measurements.store(tx, number, model, Totals(count=5, received=both[0], local=both[1]))


def _add_version(parts: MainServerParts, tx: Connection, number: int, supporters: Sequence[int]) -> None:
    models = parts.service.models
    plan = parts.service.task.plan
    having = np.array(supporters or [5] * len(plan.classes))
    totals = Totals(count=5, steps=np.ones(plan.parameters, np.int32), unit=0.01, supporters=having)
    models.add(tx, totals, models.current(tx).sha256, number, 1_800_000_010.0 + number)
    models.publish(tx, number)
