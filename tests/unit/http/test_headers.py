import pytest
from starlette.responses import Response

from tests.unit.http.support import TOKEN, client, make_app


@pytest.mark.parametrize("path", ["/login", "/page", "/nowhere"])
def test_every_answer_is_strict_and_stays_out_of_caches(path: str) -> None:
    headers = client(make_app()).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"


def test_static_files_may_be_kept_if_checked_again_and_a_route_may_say_otherwise() -> None:
    app = make_app()

    @app.get("/static/a.css")
    async def css() -> Response:
        return Response("", media_type="text/css")

    @app.get("/model")
    async def model() -> Response:
        return Response(b"", headers={"Cache-Control": "immutable"})

    assert client(app).get("/static/a.css").headers["cache-control"] == "no-cache"
    assert client(app).get("/model").headers["cache-control"] == "immutable"


def test_nobody_is_told_of_requests_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """FastAPI would send requests and errors to an address in a variable, or to what any library has registered."""
    trace = pytest.importorskip("opentelemetry.trace")
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: pytest.fail("somebody looks for whom to tell"))
    with client(make_app()) as browser:
        assert browser.get("/login").status_code == 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8001", "[::1]:8001", "lights.example"])
def test_known_hosts_are_answered(host: str) -> None:
    assert client(make_app()).get("/login", headers={"Host": host}).status_code == 200


def test_a_short_form_passes_and_a_long_one_does_not() -> None:
    http = client(make_app())
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert http.post("/step", headers=bearer, data={"choice": "a" * 60_000}).status_code == 200
    assert http.post("/step", headers=bearer, data={"choice": "a" * 70_000}).status_code == 413


def test_a_short_body_without_a_length_passes() -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-www-form-urlencoded"}
    answer = client(make_app()).post("/step", headers=bearer, content=iter([b"choi", b"ce=a"]))
    assert answer.json()["choice"] == "a"
