"""The gallery: filters, what is wrong with pictures, groups that look alike, and the form that takes new ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.device_pictures.asked import PICTURES, Asked, View
from fanlight.consoles.device_pictures.changing import NUMBER_KEYS, change, did
from fanlight.consoles.device_pictures.empty import empty
from fanlight.consoles.device_pictures.result import result_of
from fanlight.consoles.step_pages import Reader
from fanlight.errors import FanlightError
from fanlight.learning.pictures import MAX_FILE_BYTES
from fanlight.services.device.library.adding import MAX_TOTAL_BYTES
from fanlight.services.device.library.library import SUGGEST, Library
from fanlight.services.device.library.records import Added, Filter, Page, Picture, Problem, State
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.status import answering
from fanlight.services.device.upload_form import BY_FOLDER, Upload, uploaded
from fanlight.services.http.owner import Owner, require_owner_post
from fanlight.services.http.problems import status_of, wants_html
from fanlight.services.http.threads import in_thread

ADD: Final = "/pictures/add"
CHANGE: Final = "/pictures/change"
MOST_GROUPS: Final = 40
"""Groups of pictures alike on one page."""
MOST_IN_GROUP: Final = 24
"""Pictures of one of them."""
MOST_NAMED: Final = 20
"""Files that are named for not being taken (for each reason), and folders that name no class."""
ROUND_ABOUT: Final = 2**20
"""Bytes of a form beside its files, at most, where a page sends them: fields, names and boundaries."""

STATES: Final = (
    (State.LABELLED, "Labelled"),
    (State.SUGGESTED, "Suggested"),
    (State.UNLABELLED, "Not labelled"),
    (State.NOT_USABLE, "Not usable"),
    (State.DELETED, "Deleted"),
)

Actor = Annotated[Owner, Depends(require_owner_post)]


@dataclass(frozen=True)
class Chip:
    """A filter: where it leads, what it is called, how many pictures it shows, and whether it is on."""

    href: str
    text: str
    count: int
    on: bool


def gallery_router(console: Console, role: DeviceRole) -> APIRouter:
    """The gallery, and what its buttons do."""
    router = APIRouter()
    library = role.library

    def draw(
        request: Request,
        owner: Owner,
        view: Asked,
        *,
        added: str = "",
        declined: FanlightError | None = None,
    ) -> Response:
        page = console.page(
            request,
            owner,
            "device_pictures.html",
            **_context(role, view),
            did=did(request, library),
            result=result_of(library, added),
            declined=declined,
        )
        page.status_code = status_of(declined) if declined else 200
        return page

    @router.get(PICTURES)
    def gallery(
        request: Request, owner: Reader, view: View, added: Annotated[str, Query(max_length=100)] = ""
    ) -> Response:
        return draw(request, owner, view, added=added)

    @router.get(ADD)
    @router.get(CHANGE)
    def back(_owner: Reader) -> Response:
        return RedirectResponse(PICTURES, status_code=303)

    @router.post(ADD)
    async def add(request: Request, upload: Annotated[Upload, Depends(uploaded)], _owner: Actor) -> Response:
        try:
            now = await in_thread(upload.take_in, library)
        finally:
            await upload.form.close()
        name, added = library.uploads.note(upload.name, now)
        show = f"{_where(upload.label, added).href(added=name)}#added"
        if wants_html(request):
            return RedirectResponse(show, status_code=303)
        return JSONResponse({"upload": name, "count": added.count, "show": show}, status_code=201)

    @router.post(CHANGE)
    async def press(request: Request, owner: Actor, view: View) -> Response:
        form = await request.form()
        try:
            done = await in_thread(change, library, form)
        except FanlightError as error:
            if form.get("do") != "propose" or not wants_html(request):
                raise
            return await in_thread(draw, request, owner, view, declined=error)  # beside the form that it is of
        return RedirectResponse(f"{view.href(**done.query())}#told", status_code=303)

    return router


def _where(label: str, added: Added) -> Asked:
    """The view that shows what was put in."""
    if not (added.count or added.given):
        return Asked(Filter())
    if label and label != BY_FOLDER:
        return Asked(Filter(State.LABELLED, label))
    return Asked(Filter() if added.labels or added.given else Filter(State.UNLABELLED))


def _context(role: DeviceRole, view: Asked) -> dict[str, Any]:
    library, wanted = role.library, view.filter
    groups = library.duplicates() if wanted.problem == Problem.DUPLICATES else None
    shown = [group[:MOST_IN_GROUP] for group in groups[:MOST_GROUPS]] if groups is not None else None
    page = _page(library, view) if groups is None or shown is None else _ungrouped(shown, groups)
    counts = library.counts()
    classes, names = library.classes, library.names
    held, reading = role.store.held, library.reading_job
    answers = answering(role)
    version = held.version if held else None
    kept = sum(count for state, count in counts.states.items() if state != State.DELETED)
    return {
        "view": view,
        "page": page,
        "groups": shown,
        "alike_counts": library.alike_counts() if groups is None else {},
        "classes": classes,
        "names": names,
        "own": frozenset(own.name for own in library.own.all),
        "by_folder": BY_FOLDER,
        "upload": library.uploads.new_name(),
        "most_bytes": MAX_TOTAL_BYTES - ROUND_ABOUT,
        "most_picture_bytes": MAX_FILE_BYTES,
        "number_keys": NUMBER_KEYS,
        "most_named": MOST_NAMED,
        "nothing": not kept and not counts.states[State.DELETED],
        "none_left": not kept,
        "empty": empty(wanted, counts, version=version, reading=reading is not None),
        "undoable": library.undoable(),
        "none_labelled": not counts.states[State.LABELLED],
        "states": [
            Chip(PICTURES, "All", kept, wanted == Filter()),
            *(
                Chip(Asked(Filter(state)).href(), text, counts.states[state], wanted == Filter(state))
                for state, text in STATES
            ),
        ],
        "labels": [
            Chip(
                Asked(Filter(State.LABELLED, name)).href(),
                name,
                counts.labels.get(name, 0) + counts.own.get(name, 0),
                wanted.label == name and wanted.state in (None, State.LABELLED),
            )
            for name in dict.fromkeys((*names, *counts.labels))
        ],
        "warnings": [
            (finding, Asked(finding.filter).href() if finding.filter else None) for finding in library.warnings()
        ],
        "unreadable": library.unreadable()[:MOST_NAMED],
        "waiting": counts.states[State.UNLABELLED],
        "deleted": counts.states[State.DELETED],
        "model_version": version,
        "own_model": answers and answers.own,
        "outdated": library.outdated_suggestions() if answers else 0,
        "job": reading or role.jobs.latest(SUGGEST),
    }


def _page(library: Library, view: Asked) -> Page:
    page = library.page(view.filter, view.page)
    if view.filter != Filter(State.SUGGESTED):
        return page
    return Page(tuple(library.suggestions()), 1, page.total, 1)  # least sure first; the next ones move up


def _ungrouped(shown: Sequence[Sequence[Picture]], groups: Sequence[Sequence[Picture]]) -> Page:
    return Page(tuple(picture for group in shown for picture in group), 1, sum(map(len, groups)), 1)
