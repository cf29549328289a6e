"""How jobs answer over HTTP: the 202 (for a browser's form, the 303) that starts one, and where to look after it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fanlight.services.http.jobs import Job, Jobs
from fanlight.services.http.owner import Owner, require_owner
from fanlight.services.http.problems import wants_html

JOBS_PATH = "/api/v1/jobs"


def accepted(request: Request, job: Job) -> Response:
    """The answer to a POST on a step's route: 202 ``{job, status_url}``, or 303 to the step's page for a browser."""
    if wants_html(request):
        return RedirectResponse(request.url.path, status_code=303)
    url = f"{JOBS_PATH}/{job.id}"
    return JSONResponse({"job": job.id, "status_url": url}, status_code=202, headers={"Location": url})


def jobs_router(jobs: Jobs) -> APIRouter:
    """``GET /api/v1/jobs/{id}`` for the owner: ``{id, kind, state, progress: {fraction, text}, result, error}``."""
    router = APIRouter()

    @router.get(f"{JOBS_PATH}/{{job_id}}")
    async def show_job(job_id: str, _owner: Annotated[Owner, Depends(require_owner)]) -> dict[str, Any]:
        return jobs.get(job_id).as_json()

    return router
