"""A large report against an aggregator that says strange things about what it has."""

from __future__ import annotations

import io

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import MalformedMessage
from fanlight.protocol.digests import VECTOR_CHUNK_BYTES
from fanlight.protocol.report import Envelope, body_prefix
from fanlight.services.device.client import AggregatorClient
from fanlight.services.http.remote import Remote

ENVELOPE = Envelope(header=b"signed", sealed_main=bytes(80), sealed_aggregator=bytes(80))
Y = bytes(range(256)) * (VECTOR_CHUNK_BYTES // 128)
HASHES = 2 * 32


def upload(offset: str | None, receipt: bytes = b"", chunks: bytes = b"") -> tuple[bytes, list[httpx.Request]]:
    """The receipt, and what was asked, if the aggregator says that it has ``offset`` bytes."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        request.read()
        if request.method == "PATCH":
            return httpx.Response(200, stream=httpx.ByteStream(b"receipt"))
        headers = {} if offset is None else {"Upload-Offset": offset}
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(receipt))

    remote = Remote(
        "The aggregator",
        "http://aggregator.test",
        key_id="device",
        private=Ed25519PrivateKey.generate(),
        clock=lambda: 0.0,
        transport=httpx.MockTransport(answer),
    )
    client, data = AggregatorClient(remote), io.BytesIO(Y)
    return client.upload(bytes(32), bytes(16), ENVELOPE, data, len(Y) // 4, chunks), seen


@pytest.mark.parametrize("start", [0, VECTOR_CHUNK_BYTES, len(Y)])
def test_it_goes_on_where_the_aggregator_says(start: int) -> None:
    receipt, (asked, sent) = upload(str(start))
    assert receipt == b"receipt"
    front = asked.content
    assert front.startswith(body_prefix(ENVELOPE))
    assert len(front) == len(body_prefix(ENVELOPE)) + HASHES
    assert sent.content == front + Y[start:]
    assert sent.headers["Upload-Offset"] == str(start)
    assert not {"signature", "signature-input"} & {*asked.headers, *sent.headers}, "the report's own signature serves"


def test_hashes_that_were_kept_are_not_worked_out_again() -> None:
    _, with_theirs = upload("0", chunks=b"kept".ljust(HASHES))
    assert [
        request.content[-HASHES - len(rest) :][:HASHES] for request, rest in zip(with_theirs, (b"", Y), strict=True)
    ] == [b"kept".ljust(HASHES)] * 2


def test_what_is_there_already_is_not_sent_again() -> None:
    receipt, seen = upload(None, b"receipt of an earlier try")
    assert receipt == b"receipt of an earlier try"
    assert [request.method for request in seen] == ["POST"]


@pytest.mark.parametrize("offset", [None, "", "-1", "x", str(len(Y) + 1), "9" * 40, "1.0"])
def test_an_offset_that_is_none_is_refused(offset: str | None) -> None:
    with pytest.raises(MalformedMessage) as error:
        upload(offset)
    assert error.value.slug == "bad-offset"
