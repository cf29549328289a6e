"""An audit finds every way in which a log can be altered, says what that proves, and finds nothing where nothing is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fanlight.protocol import identities, signing
from fanlight.protocol.audit.both import Audit
from fanlight.protocol.audit.findings import MEANINGS, Finding, Flaw
from fanlight.protocol.catching_up import aggregator_words, main_catches_up
from fanlight.protocol.closing import (
    CLOSE,
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    RELEASE,
    VERDICT,
    Close,
    Outcome,
    Release,
    SignedOutcome,
    Verdict,
)
from fanlight.protocol.identities import Role
from fanlight.protocol.log import ChainedEntry, LogEntry, LogHead
from fanlight.protocol.merkle import set_root
from fanlight.protocol.message import Message
from fanlight.protocol.report import RECEIPT, Receipt
from fanlight.protocol.signing import Signed
from tests.logged_world import Ledger, Logged, LoggedRound, chained, findings, source
from tests.protocol_world import NOW, Owner, secret

Entries = list[ChainedEntry]
LABELS = {"close": (CLOSE, Close), "verdict": (VERDICT, Verdict), "release": (RELEASE, Release)}


@pytest.fixture
def logged() -> Logged:
    return Logged().run(3)


def where(entries: Sequence[LogEntry | ChainedEntry], kind: str, which: int = 0) -> int:
    """Index of the ``which``-th entry of this type."""
    return [index for index, entry in enumerate(entries) if entry.type == kind][which]


def flaws(found: Sequence[Finding]) -> list[tuple[Flaw, Role]]:
    return [(finding.flaw, finding.against) for finding in found]


def flip(entries: Entries, index: int, at: int = 0) -> Entries:
    payload = bytearray(entries[index].payload)
    payload[at] ^= 1
    return [*entries[:index], entries[index]._replace(payload=bytes(payload)), *entries[index + 1 :]]


def resigned(logged: Logged, entry: LogEntry, role: Role, **changes: object) -> LogEntry:
    """The same word with other content, signed anew."""
    label, kind = LABELS[entry.type]
    message: Message = kind.decode(Signed.decode(entry.payload).payload)  # type: ignore[attr-defined]
    payload = message.with_(**changes).encode()
    return LogEntry(entry.type, signing.sign(logged.private(role), label, payload).encode())


# ---- what is as it should be


def test_honest_logs_are_found_good_and_every_round_is_told(logged: Logged) -> None:
    sources = [source(ledger.role, ledger.entries) for ledger in (logged.main, logged.aggregator)]
    audit = Audit(logged.trust, sources)
    told = list(audit.rounds())
    assert audit.findings.kept == []
    assert [found.best.number for found in told] == [1, 2, 3]
    for found in told:
        facts = found.best
        assert set(found.facts) == set(Role)
        assert (len(facts.accepted), facts.rejected, facts.by_both) == (3, (), True)
        assert [release.count for release in facts.releases] == [3]


@pytest.mark.parametrize("role", Role)
def test_one_log_alone_is_found_good_and_what_cannot_be_checked_is_said(logged: Logged, role: Role) -> None:
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    audit = Audit(logged.trust, [source(role, ledger.entries)])
    assert len(list(audit.rounds())) == 3
    assert audit.findings.kept == []
    assert len(audit.unchecked) > 2
    assert "same story" in audit.unchecked[0]


def test_empty_logs_are_good() -> None:
    assert Logged(count=0).audit() == []


def test_a_round_that_was_given_up_is_good_however_far_it_was() -> None:
    logged = Logged()
    logged.next_round().begin(logged).give_up()
    round_ = logged.next_round().begin(logged)
    round_.report()
    round_.settle().give_up()
    assert logged.audit() == []
    logged.run()
    assert logged.audit() == []


def test_a_round_is_good_after_each_of_its_steps() -> None:
    logged = Logged().run()
    round_ = logged.next_round().begin(logged)
    round_.report()
    for step in (round_.settle, round_.let_go, round_.end_well):
        assert logged.audit() == []
        step()
    assert logged.audit() == []


def test_words_that_are_still_on_their_way_are_no_fault() -> None:
    """After each entry that a server wrote before the other could have heard of it, both logs are good."""
    logged = Logged().run(2)
    main, aggregator = logged.main.entries, logged.aggregator.entries
    manifest, close, verdict, release = (
        where(aggregator, kind, 1) for kind in ("manifest", "close", "verdict", "release")
    )
    judged, taken, both = where(main, "verdict", 1), where(main, "release", 1), where(main, "outcome", 3)
    proposed, opened = where(main, "proposal", 1), where(main, "manifest", 1)
    for main_end, aggregator_end in (
        (proposed, manifest - 1),
        (proposed, manifest),
        (opened, close),
        (judged, close),
        (judged, verdict),
        (judged, release),
        (taken + 1, release),
        (both - 1, release + 1),
        (both, release + 1),
    ):
        assert logged.audit(main[: main_end + 1], aggregator[: aggregator_end + 1]) == []


def test_main_may_propose_a_round_before_it_has_the_last_signature_on_the_one_before(logged: Logged) -> None:
    early = [*logged.main.written]
    last = early.pop(where(early, "outcome", 3))
    at = where(early, "proposal", 2) + 1
    assert early[at].type == "manifest"
    proposed = chained(logged.trust.fid, Role.MAIN, early[:at])
    ended = logged.aggregator.entries[: where(logged.aggregator.entries, "outcome", 1) + 1]
    assert logged.audit(main=proposed, aggregator=ended) == []
    assert logged.audit(main=chained(logged.trust.fid, Role.MAIN, [*early[:at], last]), aggregator=ended) == []
    opened = logged.audit(main=chained(logged.trust.fid, Role.MAIN, early[: at + 1]), aggregator=ended)
    assert (Flaw.REMOVED, Role.MAIN) in flaws(opened)


# ---- a file that was altered


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("alone", [True, False])
def test_each_altered_entry_is_named(logged: Logged, role: Role, alone: bool) -> None:
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    entries = ledger.entries
    for index in range(len(entries)):
        altered = flip(entries, index, len(entries[index].payload) // 2)
        found = findings(logged, {role: altered}) if alone else logged.audit(**{role.value: altered})
        assert [(finding.flaw, finding.entry, finding.log) for finding in found] == [(Flaw.ALTERED, index + 1, role)]
        assert f"Entry {index + 1} ({entries[index].type}) was altered" in found[0].message


@pytest.mark.parametrize("role", Role)
def test_an_altered_head_is_one_flaw(logged: Logged, role: Role) -> None:
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    entries = ledger.entries
    for index in (0, 5, len(entries) - 1):
        wrong = [*entries]
        wrong[index] = wrong[index]._replace(head=bytes(32))
        found = findings(logged, {role: wrong})
        assert [(finding.flaw, finding.entry) for finding in found] == [(Flaw.ALTERED, index + 1)]


@pytest.mark.parametrize("role", Role)
def test_each_missing_entry_is_named(logged: Logged, role: Role) -> None:
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    entries = ledger.entries
    for index in range(len(entries) - 1):
        found = findings(logged, {role: [*entries[:index], *entries[index + 1 :]]})
        assert found[0].flaw is Flaw.MISSING
        assert found[0].message == f"Entry {index + 1} is missing."
    found = findings(logged, {role: [*entries[:4], *entries[6:]]})
    assert found[0].message == "Entries 5 to 6 are missing."


@pytest.mark.parametrize("role", Role)
def test_two_entries_that_changed_places_are_named(logged: Logged, role: Role) -> None:
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    entries = ledger.entries
    for index in range(len(entries) - 1):
        swapped = [*entries[:index], entries[index + 1], entries[index], *entries[index + 2 :]]
        found = findings(logged, {role: swapped})
        assert [finding.flaw for finding in found][:2] == [Flaw.MISSING, Flaw.DISORDER]
        renumbered = [entry._replace(number=number) for number, entry in enumerate(swapped, start=1)]
        assert {finding.flaw for finding in findings(logged, {role: renumbered})} >= {Flaw.ALTERED}


def test_a_log_that_ends_before_what_its_server_signed_is_cut_off(logged: Logged) -> None:
    entries = logged.aggregator.entries
    word = LogHead(fid=logged.trust.fid, role="aggregator", entries=len(entries), head=entries[-1].head, time=NOW)
    for shown, flaw in ((entries[:-1], Flaw.CUT), (entries, None), ([], Flaw.CUT)):
        audit = Audit(logged.trust, [source(Role.AGGREGATOR, shown, word)])
        list(audit.rounds())
        assert [finding.flaw for finding in audit.findings.kept] == ([flaw] if flaw else [])


def test_a_longer_log_than_its_server_signed_is_another_one(logged: Logged) -> None:
    entries = logged.aggregator.entries
    word = LogHead(fid=logged.trust.fid, role="aggregator", entries=len(entries), head=entries[-1].head, time=NOW)
    longer = chained(logged.trust.fid, Role.AGGREGATOR, [*logged.aggregator.written, logged.aggregator.written[0]])
    audit = Audit(logged.trust, [source(Role.AGGREGATOR, longer, word)])
    list(audit.rounds())
    assert Flaw.REWRITTEN in [finding.flaw for finding in audit.findings.kept]


def test_another_federations_log_fits_nowhere(logged: Logged) -> None:
    other = Logged(name="other").run()
    found = findings(logged, {Role.MAIN: other.main.entries})
    assert found[0].flaw is Flaw.ALTERED
    assert found[0].entry == 1
    rechained = chained(logged.trust.fid, Role.MAIN, other.main.written)
    assert {finding.flaw for finding in findings(logged, {Role.MAIN: rechained})} >= {Flaw.NOT_SIGNED}


# ---- a server that rewrites its own log


def rewritten(logged: Logged, ledger: Ledger, change: Callable[[list[LogEntry]], object]) -> Entries:
    """Its log with a change, and all hashes computed anew."""
    entries = list(ledger.written)
    change(entries)
    return chained(logged.trust.fid, ledger.role, entries)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("alone", [True, False])
def test_a_rewritten_log_contradicts_its_own_signed_heads(logged: Logged, role: Role, alone: bool) -> None:
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    entries = rewritten(logged, ledger, lambda entries: entries.pop(1))
    found = findings(logged, {role: entries}) if alone else logged.audit(**{role.value: entries})
    assert (Flaw.REWRITTEN, role) in flaws(found)


def test_a_note_that_main_rewrites_is_missed_by_its_next_verdict() -> None:
    logged = Logged().run()
    logged.main.append(LogEntry("policy", b"{}"))
    logged.run()
    assert logged.audit() == []
    at = where(logged.main.written, "policy")

    def forge(entries: list[LogEntry]) -> None:
        entries[at] = LogEntry("policy", b"[]")

    assert flaws(findings(logged, {Role.MAIN: rewritten(logged, logged.main, forge)})) == [(Flaw.REWRITTEN, Role.MAIN)]


def test_a_tail_that_was_signed_anew_is_equivocation(logged: Logged) -> None:
    """The aggregator forgets a device that enrolled, and signs all its later words for the new chain."""
    made: list[LogEntry] = []
    for entry in logged.aggregator.written[1:]:
        if entry.type in ("close", "release"):
            head = chained(logged.trust.fid, Role.AGGREGATOR, made)[-1].head
            entry = resigned(logged, entry, Role.AGGREGATOR, log_head=head)  # noqa: PLW2901 - the forged one
        made.append(entry)
    forged = chained(logged.trust.fid, Role.AGGREGATOR, made)
    assert Flaw.REWRITTEN not in [flaw for flaw, _ in flaws(findings(logged, {Role.AGGREGATOR: forged}))]
    found = logged.audit(aggregator=forged)
    assert flaws(found).count((Flaw.TWO_WORDS, Role.AGGREGATOR)) == 3
    assert flaws(found).count((Flaw.SECOND_RELEASE, Role.AGGREGATOR)) == 3
    assert all(finding.is_proof for finding in found if finding.flaw in (Flaw.TWO_WORDS, Flaw.SECOND_RELEASE))


def test_main_that_signs_another_verdict_for_its_log_is_caught_by_the_aggregators(logged: Logged) -> None:
    at = where(logged.main.written, "verdict", 2)

    def forge(entries: list[LogEntry]) -> None:
        entries[at] = resigned(logged, entries[at], Role.MAIN, rejected=(), reason="ok-then")

    found = logged.audit(main=rewritten(logged, logged.main, forge))
    assert (Flaw.TWO_WORDS, Role.MAIN) in flaws(found)
    assert f"entry {at + 1} of the main server's log" in " ".join(finding.message for finding in found)


def test_a_removed_word_is_missed_by_the_other_server(logged: Logged) -> None:
    at = where(logged.aggregator.written, "outcome", 1)
    found = logged.audit(aggregator=rewritten(logged, logged.aggregator, lambda entries: entries.pop(at)))
    assert (Flaw.REMOVED, Role.AGGREGATOR) in flaws(found)


def test_removed_rounds_leave_a_gap(logged: Logged) -> None:
    def forge(entries: list[LogEntry]) -> None:
        del entries[where(entries, "manifest", 1) : where(entries, "manifest", 2)]

    entries = rewritten(logged, logged.aggregator, forge)
    found = findings(logged, {Role.AGGREGATOR: entries})
    assert (Flaw.GAP, Role.AGGREGATOR) in flaws(found)
    assert "round 2 is not in it" in " ".join(finding.message for finding in found)


def test_a_cut_tail_is_said_with_both_explanations(logged: Logged) -> None:
    entries = logged.aggregator.entries
    found = logged.audit(aggregator=entries[: where(entries, "release", 1)])
    assert flaws(found) == [(Flaw.BEHIND, Role.AGGREGATOR)]
    assert "older" in found[0].proves
    assert "cut off" in found[0].proves
    found = logged.audit(main=logged.main.entries[: where(logged.main.entries, "close", 1)])
    assert flaws(found) == [(Flaw.BEHIND, Role.MAIN)]


# ---- a server that breaks the rules


def test_a_second_release_of_one_round(logged: Logged) -> None:
    at = where(logged.aggregator.written, "release", 2)

    def forge(entries: list[LogEntry]) -> None:
        head = chained(logged.trust.fid, Role.AGGREGATOR, entries[: at + 1])[-1].head
        second = resigned(logged, entries[at], Role.AGGREGATOR, sum_hash=secret("other"), log_head=head)
        entries.insert(at + 1, second)

    found = findings(logged, {Role.AGGREGATOR: rewritten(logged, logged.aggregator, forge)})
    assert flaws(found) == [(Flaw.SECOND_RELEASE, Role.AGGREGATOR)]
    assert "difference" in found[0].proves


@pytest.mark.parametrize(
    ("kind", "role", "changes"),
    [
        ("release", Role.AGGREGATOR, {"count": 2}),
        ("release", Role.AGGREGATOR, {"set_root": bytes(32)}),
        ("release", Role.AGGREGATOR, {"length": 1}),
        ("release", Role.AGGREGATOR, {"shard": 1}),
        ("verdict", Role.MAIN, {"accepted": ()}),
        ("verdict", Role.MAIN, {"accepted": (bytes(16), bytes(16))}),
        ("verdict", Role.MAIN, {"proceed": False}),
        ("close", Role.AGGREGATOR, {"reports": ()}),
    ],
)
def test_a_sum_over_another_set_than_was_accepted(
    logged: Logged, kind: str, role: Role, changes: dict[str, object]
) -> None:
    at = where(logged.aggregator.written, kind, 2)

    def forge(entries: list[LogEntry]) -> None:
        entries[at] = resigned(logged, entries[at], role, **changes)

    found = findings(logged, {Role.AGGREGATOR: rewritten(logged, logged.aggregator, forge)})
    assert Flaw.WRONG_SET in [finding.flaw for finding in found]


def test_a_report_that_its_device_has_not_signed(logged: Logged) -> None:
    at = where(logged.main.written, "close", 2)
    close = Close.decode(Signed.decode(logged.main.written[at].payload).payload)
    first, second, third = close.reports
    stolen = (first.with_(header=second.header), second, third)

    def forge(entries: list[LogEntry]) -> None:
        entries[at] = resigned(logged, entries[at], Role.AGGREGATOR, reports=stolen)

    found = findings(logged, {Role.MAIN: rewritten(logged, logged.main, forge)})
    assert any("that this device has not signed" in finding.message for finding in found)


def test_reports_of_devices_that_never_enrolled() -> None:
    logged = Logged()
    for ledger in (logged.main, logged.aggregator):
        ledger.written.pop(0)
    logged.run()
    found = logged.audit()
    assert flaws(found) == [(Flaw.WRONG_SET, Role.MAIN)] * 2
    assert all("has not enrolled" in finding.message for finding in found)


@pytest.mark.parametrize("kind", ["manifest", "close", "verdict", "release", "outcome"])
@pytest.mark.parametrize("role", Role)
def test_what_a_stranger_signed_is_not_taken_for_a_servers_word(logged: Logged, role: Role, kind: str) -> None:
    ledger = logged.main if role is Role.MAIN else logged.aggregator
    stranger = Logged(name="stranger").run(3)
    theirs = stranger.main if role is Role.MAIN else stranger.aggregator
    at = where(ledger.written, kind, 2)

    def forge(entries: list[LogEntry]) -> None:
        entries[at] = theirs.written[where(theirs.written, kind, 2)]

    found = findings(logged, {role: rewritten(logged, ledger, forge)})
    assert Flaw.NOT_SIGNED in [finding.flaw for finding in found if finding.entry == at + 1]


def test_a_round_released_and_given_up(logged: Logged) -> None:
    """To main the aggregator released; its own log says that it gave the round up."""
    manifest = where(logged.aggregator.written, "manifest", 2)
    mh = logged.rounds[-1].a.mh
    payload = Outcome(mh=mh, result="abandoned", reason="never", set_root=set_root(mh, [])).encode()
    signature = signing.sign(logged.private(Role.AGGREGATOR), OUTCOME_AGGREGATOR, payload).signature
    entry = LogEntry("outcome", SignedOutcome(payload=payload, aggregator_signature=signature).encode())
    entries = chained(logged.trust.fid, Role.AGGREGATOR, [*logged.aggregator.written[: manifest + 1], entry])
    found = logged.audit(aggregator=entries)
    assert (Flaw.TWO_WORDS, Role.AGGREGATOR) in flaws(found)
    assert (Flaw.REMOVED, Role.AGGREGATOR) in flaws(found)


def test_outcomes_that_differ(logged: Logged) -> None:
    at = where(logged.aggregator.written, "outcome", 2)
    both = SignedOutcome.decode(logged.aggregator.written[at].payload)
    payload = Outcome.decode(both.payload).with_(result="failed", reason="bad").encode()
    forged = SignedOutcome(
        payload=payload,
        aggregator_signature=signing.sign(logged.private(Role.AGGREGATOR), OUTCOME_AGGREGATOR, payload).signature,
        main_signature=signing.sign(logged.private(Role.MAIN), OUTCOME_MAIN, payload).signature,
    )

    def forge(entries: list[LogEntry]) -> None:
        entries[at] = LogEntry("outcome", forged.encode())

    found = logged.audit(aggregator=rewritten(logged, logged.aggregator, forge))
    assert flaws(found) == [(Flaw.TWO_WORDS, Role.AGGREGATOR)]
    main = logged.main.entries[:-1]  # before main heard of the aggregator's signature: its own says otherwise
    found = logged.audit(main=main, aggregator=rewritten(logged, logged.aggregator, forge))
    assert (Flaw.TWO_WORDS, Role.MAIN) in flaws(found)


def test_a_round_that_begins_before_the_last_one_is_over_and_one_that_begins_again(logged: Logged) -> None:
    start = where(logged.main.written, "outcome", 4)
    cut = [*logged.main.written[: start - 1], *logged.main.written[where(logged.main.written, "proposal", 1) :]]
    found = findings(logged, {Role.MAIN: chained(logged.trust.fid, Role.MAIN, cut)})
    assert any("begins after round 3" in finding.message for finding in found)
    early = [*logged.main.written]
    del early[where(early, "release", 0) : where(early, "proposal", 1)]
    found = findings(logged, {Role.MAIN: chained(logged.trust.fid, Role.MAIN, early)})
    assert any("begins before round 1 is over" in finding.message for finding in found)


def test_bytes_that_are_no_message_are_against_the_rules(logged: Logged) -> None:
    kinds = ("proposal", "manifest", "close", "verdict", "release", "outcome", "enrolled", "rekeyed", "left", "revoked")
    for ledger in (logged.main, logged.aggregator):
        for kind in (*kinds, "token-conflict", "unlisted-receipt", "second-receipt"):
            for junk in (b"", b"\x80", b"\xff" * 40, b"\x83\x40\x40\x40"):
                entries = chained(logged.trust.fid, ledger.role, [*ledger.written, LogEntry(kind, junk)])
                found = findings(logged, {ledger.role: entries})
                assert [finding.entry for finding in found] == [len(entries)], (kind, junk)


def test_a_type_that_this_version_does_not_know_is_said_to_be_unchecked(logged: Logged) -> None:
    entries = chained(logged.trust.fid, Role.MAIN, [*logged.main.written, LogEntry("later", b"")])
    audit = Audit(logged.trust, [source(Role.MAIN, entries)])
    list(audit.rounds())
    assert audit.findings.kept == []
    assert any("1 entries of types" in line for line in audit.unchecked)


# ---- who is a member no more


def revocation(logged: Logged, subject: bytes) -> LogEntry:
    return LogEntry("revoked", identities.revoke(logged.world.root, subject, NOW))


def leaving(logged: Logged, owner: Owner) -> LogEntry:
    return LogEntry("left", identities.leave(logged.trust.fid, owner.id, owner.key, NOW))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("what", ["device", "token", "left"])
def test_who_was_revoked_or_had_left_before_the_round_does_not_count(role: Role, what: str) -> None:
    logged = Logged().run()
    ledger, owner = (logged.main if role is Role.MAIN else logged.aggregator), logged.world.owners[1]
    subject = owner.member.token_key if what == "token" else owner.id
    ledger.append(leaving(logged, owner) if what == "left" else revocation(logged, subject))
    number = len(ledger.written)
    logged.run()
    (found,) = logged.audit()
    assert (found.flaw, found.log, found.against, found.round) == (Flaw.WRONG_SET, role, role, 2)
    how = "had left" if what == "left" else "had been revoked"
    assert found.message == f"Round 2 counts device {owner.id.hex()}, which {how} (entry {number})."
    assert found.is_proof, "the verdict names a head of a log with that entry"


def test_a_main_server_that_knew_of_a_revocation_when_it_began_to_judge() -> None:
    logged = Logged()
    round_ = logged.next_round().begin(logged)
    round_.report()
    logged.main.append(revocation(logged, logged.world.owners[0].id))
    round_.settle().let_go().end_well()
    assert flaws(logged.audit()) == [(Flaw.WRONG_SET, Role.MAIN)]


def test_a_main_server_that_names_an_old_head_knew_what_stands_before_the_round() -> None:
    logged = Logged()
    logged.main.append(revocation(logged, logged.world.owners[0].id))
    round_ = logged.next_round().begin(logged)
    round_.report()
    at = len(logged.main.written) + 1
    round_.settle().let_go().end_well()
    for ledger in (logged.main, logged.aggregator):
        index = where(ledger.written, "verdict")
        ledger.written[index] = resigned(logged, ledger.written[index], Role.MAIN, log_head=logged.main.entries[0].head)
    assert where(logged.main.written, "verdict") == at
    found = findings(logged, {Role.MAIN: logged.main.entries})
    assert flaws(found) == [(Flaw.WRONG_SET, Role.MAIN)]


def test_who_leaves_or_is_revoked_while_its_report_is_under_way_counts() -> None:
    """Main may have its receipt, or have begun to judge; the aggregator has taken the report."""
    logged = Logged()
    left, revoked, _ = logged.world.owners
    round_ = logged.next_round().begin(logged)
    round_.report()
    gone = leaving(logged, left), revocation(logged, revoked.id)
    logged.main.append(gone[0])
    logged.aggregator.append(*gone)
    round_.settle()
    logged.main.written.insert(where(logged.main.written, "close"), gone[1])
    round_.let_go().end_well()
    assert logged.audit() == []


def test_who_is_revoked_or_leaves_after_its_round_has_counted() -> None:
    logged = Logged(4).run()
    first, second = logged.world.owners[2:]
    for ledger in (logged.main, logged.aggregator):
        ledger.append(revocation(logged, first.id), leaving(logged, second))
    logged.run(reporting=2)
    assert logged.audit() == []


def test_a_round_that_was_taken_over_stands_behind_entries_that_came_later() -> None:
    """Main's state was put back to before the round, and its operator has revoked somebody before it caught up."""
    logged = Logged().run()
    main, told = logged.main.written, logged.rounds[0]
    del main[where(main, "proposal") :]
    main.append(revocation(logged, logged.world.owners[0].id))
    step = main_catches_up(logged.world.main, None, aggregator_words(told.a))
    main += step.entries
    assert "verdict" in [entry.type for entry in step.entries]
    assert flaws(logged.audit()) == [(Flaw.RESTORED, Role.MAIN)]


# ---- receipts


def receipt_for(logged: Logged, device: bytes, report: bytes, mh: bytes) -> LogEntry:
    receipt = Receipt(mh=mh, device=device, report_id=report, time=NOW)
    signed = signing.sign(logged.private(Role.AGGREGATOR), RECEIPT, receipt.encode()).encode()
    return LogEntry("unlisted-receipt", signed)


def test_a_receipt_without_a_place_in_the_list_is_proof_against_the_aggregator(logged: Logged) -> None:
    first = logged.rounds[0]
    report = first.reports[0]
    listed = receipt_for(logged, report.owner.id, report.envelope.report_id, first.a.mh)
    replaced = receipt_for(logged, report.owner.id, secret("another"), first.a.mh)
    left_out = receipt_for(logged, secret("someone")[:16], secret("theirs"), first.a.mh)
    without_list = receipt_for(logged, report.owner.id, secret("another"), secret("no round"))
    logged.main.append(listed, replaced, left_out, without_list)
    found = logged.audit()
    count = len(logged.main.written)
    assert flaws(found) == [(Flaw.UNLISTED, Role.AGGREGATOR)] * 2
    assert [finding.entry for finding in found] == [count - 2, count - 1]
    assert all(finding.is_proof for finding in found)


def test_every_flaw_has_words() -> None:
    assert set(MEANINGS) == set(Flaw)
    for flaw in Flaw:
        finding = Finding(flaw, Role.MAIN, "…", Role.AGGREGATOR)
        assert finding.proves.endswith(".")
        assert finding.advice.endswith(".")
        assert "{" not in finding.proves + finding.advice


@pytest.mark.parametrize(("attempt", "wrong"), [(0, 0), (1, 1), (2, 2)])
def test_an_attempt_that_nothing_explains(attempt: int, wrong: int) -> None:
    """One more than the last is for main's log to explain; one that leaps, no honest aggregator signs either."""
    logged = Logged().run()
    second = LoggedRound(logged.world, previous=logged.rounds[0], round=2, attempt=attempt)
    second.previous_a = None
    second.run(logged)
    assert flaws(logged.audit()) == [(Flaw.AGAINST_RULES, Role.MAIN)] * wrong


def test_an_attempt_after_a_failure() -> None:
    logged = Logged()
    failed = logged.next_round().begin(logged)
    failed.report()
    failed.settle().let_go(failed.masked_sum() + np.uint32(1 << 30))
    finished = logged.world.aggregator.finish(failed.a, failed.m.signed_outcome)
    heard = logged.world.main.countersigned(failed.m, finished.reply)
    failed.a, failed.m = finished.record, heard.record
    logged.aggregator.append(*finished.entries)
    logged.main.append(*heard.entries)
    LoggedRound(logged.world, previous=failed, round=2, attempt=1).run(logged)
    assert logged.audit() == []
