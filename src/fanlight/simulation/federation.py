"""The servers' part of a simulated round: their real machines, from the proposal to the devices' end, in memory.

Workers have added up the masked vectors, and send the devices' records. What is not here is what services do: storage,
HTTP, and the hash of a vector that arrives, which nobody but its own device could have made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.masks import unmask_sum
from fanlight.core.packing import pack
from fanlight.errors import ModelError
from fanlight.protocol import aggregator_round, device_round, main_round
from fanlight.protocol.aggregator_round import Held
from fanlight.protocol.contribution import Totals
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.identities import Role
from fanlight.protocol.manifest import SignedManifest, invite
from fanlight.protocol.report import Envelope
from fanlight.protocol.sealing import MASK_AGGREGATOR, mask_key, open_seed
from fanlight.protocol.shards import Lots, Shard, divide
from fanlight.simulation.members import NOW, Members
from fanlight.simulation.orders import Done, Order

_NO_HEAD = bytes(32)


@dataclass(frozen=True)
class OpenRound:
    """A round that both servers have signed.

    Attributes:
        members: the federation.
        main, aggregator: the servers' records.
        cohort: the devices that it is for.
    """

    members: Members
    main: main_round.Record
    aggregator: aggregator_round.Record
    cohort: tuple[int, ...]

    def ordered(self, order: Order, devices: Sequence[int]) -> Order:
        """The order with what devices are shown, and in which sum each of those that report is."""
        signed = self.main.signed_manifest
        where = {device: place for place, shard in enumerate(self._shards(devices)) for device in shard}
        invitations = {device: invite(self.members.main.private, signed.hash, self._id(device)) for device in devices}
        return replace(
            order,
            manifest=signed.encode().hex(),
            invitations={device: invitation.hex() for device, invitation in invitations.items()},
            shards=where,
            sums=1 + max(where.values()),
        )

    def close(self, done: Done) -> Totals:
        """The rest of the round; what main reads out of its sums.

        Raises:
            ModelError: main cannot use them. FanlightError: a machine has refused a step.
        """
        records = {note.device: device_round.Record.decode(bytes.fromhex(note.report)) for note in done.notes}
        reports, beacons = self._take(records)
        a, m = self.members.aggregator, self.members.main
        closed = a.close(self.aggregator, reports, _NO_HEAD)
        keys = {self._id(device): self.members.member(device).public_key for device in self.cohort}
        judged = m.judge(self.main, closed.reply, keys, beacons, self._key(Role.MAIN), _NO_HEAD)
        agreed = a.take_verdict(closed.record, judged.reply, reports)
        accepted = a.accepted(agreed.record, reports)
        vectors = [
            self._taken_off(total, shard)
            for total, shard in zip(done.sums, a.shards(agreed.record, accepted), strict=True)
        ]
        digests = [vector_digest(ring.to_bytes(vector)) for vector in vectors]
        released = a.release(agreed.record, accepted, digests, _NO_HEAD)
        taken = m.take_release(judged.record, released.reply, np.concatenate(vectors), self._key(Role.MAIN))
        finished = a.finish(released.record, taken.reply)
        complete = m.publish(m.countersigned(taken.record, finished.reply).record).record
        if taken.totals is None or taken.totals.count != len(records):
            raise ModelError(f"round {self.main.number}: main would not use this sum: {', '.join(taken.flaws)}")
        self._tell(complete, records)
        return taken.totals

    def _take(self, records: dict[int, device_round.Record]) -> tuple[list[Held], dict[bytes, bytes]]:
        """The aggregator takes all reports, the devices its receipts, main what they show of them."""
        reports, beacons = list[Held](), dict[bytes, bytes]()
        for device, record in records.items():
            envelope, member = Envelope.decode(record.envelope), self.members.member(device)
            header = self.members.aggregator.check_report(
                self.aggregator, envelope, member.public_key, self._key(Role.AGGREGATOR), NOW
            )
            step = self.members.aggregator.take_report(self.aggregator, None, len(reports), envelope, header, NOW)
            reports.append(Held(member.device, envelope))
            machine = self.members.device(device)
            receipted = machine.take_receipt(record, step.reply)
            receipt = self.members.main.take_beacon(self.main, member.device, receipted.receipt)
            beacons[receipt.device] = receipt.report_id
            records[device] = machine.confirm(receipted)
        return reports, beacons

    def _tell(self, complete: main_round.Record, records: Mapping[int, device_round.Record]) -> None:
        """Each device verifies that its report was summed."""
        proofs = self.members.main.proofs(complete)
        for device, record in records.items():
            answer = self.members.main.outcome_for(complete, self._id(device), proofs)
            assert answer is not None
            if not self.members.device(device).end(record, answer).was_included:
                raise ModelError(f"round {complete.number}: device {device} was left out of the sum")

    def _taken_off(self, total: NDArray[Any], shard: Sequence[Held]) -> NDArray[np.uint32]:
        """Y = Σy − Σmask_A, as it is sent."""
        mh, key = self.aggregator.mh, self._key(Role.AGGREGATOR)
        seeds = {
            held.device: open_seed(held.envelope.sealed_aggregator, key, MASK_AGGREGATOR, mh, held.device)
            for held in shard
        }
        vector = total.copy()
        unmask_sum(vector, [mask_key(seed, MASK_AGGREGATOR, mh, device) for device, seed in seeds.items()])
        return pack(vector, self.aggregator.terms.proposal.layout)

    def _shards(self, devices: Sequence[int]) -> list[list[int]]:
        numbers = {self._id(device): device for device in devices}
        lots = Lots(self.members.draw(self.main.number), self.main.mh, self.main.signed_manifest.main_signature)
        ids = [self._id(device) for device in self.cohort]
        found: tuple[Shard, ...] = divide(self.main.terms, lots, ids, list(numbers))
        return [[numbers[device] for device in shard.devices] for shard in found]

    def _key(self, role: Role) -> X25519PrivateKey:
        return self.members.round_key(role, self.main.number)

    def _id(self, device: int) -> bytes:
        return self.members.member(device).device


def open_round(members: Members, order: Order, model: bytes, cohort: Sequence[int]) -> OpenRound:
    """Propose, countersign and sign a round; the one before is over, and nothing else of it matters here."""
    proposal = members.proposal(order, model, cohort)
    ids = [members.member(number).device for number in cohort]
    previous = None
    if order.round > 1:
        state = main_round.State.COMPLETE.value
        previous = main_round.Record(state=state, number=order.round - 1, attempt=0, kind=proposal.kind, proposal=b"")
    proposed = members.main.propose(previous, proposal, ids)
    key = members.round_key(Role.AGGREGATOR, order.round).public_key().public_bytes_raw()
    offered = members.aggregator.offer(None, proposal, ids, key, members.draw(order.round), NOW)
    opened = members.main.open(proposed.record, offered.reply)
    collecting = members.aggregator.open(offered.record, SignedManifest.decode(opened.reply))
    return OpenRound(members, opened.record, collecting.record, tuple(cohort))
