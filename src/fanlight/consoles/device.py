"""A device's pages, for its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.device_learning import LEARNING, learning_router
from fanlight.consoles.device_pictures import PICTURES, pictures_router
from fanlight.consoles.events import events_router
from fanlight.consoles.privacy import PRIVACY, privacy_router
from fanlight.consoles.step_pages import Reader, step_router
from fanlight.services.device import status as device_status
from fanlight.services.device.role import DeviceRole
from fanlight.services.http.owner import Owner, require_owner_post
from fanlight.services.http.steps import StepView

STEPS: Final = (("/modeltrain", "Train"), ("/sendstatus", "Announce"), ("/sendmodel", "Send"))
LINKS: Final = ((PICTURES, "Pictures"), (LEARNING, "Learning"), *STEPS, (PRIVACY, "Privacy"))
NEWEST: Final = 50
"""Rows of a table on the start page; the JSON API has them all."""


@dataclass(frozen=True)
class ClassRow:
    """One class on this device: pictures by part, and how well each model finds it (recall, None if unknown)."""

    name: str
    pictures: dict[str, int]
    global_recall: float | None
    local_recall: float | None


def install(app: FastAPI, role: DeviceRole) -> None:
    """Put the pages on the application."""
    console = Console("device", LINKS, role.name)
    app.include_router(pages(console, role))
    app.include_router(learning_router(console, role))
    app.include_router(pictures_router(console, role))
    app.include_router(privacy_router(console, role))
    app.include_router(events_router(role.pages))
    console.install(app)


def pages(console: Console, role: DeviceRole) -> APIRouter:
    """The start page and the pages of the three steps."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def start(request: Request, owner: Reader) -> Response:
        learning = device_status.learning(role)
        status = device_status.status(role)
        return console.page(
            request,
            owner,
            "device.html",
            status=status,
            demo=is_demo(status),
            steps=role.steps.views(),
            learning=learning,
            rows=class_rows(learning),
            sent=device_status.sent(role)["sent"][::-1],
            refusals=device_status.refusals(role)["refusals"],
            newest=NEWEST,
        )

    @router.post("/equivocation")
    def go_on(_owner: Annotated[Owner, Depends(require_owner_post)]) -> Response:
        role.acknowledge_equivocation()
        return RedirectResponse("/", status_code=303)

    def read() -> tuple[list[StepView], bool]:
        return role.steps.views(), is_demo(device_status.status(role))

    router.include_router(step_router(console, [route for route, _label in STEPS], read))
    return router


def is_demo(status: dict[str, Any]) -> bool:
    """Is the open round a demonstration's, or would its owner take part in one?"""
    offered = status["round"]
    return bool(status["floors"]["accept_demo"] if offered is None else offered["demo"])


def class_rows(learning: dict[str, Any]) -> list[ClassRow]:
    """The task's classes with what this device knows of them."""
    received, local = _recalls(learning["global"]), _recalls(learning["local"])
    counts = learning["pictures"] or {}
    return [
        ClassRow(
            name,
            {part: counts.get(part, {}).get(name, 0) for part in ("train", "valid", "test")},
            received.get(name),
            local.get(name),
        )
        for name in learning["classes"]
    ]


def _recalls(model: dict[str, Any] | None) -> dict[str, float | None]:
    metrics = model["metrics"] if model else None
    return {line["class"]: line["recall"] for line in metrics["per_class"]} if metrics else {}
