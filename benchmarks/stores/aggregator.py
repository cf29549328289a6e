"""Writes a past into an aggregator's database."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import insert

from benchmarks.stores.past import PastRound, envelope, receipt
from fanlight.protocol.aggregator_round import Record, State
from fanlight.protocol.log import LogEntry
from fanlight.protocol.manifest import Manifest, countersign
from fanlight.services.aggregator.service import AggregatorService
from fanlight.storage.tables import aggregator as tables

_TOOK_S = 80.0


def fill_aggregator(service: AggregatorService, devices: Sequence[bytes], past: Sequence[PastRound]) -> None:
    """Put all rounds of ``past`` in, with what is kept of every report when its vector is gone."""
    chance = np.random.default_rng(2)
    kept = [(device, envelope(chance, device).encode(), receipt(chance, device, past[0].mh)) for device in devices]
    for some in past:
        record = Record(
            state=(State.FINISHED if some.released else State.ABANDONED).value,
            number=some.number,
            attempt=0,
            mh=some.mh,
            manifest=some.manifest.payload,
            countersigned=countersign(service.identity.private, Manifest.decode(some.manifest.payload)),
            main_signature=some.manifest.main_signature,
            close=some.close,
            verdict=some.verdict,
            release=some.release,
            outcome=some.outcome,
        )
        row = {
            "number": some.number,
            "kind": some.kind.value,
            "mh": some.mh,
            "state": record.state,
            "record": record.encode(),
            "told_main": True,
            "opened_at": float(some.opened_at),
            "ended_at": some.opened_at + _TOOK_S,
        }
        reports = [
            {
                "mh": some.mh,
                "dev": device,
                "envelope": said,
                "file": f"{some.mh.hex()}-{device.hex()}.y",
                "receipt": signed,
                "received_at": some.opened_at + index / 10,
            }
            for index, (device, said, signed) in enumerate(kept)
        ]
        with service.database.transaction() as tx:
            tx.execute(insert(tables.rounds).values(**row))
            tx.execute(insert(tables.reports), reports)
            signed_objects = {"close": some.close, "verdict": some.verdict, "outcome": some.outcome}
            service.log.append(tx, [LogEntry(kind, said) for kind, said in signed_objects.items() if said])
