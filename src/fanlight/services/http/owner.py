"""Routes for the owner only: the dependencies that guard them, and the login itself.

``Depends(require_owner)`` guards what shows something, ``Depends(require_owner_post)`` what changes something; both
return an ``Owner``.  They find the process's ``OwnerSessions`` at ``app.state.owner_sessions``, set by
``install_owner``.  The consoles may draw the login page by ``app.state.render_login(request, message) -> Response``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Depends, FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from fanlight.errors import NotAuthentic, Refused
from fanlight.services.http.problems import LOGIN_PATH, LOGIN_REQUIRED
from fanlight.services.http.sessions import SESSION_S, OwnerSessions, Session, same
from fanlight.services.http.threads import in_thread

RenderLogin = Callable[[Request, str], Response]

_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")
_COOKIE_S = 10 * SESSION_S
"""Browsers keep the cookie of a session that is over, so that the login can say so."""
_OVER = "Your session is over; nothing was changed."
_WRONG_LINK = "This link was used already, is too old, or is not from this server."


@dataclass(frozen=True)
class Owner:
    """The owner, known ``by`` the api-token or a browser session; ``csrf`` goes into that browser's forms."""

    by: Literal["token", "session"]
    csrf: str = ""


async def require_owner(request: Request) -> Owner:
    """Let only the owner in.

    Raises:
        NotAuthentic: nobody is logged in (slug ``login-required``: browsers are led to the login).
    """
    owner = owner_of(request)
    if owner is None:
        raise NotAuthentic(
            "Only the owner may do this.",
            next="Open the login link from the terminal, or send 'Authorization: Bearer' with the api-token file.",
            slug=LOGIN_REQUIRED,
        )
    return owner


def owner_of(request: Request) -> Owner | None:
    """The owner, if it is they who ask."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and _sessions(request).is_api_token(token.strip()):
        return Owner("token")
    session = _session(request) if not scheme else None  # a wrong token must not fall back to a cookie
    return Owner("session", session.csrf) if session else None


async def require_owner_post(request: Request, owner: Annotated[Owner, Depends(require_owner)]) -> Owner:
    """Let only the owner change things, and only on purpose: a session's request must come from our own pages.

    Raises:
        NotAuthentic: nobody is logged in.
        Refused: foreign ``Origin``, or no or the wrong CSRF token (form field ``csrf``, or ``X-CSRF-Token``).
    """
    if owner.by == "session":
        refuse_foreign_origin(request)
        if not same(await _given_csrf(request), owner.csrf):
            raise Refused("The form is not from this session.", next="Reload the page and try again.", slug="csrf")
    return owner


def refuse_foreign_origin(request: Request) -> None:
    """Refuse a request that a page on another site sent.

    Raises:
        Refused: ``Origin`` (or, without it, ``Sec-Fetch-Site``) names another site than this server.
    """
    origin = request.headers.get("origin")
    if origin is not None:
        foreign = _site(origin) != request.headers.get("host", "").lower()
    else:
        foreign = request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
    if foreign:
        raise Refused("A page on another site sent this request.", slug="foreign-origin")


def install_owner(app: FastAPI, sessions: OwnerSessions) -> None:
    """Add the login to ``app``, and tell the dependencies above whom to trust."""
    app.state.owner_sessions = sessions
    app.include_router(router)


router = APIRouter(include_in_schema=False)


@router.get(LOGIN_PATH)
async def login_page(request: Request, token: str = "", next: str = "/") -> Response:
    """Log in by the link from the terminal, or ask for it."""
    if not token:
        return _ask(request, _OVER if _is_over(request) else "")
    return await _log_in(request, token, next)


@router.post(LOGIN_PATH)
async def login_form(request: Request) -> Response:
    """Log in by a pasted link, a link's token or the api-token."""
    refuse_foreign_origin(request)
    form = await request.form()
    given = str(form.get("token", "")).strip()
    return await _log_in(request, _token_in(given), str(form.get("next", "/")))


@router.post("/logout")
async def logout(request: Request, _owner: Annotated[Owner, Depends(require_owner_post)]) -> Response:
    """End this browser's session; what the browser kept of the pages goes too."""
    sessions = _sessions(request)
    await in_thread(sessions.log_out, request.cookies.get(sessions.cookie_name, ""))
    response = RedirectResponse(LOGIN_PATH, status_code=303)
    response.delete_cookie(sessions.cookie_name, path="/", httponly=True, samesite="strict")
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


@router.post("/api/v1/login-links", status_code=201)
async def make_login_link(request: Request, _owner: Annotated[Owner, Depends(require_owner_post)]) -> dict[str, str]:
    """A fresh one-time login link, for whoever has the api-token."""
    path = _sessions(request).new_link()
    return {"path": path, "url": f"{request.url.scheme}://{request.headers['host']}{path}"}


def _sessions(request: Request) -> OwnerSessions:
    sessions: OwnerSessions = request.app.state.owner_sessions
    return sessions


def _session(request: Request) -> Session | None:
    sessions = _sessions(request)
    return sessions.session(request.cookies.get(sessions.cookie_name, ""))


def _is_over(request: Request) -> bool:
    """Has this browser been logged in, and is it no more?  Logging out takes its cookie away."""
    return bool(request.cookies.get(_sessions(request).cookie_name)) and _session(request) is None


async def _given_csrf(request: Request) -> str:
    header = request.headers.get("x-csrf-token")
    if header is not None:
        return header
    if request.headers.get("content-type", "").startswith(_FORM_TYPES):
        return str((await request.form()).get("csrf", ""))
    return ""


async def _log_in(request: Request, given: str, next_page: str) -> Response:
    sessions = _sessions(request)
    cookie = await in_thread(sessions.log_in, given)
    if cookie is None:
        return _ask(request, _WRONG_LINK, status=401)
    response = RedirectResponse(_own_page(next_page), status_code=303)
    response.set_cookie(
        sessions.cookie_name,
        cookie,
        max_age=_COOKIE_S,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response


def _site(origin: str) -> str | None:
    """Host and port of an ``Origin`` in lower case; None if it is no URL."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _token_in(given: str) -> str:
    """The token of a pasted link; ``given`` itself if it is none."""
    try:
        pasted = parse_qs(urlsplit(given).query).get("token")
    except ValueError:
        pasted = None
    return pasted[0] if pasted else given


def _own_page(path: str) -> str:
    """``path`` if it leads to a page of ours (browsers read two slashes, or a backslash, as another site)."""
    plain = path.isascii() and path.isprintable() and path.startswith("/") and "\\" not in path
    return path if plain and not path.startswith("//") else "/"


def _ask(request: Request, message: str, status: int = 200) -> Response:
    render: RenderLogin | None = getattr(request.app.state, "render_login", None)
    response = render(request, message) if render else HTMLResponse(_plain_page(request, message))
    response.status_code = status
    return response


def _plain_page(request: Request, message: str) -> str:
    next_page = escape(_own_page(request.query_params.get("next", "/")), quote=True)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Fanlight: log in</title>'
        f"<h1>Log in</h1><p role=alert>{escape(message)}</p>"
        '<form method="post" action="/login"><label>Login link from the terminal, or api-token '
        '<input name="token" type="password" autocomplete="off" required></label>'
        f'<input type="hidden" name="next" value="{next_page}"><button>Log in</button></form></html>'
    )
