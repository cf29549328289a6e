"""The main server's pages of studies: start one, watch it, compare several with each other and with the live fleet.

What draws and reads studies is loaded with the first of these pages, so that a server starts without the laboratory.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.policy_form import Filled
from fanlight.consoles.step_pages import Reader
from fanlight.services.http.owner import Owner, require_owner_post
from fanlight.services.http.threads import in_thread
from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.studies.fleet import measured
from fanlight.services.main_server.studies.folder import REPORT, RESULT
from fanlight.services.main_server.studies.studies_api import STUDIES as API
from fanlight.services.server.numbers_in_paths import Which

STUDIES: Final = "/studies"
Changer = Annotated[Owner, Depends(require_owner_post)]
Chosen = Annotated[list[Which] | None, Query(max_length=100)]


def study_pages(console: Console, parts: MainServerParts) -> APIRouter:
    """All of them, and the targets of their forms."""
    router = APIRouter(include_in_schema=False)
    router.include_router(_list(console, parts))
    router.include_router(_one(console, parts))
    router.include_router(_buttons(parts))
    return router


def _list(console: Console, parts: MainServerParts) -> APIRouter:
    router, studies, service = APIRouter(), parts.studies, parts.service

    def draw(request: Request, owner: Owner, filled: Filled) -> Response:
        from fanlight.consoles import study_form

        return console.page(
            request,
            owner,
            "main_studies.html",
            runs=[run.as_json() for run in studies.all()],
            bytes=studies.bytes,
            form=filled,
            fields=study_form.FORM,
            shown=study_form.shown(service, filled.typed),
            most_letters=study_form.MOST_OPTIONS_LETTERS,
            fine_tuned=service.task.fine_tune is not None,
        )

    @router.get(STUDIES)
    def listed(request: Request, owner: Reader) -> Response:
        return draw(request, owner, Filled())

    @router.post(STUDIES)
    async def start(request: Request, owner: Changer) -> Response:
        from fanlight.consoles import study_form

        typed = {name: str(value) for name, value in (await request.form()).items()}
        filled, number = await in_thread(study_form.start, service, studies, typed)
        if number:
            return RedirectResponse(f"{STUDIES}/{number}", status_code=303)
        page = await in_thread(draw, request, owner, filled)
        page.status_code = 400
        return page

    @router.get(STUDIES + "/compare")
    def compare(request: Request, owner: Reader, study: Chosen = None, *, fleet: bool = False) -> Response:
        from fanlight.services.main_server.studies.comparing import MOST_COMPARED, side_by_side

        chosen = list(dict.fromkeys(study or []))
        live = measured(service)
        side = side_by_side([studies.one(number) for number in chosen[:MOST_COMPARED]], live if fleet else ())
        return console.page(
            request,
            owner,
            "main_study_compare.html",
            side=side,
            charts=[Markup(drawn) for drawn in side.charts],  # noqa: S704 plots escapes every text
            chosen=chosen,
            left_out=len(chosen[MOST_COMPARED:]),
            live=live,
            fleet=fleet,
        )

    return router


def _one(console: Console, parts: MainServerParts) -> APIRouter:
    router, studies = APIRouter(), parts.studies

    @router.get(STUDIES + "/{study}")
    def one(request: Request, owner: Reader, study: Which) -> Response:
        from fanlight.services.main_server.studies.comparing import curves_of

        run = studies.one(study)
        return console.page(
            request,
            owner,
            "main_study.html",
            run=run.as_json(),
            said=run.said,
            result=run.result,
            api=f"{API}/{run.number}",
            files=[name for name in (REPORT, RESULT) if run.file(name) is not None],
            charts=[Markup(drawn) for drawn in curves_of(run)],  # noqa: S704 plots escapes every text
        )

    return router


def _buttons(parts: MainServerParts) -> APIRouter:
    router, studies = APIRouter(dependencies=[Depends(require_owner_post)]), parts.studies

    @router.post(STUDIES + "/{study}/stop")
    def stop(study: Which) -> Response:
        studies.stop(study)
        return RedirectResponse(f"{STUDIES}/{study}", status_code=303)

    @router.post(STUDIES + "/{study}/go-on")
    def go_on(study: Which) -> Response:
        studies.go_on(study)
        return RedirectResponse(f"{STUDIES}/{study}", status_code=303)

    @router.post(STUDIES + "/{study}/remove")
    def remove(study: Which) -> Response:
        studies.remove(study)
        return RedirectResponse(STUDIES, status_code=303)

    return router
