"""The main server's pages."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.events import events_router
from fanlight.consoles.main_server_pages import MOST_CELLS, PAGES, record_pages
from fanlight.consoles.step_pages import Reader, step_router
from fanlight.services.http.owner import Owner, require_owner_post
from fanlight.services.http.steps import StepView
from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.overview import AGGREGATE, PUBLISH

STEPS: Final = ((AGGREGATE, "Aggregate"), (PUBLISH, "Publish"))
LINKS: Final = (*STEPS, *PAGES)
NEWEST: Final = 50
"""Rows of a table on the start page; the JSON API has them all."""


def install(app: FastAPI, parts: MainServerParts) -> None:
    """Put the pages on the application."""
    console = Console("main", LINKS)
    app.include_router(pages(console, parts))
    app.include_router(record_pages(console, parts))
    app.include_router(events_router(parts.service.pages))
    console.install(app)


def pages(console: Console, parts: MainServerParts) -> APIRouter:
    """The start page, the pages of the steps, and the "Measure" button."""
    overview = parts.overview
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def start(request: Request, owner: Reader) -> Response:
        status, rounds = overview.status(), overview.rounds()
        return console.page(
            request,
            owner,
            "main_server.html",
            status=status,
            demo=status["demo"],
            steps=overview.steps(),
            rounds=rounds["rounds"][::-1],
            models=overview.models()[::-1],
            devices=overview.devices(),
            figures=overview.figures(),
            incidents=overview.incidents(),
            newest=NEWEST,
            most_cells=MOST_CELLS,
        )

    @router.post("/measure")
    def measure(_owner: Annotated[Owner, Depends(require_owner_post)]) -> Response:
        parts.steps.measure()
        return RedirectResponse("/", status_code=303)

    def read() -> tuple[list[StepView], bool]:
        return overview.steps(), parts.service.task.policy.demo

    router.include_router(step_router(console, [route for route, _label in STEPS], read))
    return router
