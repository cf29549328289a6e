"""Other people's work that pages load: unmodified release files in ``static/vendor``, listed with their licences.

``vendor.json`` is the list; a test holds every file to its SHA-256 there, so nothing is changed or slipped in unseen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Protocol

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from fanlight.services.http.owner import Owner, require_owner

VENDOR_FOLDER: Final = Path(__file__).parent / "static" / "vendor"
LIBRARIES_PATH: Final = "/libraries"


@dataclass(frozen=True)
class Library:
    """One library as it was released.

    Attributes:
        name, version, licence: as its authors say; the licence by its SPDX name.
        source: the package that the files are from.
        purpose: what pages use it for.
        files: path below ``static/vendor`` to SHA-256, the licence's text among them.
        licence_text: that text.
    """

    name: str
    version: str
    licence: str
    source: str
    purpose: str
    files: dict[str, str]
    licence_text: str


class Draws(Protocol):
    """What a console can do for this page."""

    def page(self, request: Request, owner: Owner, template: str, **context: object) -> Response:
        """Draw a template."""


@cache
def libraries() -> tuple[Library, ...]:
    """All of them, in the order of the list."""
    listed = json.loads((VENDOR_FOLDER / "vendor.json").read_text("utf-8"))["libraries"]
    return tuple(
        Library(
            name=entry["name"],
            version=entry["version"],
            licence=entry["licence"],
            source=entry["source"],
            purpose=entry["purpose"],
            files=entry["files"],
            licence_text=(VENDOR_FOLDER / entry["licence_file"]).read_text("utf-8"),
        )
        for entry in listed
    )


def libraries_router(console: Draws) -> APIRouter:
    """The page that lists them; every role has it."""
    router = APIRouter(include_in_schema=False)

    @router.get(LIBRARIES_PATH)
    def show(request: Request, owner: Annotated[Owner, Depends(require_owner)]) -> Response:
        return console.page(request, owner, "libraries.html", libraries=libraries())

    return router
