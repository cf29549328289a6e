"""The owner's routes to the pictures.  Uploads are bounded before a byte is read; ids are SHA-256 in hexadecimal."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from fanlight.errors import MalformedMessage
from fanlight.services.device.library import Filter, Library, Picture, Problem, State
from fanlight.services.device.library.actions import ACTIONS, Action
from fanlight.services.device.library.gallery import PAGE_SIZE
from fanlight.services.device.upload_form import Upload, uploaded
from fanlight.services.http.job_routes import accepted
from fanlight.services.http.limits import declared_length, too_large
from fanlight.services.http.owner import Owner, require_owner, require_owner_post
from fanlight.services.http.threads import in_thread

PICTURES = "/api/v1/pictures"
CHANGE_LIMIT_BYTES = 1 << 20
_ASK_FIRST = "private, no-cache"
"""Browsers may keep thumbnails, but ask each time whether the picture is still there."""

Reader = Annotated[Owner, Depends(require_owner)]
Actor = Annotated[Owner, Depends(require_owner_post)]


def at_most(limit: int) -> Callable[[Request], None]:
    """A dependency that refuses longer bodies, to stand before those that read the body."""

    def check(request: Request) -> None:
        length = declared_length(request.headers)
        if length is None:
            raise MalformedMessage("The request does not say how long it is.", next="Send Content-Length.")
        if length > limit:
            raise too_large(limit)

    return check


@dataclass(frozen=True)
class Change:
    """What a request names: pictures, and for some a label."""

    pictures: tuple[str, ...] = ()
    label: str = ""


def library_router(library: Library) -> APIRouter:
    """All of the owner's routes to the pictures but the pages."""
    router = APIRouter()
    router.include_router(_looking(library))
    router.include_router(_changing(library))
    return router


def _looking(library: Library) -> APIRouter:
    router = APIRouter()

    @router.get(PICTURES)
    def show(
        _owner: Reader,
        state: State | None = None,
        label: Annotated[str | None, Query(max_length=255)] = None,
        problem: Problem | None = None,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        size: Annotated[int, Query(ge=1, le=500)] = PAGE_SIZE,
    ) -> dict[str, Any]:
        found = library.page(Filter(state, label, problem), page, size)
        return {**asdict(found), "pictures": [picture_json(picture) for picture in found.pictures]}

    @router.get(f"{PICTURES}/overview")
    def overview(_owner: Reader) -> dict[str, Any]:
        warnings = [asdict(warning) for warning in library.warnings()]
        last = library.undoable()
        undo = asdict(last) if last else None
        return {**asdict(library.counts()), "classes": library.classes, "warnings": warnings, "undo": undo}

    @router.get(f"{PICTURES}/duplicates")
    def duplicates(_owner: Reader) -> dict[str, Any]:
        return {"groups": [[picture_json(picture) for picture in group] for group in library.duplicates()]}

    @router.get(f"{PICTURES}/suggestions")
    def suggestions(_owner: Reader, number: Annotated[int, Query(ge=1, le=500)] = PAGE_SIZE) -> dict[str, Any]:
        return {"pictures": [picture_json(picture) for picture in library.suggestions(number)]}

    @router.get("/pictures/{sha256}/thumbnail")
    def thumbnail(request: Request, sha256: str, _owner: Reader) -> Response:
        path = library.thumbnail(sha256)
        headers = {"Cache-Control": _ASK_FIRST, "ETag": f'"{sha256}"'}  # the address names the content
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return FileResponse(path, media_type="image/webp", headers=headers)

    @router.get("/pictures/{sha256}/original")
    def original(sha256: str, _owner: Reader) -> Response:
        path, kind = library.original(sha256), library.media_type(sha256)
        return FileResponse(path, media_type=kind, headers={"Cache-Control": "no-store"})

    return router


def _changing(library: Library) -> APIRouter:
    router = APIRouter(prefix=PICTURES)
    short = [Depends(at_most(CHANGE_LIMIT_BYTES))]

    @router.post("", status_code=201)
    async def add(upload: Annotated[Upload, Depends(uploaded)], _owner: Actor) -> dict[str, Any]:
        try:
            return asdict(await in_thread(upload.take_in, library))
        finally:
            await upload.form.close()

    def route(action: Action) -> Callable[..., Any]:
        async def change(request: Request, _owner: Actor) -> dict[str, int]:
            given = await read_change(request)
            return {"count": await in_thread(action, library, given.pictures, given.label)}

        return change

    for name, action in ACTIONS.items():
        router.add_api_route(f"/{name}", route(action), methods=["POST"], dependencies=short)

    @router.post("/empty-bin", dependencies=short)
    def empty_bin(_owner: Actor) -> dict[str, int]:
        return {"count": library.empty_bin()}

    @router.post("/undo", dependencies=short)
    def undo(_owner: Actor) -> dict[str, Any]:
        undone = library.undo()
        return {"undone": asdict(undone) if undone else None}

    @router.post("/suggest", dependencies=short)
    def suggest(request: Request, _owner: Actor) -> Response:
        return accepted(request, library.suggest())

    @router.post("/class-proposals", status_code=204, dependencies=short)
    async def propose(request: Request, _owner: Actor) -> None:
        await in_thread(library.propose_class, (await read_change(request)).label)

    return router


async def read_change(request: Request) -> Change:
    """JSON ``{"pictures": [sha256, …], "label": …}``, or form fields of these names.

    Raises:
        MalformedMessage: neither.
    """
    if not request.headers.get("content-type", "").startswith("application/json"):
        form = await request.form()
        label = form.get("label")
        ids = [value for value in form.getlist("pictures") if isinstance(value, str)]
        return Change(tuple(ids), label if isinstance(label, str) else "")
    try:
        given = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise MalformedMessage("The body is not JSON.") from error
    if not isinstance(given, dict):
        raise _malformed()
    named, text = given.get("pictures", []), given.get("label", "")
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named) or not isinstance(text, str):
        raise _malformed()
    return Change(tuple(named), text)


def _malformed() -> MalformedMessage:
    return MalformedMessage('The body is not {"pictures": [sha256, …], "label": name}.')


def picture_json(picture: Picture) -> dict[str, Any]:
    """A picture, with the addresses of its files."""
    base = f"/pictures/{picture.sha256}"
    files = {"thumbnail": f"{base}/thumbnail", "original": f"{base}/original"}
    return {**asdict(picture), "perceptual_hash": picture.perceptual_hash.hex(), **files}
