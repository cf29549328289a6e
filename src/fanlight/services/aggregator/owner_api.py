"""The owner's JSON API and the step routes of the aggregator."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from fanlight.services.aggregator.records import Records
from fanlight.services.aggregator.service import AggregatorService, round_json
from fanlight.services.aggregator.step_jobs import AGGREGATE, RELEASE, Steps
from fanlight.services.http.job_routes import accepted, jobs_router
from fanlight.services.http.owner import require_owner, require_owner_post
from fanlight.services.http.paging import PageNumber
from fanlight.services.server.numbers_in_paths import Which

READ = [Depends(require_owner)]
CHANGE = [Depends(require_owner_post)]


def owner_router(service: AggregatorService, steps: Steps, records: Records) -> APIRouter:
    """Everything the owner may ask and do."""
    router = APIRouter()
    router.include_router(jobs_router(service.jobs))

    @router.get("/api/v1/status", dependencies=READ)
    def status() -> dict[str, Any]:
        return service.status()

    @router.get("/api/v1/rounds", dependencies=READ)
    def rounds() -> dict[str, Any]:
        return {"rounds": records.all()}

    @router.get("/api/v1/rounds/held", dependencies=READ)
    def held(page: PageNumber = 1) -> dict[str, Any]:
        return records.rounds(page)

    @router.get("/api/v1/rounds/{number}/reports", dependencies=READ)
    def reports(number: Which) -> dict[str, Any]:
        return records.reports(number)

    @router.post("/api/v1/abandon", status_code=202, dependencies=CHANGE)
    def abandon() -> dict[str, Any]:
        return round_json(service.abandon_round("abandoned-by-operator"))

    @router.post(AGGREGATE, dependencies=CHANGE)
    def aggregate(request: Request) -> Response:
        return accepted(request, steps.aggregate())

    @router.post(RELEASE, dependencies=CHANGE)
    def release(request: Request) -> Response:
        return accepted(request, steps.release())

    return router
