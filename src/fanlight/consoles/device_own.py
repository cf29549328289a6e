"""A device's page *Own names*: what only this home knows, how well its head knows it, and what would help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.device_pictures.asked import Asked
from fanlight.consoles.step_pages import Reader
from fanlight.errors import DataError, SettingsError
from fanlight.learning.advice import MORE
from fanlight.services.device.home_findings import Findings
from fanlight.services.device.library.own_names import LONGEST
from fanlight.services.device.library.records import Filter, State
from fanlight.services.device.role import DeviceRole
from fanlight.services.http.owner import Owner, require_owner_post
from fanlight.services.http.threads import in_thread

OWN: Final = "/own"
CHANGE: Final = "/own/change"
ENOUGH: Final = 6
"""Pictures from which on a name is known usefully."""
MOST_NAMED: Final = 8
"""Classes that more pictures of are asked for, and pairs that cannot be told apart."""
LEAST_POINTS: Final = 0.05
"""What is worth less is not asked for."""

Actor = Annotated[Owner, Depends(require_owner_post)]


def own_router(console: Console, role: DeviceRole) -> APIRouter:
    """The page, and what its forms do."""
    router = APIRouter(include_in_schema=False)

    @router.get(OWN)
    def show(request: Request, owner: Reader) -> Response:
        return console.page(request, owner, "device_own.html", **_context(role))

    @router.get(CHANGE)
    def back(_owner: Reader) -> Response:
        return RedirectResponse(OWN, status_code=303)

    @router.post(CHANGE)
    async def press(request: Request, _owner: Actor) -> Response:
        place = await in_thread(_change, role, await request.form())
        return RedirectResponse(f"{OWN}#{place}", status_code=303)

    return router


def _change(role: DeviceRole, form: FormData) -> str:
    """Do what the pressed button says; the part of the page that shows it."""
    library = role.library

    def add() -> None:
        library.add_own(_text(form, "name"), _text(form, "kind") or None, bool(_text(form, "counts")))

    def change() -> None:
        kind, counts = _text(form, "kind") or None, bool(_text(form, "counts"))
        library.change_own(_number(form, "number"), _text(form, "name"), kind, counts)

    def remove() -> None:
        library.remove_own(_number(form, "number"))

    def let_pass() -> None:
        role.home.models.let_pass(_number(form, "percent"))
        role.home.follow()

    def learn() -> None:
        role.home.learn()

    buttons: dict[str, tuple[Callable[[], None], str]] = {
        "add": (add, "names"),
        "change": (change, "names"),
        "remove": (remove, "names"),
        "let-pass": (let_pass, "strangers"),
        "learn": (learn, "known"),
    }
    action, place = buttons.get(_text(form, "do"), (None, ""))
    if action is None:
        raise DataError("There is no such button.", slug="no-such-button", next="Reload the page.")
    action()
    return place


def _base(findings: Findings | None) -> str:
    """The model that the own names were learned on top of."""
    if findings is None or findings.own_round is None:
        return f"version {findings.version} of the model of all devices" if findings else ""
    return f"this home's own model of round {findings.own_round}"


def _context(role: DeviceRole) -> dict[str, Any]:
    library, home = role.library, role.home
    library.notice()
    counts, kept = library.counts().own, home.models.kept
    classes = role.store.held.plan.classes if role.store.held else ()
    findings = kept.findings if kept else None
    return {
        "names": [
            {
                "own": own,
                "pictures": counts.get(own.name, 0),
                "href": Asked(Filter(State.LABELLED, own.name)).href(),
                "taken": own.name in classes,
            }
            for own in library.own.all
        ],
        "classes": classes,
        "base": _base(findings),
        "longest": LONGEST,
        "enough": ENOUGH,
        "more": MORE,
        "has_model": role.store.held is not None,
        "kept": kept,
        "findings": findings,
        "few": [own.name for own in library.own.all if counts.get(own.name, 0) < ENOUGH],
        "gains": [gain for gain in findings.gains if gain.points >= LEAST_POINTS][:MOST_NAMED] if findings else [],
        "alike": findings.alike[:MOST_NAMED] if findings else (),
        "alike_total": len(findings.alike) if findings else 0,
        "answers": _answers(findings),
        "percent": home.models.strangers_percent,
        "job": home.job,
    }


def _answers(findings: Findings | None) -> dict[str, int] | None:
    """What is said of the home's pictures, class by class added up; None where none can be unknown."""
    if findings is None or findings.threshold is None:
        return None
    parts = ("pictures", "found", "sure", "unknown")
    return {part: sum(getattr(named, part) or 0 for named in findings.named) for part in parts}


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _number(form: FormData, name: str) -> int:
    text = _text(form, name).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise SettingsError("That is no number.", slug="bad-number", next="Write a whole number.")
    return int(text)
