"""A round from device to device, as main knows it by the protocol.

Who has its model, who has announced, whose report has arrived (the receipt), whose was counted or left out (main's own
verdict), who has the new model.
What a device does between these moments main cannot see, and nobody should guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, or_, select

from fanlight.protocol.exchange import Order
from fanlight.protocol.main_round import Record, State
from fanlight.protocol.main_server import MainServer
from fanlight.protocol.plan import Kind
from fanlight.services.main_server.round_table import Stored
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.sharding import left_out
from fanlight.services.main_server.why_not import why_not_ask
from fanlight.storage.tables.main import beacons, device_models, devices, enrolled_at_aggregator

MOST_ROWS: Final = 50


class Step(StrEnum):
    """How far a device is in a round, the last thing that is known of it."""

    ASKED = "asked"
    AWAY = "away"
    HAS_MODEL = "has-model"
    ANNOUNCED = "announced"
    DECLINED = "declined"
    REPORTED = "reported"
    COUNTED = "counted"
    LEFT_OUT = "left-out"
    MISSED = "missed"
    HAS_NEW_MODEL = "has-new-model"


_ORDER: Final[Mapping[Step, int]] = {
    step: place
    for place, step in enumerate(
        (
            Step.LEFT_OUT, Step.HAS_NEW_MODEL, Step.COUNTED, Step.REPORTED, Step.ANNOUNCED, Step.HAS_MODEL, Step.ASKED,
            Step.DECLINED, Step.MISSED, Step.AWAY,
        )
    )
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """What main says: who was counted, and who, or whose shard, was left out for which reason (a slug)."""

    counted: frozenset[bytes]
    left_out: Mapping[bytes, str]

    @classmethod
    def of(cls, machine: MainServer, record: Record) -> Judged:
        """Of a round; before the verdict, nobody."""
        verdict = machine.verdict(record)
        if verdict is None:
            return cls(frozenset(), {})
        rejected, shards = {entry.device: entry.reason for entry in verdict.rejected}, left_out(machine, record)
        return cls(frozenset(verdict.accepted) - shards.keys(), rejected | shards)


def of_round(tx: Connection, service: MainService, stored: Stored, most: int = MOST_ROWS) -> dict[str, Any]:
    """The whole of one round.

    Returns:
        ``round``, ``kind``, ``state``; ``opened_at``, ``judged_at``, ``released_at``, ``ended_at`` (unix seconds or
        None); ``now``; ``abandoning`` (asked for, not answered), ``can_abandon``; ``to_version`` (if it made one);
        ``counts`` (devices that have come so far, by moment); ``declined`` (devices that do not take part, by
        reason); ``devices``: up to ``most``, each with ``device``, ``name``, ``present``, ``step``, ``reason`` (why it
        was left out), ``moments`` (unix seconds or None); ``more``: how many devices are not among them.
    """
    made = service.models.from_round(tx, stored.number)
    judged = Judged.of(service.machine, stored.record)
    cohort = frozenset(stored.record.cohort)
    rows = tx.execute(_rows(stored, made.sha256 if made else b"", service.clock())).all()
    listed = [_device(service, stored, row, judged) for row in rows if not cohort or row.dev in cohort]
    listed.sort(key=lambda entry: (_ORDER[entry["step"]], entry["moments"]["report"] or 0, entry["name"]))
    return {
        "round": stored.number,
        "kind": stored.kind,
        "state": stored.state,
        "opened_at": stored.opened_at,
        "judged_at": stored.judged_at,
        "released_at": stored.released_at,
        "ended_at": stored.ended_at,
        "now": service.clock(),
        "abandoning": stored.asked is Order.ABANDON and not stored.is_over,
        "can_abandon": why_not_ask(tx, stored, Order.ABANDON) is None,
        "to_version": made.number if made else None,
        "counts": _counts(listed),
        "declined": _declined(service.presence.declined(stored.number), listed),
        "devices": listed[:most],
        "more": max(0, len(listed) - most),
    }


def _rows(stored: Stored, made: bytes, now: float) -> Select[Any]:
    """Everybody who was a member while the round lasted, or took part in it."""
    begun, got = device_models.alias("begun"), device_models.alias("got")
    until = stored.ended_at or now
    there = enrolled_at_aggregator.c
    member = and_(
        there.dev.is_not(None),
        devices.c.enrolled_at <= until,
        or_(devices.c.revoked_at.is_(None), devices.c.revoked_at >= (stored.opened_at or now)),
        or_(devices.c.left_at.is_(None), devices.c.left_at >= (stored.opened_at or now)),
    )
    arrived = beacons.c.received_at
    return (
        select(
            devices.c.dev, devices.c.name, begun.c.fetched_at, begun.c.ready_at, arrived, got.c.fetched_at.label("got")
        )
        .outerjoin(there.dev.table, there.dev == devices.c.dev)
        .outerjoin(begun, and_(begun.c.dev == devices.c.dev, begun.c.model == stored.model))
        .outerjoin(got, and_(got.c.dev == devices.c.dev, got.c.model == made))
        .outerjoin(beacons, and_(beacons.c.dev == devices.c.dev, beacons.c.mh == stored.mh))
        .where(or_(member, arrived.is_not(None)))
    )


def _device(service: MainService, stored: Stored, row: Row[Any], judged: Judged) -> dict[str, Any]:
    until = stored.ended_at or float("inf")
    fetched, ready = (
        moment if moment is not None and moment <= until else None for moment in (row.fetched_at, row.ready_at)
    )
    # Devices say only with their next poll that they have a model: whoever has announced or reported had it by then.
    # And a report says itself that its device was ready.
    announced = _first(ready, row.received_at if Kind(stored.kind).teaches else None)
    moments = {
        "model": _first(fetched, announced, row.received_at),
        "announced": announced,
        "report": row.received_at,
        "new_model": row.got,
    }
    return {
        "device": row.dev.hex(),
        "name": row.name,
        "present": service.presence.is_present(row.dev),
        "step": _step(service, stored, row.dev, moments, judged),
        "reason": judged.left_out.get(row.dev),
        "moments": moments,
    }


def _declined(reasons: Mapping[bytes, str], listed: list[dict[str, Any]]) -> dict[str, int]:
    """Only as counts: what a single owner allows is nobody's business."""
    devices = [bytes.fromhex(entry["device"]) for entry in listed if entry["step"] is Step.DECLINED]
    return dict(Counter(reasons[device] for device in devices if device in reasons).most_common())


def _first(*moments: float | None) -> float | None:
    return min((moment for moment in moments if moment is not None), default=None)


def _step(
    service: MainService, stored: Stored, dev: bytes, moments: Mapping[str, float | None], judged: Judged
) -> Step:
    known: tuple[tuple[bool, Step], ...] = (
        (dev in judged.left_out, Step.LEFT_OUT),
        (dev in judged.counted and moments["new_model"] is not None, Step.HAS_NEW_MODEL),
        (dev in judged.counted, Step.COUNTED),
        (moments["report"] is not None, Step.REPORTED),
        (stored.at is not State.OPEN, Step.MISSED),
        (dev in service.presence.declined(stored.number), Step.DECLINED),
        (moments["announced"] is not None, Step.ANNOUNCED),
        (not service.presence.is_present(dev), Step.AWAY),
        (moments["model"] is not None, Step.HAS_MODEL),
    )
    return next((step for so, step in known if so), Step.ASKED)


def _counts(listed: list[dict[str, Any]]) -> dict[str, int]:
    seen = {moment: sum(entry["moments"][moment] is not None for entry in listed) for moment in _MOMENTS}
    counted = sum(entry["step"] in (Step.COUNTED, Step.HAS_NEW_MODEL) for entry in listed)
    left_out = sum(entry["step"] is Step.LEFT_OUT for entry in listed)
    return {"devices": len(listed), **seen, "counted": counted, "left_out": left_out}


_MOMENTS: Final = ("model", "announced", "report", "new_model")
