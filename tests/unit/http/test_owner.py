import json
import os
import stat
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fanlight.errors import StorageError
from fanlight.services.http.sessions import LINK_S, SESSION_S, OwnerSessions, api_token
from fanlight.storage.secret_files import write_secret
from tests.unit.http.support import BASE, TOKEN, Clock, client, make_app, slug

HTML = {"Accept": "text/html"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def logged_in(clock: Clock | None = None) -> tuple[TestClient, str]:
    app = make_app(clock)
    http = client(app)
    assert http.get(app.state.owner_sessions.new_link()).status_code == 303
    return http, http.get("/page").json()["csrf"]


def test_the_api_token_is_made_once_and_private(tmp_path: Path) -> None:
    token = api_token(tmp_path)
    assert len(token) >= 43
    assert api_token(tmp_path) == token
    assert stat.S_IMODE((tmp_path / "api-token").stat().st_mode) == 0o600
    (tmp_path / "api-token").chmod(0o644)
    with pytest.raises(StorageError, match="other users"):
        api_token(tmp_path)


def test_bearer_needs_no_csrf_token() -> None:
    http = client(make_app())
    assert http.get("/page", headers=BEARER).json() == {"by": "token", "csrf": ""}
    assert http.post("/step", headers=BEARER).json()["by"] == "token"


def test_a_login_link_gives_a_strict_cookie_named_by_role_and_port() -> None:
    app = make_app()
    answer = client(app).get(app.state.owner_sessions.new_link() + "&next=/page")
    assert (answer.status_code, answer.headers["location"]) == (303, "/page")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("fanlight-device-8001=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert "Secure" not in cookie


def test_under_https_the_cookie_is_secure() -> None:
    app = make_app()
    https = TestClient(app, base_url="https://localhost:8000", follow_redirects=False)
    assert "Secure" in https.get(app.state.owner_sessions.new_link()).headers["set-cookie"]


@pytest.mark.parametrize("page", ["https://evil.example", "//evil.example", "/\\evil.example", "page", "/a\nb"])
def test_the_login_leads_to_own_pages_only(page: str) -> None:
    app = make_app()
    link = app.state.owner_sessions.new_link().partition("=")[2]
    assert client(app).get("/login", params={"token": link, "next": page}).headers["location"] == "/"


def test_not_logged_in_is_303_for_browsers_and_401_for_programs() -> None:
    http = client(make_app())
    page = http.get("/page", headers=HTML)
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/page")
    assert (
        http.get("/page?page=2&again=true", headers=HTML).headers["location"]
        == "/login?next=/page%3Fpage%3D2%26again%3Dtrue"
    )
    assert http.post("/step", headers=HTML).headers["location"] == "/login"
    refused = http.get("/page")
    assert (refused.status_code, slug(refused)) == (401, "login-required")


@pytest.mark.parametrize(
    ("referer", "place"),
    [(f"{BASE}/page?page=2", "?next=/page%3Fpage%3D2"), ("https://evil.example/page", ""), ("http://[x", "")],
)
def test_after_a_form_that_came_too_late_one_is_led_back_to_its_page(referer: str, place: str) -> None:
    answer = client(make_app()).post("/step", headers=HTML | {"Referer": referer})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/login{place}")


def test_a_session_posts_with_its_csrf_token_in_header_or_form() -> None:
    http, csrf = logged_in()
    assert http.post("/step", headers={"X-CSRF-Token": csrf}).json()["by"] == "session"
    assert http.post("/step", data={"csrf": csrf, "choice": "a"}).json() == {"by": "session", "choice": "a"}
    assert http.post("/step", data={"csrf": csrf}, headers={"Origin": BASE}).status_code == 200


def test_the_login_form_takes_link_token_and_api_token() -> None:
    app = make_app()
    path = app.state.owner_sessions.new_link()
    for given in (BASE + path, TOKEN):
        http = client(app)
        assert http.post("/login", data={"token": given, "next": "/page"}).headers["location"] == "/page"
        assert http.get("/page").status_code == 200


def test_the_login_page_asks_and_escapes_and_says_why_not() -> None:
    http = client(make_app())
    page = http.get("/login", params={"next": '/"><script>'})
    assert page.status_code == 200
    assert "<script>" not in page.text
    wrong = http.get("/login?token=wrong")
    assert wrong.status_code == 401
    assert "used already" in wrong.text


def test_the_holder_of_the_api_token_gets_a_fresh_link() -> None:
    http = client(make_app())
    answer = http.post("/api/v1/login-links", headers=BEARER)
    assert answer.status_code == 201
    assert answer.json()["url"] == BASE + answer.json()["path"]
    assert http.post("/api/v1/login-links").status_code == 401
    assert http.get(answer.json()["path"]).status_code == 303
    assert http.get("/page").status_code == 200


def test_logging_out_ends_the_session() -> None:
    http, csrf = logged_in()
    cookies = dict(http.cookies)
    gone = http.post("/logout", data={"csrf": csrf})
    assert (gone.status_code, gone.headers["clear-site-data"]) == (303, '"cache"')
    http.cookies.update(cookies)
    assert http.get("/page").status_code == 401


def test_links_and_sessions_end() -> None:
    clock = Clock()
    app = make_app(clock)
    late = app.state.owner_sessions.new_link()
    clock.now += LINK_S + 1
    assert client(app).get(late).status_code == 401
    http, _ = logged_in(clock)
    assert "over" not in http.get("/login").text
    clock.now += SESSION_S + 1
    assert http.get("/page").status_code == 401
    assert "Your session is over; nothing was changed." in http.get("/login").text


def kept(folder: Path, token: str = TOKEN, clock: Clock | None = None) -> OwnerSessions:
    return OwnerSessions("device", 8001, token, clock or Clock(), folder / "sessions")


def test_a_session_outlives_a_restart_with_its_csrf_token(tmp_path: Path) -> None:
    clock = Clock()
    cookie = kept(tmp_path, clock=clock).log_in(TOKEN) or ""
    again = kept(tmp_path, clock=clock).session(cookie)
    assert again is not None
    assert again == kept(tmp_path, clock=clock).session(cookie)
    assert again.csrf not in ("", cookie)
    clock.now = again.ends_at
    assert kept(tmp_path, clock=clock).session(cookie) is None


def test_the_file_of_sessions_logs_nobody_in(tmp_path: Path) -> None:
    cookie = kept(tmp_path).log_in(TOKEN) or ""
    file = tmp_path / "sessions"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert cookie not in file.read_text()
    [digest] = json.loads(file.read_text())
    assert kept(tmp_path).session(digest) is None
    file.chmod(0o644)
    with pytest.raises(StorageError, match="other users"):
        kept(tmp_path)


def test_a_new_api_token_ends_all_sessions(tmp_path: Path) -> None:
    cookie = kept(tmp_path).log_in(TOKEN) or ""
    assert kept(tmp_path, token="another").session(cookie) is None


def test_who_has_logged_out_is_not_let_in_after_a_restart(tmp_path: Path) -> None:
    sessions = kept(tmp_path)
    gone, stays = sessions.log_in(TOKEN) or "", sessions.log_in(TOKEN) or ""
    sessions.log_out(gone)
    again = kept(tmp_path)
    assert again.session(gone) is None
    assert again.session(stays)


def test_where_logging_out_cannot_be_written_down_all_end_with_the_restart(tmp_path: Path) -> None:
    sessions = kept(tmp_path)
    cookie, other = sessions.log_in(TOKEN) or "", sessions.log_in(TOKEN) or ""
    tmp_path.joinpath(f".sessions.{os.getpid()}.partial").mkdir()  # as a disk that takes no further file
    sessions.log_out(cookie)
    assert sessions.session(other)
    assert sessions.session(sessions.log_in(TOKEN) or ""), "the owner can still come in"
    again = kept(tmp_path)
    assert again.session(cookie) is None
    assert again.session(other) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": "b"}', "\xff"])
def test_a_damaged_file_of_sessions_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    write_secret(tmp_path / "sessions", content.encode("latin-1"))
    cookie = kept(tmp_path).log_in(TOKEN) or ""
    assert kept(tmp_path).session(cookie)


def test_sessions_and_links_are_bounded_and_the_oldest_goes_first() -> None:
    sessions = OwnerSessions("main", 8000, TOKEN, Clock())
    cookies = [sessions.log_in(TOKEN) or "" for _ in range(101)]
    assert sessions.session(cookies[0]) is None
    assert sessions.session(cookies[1])
    links = [sessions.new_link().partition("=")[2] for _ in range(21)]
    assert sessions.log_in(links[0]) is None
    assert sessions.log_in(links[1])


def test_what_is_no_url_neither_logs_in_nor_breaks_the_login() -> None:
    http = client(make_app())
    assert http.post("/login", data={"token": "http://[x?token=a"}).status_code == 401
    refused = http.post("/login", data={"token": "a"}, headers={"Origin": "http://[x"})
    assert (refused.status_code, slug(refused)) == (403, "foreign-origin")
