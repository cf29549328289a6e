"""The set root is the Merkle tree of RFC 6962, and the logs are chains that show every change."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from fanlight.errors import NotAuthentic
from fanlight.protocol import codec, log
from fanlight.protocol.digests import digest
from fanlight.protocol.log import ChainedEntry, LogEntry, first_head, next_head, verify_chain
from fanlight.protocol.merkle import Entry, included, inclusion_proofs, set_root
from tests.protocol_world import secret

MH = secret("mh")


def entries(count: int) -> list[Entry]:
    return [Entry(secret(f"device-{i}")[:16], secret(f"report-{i}")) for i in range(count)]


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def by_the_book(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, written with the split found by search instead of bits."""
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return sha(b"\x00" + leaves[0])
    split = max(2**power for power in range(10) if 2**power < len(leaves))
    return sha(b"\x01" + by_the_book(leaves[:split]) + by_the_book(leaves[split:]))


@pytest.mark.parametrize("count", range(21))
def test_the_root_is_the_tree_of_rfc_6962_bound_to_the_round(count: int) -> None:
    leaves = [codec.encode([entry.device, entry.report_id]) for entry in sorted(entries(count))]
    expected = digest("fanlight/set/v1", MH, count, by_the_book(leaves))
    assert set_root(MH, entries(count)) == expected
    assert set_root(MH, entries(count)[::-1]) == expected


@pytest.mark.parametrize("count", range(1, 21))
def test_every_member_has_a_proof_and_it_proves_nothing_else(count: int) -> None:
    accepted = entries(count)
    root = set_root(MH, accepted)
    for entry in accepted:
        found = inclusion_proofs(accepted).get(entry.device)
        assert found is not None
        index, path = found
        assert sorted(accepted)[index] == entry
        assert included(MH, root, count, index, path, entry)
        assert not included(MH, root, count, index, path, entry._replace(report_id=bytes(32)))
        assert not included(MH, root, count, index, path, entry._replace(device=bytes(16)))
        assert not included(bytes(32), root, count, index, path, entry)
        assert not included(MH, bytes(32), count, index, path, entry)
        assert not included(MH, root, count, index, [*path, bytes(32)], entry)
        for wrong in set(range(-1, count + 1)) - {index}:
            assert not included(MH, root, count, wrong, path, entry)
        for wrong in set(range(count + 3)) - {count}:
            assert not included(MH, root, wrong, index, path, entry)
        for at in range(len(path)):
            assert not included(MH, root, count, index, [*path[:at], bytes(32), *path[at + 1 :]], entry)
            assert not included(MH, root, count, index, [*path[:at], *path[at + 1 :]], entry)


def test_a_stranger_has_no_proof() -> None:
    assert bytes(16) not in inclusion_proofs(entries(5))
    assert inclusion_proofs([]) == {}
    assert not included(MH, set_root(MH, []), 0, 0, [], entries(1)[0])


def test_an_inner_node_cannot_pass_for_a_leaf() -> None:
    leaves = [codec.encode([*entry]) for entry in sorted(entries(2))]
    inner = sha(b"\x00" + leaves[0]) + sha(b"\x00" + leaves[1])
    assert set_root(MH, entries(2)) != digest("fanlight/set/v1", MH, 1, sha(b"\x00" + inner))


def chain(*payloads: bytes) -> list[ChainedEntry]:
    head, chained = first_head(MH, "main"), []
    for number, payload in enumerate(payloads, start=1):
        head = next_head(number, head, LogEntry("verdict", payload))
        chained.append(ChainedEntry(number, head, "verdict", payload))
    return chained


def test_a_log_verifies_to_its_last_head() -> None:
    whole = chain(b"a", b"b", b"c")
    assert verify_chain(MH, "main", whole) == whole[-1].head
    assert verify_chain(MH, "main", []) == first_head(MH, "main") == digest(log.LABEL, MH, "main")


def test_every_prefix_of_a_log_has_a_head_of_its_own() -> None:
    whole = chain(b"a", b"a", b"a")
    assert len({first_head(MH, "main"), *(entry.head for entry in whole)}) == 4


def test_logs_of_roles_and_federations_differ() -> None:
    assert len({first_head(MH, "main"), first_head(MH, "aggregator"), first_head(bytes(32), "main")}) == 3
    with pytest.raises(NotAuthentic):
        verify_chain(MH, "aggregator", chain(b"a"))


@pytest.mark.parametrize("at", range(3))
def test_an_altered_entry_is_named(at: int) -> None:
    whole = chain(b"a", b"b", b"c")
    for change in ({"payload": b"x"}, {"type": "release"}, {"number": 9}, {"head": bytes(32)}):
        altered = [*whole[:at], whole[at]._replace(**change), *whole[at + 1 :]]
        with pytest.raises(NotAuthentic, match=f"entry {at + 1}"):
            verify_chain(MH, "main", altered)


def test_entries_cannot_be_left_out_doubled_or_swapped() -> None:
    whole = chain(b"a", b"b", b"c")
    for order in itertools.product(range(3), repeat=3):
        if order != (0, 1, 2):
            with pytest.raises(NotAuthentic):
                verify_chain(MH, "main", [whole[at] for at in order])
    with pytest.raises(NotAuthentic):
        verify_chain(MH, "main", whole[1:])
