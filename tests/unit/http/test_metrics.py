from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from fanlight.services.http.metrics import metrics_token
from fanlight.services.http.sessions import api_token
from tests.unit.http.support import METRICS_TOKEN, TOKEN, client, make_app

READER = {"Authorization": f"Bearer {METRICS_TOKEN}"}
OWNER = {"Authorization": f"Bearer {TOKEN}"}


def samples(http: TestClient) -> dict[str, dict[tuple[str, ...], float]]:
    """By name of the sample: value by the labels' values, in the labels' order."""
    answer = http.get("/metrics", headers=READER)
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels[name] for name in sorted(sample.labels))] = (
                sample.value
            )
    return found


def test_requests_are_counted_under_their_route_and_never_under_their_path() -> None:
    http = client(make_app())
    for secret in ("walk-in-the-park.png", "another.png"):
        assert http.put(f"/protocol/v1/stream/{secret}").status_code == 401
    assert http.get("/no/such/page").status_code == 404
    assert http.get("/page", headers=OWNER).status_code == 200
    counted = samples(http)["fanlight_http_request_seconds_count"]
    assert counted[("PUT", "/protocol/v1/stream/{name:path}", "401")] == 2
    assert counted[("GET", "none", "404")] == 1
    assert counted[("GET", "/page", "200")] == 1
    text = http.get("/metrics", headers=READER).text
    assert "walk-in-the-park" not in text
    assert "/no/such/page" not in text


def test_a_method_that_somebody_invents_makes_no_series_of_its_own() -> None:
    http = client(make_app())
    for method in ("MOO", "BAA"):
        http.request(method, "/page")
    methods = {labels[0] for labels in samples(http)["fanlight_http_request_seconds_count"]}
    assert methods == {"other"}


def test_bytes_of_both_directions_are_counted() -> None:
    http = client(make_app())
    form = b"choice=" + b"x" * 1000
    sent = http.post("/step", content=form, headers=OWNER | {"Content-Type": "application/x-www-form-urlencoded"})
    found = samples(http)
    assert found["fanlight_received_bytes_total"][("/step",)] == len(form)
    assert found["fanlight_sent_bytes_total"][("/step",)] == len(sent.content)


def test_what_a_middleware_refuses_is_counted_too() -> None:
    http = client(make_app())
    assert http.get("/page", headers={"Host": "evil.example"}).status_code == 421
    assert samples(http)["fanlight_http_request_seconds_count"] == {("GET", "none", "421"): 1}


def test_two_applications_in_one_process_count_each_for_itself() -> None:
    first, second = client(make_app()), client(make_app())
    first.get("/page", headers=OWNER)
    assert ("GET", "/page", "200") in samples(first)["fanlight_http_request_seconds_count"]
    assert "fanlight_http_request_seconds_count" not in samples(second)


def test_the_process_itself_is_measured() -> None:
    found = samples(client(make_app()))
    assert found["process_resident_memory_bytes"][()] > 1_000_000
    assert "python_info" in found


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": METRICS_TOKEN}])
def test_strangers_read_nothing(headers: dict[str, str]) -> None:
    answer = client(make_app()).get("/metrics", headers=headers)
    assert answer.status_code == 401
    assert "process_" not in answer.text


def test_the_owner_reads_too() -> None:
    assert client(make_app()).get("/metrics", headers=OWNER).status_code == 200


def test_the_metrics_token_opens_nothing_else() -> None:
    app = make_app()
    http = client(app)
    for method, path in (("GET", "/page"), ("POST", "/step"), ("POST", "/api/v1/login-links")):
        assert http.request(method, path, headers=READER).status_code == 401
    assert http.post("/login", data={"token": METRICS_TOKEN}).status_code == 401
    assert app.state.changes == 0


def test_the_token_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    token = metrics_token(tmp_path)
    assert metrics_token(tmp_path) == token
    assert len(token) >= 43
    assert (tmp_path / "metrics-token").stat().st_mode & 0o777 == 0o600
    assert api_token(tmp_path) != token
