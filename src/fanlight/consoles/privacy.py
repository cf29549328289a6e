"""A device's page on what left it, what it refused, what its owner allows, and how to pause or leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Self
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.step_pages import Reader
from fanlight.errors import NotFound, SettingsError
from fanlight.protocol.manifest import MOST_REJECTED_PERCENT
from fanlight.services.device import guide
from fanlight.services.device import status as device_status
from fanlight.services.device.masked_picture import masked_picture
from fanlight.services.device.offers import allowed_backbones
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.supply import supply
from fanlight.services.device.wishes import (
    FEWEST,
    HEADS,
    Kept,
    check_answers_per_day,
    check_k_min,
    check_r_max_percent,
)
from fanlight.services.http.owner import Owner, require_owner_post
from fanlight.services.http.threads import in_thread

PRIVACY: Final = "/privacy"
NEWEST: Final = 50
_TYPED: Final = 64
"""Characters of a field that are kept when it leads back."""
Actor = Annotated[Owner, Depends(require_owner_post)]


@dataclass(frozen=True)
class Typed:
    """The form of the floors as somebody filled it in."""

    k_min: str
    answers_per_day: str
    r_max_percent: str
    accept_demo: bool

    @classmethod
    def kept(cls, kept: Kept) -> Self:
        """As the floors are."""
        return cls(str(kept.k_min), str(kept.answers_per_day), str(kept.r_max_percent), kept.accept_demo)

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self | None:
        """From the address to which a wrong form leads back; None for any other."""
        if "k_min" not in query:
            return None
        rest = (query.get("answers_per_day", ""), query.get("r_max_percent", ""), bool(query.get("accept_demo")))
        return cls(query["k_min"], *rest)

    def query(self) -> str:
        """For ``of``."""
        fields = {
            "k_min": self.k_min[:_TYPED],
            "answers_per_day": self.answers_per_day[:_TYPED],
            "r_max_percent": self.r_max_percent[:_TYPED],
        }
        return urlencode(fields | ({"accept_demo": "yes"} if self.accept_demo else {}))

    def wrong(self) -> dict[str, SettingsError]:
        """What is wrong, by field; empty if nothing is."""
        found = {}
        for name, text, check in (
            ("k_min", self.k_min, check_k_min),
            ("answers_per_day", self.answers_per_day, check_answers_per_day),
            ("r_max_percent", self.r_max_percent, check_r_max_percent),
        ):
            try:
                check(_number(text))
            except SettingsError as error:
                found[name] = error
        return found


def privacy_router(console: Console, role: DeviceRole) -> APIRouter:
    """The page and its buttons."""
    router = APIRouter(include_in_schema=False, prefix=PRIVACY)

    @router.get("")
    def show(request: Request, owner: Reader) -> Response:
        typed = Typed.of(request.query_params)
        return console.page(
            request,
            owner,
            "privacy.html",
            status=device_status.status(role),
            wishes=role.rounds.wishes.kept,
            typed=typed or Typed.kept(role.rounds.wishes.kept),
            wrong=typed.wrong() if typed else {},
            effect=guide.effect_on_round(role),
            supply=supply(role),
            state_folder=role.settings.state,
            fewest=FEWEST,
            most_rejected=MOST_REJECTED_PERCENT,
            choices=role.rounds.wishes.choices,
            heads=HEADS,
            fingerprints={name: sha256.hex() for name, sha256 in allowed_backbones().items()}
            | {each.name: each.sha256 for each in role.rounds.wishes.kept.trusted},
            unknown=role.rounds.wishes.unknown(role.store.held.plan if role.store.held else None),
            sent=device_status.sent(role, NEWEST)["sent"][::-1],
            total=role.store.past.count_reports(),
            refusals=device_status.refusals(role, NEWEST)["refusals"],
            refusals_total=role.store.refusals.count(),
            newest=NEWEST,
        )

    @router.get("/sent/{mh}.png")
    def picture(mh: str, _owner: Reader) -> Response:
        record = role.store.report(_hash(mh))
        if record is None:
            raise NotFound("No such report was sent.")
        with role.store.open_y(record.mh) as y:
            return Response(masked_picture(y, record.length), media_type="image/png")

    router.include_router(_buttons(role))
    router.include_router(_ways_out(role))
    return router


def _buttons(role: DeviceRole) -> APIRouter:
    router = APIRouter()

    @router.post("/floors")
    def set_floors(
        _owner: Actor,
        k_min: Annotated[str, Form()] = "",
        answers_per_day: Annotated[str, Form()] = "",
        r_max_percent: Annotated[str, Form()] = "",
        accept_demo: Annotated[str, Form()] = "",
    ) -> Response:
        typed = Typed(k_min, answers_per_day, r_max_percent, bool(accept_demo))
        if typed.wrong():  # back to the form, which keeps what was typed and says at the field what is wrong
            return RedirectResponse(f"{PRIVACY}?{typed.query()}#floors", status_code=303)
        role.rounds.wishes.set_floors(
            k_min=_number(k_min),
            answers_per_day=_number(answers_per_day),
            r_max_percent=_number(r_max_percent),
            accept_demo=typed.accept_demo,
        )
        return _changed(role, "#floors")

    @router.post("/allowed")
    async def allow(request: Request, _owner: Actor) -> Response:
        names = [str(name) for name in (await request.form()).getlist("name")]
        await in_thread(role.rounds.wishes.allow, names)
        return _changed(role, "#allowed")

    @router.post("/trusted")
    def trust(_owner: Actor, name: Annotated[str, Form()] = "", sha256: Annotated[str, Form()] = "") -> Response:
        role.rounds.wishes.trust(name, sha256)
        return _changed(role, "#allowed")

    return router


def _ways_out(role: DeviceRole) -> APIRouter:
    router = APIRouter()

    @router.post("/pause")
    def pause(_owner: Actor, on: Annotated[str, Form()] = "") -> Response:
        role.rounds.wishes.pause(bool(on))
        return _changed(role, "#pause") if on else _changed(role, to="/")  # the start page says what to do now

    @router.post("/leave")
    def leave(_owner: Actor, on: Annotated[str, Form()] = "", sure: Annotated[str, Form()] = "") -> Response:
        if not on:
            role.come_back()
        elif sure or role.rounds.wishes.kept.left:
            role.leave()
        else:
            raise SettingsError(
                "Leaving is for good; nothing was done.",
                next="If you mean it, tick the box and press the button again.",
                slug="not-sure",
            )
        return _changed(role, "#leave")

    @router.post("/forget")
    def forget(_owner: Actor, on: Annotated[str, Form()] = "") -> Response:
        role.forget(on=bool(on))
        return _changed(role, "#leave")

    return router


def _changed(role: DeviceRole, place: str = "", to: str = PRIVACY) -> Response:
    role.pages.notify()
    return RedirectResponse(to + place, status_code=303)


def _number(text: str) -> int:
    plain = text.strip()
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 9):
        raise SettingsError("This is not a whole number, or far too large.", next="Give another.", slug="not-a-number")
    return int(plain)


def _hash(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise NotFound("No such report was sent.") from None
