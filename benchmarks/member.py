"""A device without pictures and without a process: the protocol's device and the device's own HTTP client."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.core.ring import to_bytes
from fanlight.errors import NotFound, RemoteError
from fanlight.learning import backbones
from fanlight.learning.model_file import MAX_MODEL_BYTES
from fanlight.protocol import identities
from fanlight.protocol.contribution import Contribution, Measured
from fanlight.protocol.device import Device
from fanlight.protocol.device_round import Floors, History, Record
from fanlight.protocol.digests import device_id
from fanlight.protocol.exchange import Offer
from fanlight.protocol.manifest import MOST_REJECTED_PERCENT, Manifest, SignedManifest
from fanlight.protocol.plan import Kind, Plan
from fanlight.protocol.report import Envelope
from fanlight.protocol.signing import raw_public_key
from fanlight.services.device.client import AggregatorClient, MainClient
from fanlight.services.device.wishes import HEADS
from fanlight.services.federation import read_token
from fanlight.services.http.remote import Remote
from fanlight.storage.blobs import BlobFolder

_ANSWERS_PER_DAY: Final = 100_000
_MOMENT_S: Final = 0.01
_EXAMPLES: Final = 100
_MEMORY: Final = Path("/dev/shm")  # noqa: S108 where members keep the model: each would have a disk of its own
_FRESH: Final = 4096  # random numbers of an update, which repeat themselves: they are to cost next to nothing


class _Counted(httpx.BaseTransport):
    """A transport whose requests are counted."""

    def __init__(self, transport: httpx.BaseTransport, count: Callable[[httpx.Request], None]) -> None:
        self._transport = transport
        self._count = count

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Hand it on."""
        self._count(request)
        return self._transport.handle_request(request)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()


class Member:
    """One device of a federation.

    Args:
        token: its file from the federation's owner.

    Attributes:
        sent_bytes: of all its requests so far, heads and bodies, as they go to the socket.
    """

    def __init__(self, token: Path) -> None:
        self._token, private = read_token(token), Ed25519PrivateKey.generate()
        self._private = private
        trust = self._token.trust
        self._device = Device(private, device_id(trust.fid, raw_public_key(private)), trust)
        key_id = self._device.device.hex()
        self._remotes = [
            Remote(title, url, key_id=key_id, private=private, clock=time.time)
            for title, url in (("Main", self._token.main_url), ("The aggregator", self._token.aggregator_url))
        ]
        self._main, self._aggregator = MainClient(self._remotes[0], trust), AggregatorClient(self._remotes[1])
        self.sent_bytes = 0
        for remote in self._remotes:
            remote.wire.transport = _Counted(remote.wire.transport, self._count)

    def enrol(self) -> None:
        """Join at both servers."""
        token = self._token
        message = identities.enrol(token.trust.fid, token.certificate, token.private, self._private)
        for server in (self._main, self._aggregator):
            server.enrol(message, self._private)

    def report(self) -> None:
        """Fetch the model, check the open round, and report in it: a random update, and every picture right."""
        offer = self.fetch()
        record, y = answer(self._device, offer, _contribution)
        envelope, data = Envelope.decode(record.envelope), io.BytesIO(to_bytes(y))
        receipt = None
        while receipt is None:
            try:
                receipt = self._aggregator.upload(
                    record.mh, self._device.device, envelope, data, record.length, record.chunks
                )
            except RemoteError as error:
                if error.slug != "round-not-open-yet":  # main's answer is still on its way to the aggregator
                    raise
                time.sleep(_MOMENT_S)
        record = self._device.take_receipt(record, receipt)
        self._main.beacon(record.mh, record.receipt)

    def fetch(self) -> Offer:
        """Ask what main has for this device, and fetch the model; what it has."""
        offer = self._main.offer()
        self._fetch(offer.model)
        return offer

    def _count(self, request: httpx.Request) -> None:
        line = f"{request.method} {request.url.raw_path.decode()} HTTP/1.1\r\n\r\n"
        fields = sum(len(name) + len(value) + len(": \r\n") for name, value in request.headers.raw)
        self.sent_bytes += len(line) + fields + int(request.headers.get("content-length", 0))

    def _fetch(self, sha256: bytes) -> None:
        with (
            tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder,
            BlobFolder(Path(folder)).unfinished(sha256.hex(), 0, MAX_MODEL_BYTES) as begun,
        ):
            self._main.model(sha256, begun)
        self._main.offer(have=sha256)

    def close(self) -> None:
        """Close its connections."""
        for remote in self._remotes:
            remote.close()


def answer(
    device: Device, offer: Offer, contribute: Callable[[Plan, Manifest], Contribution]
) -> tuple[Record, NDArray[np.uint32]]:
    """A device's report in the round of ``offer``, checked as in earnest: the record and y, (words,) uint32.

    Raises:
        NotFound: no round is open for this device.
    """
    if offer.manifest is None:
        raise NotFound("No round is open for this device.")
    signed = SignedManifest.decode(offer.manifest)
    plan = Plan.decode(offer.plan).of_kind(Kind(Manifest.decode(signed.payload).proposal.kind))
    now = int(time.time())
    floors = Floors(
        k_min=2,
        accept_demo=True,
        answers_per_day=_ANSWERS_PER_DAY,
        r_max_percent=MOST_REJECTED_PERCENT,
        backbones=_registered(),
        heads=HEADS,
    )
    manifest = device.check_manifest(signed, plan, offer.model, offer.invitation, floors, History({}, 0), now)
    return device.commit(signed, manifest, contribute(plan, manifest), Keystream(os.urandom(32)), now)


def _registered() -> dict[str, bytes]:
    """All backbones as of now, the stand-in too, whatever was imported before it was registered."""
    return {entry.id: bytes.fromhex(entry.compiled_sha256) for entry in backbones.BACKBONES.values()}


def _contribution(plan: Plan, _manifest: Manifest) -> Contribution:
    classes = len(plan.classes)
    right = Measured(np.diag(np.full(classes, 5, np.int64)), 1.0)
    update = (
        np.resize(np.random.default_rng().normal(0.0, 1e-4, _FRESH), plan.parameters)
        if plan.kind == Kind.TRAIN
        else None
    )
    return Contribution(_EXAMPLES, update, right, right, np.ones(classes, np.bool_))
