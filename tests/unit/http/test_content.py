"""Content by its hash: whole, in part, or not again."""

from __future__ import annotations

import hashlib

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from fanlight.services.http.content import content_response, etag_of

CONTENT = bytes(range(100))
SHA256 = hashlib.sha256(CONTENT).digest()
TAG = etag_of(SHA256)


async def _endpoint(request: Request) -> Response:
    return content_response(request, CONTENT, SHA256, "model.bin")


CLIENT = TestClient(Starlette(routes=[Route("/", _endpoint)]))


def test_the_whole_says_what_it_is_and_that_parts_can_be_had() -> None:
    answer = CLIENT.get("/")
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (200, CONTENT, TAG)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="model.bin"'


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-", 0, 100),
        ("bytes=40-", 40, 100),
        ("bytes=40-49", 40, 50),
        ("bytes=99-99", 99, 100),
        ("bytes=40-1000", 40, 100),
        ("bytes=-10", 90, 100),
        ("bytes=-1000", 0, 100),
    ],
)
@pytest.mark.parametrize("unless_changed", [True, False])
def test_a_range(asked: str, start: int, stop: int, *, unless_changed: bool) -> None:
    headers = {"Range": asked} | ({"If-Range": TAG} if unless_changed else {})
    answer = CLIENT.get("/", headers=headers)
    assert (answer.status_code, answer.content) == (206, CONTENT[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/100"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0", f"bytes={10**17}-"])
def test_a_range_that_there_is_not(asked: str) -> None:
    answer = CLIENT.get("/", headers={"Range": asked})
    assert (answer.status_code, answer.content, answer.headers["Content-Range"]) == (416, b"", "bytes */100")


@pytest.mark.parametrize(
    "asked", ["bytes=-", "bytes=9-5", "bytes=0-1,5-6", "words=0-1", "bytes=x-", "", "bytes=" + "9" * 30 + "-"]
)
def test_what_is_no_single_range_gets_all(asked: str) -> None:
    answer = CLIENT.get("/", headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("other", ['"another"', f"W/{TAG}", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_the_range_of_another_content_gets_all(other: str) -> None:
    answer = CLIENT.get("/", headers={"Range": "bytes=40-", "If-Range": other})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("known", [TAG, f"W/{TAG}", f'"another", {TAG}', "*"])
def test_what_the_asker_has_is_not_sent_again(known: str) -> None:
    answer = CLIENT.get("/", headers={"If-None-Match": known, "Range": "bytes=1-"})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", TAG)


def test_what_the_asker_has_not_is_sent() -> None:
    assert CLIENT.get("/", headers={"If-None-Match": '"another"'}).content == CONTENT
