"""Draws pages: one console for each process, with its templates, its errors and its login.

Everything that comes from outside reaches a page only through Jinja with autoescaping, as text or as a quoted
attribute; the content security policy (``services.http.headers``) stands behind that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from fanlight import __version__
from fanlight.consoles.charts import CHARTS
from fanlight.consoles.floors import floor_words, round_words
from fanlight.consoles.formats import FILTERS
from fanlight.consoles.history import HISTORY
from fanlight.consoles.libraries import libraries_router
from fanlight.consoles.linked import linked_for
from fanlight.consoles.reasons import REASONS
from fanlight.consoles.the_round import ROLE_TITLES, ROUND, RoleName, numbers_of, title_of
from fanlight.consoles.timelines import TIMELINES
from fanlight.consoles.words import meanings
from fanlight.services.http.headers import STATIC_PREFIX
from fanlight.services.http.owner import Owner, owner_of
from fanlight.services.http.problems import Problem

STATIC_FOLDER: Final = Path(__file__).parent / "static"
_START: Final = ("/", "To the start page")
_LISTS: Final = {
    "/rounds": "All rounds",
    "/models": "All versions",
    "/devices": "All devices",
    "/pictures": "All pictures",
    "/studies": "All studies",
}
_NEXT: Final = {
    400: "Correct it, and send it again.",
    403: "Reload the page that you came from, and try again.",
    404: "It may have been there before. Look for it where the button below leads.",
    409: "Load the page again: it shows how things stand now.",
    413: "Send less at once.",
    422: "Correct it, or choose something else.",
    429: "Wait a moment, then try again.",
    500: "Try again. If it happens once more, look into this process's log.",
    502: "Look whether the other server runs, then try again.",
    503: "Try again in a moment.",
}
"""What to do about an error that does not say so itself, by status."""


class Console:
    """The pages of one process.

    Args:
        role: which of the three.
        name: what the owner calls the process, where there are many of its role.
        pages: (route, label) of the pages that every page leads to, in this order.
    """

    def __init__(self, role: RoleName, pages: Sequence[tuple[str, str]], name: str = "") -> None:
        self._environment = Environment(
            loader=PackageLoader("fanlight.consoles"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            {**FILTERS, **CHARTS, **REASONS, **TIMELINES, **HISTORY, "linked": linked_for(role, dict(pages))}
        )
        self._environment.globals.update(
            role=role,
            role_title=ROLE_TITLES[role],
            process_name=name,
            page_links=tuple(pages),
            the_round=ROUND,
            numbers_of=lambda route: numbers_of(role, route),
            meanings=meanings,
            floor_words=floor_words,
            round_words=round_words,
            title_of=lambda route: title_of(role, route),
            fanlight_version=__version__,
        )
        self._pages = tuple(pages)

    def page(self, request: Request, owner: Owner, template: str, **context: Any) -> HTMLResponse:
        """A page for the owner, who is logged in."""
        return self._draw(template, path=request.url.path, owner=owner, **context)

    def problem(self, request: Request, problem: Problem) -> Response:
        """The page of an error: what happened, its stable name, what to do, and the way back."""
        problem = replace(problem, next=problem.next or _NEXT.get(problem.status, ""))
        path, owner = request.url.path, owner_of(request)
        page = self._draw("problem.html", path=path, owner=owner, problem=problem, back=self._back(request))
        page.status_code = problem.status
        return page

    def _back(self, request: Request) -> tuple[str, str]:
        """(address, words) of the page whose form this was, or to which the address belongs; never what has failed."""
        path = request.url.path
        for route, label in self._pages:
            if path.startswith(f"{route}/") or (path == route and request.method == "POST"):
                return route, _LISTS.get(route, f"To the page {label}")
        return _START

    def login(self, request: Request, message: str) -> Response:
        """The page that asks for the login link; where it leads to afterwards is checked when it is used."""
        next_page = request.query_params.get("next", "/")
        return self._draw("login.html", path="", owner=None, message=message, next_page=next_page)

    def install(self, app: FastAPI) -> None:
        """Draw the errors and the login of ``app`` from now on, and serve the files that pages need."""
        app.state.render_problem = self.problem
        app.state.render_login = self.login
        app.include_router(libraries_router(self))
        app.mount(STATIC_PREFIX.rstrip("/"), StaticFiles(directory=STATIC_FOLDER), name="static")

    def _draw(self, template: str, **context: Any) -> HTMLResponse:
        return HTMLResponse(self._environment.get_template(template).render(**context))
