"""What this server held in each round, and what became of it, page by page; its log. Changes nothing."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, select

from fanlight.protocol.aggregator_round import TERMINAL, Record
from fanlight.protocol.closing import Outcome, SignedOutcome, Verdict, read_releases, stored_verdict
from fanlight.protocol.report import body_bytes
from fanlight.services.aggregator import held_reports, refusals, round_table
from fanlight.services.aggregator.round_table import Stored
from fanlight.services.aggregator.service import AggregatorService, round_json
from fanlight.services.http.paging import paging
from fanlight.services.server.log_reader import LogReader
from fanlight.storage.tables.aggregator import devices, reports

PAGE: Final = 20
"""Rounds on a page; of each, the whole verdict is read."""


class Records:
    """Reads the past of a service.

    Args:
        service: whose.
    """

    def __init__(self, service: AggregatorService) -> None:
        self._service = service
        self.log = LogReader(service.database, service.log)

    def all(self) -> list[dict[str, Any]]:
        """All rounds as ``round_json``, oldest first."""
        with self._service.database.reading() as tx:
            return [round_json(stored) for stored in round_table.every(tx)]

    def rounds(self, page: int = 1, size: int = PAGE) -> dict[str, Any]:
        """A page of rounds, newest first.

        Returns:
            ``rounds``, ``page``, ``pages``, ``total``. A round is as ``round_json``, with ``reports`` (taken),
            ``report_bytes`` (of one), ``held_bytes`` (here now), ``accepted`` (None before the verdict), ``result`` and
            ``reason`` (empty before its end), ``refused`` (see ``refusals.of_rounds``) and ``left_out`` (``device``,
            ``name``, ``reason``), which the main server's verdict names, and ``summed``: of the shards that were
            released, if it has any, each ``shard`` (its number), ``devices`` (how many) and ``reason`` (``ok``, why
            main left it out, or empty before it has said so).
        """
        with self._service.database.reading() as tx:
            stored, total = round_table.page(tx, (page - 1) * size, size), round_table.count(tx)
            refused = refusals.of_rounds(tx, [line.record.mh for line in stored])
            listed = [
                _round(tx, line, held_reports.count(tx, line.record.mh)) | {"refused": refused[line.record.mh]}
                for line in stored
            ]
        return {"rounds": listed} | paging(page, size, total)

    def reports(self, number: int) -> dict[str, Any]:
        """The reports of one round as they arrived: ``round``, ``mh``, ``bytes`` (of all), ``reports``.

        Each report has ``device``, ``name``, ``bytes`` and ``received_at``; the first to arrive is the first.

        Raises:
            NotFound: there is no such round.
        """
        found = (
            select(reports.c.dev, reports.c.envelope, reports.c.received_at, devices.c.name)
            .join(devices, devices.c.dev == reports.c.dev)
            .order_by(reports.c.received_at, reports.c.dev)
        )
        with self._service.database.reading() as tx:
            record = round_table.numbered(tx, number).record
            length = record.terms.length
            listed = [
                {
                    "device": row.dev.hex(),
                    "name": row.name,
                    "bytes": body_bytes(row.envelope, length),
                    "received_at": row.received_at,
                }
                for row in tx.execute(found.where(reports.c.mh == record.mh))
            ]
        total = sum(entry["bytes"] for entry in listed)
        return {"round": number, "mh": record.mh.hex(), "bytes": total, "reports": listed}


def _round(tx: Connection, stored: Stored, count: int) -> dict[str, Any]:
    record, bytes_each = stored.record, 4 * stored.record.terms.length
    verdict, outcome = None, None
    if record.verdict:
        verdict = stored_verdict(record.verdict)
    if record.outcome:
        outcome = Outcome.decode(SignedOutcome.decode(record.outcome).payload)
    return round_json(stored) | {
        "reports": count,
        "report_bytes": bytes_each,
        "held_bytes": 0 if record.at in TERMINAL else count * bytes_each,
        "accepted": len(verdict.accepted) if verdict else None,
        "result": outcome.result if outcome else "",
        "reason": outcome.reason if outcome else "",
        "summed": _shards(record, outcome) if record.secret and record.release else [],
        "left_out": _left_out(tx, verdict) if verdict and verdict.rejected else [],
    }


def _shards(record: Record, outcome: Outcome | None) -> list[dict[str, Any]]:
    told = {shard.number: shard.reason for shard in (outcome.shards if outcome else None) or ()}
    return [
        {"shard": release.shard, "devices": release.count, "reason": told.get(release.shard, "")}
        for release in read_releases(record.release)
    ]


def _left_out(tx: Connection, verdict: Verdict) -> list[dict[str, Any]]:
    names = {
        row.dev: row.name
        for row in tx.execute(
            select(devices.c.dev, devices.c.name).where(
                devices.c.dev.in_([rejection.device for rejection in verdict.rejected])
            )
        )
    }
    return [
        {"device": entry.device.hex(), "name": names.get(entry.device, ""), "reason": entry.reason}
        for entry in verdict.rejected
    ]
