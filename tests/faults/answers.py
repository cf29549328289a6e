"""The laws of what servers have answered: they still know it, and say the same to the same request for ever."""

from __future__ import annotations

from collections import Counter
from typing import Final

from fanlight.protocol.aggregator_round import State
from fanlight.protocol.closing import OutcomeForDevice, stored_close
from fanlight.protocol.exchange import PREFIX, Welcome
from fanlight.protocol.report import Receipt, report_id
from fanlight.protocol.signing import Signed
from tests.faults.laws import Law, law
from tests.faults.lines import OFFSET_BYTES
from tests.faults.request import Refusal, Request, Route
from tests.faults.view import View
from tests.faults.world import World

SAME_BYTES: Final = frozenset(
    (
        Route.ENROLMENT,
        Route.MODEL,
        Route.REPORT,
        Route.BEACON,
        Route.OUTCOME,
        Route.MANIFEST,
        Route.CLOSE,
        Route.RELEASE,
    )
)
"""Whoever asks again gets the same bytes."""
_TAKEN_AGAIN: Final = SAME_BYTES | {Route.ASKED, Route.ENROLLED, Route.ENDED}
"""Whoever asks again is not refused; the others ask about a present state, or tell of one."""
_TOO_MUCH: Final = frozenset({408, 429, 503, 507})
"""Statuses that say nothing against a request: it is to come again."""
_OVER: Final = frozenset(f"round-{state}" for state in State if state not in (State.OFFERED, State.COLLECTING))
"""Slugs that tell a device how far its round is instead."""
_NO_MEMBER: Final = frozenset({"left", "revoked", "not-enrolled", "not-confirmed"})


def check_same_answers(world: World, view: View) -> None:
    """The same bytes; and no refusal of what was answered before, unless it is for now, or of who is no member."""
    for request, replies in world.witness.answers.items():
        if request.route in SAME_BYTES:
            law(Law.SAME_ANSWER, len(set(replies)) == 1, str(request))
    for request, refusals in world.witness.refusals.items():
        if request.route in _TAKEN_AGAIN:
            for refusal in refusals:
                allowed = _is_allowed(view, request, refusal) or _came_too_late(view, request, refusal)
                law(Law.SAME_ANSWER, allowed, f"{request} was answered, then {refusal}")


def again(world: World) -> Counter[str]:
    """How often what had been answered before came again, by route."""
    told: Counter[str] = Counter()
    for request, replies in world.witness.answers.items():
        if request.route in _TAKEN_AGAIN:
            told[f"again {request.route}"] += len(replies) - 1 + len(world.witness.refusals.get(request, ()))
    return told


def _is_allowed(view: View, request: Request, refusal: Refusal) -> bool:
    if refusal.slug in _NO_MEMBER:
        return _sender(request) in view.gone
    return refusal.status in _TOO_MUCH


def _came_too_late(view: View, request: Request, refusal: Refusal) -> bool:
    """Was it a question what is there of a report, of which there was not all when its round was closed?"""
    if request.route is not Route.ASKED or refusal.slug not in _OVER:
        return False
    mh = bytes.fromhex(request.path.removeprefix(f"{PREFIX}/rounds/").partition("/")[0])
    return (mh, _sender(request)) not in view.receipts


def _sender(request: Request) -> bytes:
    """The device whose request it is; empty if it is the aggregator's."""
    try:
        return bytes.fromhex(request.caller)
    except ValueError:
        return b""


def check_nothing_lost(world: World, view: View) -> None:
    """Servers know what they answered, and the close lists the very reports that have receipts."""
    for request, replies in world.witness.answers.items():
        for reply in replies:
            law(Law.NOTHING_LOST, _is_kept(view, request, reply), str(request))
    for (mh, device), signed in view.receipts.items():
        close, receipted = view.aggregator[mh].close, Receipt.decode(Signed.decode(signed).payload).report_id
        if close:
            listed = {(listed.device, report_id(listed.header)) for listed in stored_close(close).reports}
            said = f"the receipted report of {device.hex()} is not listed"
            law(Law.NOTHING_LOST, (device, receipted) in listed, said)


def _is_kept(view: View, request: Request, reply: bytes) -> bool:
    """Does the server still know what it answered?"""
    rounds, kept = view.main.values(), True
    match request.path.removeprefix(PREFIX).split("/")[1:]:
        case ["enrolments"]:
            kept = Welcome.decode(reply).device in view.known[request.server]
        case ["rounds", mh, "reports", device]:
            receipt = reply[OFFSET_BYTES:] if request.route is Route.ASKED else reply
            here = view.receipts.get((bytes.fromhex(mh), bytes.fromhex(device)))
            is_gone = here is None and bytes.fromhex(device) in view.gone
            kept = not receipt or here == receipt or is_gone
        case ["rounds", mh, "beacons"]:
            here = view.beacons.get((bytes.fromhex(mh), bytes.fromhex(request.caller)))
            kept = here == request.body or (here is None and bytes.fromhex(request.caller) in view.gone)
        case ["rounds", mh, "outcome"]:
            kept = view.main[bytes.fromhex(mh)].outcome == OutcomeForDevice.decode(reply).outcome.encode()
        case ["aggregator", "manifest"]:
            kept = any(record.manifest == reply for record in rounds)
        case ["aggregator", "close"]:
            kept = any((record.close, record.verdict) == (request.body, reply) for record in rounds)
        case ["aggregator", "release"]:
            kept = any(record.signed_outcome == reply for record in rounds)
        case ["aggregator", "outcome"]:
            kept = any(record.outcome == request.body for record in rounds)
    return kept
