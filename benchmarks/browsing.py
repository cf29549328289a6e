"""A browser as far as times and sizes of pages go: logged in, with one connection, and a memory of what it fetched."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from types import TracebackType
from typing import Final, Self
from urllib.parse import urldefrag, urlencode

from fanlight.cli.owner_client import OwnerClient

_ACCEPTS: Final = {"Accept": "text/html,*/*", "Accept-Encoding": "gzip, deflate, br"}
_TIMEOUT_S: Final = 60
_SECRET: Final = re.compile(r'name="csrf" value="([^"]*)"')
_CONSTANT: Final = re.compile(r"""const\s+(\w+)\s*=\s*["'](/static/[^"']*)["']""")
_FILE: Final = re.compile(r"""["'`(]((?:/static/|\$\{\w+\})[^"'`()\s]*\.(?:js|css))["'`)]""")


@dataclass(frozen=True)
class Answer:
    """One answer: status, body as it travelled, its entity tag and type, and the milliseconds to its last byte."""

    status: int
    body: bytes
    etag: str
    type: str
    ms: float


@dataclass(frozen=True)
class Visit:
    """The first visit of a page: milliseconds to its last byte; bytes of the page, and with scripts and styles."""

    ms: float
    html: int
    whole: int


class Browser:
    """Logged in at one role.

    Args:
        client: of the role, to ask for the login link.
    """

    def __init__(self, client: OwnerClient) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=_TIMEOUT_S)
        self._headers = dict(_ACCEPTS)
        self._files: dict[str, Answer] = {}
        self._of_page: dict[str, list[str]] = {}
        self._log_in(client.login_link())

    def __enter__(self) -> Self:
        """It is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._connection.close()

    def visit(self, address: str) -> Visit:
        """Open a page with an empty cache.

        Raises:
            SystemExit: it is no page.
        """
        answer = self.fetch(address)
        names = _linked(answer.body.decode())
        wanted: list[str] = []
        while names:
            name = names.pop(0)
            if name not in wanted:
                wanted.append(name)
                names += _named_in(self._file(name).body.decode())
        self._of_page[address] = wanted
        return Visit(answer.ms, len(answer.body), len(answer.body) + sum(len(self._file(name).body) for name in wanted))

    def visit_again(self, address: str) -> int:
        """Bytes of bodies that the page costs a browser that has been there before."""
        page = len(self.fetch(address).body)
        return page + sum(len(self._ask(name, self._files[name].etag).body) for name in self._of_page[address])

    def fetch(self, address: str) -> Answer:
        """Only the page.

        Raises:
            SystemExit: it is no page.
        """
        answer = self._ask(address)
        if answer.status != http.client.OK or not answer.type.startswith("text/html"):
            said = " ".join(re.sub(r"<[^>]*>", " ", answer.body.decode(errors="replace")).split())
            raise SystemExit(
                f"{self._connection.port}{address} is no page: {answer.status} {answer.type}: {said[:600]}"
            )
        return answer

    def press(self, page: str, button: str, fields: Mapping[str, str]) -> Answer:
        """Send a form of ``page`` to ``button``, and fetch the page that this leads to; the time is that of both.

        Raises:
            SystemExit: the button leads to no page.
        """
        found = _SECRET.search(self.fetch(page).body.decode())
        body = urlencode({"csrf": found[1] if found else "", **fields})
        headers = self._headers | {"Content-Type": "application/x-www-form-urlencoded"}
        began = time.perf_counter()
        self._connection.request("POST", button, body, headers)
        answer = self._connection.getresponse()
        answer.read()
        pressed_ms = (time.perf_counter() - began) * 1000
        shown = self.fetch(urldefrag(answer.getheader("Location", "/no-page")).url)
        return replace(shown, ms=pressed_ms + shown.ms)

    def _file(self, name: str) -> Answer:
        if name not in self._files:
            self._files[name] = self._ask(name)
            if self._files[name].status != http.client.OK:
                raise SystemExit(f"a page names {name}, which is not there ({self._files[name].status})")
        return self._files[name]

    def _ask(self, address: str, etag: str = "") -> Answer:
        headers = self._headers | ({"If-None-Match": etag} if etag else {})
        began = time.perf_counter()
        self._connection.request("GET", address, headers=headers)
        answer = self._connection.getresponse()
        body = answer.read()
        ms = (time.perf_counter() - began) * 1000
        return Answer(answer.status, body, answer.getheader("ETag", ""), answer.getheader("Content-Type", ""), ms)

    def _log_in(self, link: str) -> None:
        self._connection.request("GET", link[link.index("/login") :], headers=self._headers)
        answer = self._connection.getresponse()
        answer.read()
        self._headers["Cookie"] = answer.getheader("Set-Cookie", "").partition(";")[0]


class _Links(HTMLParser):
    """Scripts and style sheets of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element loads."""
        given = dict(attrs)
        if tag == "script" and given.get("src"):
            self.found.append(str(given["src"]))
        if tag == "link" and given.get("rel") in ("stylesheet", "modulepreload"):
            self.found.append(str(given["href"]))


def _linked(html: str) -> list[str]:
    links = _Links()
    links.feed(html)
    return links.found


def _named_in(text: str) -> list[str]:
    """Files that a script or style sheet names, with constants of the script put in."""
    constants = dict(_CONSTANT.findall(text))
    return [re.sub(r"\$\{(\w+)\}", lambda match: constants.get(match[1], ""), name) for name in _FILE.findall(text)]
