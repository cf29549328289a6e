"""What the forms of the main server's pages change, beside the numbers of the policy.

Plain forms that lead back to their page; each does what the owner's JSON API does.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form
from starlette.responses import RedirectResponse, Response

from fanlight.services.http.owner import require_owner_post
from fanlight.services.main_server import class_proposals
from fanlight.services.main_server.service import MainService
from fanlight.services.server.numbers_in_paths import Which


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

    @router.post("/task/by-itself")
    def by_itself(
        on: Annotated[str, Form()] = "", page: Annotated[Literal["/", "/task"], Form()] = "/task"
    ) -> Response:
        if on == "yes":
            service.run_by_itself()
        else:
            service.change_policy(by_itself=False)
        return _to(page)

    @router.post("/task/pause")
    def pause() -> Response:
        service.change_policy(paused=True)
        return _to("/task")

    @router.post("/task/collect-anew")
    def collect_anew() -> Response:
        service.collect_anew()
        return _to("/task")

    @router.post("/task/take-changes")
    def take_changes() -> Response:
        service.take_changes()
        return _to("/task")

    @router.post("/task/proposals/dismiss")
    def dismiss(name: Annotated[str, Form()]) -> Response:
        with service.database.transaction() as tx:
            class_proposals.dismiss(tx, name)
        return _to("/task")

    return router


def _to(page: str) -> Response:
    return RedirectResponse(page, status_code=303)
