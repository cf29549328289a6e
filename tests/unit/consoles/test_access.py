"""Who gets which page: the login, errors as pages and as JSON, and what every page keeps to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI

from fanlight.consoles.console import STATIC_FOLDER
from fanlight.services.http.headers import CONTENT_SECURITY_POLICY
from tests.unit.consoles.federation import (
    AGGREGATOR_URL,
    MAIN_URL,
    OUR_SCRIPTS,
    SCRIPT,
    Page,
    aggregator,
    device,
    main_server,
    make_folder,
    owner,
    stranger,
)

DEVICE_URL = "http://localhost:8001"
ROLES: dict[str, tuple[Callable[[Path], FastAPI], str, list[str]]] = {
    "main": (main_server, MAIN_URL, ["/", "/aggregate_models", "/send_model_clients"]),
    "aggregator": (aggregator, AGGREGATOR_URL, ["/", "/aggregate_models", "/send_model_secagg"]),
    "device": (device, DEVICE_URL, ["/", "/modeltrain", "/sendstatus", "/sendmodel"]),
}


@pytest.fixture(params=ROLES)
def role(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FastAPI, str, list[str]]:
    make, url, paths = ROLES[request.param]
    return make(make_folder(tmp_path / "federation")), url, paths


Role = tuple[FastAPI, str, list[str]]


def test_a_stranger_is_led_to_the_login_and_back(role: Role) -> None:
    app, url, paths = role
    browser = stranger(app, url)
    for path in paths:
        response = browser.get(path)
        assert (response.status_code, response.headers["location"]) == (303, f"/login?next={path}")
    page = Page.of(browser.get(f"/login?next={paths[1]}"))
    assert page.forms() == [("/login", {"token", "next"})]
    link = app.state.owner_sessions.new_link()
    assert browser.post("/login", data={"token": link, "next": paths[1]}).headers["location"] == paths[1]
    assert browser.get(paths[1]).status_code == 200


def test_a_wrong_link_is_answered_on_the_login_page(role: Role) -> None:
    app, url, _paths = role
    response = stranger(app, url).get(f"/login?token=wrong&next={SCRIPT}")
    assert response.status_code == 401
    page = Page.of(response)
    assert "was used already" in page.text
    assert not page.scripts()


def test_a_program_without_login_gets_json(role: Role) -> None:
    app, url, paths = role
    response = stranger(app, url).get(paths[1], headers={"Accept": "application/json"})
    assert response.status_code == 401
    assert response.json()["error"]["slug"] == "login-required"


def test_every_form_on_every_page_carries_the_token(role: Role) -> None:
    app, url, paths = role
    browser = owner(app, url)
    for path in paths:
        forms = Page.of(browser.get(path)).forms()
        assert len(forms) >= 2, "the step's button and the way out"
        assert all("csrf" in fields for _action, fields in forms)


def test_an_impossible_step_is_a_409_as_page_and_as_json(role: Role) -> None:
    app, url, paths = role
    browser = owner(app, url)
    for path in paths[1:]:
        form = {"csrf": Page.of(browser.get(path)).csrf()}
        response = browser.post(path, data=form)
        assert response.status_code == 409
        problem = browser.post(path, data=form, headers={"Accept": "application/json"})
        assert problem.status_code == 409
        error = problem.json()["error"]
        page = Page.of(response)
        assert error["slug"] in page.text
        assert error["message"] in page.text
        assert error["next"].partition(" (/")[0] in page.text, "a route in it is a link on the page"
        assert any(attributes.get("href") == path for attributes in page.all("a")), "the way back to the step"


def test_a_step_without_the_token_of_the_form_is_refused(role: Role) -> None:
    app, url, paths = role
    response = owner(app, url).post(paths[1])
    assert response.status_code == 403
    assert "Reload the page" in Page.of(response).text


def test_pages_obey_the_strict_policy(role: Role) -> None:
    app, url, paths = role
    browser = owner(app, url)
    for path in paths:
        response = browser.get(path)
        assert response.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert response.headers["cache-control"] == "no-store"
        page = Page.of(response)
        assert not page.all("style")
        assert all("style" not in attributes for _tag, attributes in page.elements)
        assert page.scripts() == OUR_SCRIPTS
        sheets = [link["href"] for link in page.all("link") if link["rel"] == "stylesheet"]
        assert [sheet for sheet in sheets if "/vendor/" not in sheet] == ["/static/fanlight.css"]


def test_there_is_one_style_sheet() -> None:
    assert [path.name for path in STATIC_FOLDER.glob("*.css")] == ["fanlight.css"]


@pytest.mark.parametrize(
    ("file", "kind"), [("fanlight.css", "text/css"), ("live.js", "text/javascript"), ("fanlight.svg", "image/svg+xml")]
)
def test_the_files_of_pages_need_no_login(role: Role, file: str, kind: str) -> None:
    app, url, _paths = role
    response = stranger(app, url).get(f"/static/{file}")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(kind)


def test_an_unknown_page_says_so(role: Role) -> None:
    app, url, _paths = role
    response = stranger(app, url).get("/no/such/page")
    assert response.status_code == 404
    assert "not-found" in Page.of(response).text


def test_logging_out_by_its_button(role: Role) -> None:
    app, url, _paths = role
    browser = owner(app, url)
    browser.post("/logout", data={"csrf": Page.of(browser.get("/")).csrf()})
    assert browser.get("/").status_code == 303


def test_servers_do_not_load_what_only_devices_need() -> None:
    import subprocess
    import sys

    program = "import sys, fanlight.apps; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_main_server_starts_without_the_laboratory() -> None:
    import subprocess
    import sys

    program = (
        "import sys, fanlight.consoles.main_server as _; sys.exit(any('.simulation' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_an_error_says_what_to_do_and_leaves_the_owner_the_tabs(role: Role) -> None:
    app, url, paths = role
    browser = owner(app, url)
    tabs = {item["href"] for item in Page.of(browser.get("/")).all("a")}
    cases = [
        (browser.get("/nowhere"), 404, "/"),
        (browser.get("/login/nowhere"), 404, "/"),
        (browser.put(paths[1]), 405, "/"),
        (browser.post(paths[1], data={"csrf": "wrong"}), 403, paths[1]),
    ]
    for response, status, back in cases:
        page = Page.of(response)
        assert response.status_code == status
        assert "Next" in page.text
        links = [item["href"] for item in page.all("a")]
        assert tabs & set(paths) <= set(links)
        assert [item["href"] for item in page.all("a") if item.get("class") == "button"] == [back]
    assert "Log out" not in Page.of(stranger(app, url).get("/nowhere")).text
    assert not Page.of(stranger(app, url).get("/nowhere")).scripts()


@pytest.mark.parametrize(
    ("address", "status", "back"),
    [
        ("/rounds/99", 404, ("/rounds", "All rounds")),
        ("/models/99", 404, ("/models", "All versions")),
        ("/rounds?page=none", 400, ("/", "To the start page")),
    ],
)
def test_an_error_names_where_it_leads(tmp_path: Path, address: str, status: int, back: tuple[str, str]) -> None:
    response = owner(main_server(make_folder(tmp_path / "federation"))).get(address)
    assert response.status_code == status
    page = Page.of(response)
    assert "Next" in page.text
    assert back[1] in page.text
    assert back[0] in [item["href"] for item in page.all("a") if item.get("class") == "button"]
