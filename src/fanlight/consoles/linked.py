"""Texts name steps by their routes, as programs call them: ``(/sendmodel)``. Pages show a link or words instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from markupsafe import Markup, escape

from fanlight.consoles.the_round import ROUND, RoleName, title_of

_NAMED: Final = re.compile(r"\((?:device page )?(/[a-z_]+)\)")


def linked_for(role: RoleName) -> Callable[[object], Markup]:
    """The filter for the pages of a role; all else in the text stays text."""

    def linked(text: object) -> Markup:
        pieces = _NAMED.split(str(text))  # text, route, text, route, ... text
        return Markup("").join(
            _words(role, piece) if index % 2 else escape(piece) for index, piece in enumerate(pieces)
        )

    return linked


def _words(role: RoleName, route: str) -> Markup:
    """A link to the step's page if it is here, else where the step is; a route that is no step's stays as it is."""
    title = title_of(role, route)
    if title != route:
        return Markup('(<a href="{}">{}</a>)').format(route, title)
    step = next((step for step in ROUND if route in step.routes.values()), None)
    if step is None:
        return Markup("({})").format(route)
    of = "each device's page" if step.where == "each device" else f"the {step.where}'s page"
    return Markup("(step {}, on {})").format(step.number, of)
