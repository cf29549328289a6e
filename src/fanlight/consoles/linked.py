"""Texts name pages by their routes, as programs call them: ``(/sendmodel)``. Pages show a link or words instead.

They also keep a share on one line with its sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from markupsafe import Markup, escape

from fanlight.consoles.the_round import ROUND, RoleName, title_of

_NAMED: Final = re.compile(r"\((?:device page )?(/[a-z_]+)\)")
_SIGN: Final = re.compile(r"(?<=\d) (?=%)")


def linked_for(role: RoleName, pages: Mapping[str, str]) -> Callable[[object], Markup]:
    """The filter for the pages of a role, ``pages`` being labels by route; all else in the text stays text."""

    def linked(text: object) -> Markup:
        pieces = _NAMED.split(_SIGN.sub("\N{NO-BREAK SPACE}", str(text)))  # text, route, text, route, ... text
        return Markup("").join(
            _words(role, piece, pages) if index % 2 else escape(piece) for index, piece in enumerate(pieces)
        )

    return linked


def _words(role: RoleName, route: str, pages: Mapping[str, str]) -> Markup:
    """A link to the page if it is here, else where the step is; a route that is neither stays as it is."""
    title = title_of(role, route)
    if title == route:
        title = pages.get(route, route)
    if title != route:
        return Markup('(<a href="{}">{}</a>)').format(route, title)
    step = next((step for step in ROUND if route in step.routes.values()), None)
    if step is None:
        return Markup("({})").format(route)
    of = "each device's page" if step.where == "each device" else f"the {step.where}'s page"
    return Markup("(step {}, on {})").format(step.number, of)
