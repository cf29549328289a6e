"""Thousands of devices that exist only as keys: enrolled in the servers' stores, with reports whose sum is known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from sqlalchemy import update

from benchmarks.member import answer
from fanlight.learning import model_file
from fanlight.learning.heads import head_layout
from fanlight.protocol import identities
from fanlight.protocol.contribution import W_MAX, Contribution, Measured
from fanlight.protocol.device import Device
from fanlight.protocol.digests import device_id
from fanlight.protocol.exchange import Enrolments, Offer
from fanlight.protocol.identities import Trust
from fanlight.protocol.manifest import Manifest
from fanlight.protocol.plan import Plan
from fanlight.protocol.report import Envelope, body_prefix
from fanlight.protocol.signing import raw_public_key
from fanlight.services.aggregator.app import create_app as create_aggregator
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.main_server.app import create_app as create_main
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.storage.tables.aggregator import devices

_DAY_S = 86_400
_ENROLMENTS_AT_ONCE = 256


@dataclass(frozen=True)
class Someone:
    """A device: its number from 0, its key, and its part of the protocol."""

    number: int
    private: Ed25519PrivateKey
    device: Device

    @property
    def key_id(self) -> str:
        """What its requests name it by."""
        return self.device.device.hex()


@dataclass(frozen=True)
class Report:
    """A whole upload's body, and the round that it is for."""

    mh: bytes
    body: bytes


def enrol_crowd(federation: Path, count: int) -> list[Someone]:
    """Make ``count`` members at both servers, which do not run yet; ``federation`` is the folder of ``init``."""
    root = Ed25519PrivateKey.from_private_bytes(bytes.fromhex((federation / "root" / "root.key").read_text().strip()))
    _, main = create_main(MainServerSettings(state=federation / "main"))
    _, aggregator = create_aggregator(AggregatorSettings(state=federation / "aggregator"))
    trust, now, crowd, messages = main.service.identity.trust, int(time.time()), [], []
    try:
        for number in range(count):
            someone, message = _join(root, trust, number, now)
            main.service.membership.enrol(message, now)
            aggregator.service.membership.enrol(message, now)
            crowd.append(someone)
            messages.append(message)
        for start in range(0, count, _ENROLMENTS_AT_ONCE):
            some = tuple(messages[start : start + _ENROLMENTS_AT_ONCE])
            main.service.take_enrolments(Enrolments(enrolments=some).encode())
        with aggregator.service.database.transaction() as tx:
            tx.execute(update(devices).values(told_main=True))
    finally:
        main.service.close()
        aggregator.service.close()
    return crowd


def _join(root: Ed25519PrivateKey, trust: Trust, number: int, now: int) -> tuple[Someone, bytes]:
    token, private = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    certificate = identities.issue_token(root, raw_public_key(token), now + _DAY_S, f"Doorbell {number}")
    message = identities.enrol(trust.fid, certificate, token, private)
    return Someone(number, private, Device(private, device_id(trust.fid, raw_public_key(private)), trust)), message


# -- reports, and what they add up to


def prepare(someone: Someone, offer: Offer) -> Report:
    """The report of ``someone`` in the round of ``offer``: steps of the update that depend on who reports."""
    record, y = answer(someone.device, offer, partial(_contribution, someone.number))
    return Report(record.mh, body_prefix(Envelope.decode(record.envelope)) + y.astype("<u4").tobytes())


def missing_words(file: bytes, crowd: Sequence[Someone], manifest: Manifest) -> int:
    """In how many parameters the published model is not exactly what these reports add up to, from a model of zeros.

    Args:
        file: the model's file.
        crowd: who has reported.
        manifest: of the round.
    """
    model = model_file.decode(file)
    layout = head_layout(*model.weight.shape)
    found = layout.flatten({"head.weight": model.weight, "head.bias": model.bias})
    weight = sum(_examples(someone.number) for someone in crowd)
    steps = np.rint(found.astype(np.float64) * weight / _unit(manifest))
    expected = sum((_steps(someone.number, found.size) for someone in crowd), np.zeros(found.size, np.int64))
    return int((steps != expected).sum())


def _contribution(number: int, plan: Plan, manifest: Manifest) -> Contribution:
    """Its update times its weight is a whole number of steps, so that rounding leaves nothing to chance."""
    classes, examples = len(plan.classes), _examples(number)
    update: NDArray[np.float64] = _steps(number, plan.parameters).astype(np.float64) * (_unit(manifest) / examples)
    right = Measured(np.diag(np.full(classes, 5, np.int64)), 1.0)
    return Contribution(examples, update, right, right, np.ones(classes, np.bool_))


def _examples(number: int) -> int:
    return 100 + number % 50


def _steps(number: int, parameters: int) -> NDArray[np.int64]:
    """(parameters,) integers from -3 to 3, another pattern for everybody."""
    return np.random.default_rng(number).integers(-3, 4, parameters)


def _unit(manifest: Manifest) -> float:
    """One step of a weighted update, times the weight's unit."""
    update = next(segment for segment in manifest.proposal.layout if segment.kind == "update")
    return W_MAX * update.scale_denominator / update.scale_numerator
