"""An audit draws the shards of a round again, and holds every release, note and outcome against them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from fanlight.protocol import signing
from fanlight.protocol.audit.both import Audit
from fanlight.protocol.audit.findings import Flaw
from fanlight.protocol.closing import (
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    SHARD_LEFT_OUT,
    SUM_NOT_USABLE,
    Close,
    LeftOut,
    Outcome,
    Release,
    ShardOutcome,
    SignedOutcome,
)
from fanlight.protocol.identities import Role
from fanlight.protocol.log import LogEntry
from fanlight.protocol.manifest import Cohort
from fanlight.protocol.merkle import Entry, set_root
from fanlight.protocol.signing import Signed
from tests.logged_world import Ledger, Logged, LoggedRound, chained, findings, source
from tests.protocol_world import secret
from tests.unit.protocol.test_audit import Entries, flaws, resigned, rewritten, where

SHARDS = 3
SECOND = SHARDS
"""Index of the first release of the second round with shards."""


def with_garbage(round_: LoggedRound, *shards: int) -> LoggedRound:
    """The round up to main's outcome, with garbage in some of its sums."""
    vector = round_.masked_sum()
    rows = vector.reshape(SHARDS, -1)
    for shard in shards:
        rows[shard] = np.resize(np.frombuffer(secret("garbage"), np.uint32), rows.shape[1])
    return round_.let_go(vector)


@pytest.fixture
def logged() -> Logged:
    """Two rounds: all shards of the first are good, the second of the second is not."""
    logged = Logged(7).run(shards=SHARDS)
    round_ = logged.next_round(SHARDS).begin(logged)
    round_.report()
    with_garbage(round_.settle(), 1).end_well()
    return logged


def forged(logged: Logged, ledger: Ledger, at: int, entry: LogEntry) -> Entries:
    """The log with another entry in one place, and all hashes computed anew."""
    return rewritten(logged, ledger, lambda entries: entries.__setitem__(at, entry))


def releases(ledger: Ledger) -> list[Release]:
    return [Release.decode(Signed.decode(entry.payload).payload) for entry in ledger.written if entry.type == "release"]


# ---- what is as it should be


def test_rounds_with_shards_are_found_good_and_told() -> None:
    logged = Logged(7).run().run(shards=SHARDS).run(shards=SHARDS, reporting=4).run()
    failed = logged.next_round(SHARDS).begin(logged)
    failed.report()
    with_garbage(failed.settle(), 0, 2)
    failed.a = logged.world.aggregator.finish(failed.a, failed.m.signed_outcome).record
    audit = Audit(logged.trust, [source(ledger.role, ledger.entries) for ledger in (logged.main, logged.aggregator)])
    told = [found.best for found in audit.rounds()]
    assert audit.findings.kept == []
    assert audit.unchecked == audit.unchecked[-1:], "all entries are known"
    counts = [[release.count for release in facts.releases] for facts in told]
    assert [sum(of_round) for of_round in counts] == [7, 7, 4, 7, 7]
    assert (len(counts[0]), len(counts[1]), len(counts[3])) == (1, SHARDS, 1)


@pytest.mark.parametrize("role", Role)
def test_one_log_alone_is_found_good(logged: Logged, role: Role) -> None:
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    audit = Audit(logged.trust, [source(role, ledger.entries)])
    assert len(list(audit.rounds())) == 2
    assert audit.findings.kept == []
    assert any("with whom" in line for line in audit.unchecked) == (role is Role.AGGREGATOR)


def test_a_round_is_good_after_each_of_its_steps() -> None:
    logged = Logged(7).run(shards=SHARDS)
    round_ = logged.next_round(SHARDS).begin(logged)
    round_.report()
    for step in (round_.settle, partial(with_garbage, round_, 1), round_.end_well):
        assert logged.audit() == []
        step()
    assert logged.audit() == []


@pytest.mark.parametrize("role", Role)
def test_a_log_that_ends_between_two_releases_accuses_nobody(logged: Logged, role: Role) -> None:
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    for last in range(SHARDS):
        cut = ledger.entries[: where(ledger.written, "release", SECOND + last) + 1]
        assert not any(finding.is_proof for finding in logged.audit(**{role.value: cut}))


# ---- releases


@pytest.mark.parametrize(
    ("changes", "alone"),
    [
        ({"draw": secret("another")}, True),
        ({"draw": None}, True),
        ({"shard": SHARDS + 1}, True),
        ({"shard": 0}, True),
        ({"length": 1}, True),
        ({"count": 1}, True),
        ({"count": 8}, True),
        ({"set_root": bytes(32)}, False),
    ],
)
@pytest.mark.parametrize("role", Role)
def test_a_release_that_does_not_fit(logged: Logged, role: Role, changes: dict[str, object], alone: bool) -> None:
    """``alone``: the aggregator's own log shows it; else only main's, which has what shards are drawn of."""
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    at = where(ledger.written, "release", SECOND + 1)
    entry = resigned(logged, ledger.written[at], Role.AGGREGATOR, **changes)
    found = findings(logged, {role: forged(logged, ledger, at, entry)})
    by_entry = [(finding.flaw, finding.against) for finding in found if finding.entry == at + 1]
    expected = [(Flaw.WRONG_SET, Role.AGGREGATOR)] if alone or role is Role.MAIN else []
    assert by_entry == expected
    assert found, "the outcome, which names other sets, shows the rest"


def swapped(logged: Logged) -> dict[str, Entries]:
    """Both servers agree to sum two devices in each other's shards, and sign all that follows from it."""
    round_ = logged.rounds[1]
    ids = {sent.owner.id: sent.envelope.report_id for sent in round_.reports}
    aggregator = logged.world.aggregator
    accepted = aggregator.accepted(round_.a, round_.held)
    first, second, third = ([held.device for held in shard] for shard in aggregator.shards(round_.a, accepted))
    first[0], third[0] = third[0], first[0]
    roots = [
        set_root(round_.a.mh, [Entry(device, ids[device]) for device in devices]) for devices in (first, second, third)
    ]
    both = SignedOutcome.decode(round_.m.outcome)
    outcome = Outcome.decode(both.payload)
    told = zip(outcome.shards or (), roots, strict=True)
    payload = outcome.with_(shards=tuple(shard.with_(set_root=root) for shard, root in told)).encode()
    by_main = signing.sign(logged.private(Role.MAIN), OUTCOME_MAIN, payload)
    by_aggregator = signing.sign(logged.private(Role.AGGREGATOR), OUTCOME_AGGREGATOR, payload).signature
    whole = SignedOutcome(payload=payload, aggregator_signature=by_aggregator, main_signature=by_main.signature)

    def forge(entries: list[LogEntry]) -> None:
        for number, root in enumerate(roots):
            at = where(entries, "release", SECOND + number)
            entries[at] = resigned(logged, entries[at], Role.AGGREGATOR, set_root=root)
        outcomes = [index for index, entry in enumerate(entries) if entry.type == "outcome"]
        if len(outcomes) == 4:
            entries[outcomes[2]] = LogEntry("outcome", by_main.encode())
        entries[outcomes[-1]] = LogEntry("outcome", whole.encode())

    return {ledger.role.value: rewritten(logged, ledger, forge) for ledger in (logged.main, logged.aggregator)}


def test_other_shards_than_were_drawn_are_found_though_both_servers_sign_them(logged: Logged) -> None:
    logs = swapped(logged)
    assert findings(logged, {Role.AGGREGATOR: logs["aggregator"]}) == [], "it cannot know: see ``unchecked``"
    found = logged.audit(**logs)
    assert flaws(found) == [(Flaw.WRONG_SET, Role.AGGREGATOR)] * 2
    assert ["shard 1" in found[0].message, "shard 3" in found[1].message] == [True, True]


def test_a_second_release_of_a_shard(logged: Logged) -> None:
    at = where(logged.aggregator.written, "release", SECOND + 2)
    second = resigned(logged, logged.aggregator.written[at], Role.AGGREGATOR, sum_hash=secret("other"))
    entries = rewritten(logged, logged.aggregator, lambda entries: entries.insert(at + 1, second))
    assert flaws(findings(logged, {Role.AGGREGATOR: entries})) == [(Flaw.SECOND_RELEASE, Role.AGGREGATOR)]


@pytest.mark.parametrize("shard", range(SHARDS))
def test_another_release_of_a_shard_to_each_server(logged: Logged, shard: int) -> None:
    at = where(logged.aggregator.written, "release", SECOND + shard)
    entry = resigned(logged, logged.aggregator.written[at], Role.AGGREGATOR, sum_hash=secret("other"))
    found = logged.audit(aggregator=forged(logged, logged.aggregator, at, entry))
    assert flaws(found) == [(Flaw.SECOND_RELEASE, Role.AGGREGATOR)]


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("role", Role)
def test_a_release_that_was_taken_out(logged: Logged, role: Role, shard: int) -> None:
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    at = where(ledger.written, "release", SECOND + shard)
    found = findings(logged, {role: rewritten(logged, ledger, lambda entries: entries.pop(at))})
    assert "ends with other shards than were released" in " ".join(finding.message for finding in found)


def test_all_releases_name_the_head_before_the_first(logged: Logged) -> None:
    at = where(logged.aggregator.written, "release", SECOND + 1)
    head = logged.aggregator.entries[at - 1].head
    entry = resigned(logged, logged.aggregator.written[at], Role.AGGREGATOR, log_head=head)
    found = findings(logged, {Role.AGGREGATOR: forged(logged, logged.aggregator, at, entry)})
    assert flaws(found) == [(Flaw.REWRITTEN, Role.AGGREGATOR)]


# ---- main's notes and outcome


@pytest.mark.parametrize("change", ["other", "fewer", "taken-out", "twice", "elsewhere"])
def test_the_list_that_shards_are_drawn_of(logged: Logged, change: str) -> None:
    at = where(logged.main.written, "cohort", 1)
    devices = Cohort.decode(logged.main.written[at].payload).devices

    def forge(entries: list[LogEntry]) -> None:
        if change in ("other", "fewer"):
            others = (*devices[1:], bytes(16)) if change == "other" else devices[1:]
            entries[at] = LogEntry("cohort", Cohort(devices=others).encode())
        elif change == "taken-out":
            entries.pop(at)
        else:
            entries.insert(at + (1 if change == "twice" else 3), entries[at])

    found = findings(logged, {Role.MAIN: rewritten(logged, logged.main, forge)})
    assert (Flaw.AGAINST_RULES, Role.MAIN) in flaws(found)


def test_a_report_of_a_device_that_the_round_was_not_for() -> None:
    logged = Logged(7)
    *invited, stranger = logged.world.owners
    round_ = LoggedRound(logged.world, cohort=[owner.id for owner in invited], shards=SHARDS).begin(logged)
    round_.collect(invited)
    round_.settle()
    close, verdict = (where(logged.main.written, kind) for kind in ("close", "verdict"))
    listed = Close.decode(Signed.decode(logged.main.written[close].payload).payload).reports
    reports = tuple(sorted([*listed, listed[0].with_(device=stranger.id)], key=lambda report: report.device))

    def forge(entries: list[LogEntry]) -> None:
        accepted = tuple(report.device for report in reports)
        entries[close] = resigned(logged, entries[close], Role.AGGREGATOR, reports=reports)
        entries[verdict] = resigned(logged, entries[verdict], Role.MAIN, accepted=accepted)

    found = findings(logged, {Role.MAIN: rewritten(logged, logged.main, forge)})
    assert "devices that it was not for" in found[0].message


def other_note(note: LeftOut, change: str) -> LeftOut:
    match change:
        case "devices":
            return note.with_(devices=note.devices[:-1])
        case "shard":
            return note.with_(shard=1)
        case _:
            return note.with_(reason="ok-then")


@pytest.mark.parametrize("change", ["devices", "shard", "reason", "taken-out"])
def test_who_is_named_with_a_shard_that_is_left_out(logged: Logged, change: str) -> None:
    at = where(logged.main.written, SHARD_LEFT_OUT)
    note = LeftOut.decode(logged.main.written[at].payload)

    def forge(entries: list[LogEntry]) -> None:
        entries[at : at + 1] = (
            [] if change == "taken-out" else [LogEntry(SHARD_LEFT_OUT, other_note(note, change).encode())]
        )

    found = flaws(findings(logged, {Role.MAIN: rewritten(logged, logged.main, forge)}))
    assert (Flaw.AGAINST_RULES, Role.MAIN) in found


def as_good(shard: ShardOutcome) -> ShardOutcome:
    return shard.with_(reason="ok")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda outcome: outcome.with_(result="failed"), "is failed, with 2 of 3 shards in order"),
        (lambda outcome: outcome.with_(shards=outcome.shards[:2]), "other shards than were released"),
        (lambda outcome: outcome.with_(shards=None), "other shards than were released"),
        (lambda outcome: outcome.with_(set_root=bytes(32)), "another set than was accepted"),
        (lambda outcome: outcome.with_(shards=tuple(map(as_good, outcome.shards))), "does not name the devices"),
        (
            lambda outcome: outcome.with_(shards=tuple(shard.with_(reason="bad") for shard in outcome.shards)),
            "is released, with 0 of 3 shards in order",
        ),
    ],
)
def test_an_outcome_that_does_not_follow(logged: Logged, change: Callable[[Outcome], Outcome], message: str) -> None:
    at = where(logged.main.written, "outcome", 2)
    ended = Outcome.decode(Signed.decode(logged.main.written[at].payload).payload)
    entry = LogEntry("outcome", signing.sign(logged.private(Role.MAIN), OUTCOME_MAIN, change(ended).encode()).encode())
    found = findings(logged, {Role.MAIN: chained(logged.trust.fid, Role.MAIN, [*logged.main.written[:at], entry])})
    assert [finding.against for finding in found] == [Role.MAIN]
    assert message in found[0].message


def test_a_log_of_a_version_that_named_the_failed_check_is_in_order(logged: Logged) -> None:
    """Note and outcome said ``update-out-of-range`` and the like, before they said ``sum-not-usable`` of all checks."""
    note, at = where(logged.main.written, SHARD_LEFT_OUT), where(logged.main.written, "outcome", 2)
    named = LeftOut.decode(logged.main.written[note].payload)
    ended = Outcome.decode(Signed.decode(logged.main.written[at].payload).payload)
    assert (named.reason, ended.shards is not None) == (SUM_NOT_USABLE, True)
    shards = tuple(
        shard.with_(reason="update-out-of-range") if shard.number == named.shard else shard
        for shard in ended.shards or ()
    )
    before = signing.sign(logged.private(Role.MAIN), OUTCOME_MAIN, ended.with_(shards=shards).encode()).encode()
    entries = [*logged.main.written[:at], LogEntry("outcome", before)]
    entries[note] = LogEntry(SHARD_LEFT_OUT, named.with_(reason="update-out-of-range").encode())
    assert findings(logged, {Role.MAIN: chained(logged.trust.fid, Role.MAIN, entries)}) == []
