"""What a device computes for a report: clipping, quantising, two masks and hashing, against one pass of each cipher.

The product's own ``Device.commit`` is timed, from a real update to the signed report; the other side is one AES-256-CTR
pass and one SHA-256 pass over as many bytes as the report has, in pieces that stay in the cache.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from benchmarks.masked_rounds import Size
from fanlight.core.randomness import Keystream
from fanlight.protocol.contribution import Contribution, Measured, expected_layout
from fanlight.protocol.device import Device
from fanlight.protocol.identities import Trust
from fanlight.protocol.manifest import SUITE, Manifest, Proposal, SignedManifest
from fanlight.protocol.plan import Kind, Plan

_PIECE_BYTES = 1 << 19
_CLIP_MICRO = 10_000_000
_N_MAX = 1_000


def report_seconds(parameters: int, repeat: int, update_bits: int = 0) -> float:
    """Of the fastest of ``repeat`` reports."""
    size = Size(2, parameters)
    signed, manifest, plan = _round(size, update_bits)
    device = Device(Ed25519PrivateKey.generate(), bytes(16), Trust(bytes(32), bytes(32), bytes(32)))
    classes = len(plan.classes)
    right = Measured(np.diag(np.full(classes, 5, np.int64)), 1.0)
    update = np.random.default_rng().normal(0.0, 1e-4, parameters)
    said = Contribution(100, update, right, right, np.ones(classes, np.bool_))
    return _fastest(lambda: device.commit(signed, manifest, said, Keystream(os.urandom(32)), 0), repeat)


def passes_seconds(words: int, repeat: int) -> tuple[float, float]:
    """Of one pass of AES-256-CTR, and of SHA-256, over so many 32-bit words; the fastest of ``repeat`` each."""
    zeros, out = memoryview(bytes(4 * words)), memoryview(bytearray(4 * words))

    def encrypt() -> None:
        encryptor = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(bytes(16))).encryptor()
        for start in range(0, len(zeros), _PIECE_BYTES):
            encryptor.update_into(zeros[start : start + _PIECE_BYTES], out[start : start + _PIECE_BYTES])

    return _fastest(encrypt, repeat), _fastest(lambda: hashlib.sha256(out).digest(), repeat)


def _fastest(work: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _round(size: Size, update_bits: int) -> tuple[SignedManifest, Manifest, Plan]:
    """A round as it would be opened; nobody has signed it."""
    plan = Plan(
        task="default",
        kind=Kind.TRAIN.value,
        classes=tuple(f"class {number}" for number in range(size.classes)),
        backbone="idle",
        backbone_hash=bytes(32),
        features=size.features,
        picture_size=128,
        head="softmax",
        epochs=1,
        batch_size=1,
        learning_rate_micro=1,
        momentum_micro=0,
        l2_micro=0,
        patience=1,
        class_weights=False,
    )
    proposal = Proposal(
        fid=bytes(32),
        suite=SUITE,
        task=plan.task,
        round=1,
        attempt=0,
        kind=plan.kind,
        model=bytes(32),
        plan=plan.hash,
        layout=expected_layout(plan, _N_MAX, _CLIP_MICRO, with_counts=True, update_bits=update_bits),
        cohort=b"",
        n_max=_N_MAX,
        k_min=2,
        r_max_percent=10,
        window_s=3_600,
        demo=True,
        main_key=X25519PrivateKey.generate().public_key().public_bytes_raw(),
        noise=0,
    )
    aggregator_key = X25519PrivateKey.generate().public_key().public_bytes_raw()
    manifest = Manifest(proposal=proposal, aggregator_key=aggregator_key, opened_at=1)
    signed = SignedManifest(payload=manifest.encode(), aggregator_signature=bytes(64), main_signature=bytes(64))
    return signed, manifest, plan
