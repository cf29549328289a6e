"""Routes without a framework's parsing of arguments, for what is asked often and by thousands who wait for the answer.

FastAPI's own layers, of which there are a dozen between an application and its route, cost more than what such a route
does, and as much memory as a waiting request has otherwise. So these routes are taken before them, and make an answer
of every error themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fanlight.services.http.problems import as_problem, respond


class PlainRoute(Route):
    """Starlette's; it says in the scope that it was taken, as FastAPI's do: metrics are by its path."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette's."""
        match, found = super().matches(scope)
        return match, {**found, "route": self} if found else found


class PlainRoutes:
    """ASGI middleware that answers requests for the plain ones of ``routes``, and passes on all others.

    A request of another kind than a route takes is passed on as well: what there is to say, the framework says.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        plain = [route for route in routes if isinstance(route, PlainRoute)]
        self.routes = sorted(plain, key=lambda route: not route.param_convertors)
        self._fixed: dict[str, list[PlainRoute]] = {}
        """By their whole path: most requests are for one of these, and need not be compared with all others."""
        for route in plain:
            if not route.param_convertors:
                self._fixed.setdefault(route.path, []).append(route)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer, or pass on."""
        for route in self._fixed.get(scope.get("path", ""), self.routes):
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope.update(found)
                return _answer(route.endpoint, scope, receive, send)
        return self.app(scope, receive, send)


async def _answer(
    endpoint: Callable[[Request], Awaitable[Response]], scope: Scope, receive: Receive, send: Send
) -> None:
    request = Request(scope, receive)
    try:
        response = await endpoint(request)
    except Exception as error:  # noqa: BLE001 the process goes on whatever happens in a route
        response = respond(request, as_problem(error))
    await response(scope, receive, send)
