"""The owner's JSON API and the step routes of the main server."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from fanlight.learning.export import to_onnx
from fanlight.learning.model_file import decode
from fanlight.services.http.content import content_response
from fanlight.services.http.job_routes import accepted, jobs_router
from fanlight.services.http.owner import require_owner, require_owner_post
from fanlight.services.main_server.conductor import Conductor
from fanlight.services.main_server.overview import AGGREGATE, PUBLISH, Overview
from fanlight.services.main_server.records import Records
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.step_jobs import Steps
from fanlight.services.server.numbers_in_paths import Which

READ = [Depends(require_owner)]
CHANGE = [Depends(require_owner_post)]


def owner_router(
    service: MainService, conductor: Conductor, overview: Overview, records: Records, steps: Steps
) -> APIRouter:
    """Everything the owner may ask and do."""
    router = APIRouter()
    router.include_router(jobs_router(service.jobs))
    router.include_router(_overview_routes(overview))

    @router.get("/api/v1/models/{version}/file", dependencies=READ)
    def model_file(request: Request, version: Which) -> Response:
        with service.database.reading() as tx:
            content, sha256 = service.models.file_of(tx, version), service.models.version(tx, version).sha256
        return content_response(request, content, sha256, f"fanlight-model-{version}.safetensors")

    @router.get("/api/v1/models/{version}/onnx", dependencies=READ)
    def onnx_file(request: Request, version: Which) -> Response:
        with service.database.reading() as tx:
            model = decode(service.models.file_of(tx, version))
        backbone = service.backbones.compiled(model.backbone_id, model.backbone_sha256, model.weight.shape[0])
        content = to_onnx(model, backbone)
        return content_response(request, content, sha256(content).digest(), f"fanlight-model-{version}.onnx")

    @router.post("/api/v1/measure", dependencies=CHANGE)
    def measure(request: Request) -> Response:
        return accepted(request, steps.measure())

    @router.post("/api/v1/rounds/{number}/abandon", status_code=202, dependencies=CHANGE)
    def abandon(number: Which) -> dict[str, Any]:
        conductor.abandon(number)
        return records.round(number)

    @router.post("/api/v1/go-on", dependencies=CHANGE)
    def go_on() -> dict[str, Any]:
        conductor.go_on()
        return overview.status()

    @router.post(AGGREGATE, dependencies=CHANGE)
    def aggregate(request: Request) -> Response:
        return accepted(request, steps.aggregate())

    @router.post(PUBLISH, dependencies=CHANGE)
    def publish(request: Request) -> Response:
        return accepted(request, steps.publish())

    return router


def _overview_routes(overview: Overview) -> APIRouter:
    """What there is to see."""
    router = APIRouter()

    @router.get("/api/v1/status", dependencies=READ)
    def status() -> dict[str, Any]:
        return overview.status()

    @router.get("/api/v1/rounds/{number}/timeline", dependencies=READ)
    def timeline(number: Which) -> dict[str, Any] | None:
        return overview.timeline(number)

    @router.get("/api/v1/incidents", dependencies=READ)
    def incidents() -> dict[str, Any]:
        return {"incidents": overview.incidents()}

    @router.get("/api/v1/devices", dependencies=READ)
    def devices() -> dict[str, Any]:
        return {"devices": overview.devices()}

    return router
