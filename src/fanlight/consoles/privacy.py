"""A device's page on what left it, what it refused, what its owner allows, and how to pause or leave."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.step_pages import Reader
from fanlight.errors import NotFound, SettingsError
from fanlight.protocol.device_round import Delivery
from fanlight.services.device import status as device_status
from fanlight.services.device.masked_picture import masked_picture
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.wishes import FEWEST, MOST, MOST_ANSWERS
from fanlight.services.http.owner import Owner, require_owner_post

PRIVACY: Final = "/privacy"
NEWEST: Final = 50
Actor = Annotated[Owner, Depends(require_owner_post)]


def privacy_router(console: Console, role: DeviceRole) -> APIRouter:
    """The page and its buttons."""
    router = APIRouter(include_in_schema=False, prefix=PRIVACY)

    @router.get("")
    def show(request: Request, owner: Reader) -> Response:
        return console.page(
            request,
            owner,
            "privacy.html",
            status=device_status.status(role),
            wishes=role.rounds.wishes.kept,
            fewest=FEWEST,
            most=MOST,
            most_answers=MOST_ANSWERS,
            sent=device_status.sent(role)["sent"][::-1],
            ended=Delivery.ENDED.value,
            refusals=device_status.refusals(role)["refusals"],
            newest=NEWEST,
        )

    @router.get("/sent/{mh}.png")
    def picture(mh: str, _owner: Reader) -> Response:
        record = role.store.report(_hash(mh))
        if record is None:
            raise NotFound("No such report was sent.")
        with role.store.open_y(record.mh) as y:
            return Response(masked_picture(y, record.length), media_type="image/png")

    @router.post("/floors")
    def set_floors(
        _owner: Actor,
        k_min: Annotated[str, Form()] = "",
        answers_per_day: Annotated[str, Form()] = "",
        accept_demo: Annotated[str, Form()] = "",
    ) -> Response:
        role.rounds.wishes.set_floors(
            k_min=_number(k_min), answers_per_day=_number(answers_per_day), accept_demo=bool(accept_demo)
        )
        return changed()

    @router.post("/pause")
    def pause(_owner: Actor, on: Annotated[str, Form()] = "") -> Response:
        role.rounds.wishes.pause(bool(on))
        return changed()

    @router.post("/leave")
    def leave(_owner: Actor, on: Annotated[str, Form()] = "") -> Response:
        role.rounds.wishes.leave(bool(on))
        return changed()

    def changed() -> Response:
        role.pages.notify()
        return RedirectResponse(PRIVACY, status_code=303)

    return router


def _number(text: str) -> int:
    plain = text.strip()
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 9):
        raise SettingsError(f"{plain[:32]!r} is not a number.", next="Go back and give one.", slug="not-a-number")
    return int(plain)


def _hash(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise NotFound("No such report was sent.") from None
