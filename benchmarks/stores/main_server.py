"""Writes a past into a main server's database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, insert

from benchmarks.stores.past import HOUR_S, PastRound, receipt
from fanlight.protocol.contribution import Measured, Totals
from fanlight.protocol.exchange import Order
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_round import Record, State
from fanlight.services.main_server import measurements, round_table
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.version_files import VersionFiles
from fanlight.storage.tables import main as tables

_PROPOSALS, _CHANGES, _TOOK_S = 30, 10, 90.0


def fill_main(service: MainService, files: VersionFiles, devices: Sequence[bytes], past: Sequence[PastRound]) -> None:
    """Put all rounds, versions, figures and log entries of ``past`` in, and what devices and the operator wrote."""
    chance = np.random.default_rng(1)
    receipts = [receipt(chance, device, past[0].mh) for device in devices]
    with service.database.transaction() as tx:
        for some in past:
            tx.execute(insert(tables.rounds).values(**_round(some, len(devices))))
            tx.execute(insert(tables.beacons), _beacons(some, devices, receipts, chance))
            if some.made is not None:
                files.add([some.made.content])
                tx.execute(insert(tables.models).values(**_version(some)))
            if some.released:
                measurements.store(tx, some.number, some.start.sha256, _figures(service, some, len(devices), chance))
            service.log.append(tx, _entries(some))
        _words(tx, devices, past)


def _round(past: PastRound, devices: int) -> dict[str, Any]:
    record = Record(
        state=(State.COMPLETE if past.released else State.ABANDONED).value,
        number=past.number,
        attempt=0,
        kind=past.kind.value,
        proposal=past.proposal.encode(),
        mh=past.mh,
        manifest=past.manifest.encode(),
        close=past.close,
        verdict=past.verdict,
        release=past.release,
        signed_outcome=past.main_outcome,
        outcome=past.outcome,
    )
    return round_table.columns_of(record) | {
        "number": past.number,
        "kind": past.kind.value,
        "model": past.start.sha256,
        "asked": Order.NONE.value,
        "participants": devices if past.released else 0,
        "reason": "ok" if past.released else "window-passed",
        "opened_at": float(past.opened_at),
        "ended_at": past.opened_at + _TOOK_S,
    }


def _beacons(
    past: PastRound, devices: Sequence[bytes], receipts: Sequence[bytes], chance: np.random.Generator
) -> list[dict[str, Any]]:
    ids = chance.bytes(32 * len(devices))
    return [
        {
            "mh": past.mh,
            "dev": device,
            "report_id": ids[32 * index : 32 * (index + 1)],
            "receipt": receipts[index],
            "received_at": past.opened_at + index / 10,
        }
        for index, device in enumerate(devices)
    ]


def _version(past: PastRound) -> dict[str, Any]:
    assert past.made is not None
    return {
        "version": past.made.number,
        "sha256": past.made.sha256,
        "size": len(past.made.content),
        "created_at": past.opened_at + _TOOK_S,
        "round": past.number,
        "published": True,
    }


def _figures(service: MainService, past: PastRound, devices: int, chance: np.random.Generator) -> Totals:
    """Counts of many pictures, so that all of them may be shown; slowly better from round to round."""
    side = len(service.task.classes)
    right = 40 * devices + 20 * past.number

    def counted() -> Measured:
        confusion = chance.integers(20 * devices, 22 * devices, (side, side)) + right * np.eye(side, dtype=np.int64)
        return Measured(confusion.astype(np.int64), float(confusion.sum()) / 2)

    received = counted()
    local = Measured(np.roll(np.roll(received.confusion, 1, 0), 1, 1), received.loss_sum)
    return Totals(count=devices, received=received, local=local)


def _entries(past: PastRound) -> list[LogEntry]:
    named = {
        "proposal": past.proposal.encode(),
        "manifest": past.manifest.encode(),
        "close": past.close,
        "verdict": past.verdict,
        "release": past.release,
        "outcome": past.outcome,
    }
    return [LogEntry(kind, payload) for kind, payload in named.items() if payload]


def _words(tx: Connection, devices: Sequence[bytes], past: Sequence[PastRound]) -> None:
    versions = [some.made.number for some in past if some.made is not None]
    wishes = [
        {"name": f"class that is missing {number}", "dev": devices[number % len(devices)], "proposed_at": float(number)}
        for number in range(_PROPOSALS)
    ]
    tx.execute(insert(tables.class_proposals), wishes)
    noted = [{"version": version, "text": "Better in the dark. " * 20} for version in versions[::3]]
    if noted:
        tx.execute(insert(tables.model_notes), noted)
    changes = [
        {"changed_at": past[-1].opened_at + HOUR_S * number, "from_version": 1, "to_version": 0}
        for number in range(_CHANGES)
    ]
    tx.execute(insert(tables.current_changes), changes)
