"""The secure aggregator's pages."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from fanlight.consoles.console import Console
from fanlight.consoles.events import events_router
from fanlight.consoles.step_pages import Reader, Shown, step_router
from fanlight.consoles.the_round import titled
from fanlight.protocol.aggregator_round import State
from fanlight.protocol.device import needs_training
from fanlight.services.aggregator import guide
from fanlight.services.aggregator.app import AggregatorParts
from fanlight.services.aggregator.glimpse import glimpse
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.aggregator.step_jobs import AGGREGATE, RELEASE
from fanlight.services.http.paging import PageNumber
from fanlight.services.server.log_api import LOG_FILE

STEPS: Final = titled("aggregator", AGGREGATE, RELEASE)
PAGES: Final = (("/rounds", "Rounds"), ("/log", "Log"))
LAST_ROUNDS: Final = 5


def install(app: FastAPI, parts: AggregatorParts) -> None:
    """Put the pages on the application."""
    console = Console("aggregator", (*STEPS, *PAGES))
    app.include_router(pages(console, parts))
    app.include_router(events_router(parts.service.pages))
    console.install(app)


def pages(console: Console, parts: AggregatorParts) -> APIRouter:
    """The start page, with what this server can and cannot see; its two steps, its rounds, its log."""
    service, steps = parts.service, parts.steps
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def start(request: Request, owner: Reader) -> Response:
        found = parts.records.rounds(size=LAST_ROUNDS)
        status, views = service.status(), steps.views()
        return console.page(
            request,
            owner,
            "aggregator.html",
            status=status,
            incidents=service.incidents(),
            demo=is_demo(service),
            steps=views,
            now=guide.now(status, views),
            glimpse=glimpse(service.files),
            found=found,
            drawn=_drawn(found["rounds"]),
            last_sum=_last_sum(found["rounds"]),
        )

    @router.get("/rounds")
    def rounds(request: Request, owner: Reader, page: PageNumber = 1) -> Response:
        return console.page(request, owner, "aggregator_rounds.html", found=parts.records.rounds(page))

    @router.get("/log")
    def log(request: Request, owner: Reader, page: PageNumber = 1, *, again: bool = False) -> Response:
        return console.page(
            request, owner, "log.html", log=parts.records.log.page(page, again=again), log_file=LOG_FILE
        )

    def read() -> Shown:
        views = steps.views()
        return Shown(views, is_demo(service), now=guide.now(service.status(), views))

    router.include_router(step_router(console, [route for route, _label in STEPS], read))
    return router


def _drawn(rounds: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The newest round of training: its numbers are in the drawing, not those of one that only measured."""
    return next((line for line in rounds if needs_training(line["kind"])), None)


def _last_sum(rounds: list[dict[str, Any]]) -> int | None:
    """Over how many devices the newest sum of training was that has been released."""
    sums = (line["accepted"] for line in rounds if needs_training(line["kind"]) and line["state"] == State.FINISHED)
    return next(sums, None)


def is_demo(service: AggregatorService) -> bool:
    """Is the newest round a demonstration's?  This server learns it from the manifest only."""
    stored = service.rounds.latest()
    return stored is not None and stored.record.terms.proposal.demo
