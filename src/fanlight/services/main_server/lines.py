"""Rounds and versions in one line each, as lists show them: many at once, by a fixed number of queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select, union

from fanlight.protocol.main_round import State
from fanlight.services.main_server import measurements
from fanlight.services.main_server.measurements import Measurement
from fanlight.services.main_server.models import Version
from fanlight.services.main_server.round_table import RoundLine
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.task import Task
from fanlight.storage.tables.main import models, rounds


def round_lines(tx: Connection, service: MainService, lines: Sequence[RoundLine]) -> list[dict[str, Any]]:
    """Rounds that follow one another: state, devices, accuracy before and after."""
    if not lines:
        return []
    first, last = sorted((lines[0].number, lines[-1].number))
    made = service.models.from_rounds(tx, first, last)
    measured = measurements.of_models(
        tx,
        union(
            select(rounds.c.model).where(rounds.c.number.between(first, last)),
            select(models.c.sha256).where(models.c.round.between(first, last)),
        ),
    )
    return [_round_line(service, line, made.get(line.number), measured) for line in lines]


def version_lines(tx: Connection, task: Task, versions: Sequence[Version]) -> list[dict[str, Any]]:
    """Versions that follow one another, with the figures of the models received."""
    if not versions:
        return []
    first, last = sorted((versions[0].number, versions[-1].number))
    measured = measurements.of_models(tx, select(models.c.sha256).where(models.c.version.between(first, last)))
    return [
        {
            "version": version.number,
            "sha256": version.sha256.hex(),
            "bytes": version.size,
            "created_at": version.created_at,
            "round": version.round,
            "published": version.published,
            "metrics": received(task, measured.get(version.sha256)) or None,
        }
        for version in versions
    ]


def received(task: Task, measurement: Measurement | None) -> dict[str, Any]:
    """The figures of the model received, as far as they may be shown; empty without a measurement."""
    if measurement is None:
        return {}
    found: dict[str, Any] = measurement.as_json(task.classes, demo=task.policy.demo)["received"]
    return found


def figures(tx: Connection, service: MainService, measurement: Measurement | None) -> dict[str, Any] | None:
    """What a measurement says of the model received and of the local ones, as far as it may be shown; None without."""
    if measurement is None:
        return None
    task = service.task
    version = service.models.of_hash(tx, measurement.model)
    model = {"version": version, "sha256": measurement.model.hex()}
    return {"model": model, "classes": list(task.classes)} | measurement.as_json(task.classes, demo=task.policy.demo)


def _round_line(
    service: MainService, line: RoundLine, made: Version | None, measured: dict[bytes, Measurement]
) -> dict[str, Any]:
    released = line.at in (State.RELEASED, State.COMPLETE)
    before = received(service.task, measured.get(line.model)) if released else {}
    after = received(service.task, measured.get(made.sha256)) if released and made else {}
    took = line.lasted_s
    if took is None and line.ended_at and line.opened_at:
        took = line.ended_at - line.opened_at
    return {
        "round": line.number,
        "kind": line.kind,
        "state": line.state,
        "participants": line.participants,
        "accuracy_before": before.get("accuracy"),
        "balanced_accuracy_before": before.get("balanced_accuracy"),
        "accuracy_after": after.get("accuracy"),
        "balanced_accuracy_after": after.get("balanced_accuracy"),
        "opened_at": line.opened_at,
        "ended_at": line.ended_at,
        "seconds": None if took is None or took < 0 else round(took, 3),
        "reason": line.reason,
        "mh": line.mh.hex(),
    }
