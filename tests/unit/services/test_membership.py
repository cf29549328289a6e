"""Members at one server, over a real database: change of key, its repetition, and what must not come back."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import Conflict, NotAuthentic, NotEnrolled
from fanlight.protocol import identities
from fanlight.protocol.digests import device_id
from fanlight.protocol.signing import raw_public_key
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.membership import Membership
from fanlight.storage.database import Database
from fanlight.storage.migrating import migrate
from fanlight.storage.tables import main as tables
from tests.protocol_world import NOW, World, key

WORLD = World()
FID = WORLD.trust.fid


def enrolment(name: str, private: Ed25519PrivateKey) -> bytes:
    token = key(f"token {name}")
    certificate = identities.issue_token(WORLD.root, raw_public_key(token), NOW + 100, name)
    return identities.enrol(FID, certificate, token, private)


@pytest.fixture
def members() -> Membership:
    database = Database(None)
    migrate(database, "main")
    log = ChainedLog(tables.logs, FID, "main", lambda: float(NOW))
    return Membership(database, tables.members, log, WORLD.trust)


def types_in_log(members: Membership) -> list[str]:
    with members.database.transaction() as tx:
        return [entry.type for entry in members.log.entries(tx)]


def test_the_first_key_of_a_token_wins_and_the_second_is_logged(members: Membership) -> None:
    first, _ = members.enrol(enrolment("camera", key("first")), NOW)
    assert members.enrol(enrolment("camera", key("first")), NOW) == (first, False)
    with pytest.raises(Conflict) as caught:
        members.enrol(enrolment("camera", key("second")), NOW)
    assert caught.value.slug == "token-used"
    assert members.public_keys() == {first.device: raw_public_key(key("first"))}
    assert types_in_log(members) == ["enrolled", "token-conflict"]


def test_a_change_of_key_can_be_repeated_but_not_undone_by_an_old_one(members: Membership) -> None:
    member, _ = members.enrol(enrolment("camera", key("a")), NOW)
    to_b = identities.rekey(FID, member.device, key("a"), key("b"))
    assert members.rekey(member.device, to_b).public_key == raw_public_key(key("b"))
    assert members.rekey(member.device, to_b).public_key == raw_public_key(key("b"))
    assert types_in_log(members) == ["enrolled", "rekeyed"]
    with pytest.raises(Conflict) as caught:
        members.rekey(member.device, identities.rekey(FID, member.device, key("b"), key("a")))
    assert caught.value.slug == "key-used-before"
    members.rekey(member.device, identities.rekey(FID, member.device, key("b"), key("c")))
    with pytest.raises(NotAuthentic):
        members.rekey(member.device, to_b)
    assert members.public_keys() == {member.device: raw_public_key(key("c"))}


def test_a_revoked_device_is_out_for_good(members: Membership) -> None:
    member, _ = members.enrol(enrolment("camera", key("a")), NOW)
    members.revoke(identities.revoke(WORLD.root, member.device, NOW))
    assert members.public_keys() == {}
    with pytest.raises(NotEnrolled) as caught:
        members.enrol(enrolment("camera", key("a")), NOW)
    assert caught.value.slug == "revoked"
    with pytest.raises(NotEnrolled):
        members.rekey(member.device, identities.rekey(FID, member.device, key("a"), key("b")))


def test_what_is_not_known_yet_can_be_revoked(members: Membership) -> None:
    """Else a device could enrol at the server that had not heard of it, and a leaked token could be used."""
    token = raw_public_key(key("token leaked"))
    device = device_id(FID, raw_public_key(key("unknown")))
    for subject in (token, device):
        members.revoke(identities.revoke(WORLD.root, subject, NOW))
        members.revoke(identities.revoke(WORLD.root, subject, NOW + 1))
    for request in (enrolment("leaked", key("thief")), enrolment("camera", key("unknown"))):
        with pytest.raises(NotEnrolled) as caught:
            members.enrol(request, NOW)
        assert caught.value.slug == "revoked"
    assert members.public_keys() == {}
    assert types_in_log(members) == ["revoked", "revoked"]


def test_who_has_left_is_out_for_good_and_it_is_in_the_log(members: Membership) -> None:
    member, _ = members.enrol(enrolment("camera", key("a")), NOW)
    data = identities.leave(FID, member.device, key("a"), NOW)
    members.leave(member.device, data, NOW)
    assert members.public_keys() == {}
    for again in (
        lambda: members.leave(member.device, data, NOW),
        lambda: members.enrol(enrolment("camera", key("a")), NOW),
        lambda: members.rekey(member.device, identities.rekey(FID, member.device, key("a"), key("b"))),
        lambda: members.resolve(member.device.hex()),
    ):
        with pytest.raises(NotEnrolled) as caught:
            again()
        assert caught.value.slug == "left"
        assert "operator" in caught.value.next
    assert types_in_log(members) == ["enrolled", "left"]


def test_leaving_is_remembered_after_a_restart(members: Membership) -> None:
    member, _ = members.enrol(enrolment("camera", key("a")), NOW)
    other, _ = members.enrol(enrolment("door", key("d")), NOW)
    members.leave(member.device, identities.leave(FID, member.device, key("a"), NOW), NOW)
    again = Membership(members.database, tables.members, members.log, WORLD.trust)
    again.load()
    assert set(again.public_keys()) == {other.device}
    with pytest.raises(NotEnrolled):
        again.resolve(member.device.hex())


def test_after_a_change_of_key_only_the_new_key_can_leave(members: Membership) -> None:
    member, _ = members.enrol(enrolment("camera", key("a")), NOW)
    old = identities.leave(FID, member.device, key("a"), NOW)
    members.rekey(member.device, identities.rekey(FID, member.device, key("a"), key("b")))
    with pytest.raises(NotAuthentic):
        members.leave(member.device, old, NOW)
    members.leave(member.device, identities.leave(FID, member.device, key("b"), NOW), NOW)
    assert members.public_keys() == {}


def test_a_stranger_cannot_leave(members: Membership) -> None:
    device = device_id(FID, raw_public_key(key("unknown")))
    with pytest.raises(NotEnrolled):
        members.leave(device, identities.leave(FID, device, key("unknown"), NOW), NOW)
    assert types_in_log(members) == []
