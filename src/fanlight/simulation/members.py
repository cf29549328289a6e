"""A simulated federation: root, servers and devices, with keys that follow from the seed.

In earnest keys are drawn by whoever owns them, and nothing of a round could be foretold. Here everything is to be the
same in each run, but for the ephemeral keys of sealed seeds, on which no number depends.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fanlight.protocol import identities
from fanlight.protocol.aggregator import Aggregator
from fanlight.protocol.device import Device
from fanlight.protocol.identities import Member, Role, Trust
from fanlight.protocol.main_server import MainServer
from fanlight.protocol.manifest import SUITE, Proposal, cohort_hash
from fanlight.simulation.orders import Order
from fanlight.simulation.seeds import secret
from fanlight.simulation.study import K_MIN
from fanlight.simulation.vectors import Vectors

NOW = 1_000_000
"""Unix seconds, all along."""
_EXPIRES = 2_000_000
_WINDOW_S = 600


@dataclass(frozen=True)
class Members:
    """Everybody in a simulated federation.

    Attributes:
        seed: of the study.
        vectors: what travels.
        shards: into how many sums its rounds are drawn; 0 = one.
    """

    seed: int
    vectors: Vectors
    shards: int

    @functools.cached_property
    def trust(self) -> Trust:
        """The root's word on both servers."""
        root = self._key("root")
        certificates = [
            identities.issue_certificate(root, role, self._key(role.value).public_key().public_bytes_raw())
            for role in (Role.MAIN, Role.AGGREGATOR)
        ]
        return Trust.from_certificates(root.public_key().public_bytes_raw(), *certificates)

    @functools.cached_property
    def main(self) -> MainServer:
        """The main server's machine."""
        return MainServer(self._key(Role.MAIN.value), self.trust)

    @functools.cached_property
    def aggregator(self) -> Aggregator:
        """The aggregator's machine."""
        return Aggregator(self._key(Role.AGGREGATOR.value), self.trust)

    @functools.cache  # noqa: B019 as long as the study
    def member(self, number: int) -> Member:
        """Device ``number`` after its enrolment."""
        token = self._key("token", number)
        issued = identities.issue_token(
            self._key("root"), token.public_key().public_bytes_raw(), _EXPIRES, f"device-{number}"
        )
        enrolment = identities.enrol(self.trust.fid, issued, token, self._key("device", number))
        return identities.check_enrolment(self._key("root").public_key().public_bytes_raw(), enrolment, NOW)

    def device(self, number: int) -> Device:
        """Its machine."""
        return Device(self._key("device", number), self.member(number).device, self.trust)

    def round_key(self, role: Role, number: int) -> X25519PrivateKey:
        """A server's key of a round."""
        return X25519PrivateKey.from_private_bytes(secret(self.seed, f"round-key/{role.value}", number))

    def draw(self, number: int) -> bytes:
        """The secret that the aggregator draws a round's shards with."""
        return secret(self.seed, "draw", number)

    def proposal(self, order: Order, model: bytes, cohort: Sequence[int]) -> Proposal:
        """What main proposes for a round.

        Args:
            order: the round.
            model: SHA-256 of the model that it starts from.
            cohort: the devices that it is for.
        """
        plan = self.vectors.plan.of_kind(order.kind)
        ids = [self.member(number).device for number in cohort]
        return Proposal(
            fid=self.trust.fid,
            suite=SUITE,
            task=plan.task,
            round=order.round,
            attempt=0,
            kind=plan.kind,
            model=model,
            plan=plan.hash,
            layout=self.vectors.layout(order.kind, order.clip_micro),
            cohort=cohort_hash(ids),
            n_max=self.vectors.n_max,
            k_min=K_MIN,
            r_max_percent=0,
            window_s=_WINDOW_S,
            demo=True,
            main_key=self.round_key(Role.MAIN, order.round).public_key().public_bytes_raw(),
            noise=0,
            shards=self.shards or None,
        )

    def _key(self, *name: str | int) -> Ed25519PrivateKey:
        purpose, *numbers = name
        return Ed25519PrivateKey.from_private_bytes(secret(self.seed, f"key/{purpose}", *map(int, numbers)))
