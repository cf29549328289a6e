"""Somebody gets hold of everything on both servers' disks, or a server rewrites its past: what opens, what shows.

One round of three devices over the real services, watched from outside: every file of both servers' folders in the
middle of the round, when the seeds have been opened and nothing is summed yet, and every file when it is over.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import Connection

from fanlight.errors import NotAuthentic
from fanlight.learning.model_file import decode
from fanlight.protocol.closing import Close, Release, Verdict
from fanlight.protocol.log import ChainedEntry, LogEntry, first_head, next_head, verify_chain
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key, open_seed
from fanlight.protocol.signing import Signed
from fanlight.services.main_server import round_table
from fanlight.services.main_server.version_files import VersionFiles
from fanlight.services.server.chained_log import ChainedLog
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.database import Database
from tests.services_world import ProtocolDevice, Sent, World, contribution_of, running, wait

Files = dict[Path, bytes]
ROLES = {"main": MASK_MAIN, "aggregator": MASK_AGGREGATOR}
CLASSES = ("circle", "square", "star")
CIRCLE, SQUARE, STAR = range(3)


@dataclass(frozen=True)
class Told:
    """What was seen of the round: who sent what, both servers' round keys, and all files in the middle and after.

    ``shown`` are the heads of each server's log that it has signed for the other one, oldest first.
    """

    world: World
    devices: list[ProtocolDevice]
    reports: list[Sent]
    keys: dict[str, bytes]
    amid: Files
    after: Files
    shown: dict[str, list[bytes]]

    def sealed(self, role: str) -> list[tuple[Sent, bytes]]:
        """Every seed sealed to a server."""
        name = "sealed_main" if role == "main" else "sealed_aggregator"
        return [(sent, getattr(sent.envelope, name)) for sent in self.reports]

    def secrets(self) -> dict[str, bytes]:
        """All that would open a report: round keys, mask seeds and the keys of the masks."""
        found = {f"round key of {role}": key for role, key in self.keys.items()}
        for role, label in ROLES.items():
            private = X25519PrivateKey.from_private_bytes(self.keys[role])
            for (sent, sealed), device in zip(self.sealed(role), self.devices, strict=True):
                seed = open_seed(sealed, private, label, sent.record.mh, device.id)
                found[f"seed {role} {device.id.hex()}"] = seed
                found[f"mask key {role} {device.id.hex()}"] = mask_key(seed, label, sent.record.mh, device.id)
        return found


def all_files(folder: Path) -> Files:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def where(secret: bytes, files: Files) -> list[str]:
    """The files in which this is, raw, in hexadecimal or in base64."""
    forms = (secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret).rstrip(b"="))
    return [path.name for path, content in files.items() if any(form in content for form in forms)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """Only the first device has squares; two devices must have a class before its row is published."""
    with running(tmp_path_factory.mktemp("world"), min_class_supporters=2, classes=CLASSES) as world:
        devices, reports = world.enrolled(3), []
        for number, device in enumerate(devices):
            said = contribution_of(world.task.plan, number)
            said = dataclasses.replace(said, supporters=np.array([True, number == 0, True]))
            reports.append(device.report(device.commit(said)))
        keys = {role: kept.secret for role in ROLES if (kept := world.round_key(role)) is not None}
        world.owner("aggregator").step("/aggregate_models")
        there = world.aggregator.service.rounds.latest()
        assert there is not None
        assert there.record.state == "agreed"
        amid = all_files(world.federation)
        world.aggregator.service.release_round()
        with world.main.service.database.reading() as tx:
            here = round_table.by_hash(tx, there.record.mh)
        shown = {
            "main": [Verdict.decode(Signed.decode(there.record.verdict).payload).log_head],
            "aggregator": [
                Close.decode(Signed.decode(here.record.close).payload).log_head,
                Release.decode(Signed.decode(here.record.release).payload).log_head,
            ],
        }
        world.owner("main").step("/send_model_clients")
        assert world.round(1, state="complete", participants=3)
        world.check_traces()
        wait(lambda: world.open_round() == 2, "the next round is open, and no file comes or goes")
        yield Told(world, devices, reports, keys, amid, all_files(world.federation), shown)


# ---- both disks


def test_the_search_finds_what_is_there(told: Told) -> None:
    """Otherwise the next two would prove nothing. Among it are the long-term keys of the root and of both servers."""
    assert told.keys.keys() == set(ROLES)
    for role, key in told.keys.items():
        assert where(key, told.amid) == ["round.key"], role
    for sent in told.reports:
        assert any(sent.y.astype("<u4").tobytes() in content for content in told.amid.values())
    for server in (told.world.main, told.world.aggregator):
        assert where(server.service.identity.private.private_bytes_raw(), told.after)
    assert where(bytes.fromhex((told.world.federation / "root" / "root.key").read_text().strip()), told.after)


def test_while_the_round_runs_only_the_round_keys_open_anything(told: Told) -> None:
    """A backup of database and reports, without the folder of round keys: no seed that was opened is kept."""
    backup = {path: content for path, content in told.amid.items() if path.parent.name != "round-keys"}
    assert len(backup) > 10
    assert {name: found for name, secret in told.secrets().items() if (found := where(secret, backup))} == {}


def test_when_it_is_over_nothing_on_both_disks_opens_a_report(told: Told) -> None:
    assert {name: found for name, secret in told.secrets().items() if (found := where(secret, told.after))} == {}
    for sent in told.reports:
        y = sent.y.astype("<u4").tobytes()
        assert not any(y[:64] in content or y[-64:] in content for content in told.after.values())


# ---- a class that one home has


def test_an_honest_main_publishes_nothing_about_a_class_that_one_home_has(told: Told) -> None:
    """Its row of the head stays as it was, and so do those of classes that nobody has."""
    with told.world.main.service.database.reading() as tx:
        models = told.world.main.service.models
        first, second = (decode(models.file_of(tx, number)) for number in (0, 1))
    assert np.array_equal(first.weight[:, SQUARE], second.weight[:, SQUARE])
    assert first.bias[SQUARE] == second.bias[SQUARE]
    for other in (CIRCLE, STAR):
        assert not np.array_equal(first.weight[:, other], second.weight[:, other])


# ---- another model for one victim


def test_another_model_under_the_announced_hash_is_refused(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Main can only show one device another model by another manifest, which the aggregator does not sign."""
    victim = told.devices[0]
    sha256 = victim.offer().model
    published = VersionFiles.published

    def forged(files: VersionFiles, tx: Connection, wanted: bytes) -> bytes:
        true = published(files, tx, wanted)
        return true[:-1] + bytes([true[-1] ^ 1]) if wanted == sha256 else true

    with monkeypatch.context() as patching:
        patching.setattr(VersionFiles, "published", forged)
        with BlobFolder(tmp_path / "models").unfinished("model", 0, 0) as begun, pytest.raises(NotAuthentic) as caught:
            victim.main.model(sha256, begun)
        assert caught.value.slug == "model-altered"


# ---- a rewritten log


def chain(log: ChainedLog, database: Database) -> list[ChainedEntry]:
    with database.reading() as tx:
        return list(log.entries(tx, limit=100_000))


def rebuilt(log: ChainedLog, entries: list[ChainedEntry], at: int, entry: LogEntry | None) -> list[ChainedEntry]:
    """The log with another entry at ``at`` (none: without it), and every head after it computed anew."""
    told = [LogEntry(one.type, one.payload) for one in entries]
    told[at : at + 1] = [entry] if entry else []
    head, made = first_head(log.fid, log.role), []
    for number, one in enumerate(told, start=1):
        head = next_head(number, head, one)
        made.append(ChainedEntry(number, head, one.type, one.payload))
    return made


@pytest.mark.parametrize("role", ROLES)
def test_a_log_that_its_server_rewrites_is_at_odds_with_what_it_signed_for_the_other(told: Told, role: str) -> None:
    """An altered entry breaks the chain. A chain built anew holds, but not the head that the other server was shown.

    What comes after the last head that was shown can be dropped until the next one is: the other server has signed its
    own part of that, but a log alone does not show it.
    """
    part = told.world.main.service if role == "main" else told.world.aggregator.service
    entries = chain(part.log, part.database)
    shown = told.shown[role]
    heads = [entry.head for entry in entries]
    last = heads.index(shown[-1])
    assert set(shown) <= set(heads)
    for at, entry in enumerate(entries):
        altered = [*entries[:at], entry._replace(payload=entry.payload + b"?"), *entries[at + 1 :]]
        with pytest.raises(NotAuthentic) as caught:
            verify_chain(part.log.fid, role, altered)
        assert caught.value.slug == "log-broken"
        for other in (LogEntry(entry.type, entry.payload + b"?"), None):
            made = rebuilt(part.log, entries, at, other)
            assert verify_chain(part.log.fid, role, made) == made[-1].head
            assert (shown[-1] in [one.head for one in made]) == (at > last)
