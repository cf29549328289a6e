"""Federations in memory whose servers keep their logs, as services do: what an audit reads, made to be tampered with.

``Ledger`` is one server's log; ``Logged`` a world with both, in which whole rounds run. Keys are always the same, so a
test can sign as any server whatever it likes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fanlight.protocol import identities
from fanlight.protocol.audit.both import Audit
from fanlight.protocol.audit.findings import Finding
from fanlight.protocol.audit.source import LogSource
from fanlight.protocol.identities import Role
from fanlight.protocol.log import ChainedEntry, LogEntry, LogHead, first_head, next_head, sign_head
from fanlight.protocol.manifest import SignedManifest
from fanlight.protocol.signing import raw_public_key
from fanlight.services.server.log_file import Header, entry_line
from tests.protocol_world import EXPIRES, NOW, Round, Sent, World, key


def chained(fid: bytes, role: Role, entries: Iterable[LogEntry]) -> list[ChainedEntry]:
    """A log from what is in it: whoever can do this has rewritten it."""
    head, made = first_head(fid, role.value), []
    for number, entry in enumerate(entries, start=1):
        head = next_head(number, head, entry)
        made.append(ChainedEntry(number, head, *entry))
    return made


class Ledger:
    """A server's log."""

    def __init__(self, fid: bytes, role: Role) -> None:
        self.fid, self.role = fid, role
        self.written: list[LogEntry] = []

    @property
    def entries(self) -> list[ChainedEntry]:
        return chained(self.fid, self.role, self.written)

    @property
    def head(self) -> bytes:
        return self.entries[-1].head if self.written else first_head(self.fid, self.role.value)

    def append(self, *entries: LogEntry) -> None:
        self.written += entries


class LoggedRound(Round):
    """A round, each step of which is written into the logs, with their real heads."""

    logged: Logged

    def run(self, logged: Logged, reporting: int | None = None) -> LoggedRound:
        """From the proposal to the outcome."""
        self.begin(logged).report(reporting)
        self.settle().let_go().end_well()
        return self

    def begin(self, logged: Logged) -> LoggedRound:
        self.logged = logged
        logged.main.append(*self.proposed.entries)
        offered = self.offer()
        logged.aggregator.append(*offered.entries)
        opened = self.world.main.open(self.m, offered.reply)
        self.m = opened.record
        logged.main.append(*opened.entries)
        self.a = self.world.aggregator.open(self.a, SignedManifest.decode(opened.reply)).record
        return self

    def report(self, reporting: int | None = None) -> list[Sent]:
        self.collect(self.world.owners[:reporting])
        return self.reports

    def settle(self) -> LoggedRound:
        """Close and verdict."""
        closed = self.world.aggregator.close(self.a, self.held, self.logged.aggregator.head)
        self.a = closed.record
        self.logged.aggregator.append(*closed.entries)
        head = self.logged.main.head
        judged = self.world.main.judge(
            self.m, closed.reply, self.world.members, self.beacons, self.main_round_key, head
        )
        self.m = judged.record
        self.logged.main.append(*judged.entries)
        agreed = self.take_verdict(judged.reply)
        self.logged.aggregator.append(*agreed.entries)
        return self

    def let_go(self, total: NDArray[np.uint32] | None = None) -> LoggedRound:
        """The release, of Y or what is given for it, and main's outcome."""
        vector = self.masked_sum() if total is None else total
        released = self.world.aggregator.release(
            self.a,
            self.world.aggregator.accepted(self.a, self.held),
            self.sum_hashes(vector),
            self.logged.aggregator.head,
        )
        self.a = released.record
        self.logged.aggregator.append(*released.entries)
        ended = self.world.main.take_release(self.m, released.reply, vector, self.main_round_key)
        self.m = ended.record
        self.logged.main.append(*ended.entries)
        return self

    def end_well(self) -> LoggedRound:
        """Both signatures on the outcome; published."""
        finished = self.world.aggregator.finish(self.a, self.m.signed_outcome)
        self.a = finished.record
        self.logged.aggregator.append(*finished.entries)
        heard = self.world.main.countersigned(self.m, finished.reply)
        self.m = self.world.main.publish(heard.record).record
        self.logged.main.append(*heard.entries)
        return self

    def give_up(self) -> LoggedRound:
        """The aggregator abandons; main hears of it."""
        step = self.world.aggregator.abandon(self.a, "window-passed")
        self.a = step.record
        self.logged.aggregator.append(*step.entries)
        heard = self.world.main.abandoned(self.m, step.reply)
        self.m = heard.record
        self.logged.main.append(*heard.entries)
        return self


class Logged:
    """A world and both its logs.

    Args:
        count: devices.
        name: other names have other keys.
    """

    def __init__(self, count: int = 3, name: str = "world") -> None:
        self.world = World(count, name)
        trust = self.world.trust
        self.trust = trust
        self.main, self.aggregator = Ledger(trust.fid, Role.MAIN), Ledger(trust.fid, Role.AGGREGATOR)
        for number, owner in enumerate(self.world.owners):
            token_key = key(f"{name}/token-{number}")
            token = identities.issue_token(self.world.root, raw_public_key(token_key), EXPIRES, f"device-{number}")
            message = identities.enrol(trust.fid, token, token_key, owner.key)
            for ledger in (self.main, self.aggregator):
                ledger.append(LogEntry("enrolled", message))
        self.rounds: list[LoggedRound] = []

    def next_round(self, shards: int | None = None) -> LoggedRound:
        """The next round, not begun; with shards it names all devices."""
        previous = self.rounds[-1] if self.rounds else None
        cohort = [owner.id for owner in self.world.owners] if shards else ()
        number = len(self.rounds) + 1
        self.rounds.append(LoggedRound(self.world, cohort=cohort, previous=previous, round=number, shards=shards))
        return self.rounds[-1]

    def run(self, rounds: int = 1, reporting: int | None = None, shards: int | None = None) -> Logged:
        """So many whole rounds."""
        for _ in range(rounds):
            self.next_round(shards).run(self, reporting)
        return self

    def private(self, role: Role) -> Ed25519PrivateKey:
        return self.world.main_key if role is Role.MAIN else self.world.aggregator_key

    def file(self, path: Path, role: Role, entries: Sequence[ChainedEntry] | None = None) -> Path:
        """The log as its server gives it out."""
        ledger = self.main if role is Role.MAIN else self.aggregator
        shown = ledger.entries if entries is None else entries
        head = shown[-1].head if shown else first_head(self.trust.fid, role.value)
        word = LogHead(fid=self.trust.fid, role=role.value, entries=len(shown), head=head, time=NOW)
        certificates = {
            other: identities.issue_certificate(self.world.root, other, raw_public_key(self.private(other))).hex()
            for other in Role
        }
        header = Header(
            role=role.value,
            root_key=self.trust.root_key.hex(),
            main_certificate=certificates[Role.MAIN],
            aggregator_certificate=certificates[Role.AGGREGATOR],
            head=sign_head(self.private(role), word).hex(),
        )
        path.write_bytes(header.line() + b"".join(map(entry_line, shown)))
        return path

    def audit(
        self, main: Sequence[ChainedEntry] | None = None, aggregator: Sequence[ChainedEntry] | None = None
    ) -> list[Finding]:
        """What an audit of both logs finds, as they are or as given."""
        shown = {
            Role.MAIN: self.main.entries if main is None else main,
            Role.AGGREGATOR: self.aggregator.entries if aggregator is None else aggregator,
        }
        return findings(self, shown)


def source(role: Role, entries: Sequence[ChainedEntry], signed: LogHead | None = None) -> LogSource:
    """A log for an audit."""
    return LogSource(role, lambda: iter(entries), signed)


def findings(logged: Logged, shown: dict[Role, Sequence[ChainedEntry]]) -> list[Finding]:
    """What an audit of these logs finds."""
    audit = Audit(logged.trust, [source(role, entries) for role, entries in shown.items()])
    for _ in audit.rounds():
        pass
    return audit.findings.kept
