"""A device's page *Learning*: what its own model knows that the global one does not, what both mix up, and "try it"."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response

from fanlight.consoles.console import Console
from fanlight.consoles.history import milestones
from fanlight.consoles.step_pages import Reader
from fanlight.errors import PictureError
from fanlight.learning.pictures import MAX_FILE_BYTES
from fanlight.services.device import guide
from fanlight.services.device import status as device_status
from fanlight.services.device.arrival import how_good
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.steps import TRAIN
from fanlight.services.device.supply import supply
from fanlight.services.device.try_it import Measured, Tried, TryIt
from fanlight.services.http.limits import FORM_LIMIT_BYTES, declared_length, too_large
from fanlight.services.http.owner import Owner, require_owner, require_owner_post
from fanlight.services.http.threads import in_thread

LEARNING: Final = "/learning"
TRY_IT: Final = "/learning/try"
TAKEN_FOR: Final = "/learning/pictures"
MOST_CELLS: Final = 16
"""Classes up to which a confusion matrix can be read on a page."""
MOST_PAIRS: Final = 12
"""Pairs of classes that are named where there is no matrix."""
NEWEST: Final = 50
"""Rounds in the list; a page of their own has them all."""
CHARTED: Final = 100
"""Rounds of a chart; the JSON API has them all."""
MOST_SHOWN: Final = 120
"""Pictures behind one cell of it that are shown."""


@dataclass(frozen=True)
class ClassFigures:
    """One class here: pictures to learn from and to test with, and what share of the latter each model finds."""

    name: str
    examples: int
    pictures: int
    received: float | None
    own: float | None

    @property
    def change(self) -> float | None:
        """Own minus global, as a fraction."""
        return None if self.own is None or self.received is None else self.own - self.received


@dataclass(frozen=True)
class MixedUp:
    """Test pictures that show one class and were named another: the classes' numbers, and how many."""

    shows: int
    named: int
    pictures: int


def bounded(request: Request, _owner: Annotated[Owner, Depends(require_owner)]) -> None:
    """Before a form with a picture is read: is it of a length that is accepted?

    Raises:
        MessageTooLarge: it is longer than a picture may be, or does not say how long it is.
    """
    limit = MAX_FILE_BYTES + FORM_LIMIT_BYTES
    length = declared_length(request.headers)
    if length is None or length > limit:
        raise too_large(limit)


def learning_router(console: Console, role: DeviceRole) -> APIRouter:
    """The page, the pictures behind a cell of its matrix, and "try it"."""
    router = APIRouter(include_in_schema=False)
    trying = TryIt(role)

    def draw(request: Request, owner: Owner, tried: Tried | None = None, name: str = "") -> Response:
        return console.page(
            request, owner, "device_learning.html", tried=tried and shown(tried), tried_name=name, **_context(role)
        )

    @router.get(LEARNING)
    def learning(request: Request, owner: Reader) -> Response:
        return draw(request, owner)

    @router.get(TRY_IT)
    def not_tried(request: Request, owner: Reader) -> Response:
        return draw(request, owner)

    @router.post(TRY_IT)
    async def try_it(
        request: Request,
        _bounded: Annotated[None, Depends(bounded)],
        owner: Annotated[Owner, Depends(require_owner_post)],
    ) -> Response:
        async with request.form() as form:  # closes its files at the end
            given = form.get("picture")
            if not isinstance(given, UploadFile) or not given.filename:
                raise PictureError(
                    "No picture was chosen.", slug="no-picture", next="Choose one in the form for it, then ask again."
                )
            data, name = await given.read(), given.filename
        tried = await in_thread(trying.look, data, name)
        return await in_thread(draw, request, owner, tried, name)

    @router.get(TAKEN_FOR)
    def pictures(request: Request, owner: Reader, model: Measured, shows: int, named: int) -> Response:
        found = trying.taken_for(model, shows, named)
        classes = trying.measured(model).classes
        return console.page(
            request,
            owner,
            "device_taken_for.html",
            which=model,
            cell=f"{model}-{shows}-{named}",
            truth=classes[shows],
            named=classes[named],
            right=shows == named,
            total=len(found),
            pictures=found[:MOST_SHOWN],
        )

    return router


def shown(tried: Tried) -> dict[str, Any]:
    """What was tried, with its pictures as addresses that hold them."""
    return {
        "picture": data_url(tried.picture),
        "answers": [
            {
                "which": answer.which,
                "version": answer.version,
                "learned": answer.learned,
                "label": answer.label,
                "certainty": answer.certainty,
                "confidence": answer.confidence,
                "scores": answer.scores[:6],
                "heat": data_url(answer.heat) if answer.heat else None,
                "why_no_heat": answer.why_no_heat,
            }
            for answer in tried.answers
        ],
    }


def data_url(jpeg: bytes) -> str:
    """A JPEG inside an address: nothing of it is kept here."""
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"


def class_figures(learning: dict[str, Any]) -> list[ClassFigures]:
    """The task's classes with what each model finds of them."""
    received, own = _by_class(learning["global"]), _by_class(learning["local"])
    examples = (learning["pictures"] or {}).get("train", {})
    return [
        ClassFigures(
            name,
            examples.get(name, 0),
            (own.get(name) or received.get(name) or {"pictures": 0})["pictures"],
            received[name]["recall"] if name in received else None,
            own[name]["recall"] if name in own else None,
        )
        for name in learning["classes"]
    ]


def mixed_up(metrics: dict[str, Any] | None) -> list[MixedUp]:
    """The pairs of classes that a model mixes up most often, at most ``MOST_PAIRS`` of them."""
    confusion = metrics["confusion"] if metrics else []
    pairs = [
        MixedUp(shows, named, pictures)
        for shows, row in enumerate(confusion)
        for named, pictures in enumerate(row)
        if pictures and shows != named
    ]
    return sorted(pairs, key=lambda pair: (-pair.pictures, pair.shows, pair.named))[:MOST_PAIRS]


def _context(role: DeviceRole) -> dict[str, Any]:
    learning = device_status.learning(role, CHARTED)
    received, own = _metrics(learning["global"]), _metrics(learning["local"])
    found = supply(role)
    now, steps = guide.now(role, found)
    return {
        "headline": how_good(role),
        "now": now,
        "steps": steps,
        "learning": learning,
        "received": received,
        "own": own,
        "milestones": milestones(learning),
        "rows": class_figures(learning),
        "mixed_up": {"own": mixed_up(own), "global": mixed_up(received)},
        "most_cells": MOST_CELLS,
        "newest": NEWEST,
        "total": role.store.past.count_rounds(),
        "supply": found,
        "job": role.jobs.latest(TRAIN),
    }


def _metrics(model: dict[str, Any] | None) -> dict[str, Any] | None:
    metrics = model["metrics"] if model else None
    return metrics if metrics and metrics["total"] else None


def _by_class(model: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    metrics = _metrics(model)
    return {line["class"]: line for line in metrics["per_class"]} if metrics else {}
