"""Every error as an HTTP answer: one table, one shape, no details of unexpected failures.

JSON is ``{"error": {"slug", "message", "next"}}``; ``slug`` is stable and for machines, ``next`` says what to do and
may be empty.  Browsers get a page from the hook ``app.state.render_problem(request, problem) -> Response`` where the
consoles have set it.  The framework's own errors (404, 405, failed validation) come in the same shape.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanlight import errors

log = structlog.get_logger(__name__)

STATUS: Mapping[type[errors.FanlightError], int] = {
    errors.FanlightError: 500,
    errors.LocalError: 500,
    errors.SettingsError: 400,
    errors.UsageError: 400,
    errors.PictureError: 422,
    errors.DataError: 422,
    errors.ModelError: 422,
    errors.NotPossibleNow: 409,
    errors.Busy: 503,
    errors.StorageError: 500,
    errors.RemoteError: 400,
    errors.MalformedMessage: 400,
    errors.MessageTooLarge: 413,
    errors.NotAuthentic: 401,
    errors.NotEnrolled: 403,
    errors.Refused: 403,
    errors.Conflict: 409,
    errors.NotFound: 404,
    errors.Unreachable: 502,
}
_STATUS_OF_SLUG = {"disk-full": 507, "too-many-requests": 429, "unknown-host": 421, "too-slow": 408}
_FRAMEWORK = {
    404: ("not-found", "There is no such page or route here.", "Check the address, or begin at the start page."),
    405: (
        "method-not-allowed",
        "This route does not take requests of this kind.",
        "Open the page instead: its buttons send the right request.",
    ),
}

LOGIN_PATH = "/login"
LOGIN_REQUIRED = "login-required"


@dataclass(frozen=True)
class Problem:
    """An error as it goes out.

    Attributes:
        status: of HTTP.
        slug: stable. message, next: for people; ``next`` may be empty.
        retry_after_s: when to come back, in seconds, where the server knows.
    """

    status: int
    slug: str
    message: str
    next: str = ""
    retry_after_s: float | None = None


RenderProblem = Callable[[Request, Problem], Response]


def status_of(error: errors.FanlightError) -> int:
    """The HTTP status of ``error``: by its slug where that is more exact, else by its nearest class in the table."""
    if error.slug in _STATUS_OF_SLUG:
        return _STATUS_OF_SLUG[error.slug]
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def as_problem(error: Exception) -> Problem:
    """``error`` as a problem; an unexpected one gets a reference that is logged with it, and gives away nothing."""
    if isinstance(error, errors.FanlightError):
        return Problem(status_of(error), error.slug, error.message, error.next, error.retry_after_s)
    reference = secrets.token_hex(4)
    log.error("unexpected error", reference=reference, exc_info=error)
    return Problem(
        500, "unexpected-error", f"Something went wrong here (reference {reference}).", "The log has the details."
    )


def problem_body(problem: Problem) -> dict[str, dict[str, str]]:
    """The JSON body of ``problem``."""
    return {"error": {"slug": problem.slug, "message": problem.message, "next": problem.next}}


def wants_html(request: Request) -> bool:
    """Whether a person's browser navigates (its ``Accept`` names HTML), rather than a program or a script asking."""
    return "text/html" in request.headers.get("accept", "").lower()


def respond(request: Request, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for ``problem``: a page or the way to the login for browsers, JSON otherwise."""
    extra = dict(headers or {})
    if problem.status == 401:
        extra["WWW-Authenticate"] = 'Bearer realm="fanlight"'  # RFC 9110, section 15.5.2: a 401 must name a scheme
    if problem.retry_after_s is not None:
        extra["Retry-After"] = str(math.ceil(problem.retry_after_s))
    if wants_html(request):
        if problem.slug == LOGIN_REQUIRED:
            return RedirectResponse(_login_url(request), status_code=303)
        render: RenderProblem | None = (
            getattr(request.app.state, "render_problem", None) if "app" in request.scope else None
        )
        if render is not None:
            page = render(request, problem)
            page.headers.update(extra)
            return page
    return JSONResponse(problem_body(problem), status_code=problem.status, headers=extra)


def _login_url(request: Request) -> str:
    """The way to the login, and from there back to where the browser was: a form has to be sent again."""
    address = str(request.url) if request.method == "GET" else request.headers.get("referer", "")
    try:
        here = urlsplit(address)
    except ValueError:
        return LOGIN_PATH
    if here.netloc != request.headers.get("host"):
        return LOGIN_PATH
    place = f"{here.path}?{here.query}" if here.query else here.path
    return f"{LOGIN_PATH}?next={quote(place, safe='/')}"


async def _on_fanlight_error(request: Request, error: Exception) -> Response:
    return respond(request, as_problem(error))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    slug, message, todo = _FRAMEWORK.get(error.status_code, ("bad-request", str(error.detail), ""))
    return respond(request, Problem(error.status_code, slug, message, todo), error.headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    if wants_html(request):  # whoever looks at a page has not written the request; what a validator says is for those
        what = ", ".join(f"“{item['loc'][-1]}”" for item in error.errors())
        message = f"The address or the form has a value that cannot be: {what}."
        return respond(request, Problem(400, "malformed-message", message, "Go back, and choose on the page."))
    where = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
    todo = "Correct what is named, and send it again."
    return respond(request, Problem(400, "malformed-message", f"The request is not valid: {where}.", todo))


class UnexpectedErrors:
    """ASGI middleware: whatever nobody handled becomes a 500 with a reference, and the process goes on."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application, and answer for it if it fails."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            if started:  # half an answer is out: only closing the connection tells the client
                raise
            await respond(Request(scope), as_problem(error))(scope, receive, send)


def install_problems(app: FastAPI) -> None:
    """Give every error of ``app`` the one shape.  Call it before adding other middleware (which then wraps it)."""
    app.add_exception_handler(errors.FanlightError, _on_fanlight_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_middleware(UnexpectedErrors)
