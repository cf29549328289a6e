"""What must hold of a federation whatever has died: looked at from outside, in databases, files and what was heard.

1. Nothing acknowledged is lost: what a server answered, it still knows, byte for byte; and it never gave two answers.
2. One release (of each shard), one manifest and one report of a device a round, for ever; no key, seed or vector serves
   two rounds.
3. The sum is right: each published model is the plain integer aggregate of the accepted reports, but for shards that
   are left out; or is solved from it, and what is kept of the sum is exact.
4. An audit of both logs finds nothing, and each log begins with all that it held before.
5. Keys, reports and half files of rounds that are over are gone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Table, select

from fanlight.protocol import main_round, signing
from fanlight.protocol.closing import (
    CLOSE_LIMIT,
    RECORD_LIMIT,
    Close,
    Outcome,
    OutcomeForDevice,
    Release,
    Result,
    SignedOutcome,
    Verdict,
    read_releases,
    signed_releases,
    stored_outcome,
    stored_verdict,
)
from fanlight.protocol.device_round import Record as DeviceRecord
from fanlight.protocol.exchange import PREFIX
from fanlight.protocol.identities import Role
from fanlight.protocol.manifest import Manifest, SignedManifest
from fanlight.protocol.report import Envelope, Receipt, report_id
from fanlight.protocol.shards import Lots, divide
from fanlight.protocol.unmasking import SUM_LOST
from fanlight.services.aggregator.masked_sums import DEAD_ROUND
from fanlight.services.main_server import collected_sums
from fanlight.services.main_server.version_files import MODELS_FOLDER, read_version
from fanlight.services.server.round_keys import FILE
from fanlight.storage.database import Database
from fanlight.storage.secret_slot import SecretSlot
from fanlight.storage.tables import aggregator as aggregator_tables
from fanlight.storage.tables import device as device_tables
from fanlight.storage.tables import main as main_tables
from tests.crash.federation import Federation
from tests.crash.role import Role as RoleProcess
from tests.crash.role import until
from tests.crash.sums import CheckedSums
from tests.services_world import audit

ONCE: Final[dict[str, type[Close | Verdict | Release]]] = {"close": Close, "verdict": Verdict, "release": Release}
LOST: Final = frozenset({*DEAD_ROUND, SUM_LOST})
SERVERS: Final = {"main": (Role.MAIN, main_tables.logs), "aggregator": (Role.AGGREGATOR, aggregator_tables.logs)}


@dataclass
class Invariants:
    """Checks a federation at rest, as often as one likes."""

    federation: Federation
    _versions: dict[int, bytes] = field(default_factory=dict)
    _checked: int = 0
    _logs: dict[str, list[tuple[int, bytes]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self._sums = CheckedSums(self.federation.task)

    @property
    def _roles(self) -> dict[str, RoleProcess]:
        """All that there are or were."""
        return {**self.federation.roles, **self.federation.gone}

    def check(self) -> None:
        """All of them."""
        self._read()
        self._check_answers_to_devices()
        self._check_answers_to_aggregator()
        self._check_once()
        self._check_reports()
        self._check_models()
        self._check_logs()
        until(self._is_clean, "what is left of rounds that are over is gone", lambda: str(self._traces()))

    def _read(self) -> None:
        self.main_rounds = {
            row.mh: main_round.Record.decode(row.record, limit=RECORD_LIMIT)
            for row in self._rows("main", main_tables.rounds)
            if row.mh
        }
        self.beacons = {(row.mh, row.dev): row.receipt for row in self._rows("main", main_tables.beacons)}
        self.receipts = {(row.mh, row.dev): row.receipt for row in self._rows("aggregator", aggregator_tables.reports)}
        self.devices = [name for name in self._roles if name not in SERVERS]
        self.sent = {
            name: [DeviceRecord.decode(row.record) for row in self._rows(name, device_tables.reports)]
            for name in self.devices
        }
        self.left = {row.dev for row in self._rows("aggregator", aggregator_tables.devices) if row.left_at is not None}

    # -- 1

    def _check_answers_to_devices(self) -> None:
        known = {row.dev for row in self._rows("main", main_tables.devices)}
        known &= {row.dev for row in self._rows("aggregator", aggregator_tables.devices)}
        for name in self.devices:
            device = bytes.fromhex((self._roles[name].state / "device.id").read_text().split()[1])
            assert device in known, f"{name} was welcomed and is forgotten"
            receipts = {receipt.mh: signed for signed, receipt in self._receipts(name)}
            if device in self.left:
                held = {dev for _, dev in self.receipts.keys() | self.beacons.keys()}
                assert device not in held, f"{name} has left, and is not forgotten"
            for mh, signed in receipts.items() if device not in self.left else ():
                assert self.receipts.get((mh, device)) == signed, "a receipt is forgotten"
            for answer in self._answers(name, "POST", "/rounds/") if device not in self.left else ():
                if answer["path"].endswith("/beacons"):
                    mh = bytes.fromhex(answer["path"].split("/")[-2])
                    assert self.beacons.get((mh, device)) == self.receipts[mh, device], "a beacon is forgotten"
            for answer in self._answers(name, "GET", "/rounds/"):
                outcome = OutcomeForDevice.decode(answer["body"]).outcome
                mh = Outcome.decode(outcome.payload).mh
                assert self.main_rounds[mh].outcome == outcome.encode(), "an outcome has changed"
            for record in self.sent[name]:
                listed = self._listed(self.main_rounds[record.mh])
                assert record.mh not in receipts or not listed or device in listed, (
                    "a receipted report is not in the close"
                )

    def _receipts(self, name: str) -> Iterator[tuple[bytes, Receipt]]:
        """What the aggregator answered to a small report, or to the rest of a large one, or when asked for one."""
        for method in ("PUT", "PATCH", "POST"):
            for answer in self._answers(name, method, "/rounds/"):
                if "/reports/" in answer["path"] and answer["body"]:  # without a body, it says where to go on
                    yield answer["body"], Receipt.decode(signing.Signed.decode(answer["body"]).payload)

    def _check_answers_to_aggregator(self) -> None:
        rounds = self.main_rounds.values()
        given_up = {row.reason for row in self._rows("main", main_tables.rounds)}
        assert not given_up & LOST, f"a round was given up because of what was promised to be safe: {given_up & LOST}"
        for path, known in {
            "/aggregator/manifest": {record.manifest for record in rounds},
            "/aggregator/close": {record.verdict for record in rounds},
            "/aggregator/release": {record.signed_outcome for record in rounds},
        }.items():
            for answer in self._answers("aggregator", "POST", path):
                assert answer["body"] in known, f"main has forgotten what it answered to {path}"
        told = {record.outcome for record in rounds}
        handed_in = [event["body"] for event in self._requests("aggregator", "/aggregator/outcome")]
        answered = len(self._answers("aggregator", "POST", "/aggregator/outcome"))
        assert sum(body in told for body in handed_in) >= answered, "main has forgotten an outcome"

    # -- 2

    def _check_once(self) -> None:
        releases = defaultdict(set)
        for event in self._requests("aggregator", "/aggregator/release"):
            length = int.from_bytes(event["body"][:4], "big")
            signed = event["body"][4 : 4 + length]
            for one in signed_releases(signed):
                releases[_subject("main", "release", one)].add((signed, event["sha256"]))
        assert all(len(sent) == 1 for sent in releases.values()), "two releases of one round"
        for role in SERVERS:
            for kind in ("manifest", *ONCE):
                logged = [_subject(role, kind, payload) for payload in self._logged(role, kind)]
                assert len(logged) == len(set(logged)), f"{role} has logged two of {kind} for one round"
        numbers = [record.number for record in self.main_rounds.values()]
        assert len(numbers) == len(set(numbers))
        manifests = [Manifest.decode(record.signed_manifest.payload) for record in self.main_rounds.values()]
        keys = [key for manifest in manifests for key in (manifest.proposal.main_key, manifest.aggregator_key)]
        assert len(keys) == len(set(keys)), "a round key serves two rounds"

    def _check_reports(self) -> None:
        sealed, hashes = [], []
        for name in self.devices:
            answered: dict[Any, list[Result]] = defaultdict(list)
            for record in self.sent[name]:
                envelope = Envelope.decode(record.envelope)
                sealed += [envelope.sealed_main, envelope.sealed_aggregator]
                hashes.append(envelope.report_id)
                outcome = self.main_rounds[record.mh].outcome
                if outcome:
                    result = Result(Outcome.decode(SignedOutcome.decode(outcome).payload).result)
                    answered[record.answer_key].append(result)
            for results in answered.values():
                lasting = [result for result in results if result is not Result.ABANDONED]
                assert len(lasting) <= 1, f"{name} was summed twice for one plan, attempt and model"
            told = {(event["mh"], event["report"]) for event in self._heard(name, "upload")}
            assert len({mh for mh, _ in told}) == len(told), f"{name} has sent two reports in one round"
        assert len(sealed) == len(set(sealed)), "a sealed seed was used twice"
        assert len(hashes) == len(set(hashes))

    # -- 3

    def _check_models(self) -> None:
        rows = sorted(self._rows("main", main_tables.models), key=lambda row: row.version)
        folder = self._roles["main"].state / MODELS_FOLDER
        by_number = {record.number: record for record in self.main_rounds.values()}
        assert [row.version for row in rows] == list(range(len(rows)))
        for row in rows:
            known = self._versions.setdefault(row.version, row.sha256)
            assert known == row.sha256, f"version {row.version} has changed"
        for row in rows[max(1, self._checked) :]:
            record = by_number[row.round]
            self._sums.check(
                record.terms,
                self._vectors(record),
                read_version(folder, record.terms.model),
                read_version(folder, row.sha256),
            )
        self._checked = len(rows)
        with Database(self._roles["main"].state / "state.sqlite3") as database, database.transaction() as tx:
            self._sums.check_kept(collected_sums.read(tx))
        for name in self.devices:  # nothing is under way, and they are many
            for vector in self._roles[name].folder.glob("*.npy"):
                vector.unlink()

    def _vectors(self, record: main_round.Record) -> list[NDArray[np.int64]]:
        """What the devices that are summed said, before their masks."""
        listed = self._listed(record)
        folders = [self._roles[name].folder for name in self.devices]
        names = [f"{report_id(listed[device]).hex()}.npy" for device in _summed(record)]
        return [next(np.load(folder / name) for folder in folders if (folder / name).exists()) for name in names]

    @staticmethod
    def _listed(record: main_round.Record) -> dict[bytes, bytes]:
        if not record.close:
            return {}
        close = Close.decode(signing.Signed.decode(record.close, limit=CLOSE_LIMIT).payload, limit=CLOSE_LIMIT)
        return {listed.device: listed.header for listed in close.reports}

    # -- 4

    def _check_logs(self) -> None:
        found = audit({part: self._roles[role].state for role, (part, _) in SERVERS.items()})
        assert found == [], found
        for role, (_, logs) in SERVERS.items():
            heads = [(row.seq, row.head) for row in self._rows(role, logs.entries)]
            assert heads[: len(self._logs[role])] == self._logs[role], f"{role}'s log has lost or changed entries"
            self._logs[role] = heads

    def _logged(self, role: str, kind: str) -> list[bytes]:
        return [row.payload for row in self._rows(role, SERVERS[role][1].entries) if row.type == kind]

    # -- 5

    def _is_clean(self) -> bool:
        self.federation.revive()  # reports go after the next round has opened: who was to die then may do so only now
        return not self._traces()

    def _traces(self) -> list[str]:
        """Files that should be gone."""
        newest = max(record.number for record in self.main_rounds.values())
        found = [path for role in self._roles.values() for path in role.state.rglob(".*.partial")]
        for name in SERVERS:
            slot = self._roles[name].state / "round-keys" / FILE
            kept = SecretSlot(slot).read()
            found += [slot.with_name(f"that of round {kept.number}")] if kept and kept.number != newest else []
        for name in ("aggregator", *self.devices):
            found += (self._roles[name].state / "reports").iterdir()
        rows = [Path(name, row.name) for name in self.devices for row in self._rows(name, device_tables.small_files)]
        found += [path for path in rows if path.suffix == ".y"]
        trained = [path.parent for path in rows if path.name.startswith("local-")]
        assert len(trained) == len(set(trained)), f"more than the last local model is kept: {rows}"
        return [str(path) for path in found]

    # -- what there is to read

    def _rows(self, name: str, table: Table) -> Sequence[Any]:
        with Database(self._roles[name].state / "state.sqlite3") as database, database.transaction() as tx:
            return tx.execute(select(table)).all()

    def _answers(self, name: str, method: str, path: str) -> list[dict[str, Any]]:
        return [
            {**event, "body": bytes.fromhex(event["body"])}
            for event in self._heard(name, "answer")
            if event["method"] == method and event["path"].startswith(PREFIX + path)
        ]

    def _requests(self, name: str, path: str) -> list[dict[str, Any]]:
        return [
            {**event, "body": bytes.fromhex(event["body"])}
            for event in self._heard(name, "request")
            if event["path"] == PREFIX + path
        ]

    def _heard(self, name: str, kind: str) -> list[dict[str, Any]]:
        return self._roles[name].said(kind)


def _subject(role: str, kind: str, payload: bytes) -> object:
    """Which round, and which shard of it, a log entry is about."""
    if kind == "manifest" and role == "main":
        return Manifest.decode(SignedManifest.decode(payload).payload).proposal.round
    content = signing.Signed.decode(payload, limit=CLOSE_LIMIT).payload
    if kind == "manifest":
        return Manifest.decode(content).proposal.round
    said = ONCE[kind].decode(content, limit=CLOSE_LIMIT)
    return (said.mh, said.shard) if isinstance(said, Release) else said.mh


def _summed(record: main_round.Record) -> list[bytes]:
    """The devices whose reports are in the new version: all accepted, but for shards that are left out."""
    release, *_ = read_releases(record.release)
    lots = Lots(release.draw or b"", record.mh, record.signed_manifest.main_signature)
    outcome, accepted = stored_outcome(record.outcome), stored_verdict(record.verdict).accepted
    left_out = {shard.number for shard in outcome.shards or () if shard.reason != "ok"}
    shards = divide(record.terms, lots, record.cohort, accepted)
    return [device for shard in shards if shard.number not in left_out for device in shard.devices]
