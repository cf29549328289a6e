"""One picture's page: large, with what is known of it, what the models say, what looks like it, and what comes next."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.device_learning import shown
from fanlight.consoles.device_pictures.asked import Asked, View
from fanlight.consoles.device_pictures.changing import NUMBER_KEYS, change, did
from fanlight.consoles.step_pages import Reader
from fanlight.learning import pictures
from fanlight.services.device.library.records import Beside, State
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.try_it import Tried, TryIt
from fanlight.services.http.owner import Owner, require_owner_post
from fanlight.services.http.threads import in_thread

PICTURE: Final = "/pictures/{sha256}"
MOST_ALIKE: Final = 12
"""Pictures alike that are shown."""
_SHOWN_BY_BROWSERS: Final = frozenset(f"image/{kind}" for kind in ("jpeg", "png", "webp", "gif", "bmp", "avif"))

Actor = Annotated[Owner, Depends(require_owner_post)]
Digest = Annotated[str, Query(pattern=r"^([0-9a-f]{64})?$")]


def picture_router(console: Console, role: DeviceRole) -> APIRouter:
    """A picture's page, what its buttons do, and what the models say of it."""
    router = APIRouter()
    library, trying = role.library, TryIt(role)

    def draw(
        request: Request, owner: Owner, sha256: str, view: Asked, before: str = "", tried: Tried | None = None
    ) -> Response:
        picture = library.picture(sha256)
        path = library.original(sha256)
        return console.page(
            request,
            owner,
            "device_picture.html",
            view=view,
            picture=picture,
            size=path.stat().st_size,
            shown_whole=library.media_type(sha256) in _SHOWN_BY_BROWSERS,
            beside=_beside(role, trying, view, sha256),
            problems=[problem.value for problem in library.problems(sha256)],
            alike=library.alike(sha256)[:MOST_ALIKE],
            alike_count=library.alike_counts().get(sha256),
            classes=library.names,
            number_keys=NUMBER_KEYS,
            said=[] if tried else trying.kept(sha256),
            tried=shown(tried) if tried else None,
            has_model=role.store.held is not None,
            did=did(request, library),
            undoable=library.undoable(),
            waiting=library.counts().states[State.UNLABELLED],
            before=before,
        )

    @router.get(PICTURE)
    def look(request: Request, owner: Reader, sha256: str, view: View, before: Digest = "") -> Response:
        return draw(request, owner, sha256, view, before)

    @router.get(f"{PICTURE}/change")
    @router.get(f"{PICTURE}/ask")
    def back(_owner: Reader, sha256: str, view: View) -> Response:
        return RedirectResponse(view.picture(library.picture(sha256).sha256), status_code=303)

    @router.post(f"{PICTURE}/ask")
    def ask(request: Request, owner: Actor, sha256: str, view: View) -> Response:
        picture = library.picture(sha256)
        tried = trying.look(pictures.read(library.original(sha256)), picture.name)
        return draw(request, owner, sha256, view, tried=tried)

    @router.post(f"{PICTURE}/change")
    async def press(request: Request, _owner: Actor, sha256: str, view: View, before: Digest = "") -> Response:
        form = await request.form()

        def act() -> str:
            library.picture(sha256)
            beside = _beside(role, trying, view, sha256)
            done = change(library, form)
            if done.button == "undo":
                return view.picture(before or sha256, **done.query())
            if _holds(role, trying, view, sha256):
                return view.picture(sha256, **done.query())
            following = beside.next or beside.previous  # it has left the view: on with the next one
            if following is None:
                return view.href(**done.query())
            return view.picture(following, **done.query(), before=sha256)

        return RedirectResponse(await in_thread(act), status_code=303)

    return router


def _beside(role: DeviceRole, trying: TryIt, view: Asked, sha256: str) -> Beside:
    if view.cell is None:
        return role.library.beside(sha256, view.filter)
    ids = _in_cell(trying, view)
    if sha256 not in ids:
        return Beside(None, None, 0, len(ids))
    at = ids.index(sha256)
    return Beside(ids[at - 1] if at else None, ids[at + 1] if at + 1 < len(ids) else None, at + 1, len(ids))


def _holds(role: DeviceRole, trying: TryIt, view: Asked, sha256: str) -> bool:
    return role.library.shows(view.filter, sha256) if view.cell is None else sha256 in _in_cell(trying, view)


def _in_cell(trying: TryIt, view: Asked) -> list[str]:
    assert view.cell is not None
    return trying.taken_for(view.cell.which, view.cell.shows, view.cell.named)
