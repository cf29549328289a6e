"""Routes that are taken before the framework."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from fanlight.services.http.plain_routes import PlainRoute, PlainRoutes


async def named(request: Request) -> Response:
    return PlainTextResponse(f"{request.scope['route'].path} {request.method} {request.path_params}")


async def framework(request: Request) -> Response:
    return PlainTextResponse(f"framework {request.method} {request.url.path}")


PLAIN = [
    PlainRoute("/offer", named, methods=["GET"]),
    PlainRoute("/rounds", named, methods=["POST"]),
    PlainRoute("/rounds", named, methods=["GET"]),
    PlainRoute("/rounds/{number}", named, methods=["GET"]),
]
BEHIND = Starlette(routes=[Route("/{rest:path}", framework, methods=["GET", "POST", "DELETE"])])


def client_of(*routes: BaseRoute, root_path: str = "") -> TestClient:
    layer = PlainRoutes(BEHIND, routes)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await layer(scope, receive, send)

    return TestClient(app, root_path=root_path)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/offer", "/offer GET {}"),
        ("GET", "/offer?after=1", "/offer GET {}"),
        ("POST", "/rounds", "/rounds POST {}"),
        ("GET", "/rounds", "/rounds GET {}"),
        ("GET", "/rounds/7", "/rounds/{number} GET {'number': '7'}"),
        ("POST", "/offer", "framework POST /offer"),
        ("DELETE", "/rounds/7", "framework DELETE /rounds/7"),
        ("GET", "/offer/", "framework GET /offer/"),
        ("GET", "/rounds/7/8", "framework GET /rounds/7/8"),
        ("GET", "/", "framework GET /"),
    ],
)
def test_each_request_reaches_its_route_and_all_others_the_framework(method: str, path: str, expected: str) -> None:
    client = client_of(*PLAIN, Route("/never", named))
    assert client.request(method, path).text == expected


def test_they_are_found_below_a_root_path() -> None:
    client = client_of(*PLAIN, root_path="/fanlight")
    assert client.get("/fanlight/offer").text == "/offer GET {}"
    assert client.get("/fanlight/rounds/7").text == "/rounds/{number} GET {'number': '7'}"


def test_a_request_is_compared_with_those_only_that_it_may_be_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    matches = PlainRoute.matches

    def noted(route: PlainRoute, scope: object) -> object:
        compared.append(route.path)
        return matches(route, scope)  # type: ignore[arg-type]

    monkeypatch.setattr(PlainRoute, "matches", noted)
    client = client_of(*PLAIN)
    client.get("/rounds")
    client.get("/rounds/7")
    assert compared == ["/rounds", "/rounds", "/rounds/{number}"]
