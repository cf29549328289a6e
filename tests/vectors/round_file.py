"""A file of a whole round, as Fanlight's own objects: who takes part, with what, and what each has to say."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fanlight.core.segments import Segment
from fanlight.protocol import identities
from fanlight.protocol.aggregator import Aggregator
from fanlight.protocol.contribution import Contribution, Measured
from fanlight.protocol.device import Device
from fanlight.protocol.identities import Member, Trust
from fanlight.protocol.main_server import MainServer
from fanlight.protocol.manifest import SignedManifest
from fanlight.protocol.plan import Plan
from tests.vectors.files import load


def signing_key(secret: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(secret)


def round_key(secret: bytes) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(secret)


@dataclass(frozen=True)
class File:
    """A round's file, and the parties that it describes."""

    name: str

    @cached_property
    def given(self) -> dict[str, dict[str, Any]]:
        given = {name: dict(case.given) for name, case in load(f"v1/{self.name}").items()}
        for fields in given.values():
            fields |= {name: fields[name][0] for name in ("received_loss", "local_loss") if name in fields}
        return given

    @cached_property
    def expected(self) -> dict[str, dict[str, Any]]:
        return {name: case.expected for name, case in load(f"v1/{self.name}").items()}

    @cached_property
    def trust(self) -> Trust:
        said = self.expected["federation"]
        return Trust(*(said[f"{name}_key"] for name in ("root", "main", "aggregator")))

    @cached_property
    def main(self) -> MainServer:
        return MainServer(signing_key(self.given["federation"]["main_secret"]), self.trust)

    @cached_property
    def aggregator(self) -> Aggregator:
        return Aggregator(signing_key(self.given["federation"]["aggregator_secret"]), self.trust)

    @property
    def numbers(self) -> list[str]:
        return [name.removeprefix("device ") for name in self.expected if name.startswith("device ")]

    @cached_property
    def members(self) -> dict[bytes, Member]:
        """As both servers take them from the enrolments in the file."""
        now = self.given["manifest"]["opened_at"]
        data = (self.expected[f"device {number}"]["enrolment"] for number in self.numbers)
        members = (identities.check_enrolment(self.trust.root_key, enrolment, now) for enrolment in data)
        return {member.device: member for member in members}

    @property
    def plan(self) -> Plan:
        return Plan.decode(self.expected["plan"]["plan"])

    @property
    def mh(self) -> bytes:
        mh: bytes = self.expected["manifest"]["mh"]
        return mh

    @property
    def layout(self) -> list[Segment]:
        return [Segment(*segment) for segment in self.expected["manifest"]["layout"]]

    @property
    def signed_manifest(self) -> SignedManifest:
        return SignedManifest.decode(self.expected["manifest"]["signed_manifest"])

    def device(self, number: str) -> Device:
        private = signing_key(self.given[f"device {number}"]["device_secret"])
        return Device(private, self.expected[f"device {number}"]["device"], self.trust)

    def secret(self, server: str) -> X25519PrivateKey:
        return round_key(self.given["manifest"][f"{server}_round_secret"])

    def contribution(self, number: str) -> Contribution:
        said, k = self.given[f"report {number}"], len(self.plan.classes)
        received, local = (
            Measured(np.array(said[f"{model}_confusion"], np.int64).reshape(k, k), said[f"{model}_loss"])
            for model in ("received", "local")
        )
        supporters = np.array(said["supporters"], np.bool_)
        return Contribution(said["examples"], np.array(said["update"]), received, local, supporters)
