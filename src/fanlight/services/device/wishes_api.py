"""The owner's routes for what the privacy page changes: floors, pause, leave."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict

from fanlight.services.device.role import DeviceRole
from fanlight.services.http.owner import Owner, require_owner, require_owner_post

Reader = Annotated[Owner, Depends(require_owner)]
Actor = Annotated[Owner, Depends(require_owner_post)]


class GivenFloors(BaseModel):
    """The body of ``PUT /api/v1/floors``; all of them, and nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True)

    k_min: int
    accept_demo: bool
    answers_per_day: int
    r_max_percent: int


class Allowed(BaseModel):
    """The body of ``PUT /api/v1/allowed``: registry ids of backbones and heads; all others are refused."""

    model_config = ConfigDict(extra="forbid", strict=True)

    names: list[str]


class GivenBackbone(BaseModel):
    """The body of ``PUT /api/v1/trusted``: a backbone that this program does not know, and may run."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    sha256: str


class Switch(BaseModel):
    """The body of ``PUT /api/v1/paused``, ``/api/v1/left`` and ``/api/v1/forgotten``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    on: bool


def wishes_router(role: DeviceRole) -> APIRouter:
    """``GET /api/v1/wishes``, and ``PUT`` on what can be changed, which gives all back."""
    router = APIRouter(prefix="/api/v1")
    wishes = role.rounds.wishes

    @router.get("/wishes")
    def show(_owner: Reader) -> dict[str, Any]:
        return wishes.kept.model_dump()

    @router.put("/floors")
    def set_floors(given: GivenFloors, _owner: Actor) -> dict[str, Any]:
        wishes.set_floors(**given.model_dump())
        return wishes.kept.model_dump()

    @router.put("/allowed")
    def allow(given: Allowed, _owner: Actor) -> dict[str, Any]:
        wishes.allow(given.names)
        return wishes.kept.model_dump()

    @router.put("/trusted")
    def trust(given: GivenBackbone, _owner: Actor) -> dict[str, Any]:
        wishes.trust(given.name, given.sha256)
        return wishes.kept.model_dump()

    @router.put("/paused")
    def pause(given: Switch, _owner: Actor) -> dict[str, Any]:
        wishes.pause(given.on)
        return wishes.kept.model_dump()

    @router.put("/left")
    def leave(given: Switch, _owner: Actor) -> dict[str, Any]:
        if given.on:
            role.leave()
        else:
            role.come_back()
        return wishes.kept.model_dump()

    @router.put("/forgotten")
    def forget(given: Switch, _owner: Actor) -> dict[str, Any]:
        role.forget(on=given.on)
        return wishes.kept.model_dump()

    return router
