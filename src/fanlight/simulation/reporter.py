"""A device's report, where the protocol is run: its own machine checks the manifest, masks, seals, signs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType

from fanlight.core.packing import unpack
from fanlight.core.randomness import Keystream
from fanlight.learning.heads import HeadKind
from fanlight.protocol.contribution import Contribution
from fanlight.protocol.device_round import Floors, History
from fanlight.protocol.manifest import SignedManifest
from fanlight.simulation.learners import Published
from fanlight.simulation.members import NOW, Members
from fanlight.simulation.orders import Order, Words
from fanlight.simulation.study import K_MIN


@dataclass(frozen=True)
class Reporter:
    """Makes reports of contributions.

    Attributes:
        members: the federation.
    """

    members: Members

    def report(
        self, order: Order, published: Published, device: int, contribution: Contribution, stream: Keystream
    ) -> tuple[Words, str]:
        """The masked vector, as the aggregator adds it up, and the device's record, hexadecimal.

        Raises:
            NotAuthentic, Refused: a device would not answer such a manifest.
        """
        plan, machine = self.members.vectors.plan.of_kind(order.kind), self.members.device(device)
        signed = SignedManifest.decode(bytes.fromhex(order.manifest))
        floors = Floors(
            k_min=K_MIN,
            accept_demo=True,
            answers_per_day=1,
            r_max_percent=0,
            backbones=MappingProxyType({plan.backbone: plan.backbone_hash}),
            heads=frozenset(HeadKind),
        )
        invitation = bytes.fromhex(order.invitations[device])
        history = History(MappingProxyType({}), 0)
        manifest = machine.check_manifest(signed, plan, model_hash(published), invitation, floors, history, NOW)
        record, y = machine.commit(signed, manifest, contribution, stream, NOW)
        return unpack(y, manifest.proposal.layout), record.encode().hex()


def model_hash(published: Published) -> bytes:
    """What a manifest names the model by that devices get, 32 bytes."""
    digest = hashlib.sha256(published.parameters.tobytes())
    for name in sorted(published.memory):
        digest.update(published.memory[name].tobytes())
    return digest.digest()
