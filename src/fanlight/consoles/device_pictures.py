"""A device's page *Pictures*: look through them, put new ones in, say what they show, take back what was wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from fanlight.consoles.console import Console
from fanlight.consoles.step_pages import Reader
from fanlight.errors import DataError
from fanlight.services.device.library.adding import MAX_TOTAL_BYTES
from fanlight.services.device.library.library import SUGGEST, Library
from fanlight.services.device.library.records import Added, Filter, Page, Picture, Problem, State
from fanlight.services.device.role import DeviceRole
from fanlight.services.http.limits import declared_length, too_large
from fanlight.services.http.owner import Owner, require_owner, require_owner_post

PICTURES: Final = "/pictures"
ADD: Final = "/pictures/add"
CHANGE: Final = "/pictures/change"
NUMBER_KEYS: Final = 9
"""Classes that have a key of their own, 1 to 9; the others are in a list."""
MOST_GROUPS: Final = 40
"""Groups of pictures alike on one page."""
MOST_REFUSED: Final = 20

STATES: Final = (
    (State.LABELLED, "Labelled"),
    (State.SUGGESTED, "Suggested"),
    (State.UNLABELLED, "Not labelled"),
    (State.NOT_USABLE, "Not usable"),
    (State.DELETED, "Deleted"),
)
_DID: Final = {
    "assign": "labelled",
    "confirm": "confirmed",
    "unusable": "marked as not usable",
    "delete": "deleted",
    "undo": "put back",
    "propose": "proposed",
}


@dataclass(frozen=True)
class Chip:
    """A filter: where it leads, what it is called, how many pictures it shows, and whether it is on."""

    href: str
    text: str
    count: int
    on: bool


@dataclass(frozen=True)
class Asked:
    """Which pictures an address asks for."""

    filter: Filter
    page: int = 1

    def href(self, **changes: object) -> str:
        """The address of this view, or of one that differs from it."""
        shown = {"state": self.filter.state, "label": self.filter.label, "problem": self.filter.problem}
        values = {**shown, "page": self.page if self.page > 1 else None, **changes}
        query = urlencode([(name, str(value)) for name, value in values.items() if value is not None])
        return f"{PICTURES}?{query}" if query else PICTURES


def asked(
    state: State | None = None,
    label: Annotated[str | None, Query(max_length=20_000)] = None,
    problem: Problem | None = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Asked:
    """What the address says."""
    return Asked(Filter(state, label or None, problem), page)


def bounded(request: Request, _owner: Annotated[Owner, Depends(require_owner)]) -> None:
    """Before an upload is read: is it of a length that is accepted?

    Raises:
        MessageTooLarge: it is too long, or does not say how long it is.
    """
    length = declared_length(request.headers)
    if length is None or length > MAX_TOTAL_BYTES:
        raise too_large(MAX_TOTAL_BYTES)


View = Annotated[Asked, Depends(asked)]
Actor = Annotated[Owner, Depends(require_owner_post)]


def pictures_router(console: Console, role: DeviceRole) -> APIRouter:
    """The gallery, and what its buttons do."""
    router = APIRouter(include_in_schema=False)
    library = role.library

    def draw(request: Request, owner: Owner, view: Asked, **more: Any) -> Response:
        return console.page(request, owner, "device_pictures.html", **_context(role, view), **({"added": None} | more))

    @router.get(PICTURES)
    def gallery(request: Request, owner: Reader, view: View) -> Response:
        return draw(request, owner, view, did=_did(request))

    @router.get(ADD)
    @router.get(CHANGE)
    def back(_owner: Reader) -> Response:
        return RedirectResponse(PICTURES, status_code=303)

    @router.post(ADD)
    async def add(request: Request, _bounded: Annotated[None, Depends(bounded)], owner: Actor) -> Response:
        async with request.form() as form:  # closes its files at the end
            added = await run_in_threadpool(_add, library, form)
            label = _text(form, "label") or None
        view = Asked(Filter(State.LABELLED if label else State.UNLABELLED, label))
        return await run_in_threadpool(draw, request, owner, view, added=added, did=None)

    @router.post(CHANGE)
    async def change(request: Request, _owner: Actor, view: View) -> Response:
        kind, count = await run_in_threadpool(_change, library, await request.form())
        return RedirectResponse(view.href(did=kind, count=count), status_code=303)

    return router


def _add(library: Library, form: FormData) -> Added:
    label = _text(form, "label") or None
    files = [file for file in form.getlist("files") if isinstance(file, UploadFile) and file.filename]
    if not files:
        raise DataError("No picture was chosen.", slug="no-picture", next="Go back and choose some.")
    zips = [file for file in files if _name(file).lower().endswith(".zip")]
    plain: list[tuple[str, BinaryIO]] = [(_name(file), file.file) for file in files if file not in zips]
    added = library.add(plain, label) if plain else Added(0)
    for file in zips:
        added += library.add_zip(file.file, label)
    return added


def _change(library: Library, form: FormData) -> tuple[str, int]:
    """Do what the pressed button says: its kind, and how many pictures it concerned."""
    ids = [value for value in form.getlist("picture") if isinstance(value, str)]
    right, label, kind = _text(form, "right"), _text(form, "assign"), _text(form, "do")
    if right:
        return "confirm", library.confirm([right])
    if label:
        return "assign", library.assign(ids, label)

    def suggest() -> int:
        library.suggest()
        return 0

    def propose() -> int:
        library.propose_class(_text(form, "name"))
        return 1

    def undo() -> int:
        undone = library.undo()
        return undone.count if undone else 0

    buttons: dict[str, Callable[[], int]] = {
        "assign": lambda: library.assign(ids, _text(form, "label")),
        "confirm": lambda: library.confirm(ids),
        "unusable": lambda: library.set_unusable(ids),
        "delete": lambda: library.delete(ids),
        "suggest": suggest,
        "propose": propose,
        "undo": undo,
    }
    if kind not in buttons:
        raise DataError("There is no such button.", slug="no-such-button", next="Reload the page.")
    return kind, buttons[kind]()


def _context(role: DeviceRole, view: Asked) -> dict[str, Any]:
    library, wanted = role.library, view.filter
    groups = library.duplicates() if wanted.problem == Problem.DUPLICATES else None
    page = _page(library, view) if groups is None else _ungrouped(groups[:MOST_GROUPS], groups)
    counts = library.counts()
    classes = library.classes
    kept = sum(count for state, count in counts.states.items() if state != State.DELETED)
    return {
        "view": view,
        "page": page,
        "groups": groups[:MOST_GROUPS] if groups is not None else None,
        "classes": classes,
        "number_keys": NUMBER_KEYS,
        "most_refused": MOST_REFUSED,
        "nothing": not kept and not counts.states.get(State.DELETED, 0),
        "states": [
            Chip(PICTURES, "All", kept, wanted == Filter()),
            *(
                Chip(
                    Asked(Filter(state)).href(),
                    text,
                    counts.states.get(state, 0),
                    wanted == Filter(state),
                )
                for state, text in STATES
            ),
        ],
        "labels": [
            Chip(
                Asked(Filter(State.LABELLED, name)).href(),
                name,
                counts.labels.get(name, 0),
                wanted.label == name and wanted.state in (None, State.LABELLED),
            )
            for name in dict.fromkeys((*classes, *counts.labels))
        ],
        "warnings": [
            (finding, Asked(finding.filter).href() if finding.filter else None) for finding in library.warnings()
        ],
        "unreadable": library.unreadable()[:MOST_REFUSED],
        "waiting": counts.states.get(State.UNLABELLED, 0),
        "has_model": role.store.held is not None,
        "job": library.reading_job or role.jobs.latest(SUGGEST),
    }


def _page(library: Library, view: Asked) -> Page:
    page = library.page(view.filter, view.page)
    if view.filter != Filter(State.SUGGESTED):
        return page
    return Page(tuple(library.suggestions()), 1, page.total, 1)  # least sure first; the next ones move up


def _ungrouped(shown: Sequence[Sequence[Picture]], groups: Sequence[Sequence[Picture]]) -> Page:
    return Page(tuple(picture for group in shown for picture in group), 1, sum(map(len, groups)), 1)


def _did(request: Request) -> tuple[str, int] | None:
    """What the last button did, as its redirect says; nothing but these words can come out of an address."""
    kind, count = request.query_params.get("did", ""), request.query_params.get("count", "")
    return (_DID[kind], int(count)) if kind in _DID and count.isascii() and count.isdigit() and len(count) < 9 else None


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""


def _name(file: UploadFile) -> str:
    return file.filename or ""
