"""Routes without a framework's parsing of arguments, for what is asked often; measured like all others."""

from __future__ import annotations

from starlette.routing import Match, Route
from starlette.types import Scope


class PlainRoute(Route):
    """Starlette's, which says in the scope which route was taken, as FastAPI's do: metrics are by its path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's."""
        match, found = super().matches(scope)
        return match, {**found, "route": self} if found else found
