"""Inside a process under test: what it was told by the servers, and what it was about to say under its masks.

``Remote`` is the one way out of a process, so whatever a server has acknowledged passes here: the harness can ask later
whether it still holds.  A device's vector before its masks is kept in a file of its own, so that the harness can add up
what no process ever hands out.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np

from fanlight.core import ring
from fanlight.core.segments import Segment
from fanlight.protocol import contribution
from fanlight.protocol import device as device_protocol
from fanlight.protocol.report import Envelope
from fanlight.services.device.client import AggregatorClient
from fanlight.services.http.remote import Remote
from tests.crash.points import Events

MOST_BYTES: Final = 1 << 17
"""Of longer bodies only the beginning and the hash are kept."""


def hear_servers(events: Events) -> None:
    """Keep every request with a body, every answer that is no error, and what was signed to get it."""
    answer, send = Remote._answer, Remote.send

    def heard(remote: Remote, response: httpx.Response, body: bytes) -> bytes:
        taken = answer(remote, response, body)
        request = response.request
        events.say("answer", method=request.method, path=request.url.path, **_shown(body))
        if request.method == "POST":
            headers = list(request.headers.items())
            events.say("signed", url=str(request.url), headers=headers, body=request.content.hex())
        return taken

    def sent(remote: Remote, method: str, path: str, **options: Any) -> bytes:
        if method == "POST":  # a release comes in pieces; of reports, ``upload`` tells
            options["content"] = content = b"".join(_pieces(options.get("content", b"")))
            if content:
                events.say("request", method=method, path=path, **_shown(content))
        return send(remote, method, path, **options)

    upload = AggregatorClient.upload

    def uploaded(client: AggregatorClient, mh: bytes, device: bytes, envelope: Envelope, *more: Any) -> bytes:
        events.say("upload", mh=mh.hex(), report=envelope.report_id.hex())
        return upload(client, mh, device, envelope, *more)

    _put(Remote, "_answer", heard)
    _put(Remote, "send", sent)
    _put(AggregatorClient, "upload", uploaded)


def keep_vectors(folder: Path) -> None:
    """Keep each report's vector before masking, as ``REPORT.npy``; a ``Device`` builds it in one thread."""
    encode, commit = contribution.encode, device_protocol.Device.commit
    built = threading.local()

    def encoded(layout: Sequence[Segment], *arguments: Any) -> Any:
        vector = encode(layout, *arguments)
        built.plain = ring.centre(vector.copy())
        return vector

    def committed(device: device_protocol.Device, *arguments: Any) -> Any:
        record, y = commit(device, *arguments)
        np.save(folder / f"{Envelope.decode(record.envelope).report_id.hex()}.npy", built.plain)
        return record, y

    _put(device_protocol, "encode", encoded)
    _put(device_protocol.Device, "commit", committed)


def _put(where: Any, name: str, replacement: Callable[..., Any]) -> None:
    setattr(where, name, replacement)


def _pieces(content: bytes | Iterator[bytes]) -> Iterator[bytes]:
    return iter([content]) if isinstance(content, bytes) else content


def _shown(body: bytes) -> dict[str, Any]:
    return {"body": body[:MOST_BYTES].hex(), "sha256": hashlib.sha256(body).hexdigest()}
