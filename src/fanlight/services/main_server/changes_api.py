"""The owner's JSON API of what can be changed: policy, algorithm, variants, class weights, current version, notes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends

from fanlight.services.http.owner import require_owner, require_owner_post
from fanlight.services.main_server import class_proposals
from fanlight.services.main_server.service import MainService
from fanlight.services.server.digits_in_paths import device_in_path
from fanlight.services.server.numbers_in_paths import Which

Text = Annotated[str, Body(embed=True)]
Flag = Annotated[bool, Body(embed=True)]
CHANGE = [Depends(require_owner_post)]


def changes_router(service: MainService) -> APIRouter:
    """Routes that change something; the owner only."""
    router = APIRouter()

    router.include_router(_rules(service))

    @router.post("/api/v1/models/{version}/current", dependencies=CHANGE)
    def make_current(version: Which, abandon: Flag = False) -> dict[str, Any]:
        return {"version": version, "current": service.make_current(version, abandon=abandon)}

    @router.put("/api/v1/models/{version}/note", dependencies=CHANGE)
    def note(version: Which, text: Text) -> dict[str, Any]:
        service.promotion.write_note(version, text)
        return {"version": version, "note": text.strip()}

    @router.delete("/api/v1/class-proposals", status_code=204, dependencies=CHANGE)
    def dismiss(name: str) -> None:
        with service.database.transaction() as tx:
            class_proposals.dismiss(tx, name)

    @router.post("/api/v1/devices/{device}/readmit", status_code=204, dependencies=CHANGE)
    def readmit(device: str) -> None:
        service.readmit(device_in_path(device))

    router.include_router(_learning_routes(service))
    return router


def _learning_routes(service: MainService) -> APIRouter:
    """By what the task learns, and the sums that its head is solved from."""
    router = APIRouter()

    @router.get("/api/v1/learns-by", dependencies=[Depends(require_owner)])
    def learns_by() -> dict[str, Any]:
        with service.database.reading() as tx:
            waiting = service.line.waiting(tx)
        now = {"head": service.task.head, "backbone": service.task.backbone}
        return now | {"next": waiting._asdict() if waiting else None}

    @router.put("/api/v1/learns-by", status_code=202, dependencies=CHANGE)
    def change_line(head: Text, backbone: Text) -> dict[str, Any]:
        service.change_line(head, backbone)
        return learns_by()

    @router.post("/api/v1/statistics/anew", status_code=204, dependencies=CHANGE)
    def collect_anew() -> None:
        service.collect_anew()

    @router.post("/api/v1/statistics/changes", status_code=204, dependencies=CHANGE)
    def take_changes() -> None:
        service.take_changes()

    return router


def _rules(service: MainService) -> APIRouter:
    """How devices learn, and by which rules rounds run."""
    router = APIRouter()

    @router.get("/api/v1/policy", dependencies=[Depends(require_owner)])
    def policy() -> dict[str, Any]:
        return service.task.policy.model_dump()

    @router.put("/api/v1/policy", dependencies=CHANGE)
    def change_policy(changes: dict[str, Any]) -> dict[str, Any]:
        return service.change_policy(**changes).policy.model_dump()

    @router.get("/api/v1/algorithm", dependencies=[Depends(require_owner)])
    def algorithm() -> dict[str, Any]:
        return service.task.algorithm.as_json()

    @router.put("/api/v1/algorithm", dependencies=CHANGE)
    def change_algorithm(choice: dict[str, Any]) -> dict[str, Any]:
        return service.change_algorithm(**choice).algorithm.as_json()

    @router.get("/api/v1/augmentation", dependencies=[Depends(require_owner)])
    def augmentation() -> dict[str, Any]:
        return service.task.augmentation.model_dump()

    @router.put("/api/v1/augmentation", dependencies=CHANGE)
    def change_augmentation(choice: dict[str, Any]) -> dict[str, Any]:
        return service.change_augmentation(**choice).augmentation.model_dump()

    @router.get("/api/v1/class-weights", dependencies=[Depends(require_owner)])
    def class_weights() -> dict[str, Any]:
        return service.task.training.weights.model_dump()

    @router.put("/api/v1/class-weights", dependencies=CHANGE)
    def change_class_weights(choice: dict[str, Any]) -> dict[str, Any]:
        return service.change_class_weights(**choice).training.weights.model_dump()

    return router
