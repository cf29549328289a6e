"""The secure aggregator's pages."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from fanlight.consoles.console import Console
from fanlight.consoles.events import events_router
from fanlight.consoles.step_pages import Reader, step_router
from fanlight.services.aggregator.app import AggregatorParts
from fanlight.services.aggregator.glimpse import glimpse
from fanlight.services.aggregator.service import AggregatorService, round_json
from fanlight.services.aggregator.step_jobs import AGGREGATE, RELEASE
from fanlight.services.http.steps import StepView

LINKS: Final = ((AGGREGATE, "Aggregate"), (RELEASE, "Release"))
NEWEST: Final = 50
"""Rows of a table on the start page; the JSON API has them all."""


def install(app: FastAPI, parts: AggregatorParts) -> None:
    """Put the pages on the application."""
    console = Console("aggregator", LINKS)
    app.include_router(pages(console, parts))
    app.include_router(events_router(parts.service.pages))
    console.install(app)


def pages(console: Console, parts: AggregatorParts) -> APIRouter:
    """The start page, with what this server can and cannot see, and the pages of its two steps."""
    service, steps = parts.service, parts.steps
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def start(request: Request, owner: Reader) -> Response:
        return console.page(
            request,
            owner,
            "aggregator.html",
            status=service.status(),
            incidents=service.incidents(),
            demo=is_demo(service),
            steps=steps.views(),
            glimpse=glimpse(service.files),
            rounds=[round_json(stored) for stored in service.rounds.newest(NEWEST)],
            total=service.rounds.total(),
            newest=NEWEST,
        )

    def read() -> tuple[list[StepView], bool]:
        return steps.views(), is_demo(service)

    router.include_router(step_router(console, [route for route, _label in LINKS], read))
    return router


def is_demo(service: AggregatorService) -> bool:
    """Is the newest round a demonstration's?  This server learns it from the manifest only."""
    stored = service.rounds.latest()
    return stored is not None and stored.record.terms.proposal.demo
