"""The sum of a round of statistics through the product's own masks: devices commit, the servers take their masks off.

What devices, the aggregator and main compute is what they compute in earnest, with fresh keys and seeds; only the lines
between them are left out (``e2e`` tests and ``fanlight demo`` have those).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fanlight.core import ring
from fanlight.core.masks import subtract_masks, unmask_sum
from fanlight.core.packing import unpack
from fanlight.core.randomness import Keystream
from fanlight.core.segments import layout_length
from fanlight.protocol.contribution import Contribution, centre, check_sum, expected_layout, read_totals
from fanlight.protocol.device import Device
from fanlight.protocol.identities import Trust
from fanlight.protocol.manifest import SUITE, Manifest, Proposal, SignedManifest
from fanlight.protocol.plan import Kind, Plan
from fanlight.protocol.report import Envelope
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key, open_seed
from fanlight.protocol.statistics import Sums

_N_MAX = 1_000


def plan_of(head: str, features: int, classes: int) -> Plan:
    """The plan of a round of statistics."""
    return Plan(
        task="default",
        kind=Kind.STATISTICS.value,
        classes=tuple(f"class {number}" for number in range(classes)),
        backbone="idle",
        backbone_hash=bytes(32),
        features=features,
        picture_size=128,
        head=head,
        epochs=1,
        batch_size=1,
        learning_rate_micro=1,
        momentum_micro=0,
        l2_micro=0,
        patience=1,
        class_weights=False,
    )


@dataclass(frozen=True)
class Round:
    """One round, as it would be opened; nobody has signed it, for devices that are simulated here do not ask."""

    signed: SignedManifest
    manifest: Manifest
    main_key: X25519PrivateKey
    aggregator_key: X25519PrivateKey


def open_round(plan: Plan) -> Round:
    """A round of this plan with fresh keys."""
    main_key, aggregator_key = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    proposal = Proposal(
        fid=bytes(32),
        suite=SUITE,
        task=plan.task,
        round=1,
        attempt=0,
        kind=plan.kind,
        model=bytes(32),
        plan=plan.hash,
        layout=expected_layout(plan, _N_MAX, 1, with_counts=False),
        cohort=b"",
        n_max=_N_MAX,
        k_min=2,
        r_max_percent=10,
        window_s=3_600,
        demo=True,
        main_key=main_key.public_key().public_bytes_raw(),
        noise=0,
    )
    public = aggregator_key.public_key().public_bytes_raw()
    manifest = Manifest(proposal=proposal, aggregator_key=public, opened_at=1)
    signed = SignedManifest(payload=manifest.encode(), aggregator_signature=bytes(64), main_signature=bytes(64))
    return Round(signed, manifest, main_key, aggregator_key)


def summed(plan: Plan, everybody: Sequence[Sums]) -> Sums:
    """What main learns of the sums of these devices.

    Raises:
        RuntimeError: the sum does not pass main's checks.
    """
    told = open_round(plan)
    layout, mh = told.manifest.proposal.layout, told.signed.hash
    total, keys = ring.zeros(layout_length(layout), layout[0].bits), []
    for sums in everybody:
        identity = os.urandom(16)
        device = Device(Ed25519PrivateKey.generate(), identity, Trust(bytes(32), bytes(32), bytes(32)))
        supporters = sums.examples.reshape(plan.parts_of_sums, -1).sum(axis=0) > 0
        said = Contribution(sums.pictures, None, None, None, supporters, sums=sums)
        record, y = device.commit(told.signed, told.manifest, said, Keystream(os.urandom(32)), 1)
        sealed = Envelope.decode(record.envelope)
        seed = open_seed(sealed.sealed_aggregator, told.aggregator_key, MASK_AGGREGATOR, mh, identity)
        ring.add_into(total, unpack(y, layout))
        subtract_masks(total, [mask_key(seed, MASK_AGGREGATOR, mh, identity)])
        seed = open_seed(sealed.sealed_main, told.main_key, MASK_MAIN, mh, identity)
        keys.append(mask_key(seed, MASK_MAIN, mh, identity))
    unmask_sum(total, keys)
    numbers = centre(layout, total)
    reason = check_sum(layout, numbers, len(everybody))
    found = read_totals(layout, numbers, len(everybody)).sums
    if reason is not None or found is None:
        raise RuntimeError(f"the sum is not used: {reason}")
    return Sums(found.gram.astype(np.int64), found.class_sums.astype(np.int64), found.examples.astype(np.int64))
