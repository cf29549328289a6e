import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from fanlight import errors
from fanlight.services.http.problems import STATUS, Problem, as_problem, status_of
from tests.unit.http.support import client, make_app

HTML = {"Accept": "text/html,application/xhtml+xml"}


def all_errors(kind: type[errors.FanlightError] = errors.FanlightError) -> list[type[errors.FanlightError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in all_errors(child))]


def app_that_raises(error: Exception) -> FastAPI:
    app = make_app()

    @app.get("/broken")
    async def broken() -> None:
        raise error

    @app.get("/numbers/{number}")
    async def numbers(number: int) -> int:
        return number

    return app


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_every_error_of_ours_is_in_the_table(kind: type[errors.FanlightError]) -> None:
    if kind.__module__ == errors.__name__:
        assert kind in STATUS
    assert 400 <= status_of(kind("what", next="do")) < 600


def test_remote_faults_are_4xx_and_a_full_disk_is_507() -> None:
    for kind in all_errors(errors.RemoteError):
        assert 400 <= status_of(kind("x")) < 500 or kind is errors.Unreachable
    assert status_of(errors.StorageError("x", slug="disk-full")) == 507
    assert status_of(errors.NotPossibleNow("x")) == 409


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_the_one_shape(kind: type[errors.FanlightError]) -> None:
    answer = client(app_that_raises(kind("what happened", next="what to do"))).get("/broken")
    assert answer.status_code == status_of(kind("x"))
    assert answer.json() == {"error": {"slug": kind.default_slug, "message": "what happened", "next": "what to do"}}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.Busy("x", retry_after_s=2.1), (503, "3")),
        (errors.Refused("x", slug="too-many-requests", retry_after_s=5), (429, "5")),
        (errors.disk_full("/here"), (507, "6")),
        (errors.Busy("x"), (503, None)),
    ],
)
def test_who_knows_when_to_come_back_says_so(error: errors.FanlightError, expected: tuple[int, str | None]) -> None:
    answer = client(app_that_raises(error)).get("/broken")
    assert (answer.status_code, answer.headers.get("retry-after")) == expected


def test_an_unexpected_error_gives_a_reference_and_no_details() -> None:
    http = client(app_that_raises(ZeroDivisionError("secret detail")))
    answer = http.get("/broken")
    assert answer.status_code == 500
    assert answer.json()["error"]["slug"] == "unexpected-error"
    assert "secret detail" not in answer.text
    assert "ZeroDivision" not in answer.text
    assert "reference" in answer.json()["error"]["message"]
    assert "Content-Security-Policy" in answer.headers
    assert http.get("/numbers/3").json() == 3


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("POST", "/broken", 405, "method-not-allowed"),
        ("GET", "/numbers/three", 400, "malformed-message"),
    ],
)
def test_the_frameworks_own_errors_have_the_shape(method: str, path: str, status: int, slug: str) -> None:
    answer = client(app_that_raises(errors.Refused("x"))).request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"slug", "message", "next"}
    assert answer.json()["error"]["slug"] == slug


def test_browsers_get_the_consoles_page_and_programs_still_json() -> None:
    app = app_that_raises(errors.NotPossibleNow("not yet", next="train first"))

    def render(_request: Request, problem: Problem) -> Response:
        return HTMLResponse(f"<p>{problem.message}: {problem.next}</p>", status_code=problem.status)

    app.state.render_problem = render
    page = client(app).get("/broken", headers=HTML)
    assert (page.status_code, page.text) == (409, "<p>not yet: train first</p>")
    assert client(app).get("/nowhere", headers=HTML).headers["content-type"].startswith("text/html")
    assert client(app).get("/broken").json()["error"]["slug"] == "not-possible-now"
    said = client(app).get("/numbers/three", headers=HTML).text
    assert (
        said == "<p>The address or the form has a value that cannot be: “number”.: Go back, and choose on the page.</p>"
    )


def test_a_page_keeps_the_headers_that_the_error_must_have() -> None:
    app = app_that_raises(errors.NotAuthentic("x"))
    app.state.render_problem = lambda _request, problem: HTMLResponse("<p>", status_code=problem.status)
    refused = client(app).post("/broken", headers=HTML)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET")
    assert refused.headers["content-type"].startswith("text/html")
    assert "www-authenticate" in client(app).get("/broken", headers=HTML).headers


def test_browsers_without_a_hook_get_json() -> None:
    assert client(app_that_raises(errors.Conflict("x"))).get("/broken", headers=HTML).status_code == 409


def test_every_401_names_a_scheme() -> None:
    assert "WWW-Authenticate" in client(app_that_raises(errors.NotAuthentic("x"))).get("/broken").headers


def test_references_differ() -> None:
    assert as_problem(KeyError()).message != as_problem(KeyError()).message
