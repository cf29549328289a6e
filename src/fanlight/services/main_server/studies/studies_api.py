"""The owner's JSON API of studies: list, start, look, stop, go on, remove; and the files of a run."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import FileResponse, JSONResponse, Response

from fanlight.errors import NotFound
from fanlight.services.http.headers import closed_document
from fanlight.services.http.owner import require_owner, require_owner_post
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.studies.fleet import like_the_fleet, measured
from fanlight.services.main_server.studies.folder import REPORT, RESULT, STUDY, StudyFolder
from fanlight.services.main_server.studies.permitted import permitted
from fanlight.services.main_server.studies.studies import Studies
from fanlight.services.server.numbers_in_paths import Which

READ = [Depends(require_owner)]
CHANGE = [Depends(require_owner_post)]
STUDIES: Final = "/api/v1/studies"
ONE: Final = STUDIES + "/{study}"
FILES: Final = {
    RESULT: ("result", "application/json"),
    STUDY: ("study", "text/plain; charset=utf-8"),
}
"""What can be saved: by file, under which address, as what."""


def studies_router(service: MainService, studies: Studies) -> APIRouter:
    """All of them."""
    router = APIRouter()

    @router.get(STUDIES, dependencies=READ)
    def listed() -> dict[str, Any]:
        runs = [run.as_json() for run in studies.all()]
        return {"studies": runs, "like_the_fleet": like_the_fleet(service), "fleet": measured(service)}

    @router.post(STUDIES, dependencies=CHANGE)
    def start(asked: dict[str, Any]) -> Response:
        made = studies.start(permitted(asked))
        url = f"{STUDIES}/{made.number}"
        return JSONResponse(made.as_json(), status_code=201, headers={"Location": url})

    @router.get(ONE, dependencies=READ)
    def one(study: Which) -> dict[str, Any]:
        run = studies.one(study)
        return run.as_json() | {"rounds": [vars(line) for line in run.lines]}

    @router.post(ONE + "/stop", dependencies=CHANGE)
    def stop(study: Which) -> dict[str, Any]:
        return studies.stop(study).as_json()

    @router.post(ONE + "/go-on", dependencies=CHANGE)
    def go_on(study: Which) -> dict[str, Any]:
        return studies.go_on(study).as_json()

    @router.delete(ONE, dependencies=CHANGE, status_code=204)
    def remove(study: Which) -> None:
        studies.remove(study)

    for name, (address, kind) in FILES.items():
        _file(router, studies, name, address, kind)

    @router.get(ONE + "/report", dependencies=READ)
    def report(study: Which) -> Response:
        from fanlight.simulation.report import STYLE

        headers = {"Content-Security-Policy": closed_document(STYLE)}
        return FileResponse(_there(studies.one(study), REPORT), media_type="text/html; charset=utf-8", headers=headers)

    return router


def _file(router: APIRouter, studies: Studies, name: str, address: str, kind: str) -> None:
    @router.get(f"{ONE}/{address}", dependencies=READ)
    def download(study: Which) -> Response:
        run = studies.one(study)
        return FileResponse(_there(run, name), media_type=kind, filename=f"fanlight-study-{run.number}-{name}")


def _there(run: StudyFolder, name: str) -> str:
    found = run.file(name)
    if found is None:
        raise NotFound(f"Study {run.number} has no {name} yet.", next="Wait until it is finished.")
    return str(found)
