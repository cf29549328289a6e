"""What the forms of the main server's pages change: the policy, the current version, notes.

Plain forms that lead back to their page; each does what the owner's JSON API does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Form
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.errors import SettingsError
from fanlight.services.http.owner import require_owner_post
from fanlight.services.main_server import class_proposals
from fanlight.services.main_server.numbers_in_paths import Which
from fanlight.services.main_server.service import MainService

NUMBERS: Final[Mapping[str, tuple[str, str]]] = {
    "rounds": ("Training rounds to run by themselves", "0 = no end"),
    "k_min": ("Fewest devices in a sum", "devices refuse fewer than five unless told otherwise"),
    "n_max": ("Most devices in a sum", "more devices make each number a little coarser"),
    "r_max_percent": ("Largest share of rejected reports, percent", "with more, the round is abandoned"),
    "window_s": ("Seconds a round stays open", "0 = 10 minutes by itself, 7 days by hand"),
    "wait_s": ("Seconds to wait for connected devices", "once enough reports are in"),
    "min_class_supporters": ("Devices that must have pictures of a class", "0 = as many as a sum needs"),
    "cohort_size": ("Devices drawn for a round", "0 = all"),
}
"""Fields of the policy that are numbers: what they are called, and a hint."""


def change_pages(service: MainService) -> APIRouter:
    """The targets of the forms."""
    router = APIRouter(include_in_schema=False, dependencies=[Depends(require_owner_post)])

    @router.post("/models/{version}/current")
    def make_current(version: Which, abandon: Annotated[str, Form()] = "") -> Response:
        service.make_current(version, abandon=bool(abandon))
        return _to(f"/models/{version}")

    @router.post("/models/{version}/note")
    def note(version: Which, text: Annotated[str, Form()] = "") -> Response:
        service.promotion.write_note(version, text)
        return _to(f"/models/{version}")

    @router.post("/task/policy")
    async def policy(request: Request) -> Response:
        form = await request.form()
        changes = {name: _number(name, str(form[name])) for name in NUMBERS if name in form}
        await run_in_threadpool(lambda: service.change_policy(**changes))
        return _to("/task")

    @router.post("/task/by-itself")
    def by_itself(on: Annotated[str, Form()] = "") -> Response:
        changes: dict[str, Any] = {"by_itself": on == "yes"}
        service.change_policy(**changes)
        return _to("/task")

    @router.post("/task/proposals/dismiss")
    def dismiss(name: Annotated[str, Form()]) -> Response:
        with service.database.transaction() as tx:
            class_proposals.dismiss(tx, name)
        return _to("/task")

    return router


def _number(name: str, given: str) -> int:
    try:
        return int(given)
    except ValueError as error:
        raise SettingsError(
            f"{NUMBERS[name][0]}: {given[:40]!r} is no whole number.", next="Go back and correct it."
        ) from error


def _to(page: str) -> Response:
    return RedirectResponse(page, status_code=303)
