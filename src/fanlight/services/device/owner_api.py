"""The owner's routes: the three steps, and what the device knows of itself.  Pages are the consoles' business."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from fanlight.services.device import status
from fanlight.services.device.library_api import library_router
from fanlight.services.device.own_api import own_router
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.wishes_api import wishes_router
from fanlight.services.http.job_routes import accepted, jobs_router
from fanlight.services.http.jobs import Job
from fanlight.services.http.owner import Owner, require_owner, require_owner_post
from fanlight.services.http.threads import in_thread

Reader = Annotated[Owner, Depends(require_owner)]
Actor = Annotated[Owner, Depends(require_owner_post)]


def owner_router(role: DeviceRole) -> APIRouter:
    """All of the owner's routes but the pages."""
    router = APIRouter()

    async def step(request: Request, start: Callable[[], Job]) -> Response:
        def begin() -> Job:
            role.agent.refresh()
            return start()

        return accepted(request, await in_thread(begin))

    @router.post("/modeltrain")
    async def train(request: Request, _owner: Actor) -> Response:
        return await step(request, role.steps.train)

    @router.post("/sendstatus")
    async def announce(request: Request, _owner: Actor) -> Response:
        return await step(request, role.steps.announce)

    @router.post("/sendmodel")
    async def send(request: Request, _owner: Actor) -> Response:
        return await step(request, role.steps.send)

    router.include_router(_reading(role))
    router.include_router(library_router(role.library))
    router.include_router(own_router(role))
    router.include_router(wishes_router(role))
    router.include_router(jobs_router(role.jobs))
    return router


def _reading(role: DeviceRole) -> APIRouter:
    router = APIRouter(prefix="/api/v1")

    @router.get("/status")
    def show_status(_owner: Reader) -> dict[str, Any]:
        return status.status(role)

    @router.get("/learning")
    def show_learning(_owner: Reader) -> dict[str, Any]:
        return status.learning(role)

    @router.get("/sent")
    def show_sent(_owner: Reader) -> dict[str, Any]:
        return status.sent(role)

    @router.get("/refusals")
    def show_refusals(_owner: Reader) -> dict[str, Any]:
        return status.refusals(role)

    @router.post("/equivocation")
    def acknowledge_equivocation(_owner: Actor) -> dict[str, Any]:
        role.acknowledge_equivocation()
        return status.status(role)

    @router.post("/key")
    def renew_key(_owner: Actor) -> dict[str, str]:
        role.membership.renew_key()
        return {"device": role.identity.device.device.hex()}

    return router
