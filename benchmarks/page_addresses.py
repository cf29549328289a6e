"""The addresses of all pages of a role, from its application's own routes, so that no page can be forgotten.

A page without parameters is found by itself. Of one with parameters, ``EXAMPLES`` must say which addresses are asked
for, and what is no page stands in ``NOT_PAGES``; a route that is neither stops the benchmark (and its test).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts

from fanlight.protocol.exchange import PREFIX

_OTHER_PREFIXES: Final = ("/api/", PREFIX)
NOT_PAGES: Final = frozenset(
    {
        "/events",
        "/healthz",
        "/metrics",
        "/readyz",
        "/pictures/{sha256}/thumbnail",
        "/pictures/{sha256}/original",
        "/pictures/{sha256}/change",
        "/pictures/{sha256}/ask",
        "/pictures/add",
        "/pictures/change",
        "/own/change",
        "/privacy/sent/{mh}.png",
    }
)
"""Streams, pictures, what is for programs, and addresses that only lead to a page."""


@dataclass(frozen=True)
class Newest:
    """What there is: numbers of the newest round, version and page of a list, and a picture's SHA-256."""

    round: int
    version: int
    lists: int
    picture: str


def examples(role: str, newest: Newest) -> Mapping[str, tuple[str, ...]]:
    """Addresses by route: of pages that need a parameter, and more views of pages that take some."""
    of_all: dict[str, dict[str, tuple[str, ...]]] = {
        "main": {
            "/rounds": ("/rounds?page=2", f"/rounds?page={newest.lists}"),
            "/rounds/{number}": (f"/rounds/{newest.round}", f"/rounds/{max(1, newest.round - 1)}", "/rounds/1"),
            "/models": ("/models?page=2", f"/models?page={newest.lists}"),
            "/models/{version}": (
                f"/models/{newest.version}",
                f"/models/{newest.version // 2}",
                f"/models/{newest.version}?with=0",
                f"/models/{newest.version}?with={newest.version // 2}",
            ),
            "/models/{version}/current": (f"/models/{newest.version // 2}/current",),
            "/log": ("/log?page=2", f"/log?page={newest.lists}"),
            "/devices": ("/devices?page=2",),
            "/studies/{study}": ("/studies/1",),
            "/studies/compare": ("/studies/compare?study=1&fleet=true",),
        },
        "aggregator": {
            "/rounds": ("/rounds?page=2", f"/rounds?page={newest.lists}"),
            "/log": ("/log?page=2", f"/log?page={newest.lists}"),
        },
        "device": {
            "/pictures": (
                "/pictures?page=2",
                "/pictures?page=1000",
                *(
                    f"/pictures?state={state}"
                    for state in ("labelled", "suggested", "unlabelled", "not_usable", "deleted")
                ),
                "/pictures?state=unlabelled&page=2",
                "/pictures?state=labelled&label=cat",
                "/pictures?label=cat&page=2",
                "/pictures?problem=blurred",
                "/pictures?problem=tiny",
                "/pictures?problem=duplicates",
            ),
            "/pictures/{sha256}": (f"/pictures/{newest.picture}", f"/pictures/{newest.picture}?problem=duplicates"),
            "/learning/pictures": (
                "/learning/pictures?model=own&shows=0&named=0",
                "/learning/pictures?model=global&shows=0&named=0",
                "/learning/pictures?model=global&shows=0&named=1",
            ),
        },
    }
    return of_all[role]


def page_addresses(app: FastAPI, role: str, newest: Newest) -> list[str]:
    """All addresses to ask for, in the order of the routes.

    Raises:
        SystemExit: a page needs parameters and has no example.
    """
    known = examples(role, newest)
    found: list[str] = []
    for route in iter_route_contexts(app.routes):
        path = route.path or ""
        if "GET" not in (route.methods or ()) or path in NOT_PAGES or path.startswith(_OTHER_PREFIXES):
            continue
        if not _needs_parameters(route):
            found.append(path)
        elif path not in known:
            raise SystemExit(f"{path} ({role}) is new to this benchmark: see NOT_PAGES and examples in {__file__}")
        found += known.get(path, ())
    return list(dict.fromkeys(found))


def _needs_parameters(route: RouteContext) -> bool:
    return bool(route.param_convertors) or any(field.field_info.is_required() for field in route.dependant.query_params)
