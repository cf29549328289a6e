"""What has been: rounds and versions page by page, one of them in full, a comparison, a card. Changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, and_, func, or_, select

from fanlight.core.segments import layout_words
from fanlight.protocol.closing import read_releases
from fanlight.protocol.plan import Kind
from fanlight.services.http.paging import paging
from fanlight.services.main_server import (
    class_proposals,
    lines,
    measurements,
    model_card,
    round_table,
    sharding,
    version_card,
)
from fanlight.services.main_server.course import Course
from fanlight.services.main_server.models import Version
from fanlight.services.main_server.round_table import Stored
from fanlight.services.main_server.service import MainService
from fanlight.services.server.log_reader import LogReader
from fanlight.storage.tables import main as tables

PAGE: Final = 50


class Records:
    """Reads the past of a service.

    Args:
        service: whose.
        course: says whether the past is all that there will be.
    """

    def __init__(self, service: MainService, course: Course) -> None:
        self._service = service
        self._course = course
        self.log = LogReader(service.database, service.log)

    def rounds(self, page: int = 1, size: int = PAGE) -> dict[str, Any]:
        """A page of rounds of both kinds, newest first."""
        with self._service.database.reading() as tx:
            listed = lines.round_lines(tx, self._service, round_table.page(tx, (page - 1) * size, size))
            return {"rounds": listed} | paging(page, size, round_table.count(tx))

    def every_round(self) -> dict[str, Any]:
        """All rounds, oldest first, by kind; is no further one to come; and the current model."""
        service = self._service
        with service.database.reading() as tx:
            model = service.models.current(tx)
            listed = lines.round_lines(tx, service, round_table.lines(tx))
            return {
                "rounds": [entry for entry in listed if Kind(entry["kind"]).teaches],
                "measuring_rounds": [entry for entry in listed if entry["kind"] == Kind.MEASURE],
                "finished": self._course.finished(tx),
                "model": {"version": model.number, "sha256": model.sha256.hex()},
            }

    def round(self, number: int) -> dict[str, Any]:
        """One round: its line, times, shards, the devices whose receipts have arrived, figures, the versions it links.

        Raises:
            NotFound: there is none.
        """
        with self._service.database.reading() as tx:
            line = round_table.whole(tx, number)
            made = self._service.models.from_round(tx, number)
            return lines.round_lines(tx, self._service, [line])[0] | {
                "from_version": self._number_of(tx, line.model),
                "to_version": made.number if made else None,
                "reports": self._reports(tx, line.mh),
                "shards": sharding.shard_lines(tx, self._service.machine, line.record),
                "figures": lines.figures(tx, self._service, measurements.of_round(tx, number)),
            }

    def traffic(self, number: int) -> dict[str, Any]:
        """What one round cost main in bytes.

        Returns:
            ``round``; ``model``: the file that it started from; ``models_sent``: that, for each device that has said so
            far that it has fetched it; ``receipts``: all that arrived; ``sum``: None before it is released;
            ``devices``: of each that had any of it, ``device``, ``name``, ``model`` and ``receipt``.

        Raises:
            NotFound: there is no such round.
        """
        with self._service.database.reading() as tx:
            return {"round": number} | self._traffic(tx, round_table.whole(tx, number))

    def models(self, page: int = 1) -> dict[str, Any]:
        """A page of versions, newest first."""
        models = self._service.models
        with self._service.database.reading() as tx:
            listed = self._lines(tx, models.page(tx, (page - 1) * PAGE, PAGE))
            changes, waiting = self._service.promotion.changes(tx), self._service.promotion.waiting(tx)
            found = {"models": listed, "changes": changes, "waiting": waiting}
            current = {"current_version": models.current(tx).number}
            return found | current | paging(page, PAGE, models.count(tx))

    def every_model(self) -> list[dict[str, Any]]:
        """All versions, oldest first, each with its line."""
        with self._service.database.reading() as tx:
            return self._lines(tx, self._service.models.all(tx))

    def model(self, number: int) -> dict[str, Any]:
        """One version: its line, figures, lineage (nearest first) and the versions trained from it.

        Raises:
            NotFound: there is none.
        """
        models = self._service.models
        with self._service.database.reading() as tx:
            version = models.version(tx, number)
            figures = lines.figures(tx, self._service, measurements.of_model(tx, version.sha256))
            children = models.children(tx, version)
            line, current = round_table.latest_line(tx), models.current(tx)
            known = measurements.of_model(tx, current.sha256)
            task, lineage = self._service.task, models.lineage(tx, version, models.count(tx))
            origin = version_card.origin_of(tx, version, lineage)
            taught = origin.taught
            return self._lines(tx, [version])[0] | {
                "current_version": current.number,
                "current_metrics": lines.received(self._service.task, known) or None,
                "newest_version": models.count(tx) - 1,
                "waiting": self._service.promotion.waiting(tx),
                "open_round": None if line is None or line.is_over else line.number,
                "reports": 0 if line is None or line.is_over else round_table.arrived(tx, line.mh),
                "figures": figures,
                "lineage": lineage[: model_card.LINEAGE],
                "children": children,
                "learned": model_card.learned_in_words(origin.shown(demo=task.policy.demo)),
                "training_pictures": taught.shown(task.classes, demo=task.policy.demo) if taught else None,
            }

    def card(self, number: int) -> dict[str, Any]:
        """The card of a version, see ``version_card.card_of``.

        Raises:
            NotFound: there is none.
        """
        with self._service.database.reading() as tx:
            return version_card.card_of(tx, self._service.models, self._service.task, number)

    def class_proposals(self) -> list[dict[str, Any]]:
        """Classes that devices' owners would like, the most wanted first."""
        with self._service.database.reading() as tx:
            return class_proposals.listed(tx)

    def _lines(self, tx: Connection, versions: Sequence[Version]) -> list[dict[str, Any]]:
        """Versions that follow one another, each with its parent, its note, and whether it is the current one."""
        if not versions:
            return []
        first, last = sorted((versions[0].number, versions[-1].number))
        models = self._service.models
        parents, notes = models.parents(tx, first, last), self._service.promotion.notes(tx, first, last)
        current = models.current(tx).number
        return [
            line
            | {
                "current": line["version"] == current,
                "from_version": parents.get(line["version"]),
                "note": notes.get(line["version"], ""),
            }
            for line in lines.version_lines(tx, self._service.task, versions)
        ]

    def _reports(self, tx: Connection, mh: bytes) -> list[dict[str, Any]]:
        known, devices = tables.beacons.c, tables.devices.c
        rows = tx.execute(
            select(known.dev, known.received_at, devices.name)
            .join(tables.devices, devices.dev == known.dev)
            .where(known.mh == mh)
            .order_by(known.received_at)
        )
        return [{"device": row.dev.hex(), "name": row.name, "received_at": row.received_at} for row in rows]

    @staticmethod
    def _traffic(tx: Connection, stored: Stored) -> dict[str, Any]:
        models, devices, fetched, beacons = (
            table.c for table in (tables.models, tables.devices, tables.device_models, tables.beacons)
        )
        size = tx.execute(select(models.size).where(models.sha256 == stored.model)).scalar_one()
        until = stored.ended_at if stored.ended_at is not None else float("inf")
        got = and_(fetched.dev == devices.dev, fetched.model == stored.model, fetched.fetched_at <= until)
        sent = and_(beacons.dev == devices.dev, beacons.mh == stored.mh)
        columns = (devices.dev, devices.name, fetched.model, func.coalesce(func.length(beacons.receipt), 0))
        rows = tx.execute(
            select(*columns)
            .outerjoin(tables.device_models, got)
            .outerjoin(tables.beacons, sent)
            .where(or_(fetched.model.is_not(None), beacons.receipt.is_not(None)))
            .order_by(devices.enrolled_at, devices.dev)
        )
        each = [
            {"device": dev.hex(), "name": name, "model": size if model else 0, "receipt": receipt}
            for dev, name, model, receipt in rows
        ]
        return {
            "model": size,
            "models_sent": sum(device["model"] for device in each),
            "receipts": sum(device["receipt"] for device in each),
            "sum": _sum_bytes(stored) if stored.released_at is not None else None,
            "devices": each,
        }

    @staticmethod
    def _number_of(tx: Connection, sha256: bytes) -> int | None:
        columns = tables.models.c
        number: int | None = tx.execute(select(columns.version).where(columns.sha256 == sha256)).scalar()
        return number


def _sum_bytes(stored: Stored) -> int:
    """Bytes of what the aggregator has released, of all shards."""
    record = stored.record
    return 4 * layout_words(record.terms.layout) * len(read_releases(record.release))
