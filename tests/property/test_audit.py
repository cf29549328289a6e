"""No byte of a log can change unnoticed, whether the other server's log is at hand or not."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from fanlight.errors import FanlightError
from fanlight.protocol.audit.both import Audit
from fanlight.protocol.audit.findings import Finding, Flaw
from fanlight.protocol.audit.source import LogSource
from fanlight.protocol.identities import Role
from fanlight.protocol.log import LogEntry
from fanlight.services.server.log_file import LogFile
from tests.logged_world import Logged, chained, findings


@functools.cache
def logged() -> Logged:
    return Logged(4).run().run(shards=2)


@functools.cache
def content(role: Role) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return logged().file(Path(folder) / "log", role).read_bytes()


def audited(data: bytes, role: Role) -> list[Finding]:
    """What an audit of this one file finds.

    Raises:
        FanlightError: it is no log at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(data)
        file = LogFile.open(path)
        audit = Audit(logged().trust, [LogSource(role, file.entries, file.signed)])
        for _ in audit.rounds():
            pass
        if file.trust != logged().trust or file.role is not role:
            return [Finding(Flaw.UNREADABLE, role, "Another federation's, or the other server's.", role)]
    return audit.findings.kept


def is_noticed(audit: Callable[[], list[Finding]]) -> bool:
    try:
        return bool(audit())
    except FanlightError:
        return True


@given(role=st.sampled_from(Role), data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_byte_is_noticed(role: Role, data: st.DataObject) -> None:
    before = content(role)
    at = data.draw(st.integers(0, len(before) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != before[at]))
    changed = before[:at] + bytes([other]) + before[at + 1 :]
    assert is_noticed(lambda: audited(changed, role))


@given(role=st.sampled_from(Role), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_lost_or_added_bytes_are_noticed(role: Role, data: st.DataObject) -> None:
    before = content(role)
    start = data.draw(st.integers(0, len(before) - 1))
    stop = data.draw(st.integers(start + 1, len(before)))
    inserted = data.draw(st.binary(max_size=80))
    changed = before[:start] + inserted + before[stop:]
    if changed != before:
        assert is_noticed(lambda: audited(changed, role))


@given(role=st.sampled_from(Role), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_server_cannot_rewrite_what_it_has_signed_for(role: Role, data: st.DataObject) -> None:
    """Whatever it does to entries before its last signed word, with all hashes computed anew."""
    ledger = logged().main if role is Role.MAIN else logged().aggregator
    kind = "verdict" if role is Role.MAIN else "release"
    signed = max(index for index, entry in enumerate(ledger.written) if entry.type == kind)
    at = data.draw(st.integers(0, signed - 2 if role is Role.MAIN else signed - 1))
    payload = bytearray(ledger.written[at].payload)
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    replacement = data.draw(st.sampled_from([[], [LogEntry(ledger.written[at].type, bytes(payload))]]))
    entries = chained(ledger.fid, role, [*ledger.written[:at], *replacement, *ledger.written[at + 1 :]])
    assert findings(logged(), {role: entries})


def test_the_file_itself_is_good() -> None:
    for role in Role:
        assert audited(content(role), role) == []
