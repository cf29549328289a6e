"""What a device tells its owner, as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanlight import __version__
from fanlight.errors import DataError, FanlightError
from fanlight.protocol.closing import Outcome, SignedOutcome
from fanlight.services.device.learned import Held, StoredCounts
from fanlight.services.device.own_model import Answering
from fanlight.services.device.past import RoundLine
from fanlight.services.device.pictures import Overview, planned
from fanlight.services.device.refusals import REFUSALS
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.steps import next_try, sent_json


def status(role: DeviceRole) -> dict[str, Any]:
    """``GET /api/v1/status``."""
    held, offer, trouble = role.store.held, role.offers.current, role.agent.trouble
    wishes = role.rounds.wishes.kept
    return {
        "role": "device",
        "version": __version__,
        "device": role.identity.device.device.hex(),
        "name": role.name,
        "federation": role.token.trust.fid.hex(),
        "main_url": role.token.main_url,
        "aggregator_url": role.token.aggregator_url,
        "enrolled": {name: role.membership.is_enrolled(name) for name in role.membership.servers},
        "changing_key": role.membership.changing_key,
        "connected_at": role.agent.connected_at,
        "by_itself": offer.by_itself if offer else None,
        "model": {"version": held.version, "sha256": held.sha256.hex()} if held else None,
        "accuracy": _accuracy(held),
        "preparation": role.offers.preparation.value,
        "round": open_round(role),
        "pictures": pictures(role),
        "floors": {
            "k_min": wishes.k_min,
            "accept_demo": wishes.accept_demo,
            "r_max_percent": wishes.r_max_percent,
            "answers_per_day": wishes.answers_per_day,
        },
        "paused": wishes.paused,
        "left": wishes.left,
        "counted": counted(role),
        "leaving": leaving(role) if wishes.left else None,
        "equivocation": equivocation(role),
        "problem": vars(trouble) if trouble else None,
    }


def next_try_of(role: DeviceRole) -> str:
    """When this device tries again what went wrong last, in words; empty if nothing is wrong."""
    trouble = role.agent.trouble
    return next_try(trouble.again_at - role.chances.clock()) if trouble else ""


def leaving(role: DeviceRole) -> dict[str, Any]:
    """Which servers know that this device has left, and why one could not be told."""
    told, not_told = role.store.departure.told, dict(role.membership.not_told)
    return {
        name: {"knows": name in told, "problem": problem(not_told[name]) if name in not_told else None}
        for name in role.membership.servers
    }


def counted(role: DeviceRole) -> dict[str, Any] | None:
    """What the sums that a head is solved from have of this device; None where there are none.

    ``pictures``: training pictures, since ``round``; None if nothing is counted. ``change``: what a round of changes
    would bring. ``forget``: does this device wait for one to be forgotten? ``forgotten_in``: the round that did it.
    """
    account, offer = role.store.account, role.offers.current
    found, forgotten = account.counted, account.forgotten
    collection = offer.collection if offer else None
    if collection is None and found is None and forgotten is None:
        return None
    if found is not None and collection is not None and found.collection < collection:
        found = None
    change = role.rounds.change()
    return {
        "round": found.round if found else None,
        "pictures": found.examples if found else None,
        "change": change.value if change else None,
        "in_question": account.in_question is not None,
        "forget": role.rounds.wishes.kept.forget,
        "forgotten_in": forgotten.round if forgotten else None,
    }


def equivocation(role: DeviceRole) -> dict[str, Any] | None:
    """The rounds of which two outcomes were signed, with both as evidence; None if the servers never did that."""
    found = role.store.evidence.contradictions()
    if not found:
        return None
    return {
        "acknowledged": not role.store.evidence.unacknowledged,
        "rounds": [
            {
                "round": entry.number,
                "manifest": entry.mh.hex(),
                "found_at": entry.found_at,
                "outcomes": [_outcome(entry.first), _outcome(entry.second)],
            }
            for entry in found
        ],
    }


def _outcome(data: bytes) -> dict[str, str]:
    outcome = Outcome.decode(SignedOutcome.decode(data).payload)
    return {"result": outcome.result, "reason": outcome.reason, "signed": data.hex()}


def open_round(role: DeviceRole) -> dict[str, Any] | None:
    """The round that main offers, and how far this device's report is; its limits are as main says them."""
    signed = role.offers.manifest
    if signed is None:
        return None
    manifest = signed.terms
    proposal, record = manifest.proposal, role.store.report(signed.hash)
    return {
        "round": proposal.round,
        "attempt": proposal.attempt,
        "kind": proposal.kind,
        "demo": proposal.demo,
        "k_min": proposal.k_min,
        "opened_at": manifest.opened_at,
        "closes_at": manifest.closes_at,
        "report": record.delivery if record else None,
    }


def pictures(role: DeviceRole) -> dict[str, Any]:
    """What the data folder held when it was read last; that it has vanished since is said at once."""
    overview = role.pictures.overview
    try:
        role.pictures.check_folder()
    except DataError as error:
        overview = Overview(error=error)
    return {
        "folder": str(role.pictures.folder),
        "counts": overview.counts if overview else None,
        "problems": list(overview.problems) if overview else [],
        "error": problem(overview.error) if overview and overview.error else None,
    }


def learning(role: DeviceRole, newest: int | None = None) -> dict[str, Any]:
    """``GET /api/v1/learning``: accuracies are fractions of this device's own test pictures.

    Args:
        role: the device.
        newest: so many rounds of its history; by default all.
    """
    held, prepared = role.store.held, role.store.prepared
    classes = list(held.plan.classes) if held else []
    seen, rounds, course = pictures(role), role.store.past.rounds(newest), role.store.course
    return {
        "device": role.identity.device.device.hex(),
        "name": role.name,
        "classes": classes,
        "pictures": seen["counts"],
        "problems": seen["problems"] + ([seen["error"]["message"]] if seen["error"] else []),
        "global": held
        and {
            "version": held.version,
            "sha256": held.sha256.hex(),
            "metrics": _metrics(held.measured, classes),
            "before": held.before
            and {"version": held.before.version, "metrics": _metrics(held.before.measured, classes)},
        },
        "answers": _answers(role),
        "local": prepared
        and {
            "from_version": prepared.model_version,
            "trained_at": prepared.trained_at,
            "examples": prepared.examples,
            "epochs": prepared.epochs,
            "received": _metrics(prepared.received, classes),
            "metrics": _metrics(prepared.local, classes),
        },
        "rounds": [round_json(line) for line in rounds],
        "versions": versions(held, rounds),
        "course": [epoch.as_point() for epoch in course.epochs] if course else [],
        "variants": _variants(role),
    }


def answering(role: DeviceRole) -> Answering | None:
    """What answers here, where it is asked for anything but a comparison; None where there is none to be read."""
    try:
        return role.rounds.answering()
    except FanlightError:  # the step that needs it says so
        return None


def _answers(role: DeviceRole) -> dict[str, Any] | None:
    found = answering(role)
    return found and {"version": found.model.version, "words": found.words, "own": found.own and found.own.as_json()}


def _variants(role: DeviceRole) -> int:
    """Variants of each training picture that the head learns from, with as many pictures as were found last."""
    held, seen = role.store.held, role.pictures.overview
    if held is None or seen is None or held.plan.fine_tune is not None:
        return 0
    augmentation = planned(held.plan)
    return augmentation.variants_of(seen.total("train"), held.plan.features) if augmentation else 0


def round_json(line: RoundLine) -> dict[str, Any]:
    """What a round brought, as its owner reads it."""
    return {
        "round": line.number,
        "kind": line.kind,
        "at": line.at,
        **line.learned.as_json(),
        "result": line.result,
        "reason": line.reason,
        "included": line.included,
    }


def versions(held: Held | None, rounds: Sequence[RoundLine]) -> list[dict[str, Any]]:
    """What each version of the global model that this device took part with was worth here, the oldest first."""
    found = {line.learned.model_version: line.learned.received for line in rounds}
    if held and held.measured:
        found[held.version] = held.measured
    known = sorted((version, counts.metrics) for version, counts in found.items() if version is not None)
    return [
        {"version": version, "metrics": {"accuracy": metrics.accuracy}} for version, metrics in known if metrics.total
    ]


def sent(role: DeviceRole, newest: int | None = None, skip: int = 0) -> dict[str, Any]:
    """``GET /api/v1/sent``: everything that ever left this device about its pictures, or the ``newest`` after ``skip``.

    ``bytes`` were sent in the round; ``model_bytes`` has the model that it began from (None where that was not kept).
    """
    fetched = {line.mh: line.learned.model_bytes for line in role.store.past.rounds(newest, skip)}
    reports = role.store.past.reports(newest, skip)
    return {"sent": [sent_json(record) | {"model_bytes": fetched.get(record.mh)} for record in reports]}


def refusals(role: DeviceRole, newest: int = REFUSALS, skip: int = 0) -> dict[str, Any]:
    """``GET /api/v1/refusals``: the ``newest`` rounds after ``skip`` that this device did not take part in, and why."""
    lines = role.store.refusals.newest(newest, skip)
    return {"refusals": [{**vars(line), "mh": line.mh.hex()} for line in lines]}


def problem(error: FanlightError) -> dict[str, str]:
    """An error as JSON."""
    return {"slug": error.slug, "message": error.message, "next": error.next}


def _accuracy(held: Held | None) -> float | None:
    """Of the current model on this device's own test pictures; None without any."""
    metrics = held.measured.metrics if held and held.measured else None
    return metrics.accuracy if metrics and metrics.total else None


def _metrics(counts: StoredCounts | None, classes: list[str]) -> dict[str, Any] | None:
    if counts is None or len(counts.confusion) != len(classes) ** 2:
        return None
    return counts.metrics.as_dict(classes)
