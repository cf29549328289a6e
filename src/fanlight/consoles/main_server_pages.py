"""The main server's pages beside the start: rounds, models, devices, the task, the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.algorithm_form import COMBINE, NAME, change_algorithm
from fanlight.consoles.augmentation_form import FLIP, change_augmentation
from fanlight.consoles.augmentation_form import NUMBERS as AUGMENTATION_NUMBERS
from fanlight.consoles.class_weights_form import BY, change_class_weights, chosen
from fanlight.consoles.console import Console
from fanlight.consoles.line_form import HEAD, backbone_choice, change_line
from fanlight.consoles.main_server_changes import change_pages
from fanlight.consoles.policy_form import CHOICES, NUMBERS, TEXTS, Filled, change_policy
from fanlight.consoles.step_pages import Reader
from fanlight.services.http.owner import Owner, require_owner_post
from fanlight.services.http.paging import PageNumber
from fanlight.services.http.threads import in_thread
from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.pace import between_polls_s
from fanlight.services.main_server.service import PATIENCE_ROUNDS, MainService
from fanlight.services.server.log_api import LOG_FILE
from fanlight.services.server.numbers_in_paths import Which

PAGES: Final = (
    ("/rounds", "Rounds"),
    ("/models", "Models"),
    ("/devices", "Devices"),
    ("/task", "Task"),
    ("/studies", "Studies"),
    ("/log", "Log"),
)
FORMS: Final[Mapping[str, tuple[str, Callable[[MainService, Mapping[str, str]], Filled]]]] = {
    "form": ("/task/policy", change_policy),
    "algorithm_form": ("/task/algorithm", change_algorithm),
    "augmentation_form": ("/task/augmentation", change_augmentation),
    "weights_form": ("/task/class-weights", change_class_weights),
    "line_form": ("/task/learns-by", change_line),
}
"""Those of the page Task: as its template calls what was typed, where it goes, and what it changes."""
MOST_CELLS: Final = 12
"""Classes up to which a confusion matrix can be read on a page."""
MOST_NAMED: Final = 40
"""Devices of a shard that a page names."""

Changer = Annotated[Owner, Depends(require_owner_post)]
Other = Annotated[Which | None, Query(alias="with")]


def record_pages(console: Console, parts: MainServerParts) -> APIRouter:
    """All of them, and the targets of their forms."""
    router = APIRouter(include_in_schema=False)
    router.include_router(_past(console, parts))
    router.include_router(_present(console, parts))
    router.include_router(change_pages(parts.service))
    return router


def _past(console: Console, parts: MainServerParts) -> APIRouter:
    router, records = APIRouter(), parts.records

    @router.get("/rounds")
    def rounds(request: Request, owner: Reader, page: PageNumber = 1) -> Response:
        return console.page(
            request, owner, "main_rounds.html", found=records.rounds(page), k_min=parts.service.task.policy.k_min
        )

    @router.get("/rounds/{number}")
    def one_round(request: Request, owner: Reader, number: Which) -> Response:
        return console.page(
            request,
            owner,
            "main_round.html",
            round=records.round(number),
            timeline=parts.overview.timeline(number),
            most_named=MOST_NAMED,
            most_cells=MOST_CELLS,
        )

    @router.get("/models")
    def models(request: Request, owner: Reader, page: PageNumber = 1) -> Response:
        return console.page(request, owner, "main_models.html", found=records.models(page))

    @router.get("/models/{version}")
    def one_model(request: Request, owner: Reader, version: Which, other: Other = None) -> Response:
        return console.page(
            request,
            owner,
            "main_model.html",
            model=records.model(version),
            other=None if other is None else records.model(other),
            most_cells=MOST_CELLS,
        )

    @router.get("/models/{version}/current")
    def go_back(request: Request, owner: Reader, version: Which) -> Response:
        return console.page(request, owner, "main_go_back.html", model=records.model(version))

    @router.get("/log")
    def log(request: Request, owner: Reader, page: PageNumber = 1, *, again: bool = False) -> Response:
        return console.page(request, owner, "log.html", log=records.log.page(page, again=again), log_file=LOG_FILE)

    return router


def _present(console: Console, parts: MainServerParts) -> APIRouter:
    router, overview, service = APIRouter(), parts.overview, parts.service

    @router.get("/devices")
    def devices(request: Request, owner: Reader, page: PageNumber = 1) -> Response:
        demo = service.task.policy.demo
        return console.page(request, owner, "main_devices.html", found=overview.devices_page(page), demo=demo)

    def draw_task(request: Request, owner: Owner, **forms: Filled) -> Response:
        status = overview.status()
        with service.database.reading() as tx:
            waiting, versions = service.line.waiting(tx), service.models.count(tx)
        return console.page(
            request,
            owner,
            "main_task.html",
            task=service.task,
            patience=PATIENCE_ROUNDS,
            held=status["held"],
            changes=status["changes"],
            held_back=status["held_back"],
            numbers=NUMBERS,
            choices=CHOICES,
            texts=TEXTS,
            algorithm_name=NAME,
            algorithm_combine=COMBINE,
            augmentation_numbers=AUGMENTATION_NUMBERS,
            augmentation_flip=FLIP,
            weights_by=BY,
            weights_chosen=chosen(service.task.training),
            line_choices=(HEAD, backbone_choice(service.task)),
            line_waiting=waiting,
            line_version=versions,
            proposals=parts.records.class_proposals(),
            pause_s=service.pause_s,
            between_polls_s=between_polls_s(service.pause_s),
            **dict.fromkeys(FORMS, Filled()) | forms,
        )

    @router.get("/task")
    def task(request: Request, owner: Reader) -> Response:
        return draw_task(request, owner)

    def take(name: str, path: str, change: Callable[[MainService, Mapping[str, str]], Filled]) -> None:
        @router.post(path)
        async def typed_in(request: Request, owner: Changer) -> Response:
            return await answer(request, owner, **{name: await in_thread(change, service, await _typed(request))})

    for name, (path, change) in FORMS.items():
        take(name, path, change)

    async def answer(request: Request, owner: Owner, **forms: Filled) -> Response:
        if not any(form.wrong for form in forms.values()):
            return RedirectResponse("/task", status_code=303)
        page = await in_thread(draw_task, request, owner, **forms)
        page.status_code = 400
        return page

    return router


async def _typed(request: Request) -> dict[str, str]:
    return {name: str(value) for name, value in (await request.form()).items()}
