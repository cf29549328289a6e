"""What the owner sees of the main server, as plain data: for the JSON API and, the same, for the pages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Connection, case, func, select

from fanlight.protocol.plan import Kind
from fanlight.services.http.paging import paging
from fanlight.services.http.steps import StepView
from fanlight.services.main_server import (
    changing_sums,
    held_back_classes,
    lines,
    measurements,
    members,
    quarantine,
    round_table,
    teaching,
    timeline,
)
from fanlight.services.main_server.conductor import Conductor
from fanlight.services.main_server.models import Version
from fanlight.services.main_server.round_table import Stored
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.stragglers import WaitingRules
from fanlight.services.server.incidents import incident_count, incidents
from fanlight.storage.tables import main as tables

AGGREGATE = "/aggregate_models"
PUBLISH = "/send_model_clients"
MEASURE = "/measure"


WHEREABOUTS: Final = ("here", "away", "waiting", "left", "revoked")
"""Where devices can be; ``waiting``: enrolled here, and not at the aggregator yet."""


class Overview:
    """Reads the state of a service; changes nothing."""

    def __init__(self, service: MainService, conductor: Conductor) -> None:
        self._service = service
        self._conductor = conductor

    def status(self) -> dict[str, Any]:
        """The whole at a glance."""
        service, policy = self._service, self._service.task.policy
        census = self.census()
        with service.database.reading() as tx:
            stored = round_table.latest(tx)
            model = service.models.current(tx)
            having, known = self._members(tx, model)
            return {
                "role": "main",
                "federation": service.identity.trust.fid.hex(),
                "task": service.task.name,
                "classes": list(service.task.classes),
                "by_itself": policy.by_itself,
                "demo": policy.demo,
                "k_min": policy.k_min,
                "members": known,
                "aggregator_connected": service.aggregator_connected,
                "round": self._round(tx, stored) if stored else None,
                "reports": round_table.arrived(tx, stored.mh) if stored else 0,
                "model": {"version": model.number, "sha256": model.sha256.hex()},
                "accuracy": lines.received(service.task, measurements.of_model(tx, model.sha256)).get("accuracy"),
                "devices": census,
                "pause_s": service.pause_s,
                "problem": service.policy_problem.message if service.policy_problem else None,
                "devices_with_model": having,
                "finished": self._conductor.course.finished(tx),
                "held": asdict(held) if (held := self._conductor.course.hold(tx)) else None,
                "held_back": held_back_classes.as_json(tx, service.task),
                "changes": changing_sums.as_json(tx, service.task, service.changers, service.presence),
                "quarantined": quarantine.listed(tx, policy.k_min),
                "incidents": incident_count(tx, service.log),
            }

    def _round(self, tx: Connection, stored: Stored) -> dict[str, Any]:
        """The newest round, with the rules it goes by, which may not be the policy's any more."""
        by_itself = WaitingRules.of_newest(tx, self._service.task.policy).by_itself or stored.kind == Kind.MEASURE
        rules = {"k_min": stored.record.terms.k_min, "by_itself": by_itself}
        return lines.round_lines(tx, self._service, [stored])[0] | rules

    def incidents(self) -> list[dict[str, Any]]:
        """What should not have happened, newest first."""
        with self._service.database.reading() as tx:
            return [asdict(incident) for incident in incidents(tx, self._service.log)]

    def timeline(self, number: int | None = None) -> dict[str, Any] | None:
        """How far each device is in a round, see ``timeline.of_round``; of the newest, None before the first.

        Raises:
            NotFound: there is no such round.
        """
        with self._service.database.reading() as tx:
            stored = round_table.latest(tx) if number is None else round_table.whole(tx, number)
            return None if stored is None else timeline.of_round(tx, self._service, stored)

    def progress(self, newest: int = 50) -> list[dict[str, Any]]:
        """The figures of the newest versions that were measured, newest first: ``version``, ``metrics``."""
        with self._service.database.reading() as tx:
            found = measurements.by_version(tx, newest)
            return [
                {"version": version, "metrics": lines.received(self._service.task, measured)}
                for version, measured in found
            ]

    def census(self) -> dict[str, int]:
        """How many devices are at each of ``WHEREABOUTS``."""
        with self._service.database.reading() as tx:
            known, revoked, left = members.counts(tx)
            confirmed = members.confirmed(tx)
        here = sum(map(self._service.presence.is_present, confirmed))
        away, waiting = len(confirmed) - here, known - revoked - left - len(confirmed)
        return {"here": here, "away": away, "waiting": waiting, "left": left, "revoked": revoked}

    def devices(self) -> list[dict[str, Any]]:
        """All enrolled devices."""
        service = self._service
        with service.database.reading() as tx:
            return self._devices(tx, service.models.current(tx))

    def devices_page(self, page: int = 1, size: int = 50) -> dict[str, Any]:
        """Some of the devices, by where they are, and how many are there: ``here``, ``away`` and so on."""
        found: dict[str, list[dict[str, Any]]] = {where: [] for where in WHEREABOUTS}
        for device in self.devices():
            found[_whereabouts(device)].append(device)
        total = sum(map(len, found.values()))
        counts = {where: len(some) for where, some in found.items()}
        first, listed = (page - 1) * size, [(where, device) for where, some in found.items() for device in some]
        shown = {where: [device for at, device in listed[first : first + size] if at == where] for where in found}
        return {"devices": shown, "counts": counts} | paging(page, size, total)

    def steps(self) -> list[StepView]:
        """The steps of this server."""
        service = self._service
        with service.database.reading() as tx:
            stored = round_table.latest(tx)
            why_not, nothing = self._conductor.why_not_aggregate(tx), self._conductor.why_not_publish(tx)
            arrived = round_table.arrived(tx, stored.mh) if stored else 0
            model = service.models.current(tx)
            having, known = self._members(tx, model)
            measuring = self._measuring(tx, model)
        facts = [("Round", f"{stored.number}, {stored.state}" if stored else "none yet")]
        return [
            StepView(
                route=AGGREGATE,
                button="Aggregate Local Models",
                explanation="Asks the secure aggregator to close the round, and takes this server's masks off the sum "
                "that it releases.",
                possible=True,
                now=True,
                reason=f"{arrived} reports have arrived.",
                next="Then publish the new model (/send_model_clients).",
                facts=(*facts, ("Reports", str(arrived))),
                job=service.jobs.latest(AGGREGATE),
            ).unless(why_not),
            StepView(
                route=PUBLISH,
                button="Send Aggregated Models to Federated Clients",
                explanation="Publishes the new version. Devices fetch it, check it and say that they have it.",
                possible=True,
                now=True,
                reason="A new model is ready.",
                next="Devices fetch it by themselves; the next round opens.",
                facts=(
                    *facts,
                    ("Current model", f"version {model.number}"),
                    ("Devices that have it", f"{having} of {known}"),
                ),
                job=service.jobs.latest(PUBLISH),
            ).unless(nothing),
            measuring,
        ]

    def _measuring(self, tx: Connection, model: Version) -> StepView:
        return StepView(
            route=MEASURE,
            button="Measure",
            explanation="A round in which nobody trains: each device tests the current model on its own held-out "
            "pictures, and only the sum of the counts comes to light.",
            possible=True,
            now=model.number > 0 and not self._service.task.policy.by_itself,
            reason=f"Version {model.number} has not been measured yet.",
            next="Its accuracy stands here then.",
            facts=(("Current model", f"version {model.number}"),),
            job=self._service.jobs.latest(MEASURE),
        ).unless(self._conductor.why_not_measure(tx))

    @staticmethod
    def _members(tx: Connection, model: Version) -> tuple[int, int]:
        """Devices that are members at both servers: how many have said that they have this version, and all."""
        here, there = tables.devices.c, tables.enrolled_at_aggregator.c
        having, known = tx.execute(
            select(func.count(case((here.has_model == model.sha256, 1))), func.count())
            .select_from(tables.devices)
            .join(tables.enrolled_at_aggregator, there.dev == here.dev)
            .where(here.revoked_at.is_(None), here.left_at.is_(None))
        ).one()
        return having, known

    def _devices(self, tx: Connection, model: Version) -> list[dict[str, Any]]:
        service, columns = self._service, tables.devices.c
        confirmed = members.confirmed(tx)
        plan = teaching.plan_of_next(tx, service.task).hash
        suspects = {line["device"]: line for line in quarantine.listed(tx, service.task.policy.k_min)}
        return [
            {
                "device": row.dev.hex(),
                "name": row.name,
                "enrolled_at": row.enrolled_at,
                "at_both_servers": row.dev in confirmed,
                "revoked": row.revoked_at is not None,
                "left": row.left_at is not None,
                "present": service.presence.is_present(row.dev),
                "ready": (row.ready_plan, row.ready_model) == (plan, model.sha256),
                "has_model": row.has_model == model.sha256,
                "quarantined": suspects.get(row.dev.hex()),
            }
            for row in tx.execute(select(tables.devices).order_by(columns.enrolled_at, columns.dev))
        ]


def _whereabouts(device: dict[str, Any]) -> str:
    known = (
        (device["revoked"], "revoked"),
        (device["left"], "left"),
        (not device["at_both_servers"], "waiting"),
        (device["present"], "here"),
    )
    return next((where for so, where in known if so), "away")
