"""Who is a member: from the root's certificates down to a device's second key and its revocation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fanlight.errors import FanlightError, MalformedMessage, NotAuthentic, Refused
from fanlight.protocol import identities, signing
from fanlight.protocol.digests import device_id, federation_id
from fanlight.protocol.identities import (
    Certificate,
    Enrolment,
    Leave,
    Member,
    Rekey,
    Revocation,
    Role,
    TokenCertificate,
    Trust,
)
from tests.protocol_world import NOW, key, public

ROOT, OTHER_ROOT, TOKEN, DEVICE = key("root"), key("other root"), key("token"), key("device")
FID = federation_id(public(ROOT))
TOKEN_BYTES = identities.issue_token(ROOT, public(TOKEN), NOW, "kitchen")


def enrolment(**changes: bytes) -> bytes:
    whole = Enrolment.decode(identities.enrol(FID, TOKEN_BYTES, TOKEN, DEVICE))
    return whole.with_(**changes).encode()


def check(data: bytes, now: int = NOW - 1) -> Member:
    return identities.check_enrolment(public(ROOT), data, now)


def test_an_enrolment_proves_a_member() -> None:
    member = check(enrolment())
    assert member == Member(device_id(FID, public(DEVICE)), public(DEVICE), public(TOKEN), "kitchen")
    assert len(member.device) == 16


def test_a_device_has_another_id_in_another_federation() -> None:
    assert device_id(FID, public(DEVICE)) != device_id(federation_id(public(OTHER_ROOT)), public(DEVICE))


@pytest.mark.parametrize("now", [NOW, NOW + 1, 1 << 62])
def test_an_expired_token_is_refused_with_advice(now: int) -> None:
    with pytest.raises(Refused, match="kitchen") as caught:
        check(enrolment(), now)
    assert caught.value.slug == "token-expired"
    assert caught.value.next


def foreign_fid() -> bytes:
    payload = TokenCertificate(fid=bytes(32), public_key=public(TOKEN), expires=NOW, name="x").encode()
    return signing.sign(ROOT, identities.TOKEN, payload).encode()


def certificate_as_token() -> bytes:
    payload = TokenCertificate(fid=FID, public_key=public(TOKEN), expires=NOW, name="x").encode()
    return signing.sign(ROOT, identities.CERTIFICATE, payload).encode()


@pytest.mark.parametrize(
    "make",
    [
        lambda: identities.enrol(FID, TOKEN_BYTES, key("not the token"), DEVICE),
        lambda: identities.enrol(bytes(32), TOKEN_BYTES, TOKEN, DEVICE),
        lambda: enrolment(public_key=public(key("thief"))),
        lambda: enrolment(token_signature=bytes(64)),
        lambda: enrolment(device_signature=bytes(64)),
        lambda: enrolment(device_signature=Enrolment.decode(enrolment()).token_signature),
        lambda: enrolment(token=identities.issue_token(OTHER_ROOT, public(TOKEN), NOW, "x")),
        lambda: enrolment(token=identities.issue_token(ROOT, public(key("second token")), NOW, "x")),
        lambda: enrolment(token=foreign_fid()),
        lambda: enrolment(token=certificate_as_token()),
    ],
)
def test_a_forged_enrolment_is_not_authentic(make: Callable[[], bytes]) -> None:
    with pytest.raises(NotAuthentic):
        check(make())


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xa0", enrolment()[:-1], enrolment() + b"\0"])
def test_rubbish_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        check(data)


def test_a_second_key_for_one_token_is_visible_to_the_server() -> None:
    first, second = check(enrolment()), check(identities.enrol(FID, TOKEN_BYTES, TOKEN, key("second device")))
    assert first.token_key == second.token_key
    assert first.public_key != second.public_key
    assert first.device != second.device


def test_the_operators_name_comes_from_the_root() -> None:
    assert check(identities.enrol(FID, TOKEN_BYTES, TOKEN, key("any"))).name == "kitchen"


def test_certificates_make_trust() -> None:
    main, agg = key("main"), key("agg")
    certificates = [
        identities.issue_certificate(ROOT, Role.MAIN, public(main)),
        identities.issue_certificate(ROOT, Role.AGGREGATOR, public(agg)),
    ]
    trust = Trust.from_certificates(public(ROOT), *certificates)
    assert (trust.main_key, trust.aggregator_key, trust.fid) == (public(main), public(agg), FID)


def foreign_certificate() -> bytes:
    payload = Certificate(fid=bytes(32), role="main", public_key=public(key("main"))).encode()
    return signing.sign(ROOT, identities.CERTIFICATE, payload).encode()


@pytest.mark.parametrize(
    "certificate",
    [
        identities.issue_certificate(OTHER_ROOT, Role.MAIN, public(key("main"))),
        identities.issue_certificate(ROOT, Role.AGGREGATOR, public(key("main"))),
        foreign_certificate(),
        TOKEN_BYTES,
        b"",
    ],
)
def test_a_certificate_of_another_root_role_or_kind_is_refused(certificate: bytes) -> None:
    with pytest.raises((NotAuthentic, MalformedMessage)):
        identities.check_certificate(public(ROOT), certificate, Role.MAIN)


MEMBER = check(enrolment())
NEW = key("new device key")


def test_a_change_of_key_keeps_the_device() -> None:
    changed = identities.check_rekey(FID, MEMBER, identities.rekey(FID, MEMBER.device, DEVICE, NEW))
    assert changed == Member(MEMBER.device, public(NEW), MEMBER.token_key, MEMBER.name)


def test_key_changes_form_a_chain_and_an_old_one_cannot_be_replayed() -> None:
    first = identities.rekey(FID, MEMBER.device, DEVICE, NEW)
    member = identities.check_rekey(FID, MEMBER, first)
    with pytest.raises(NotAuthentic):
        identities.check_rekey(FID, member, first)
    third = identities.rekey(FID, MEMBER.device, NEW, key("third"))
    assert identities.check_rekey(FID, member, third).public_key == public(key("third"))


def rekey_to_a_key_of_somebody_else() -> bytes:
    proof = signing.sign(DEVICE, identities.REKEY, b"whatever").signature
    message = Rekey(fid=FID, device=MEMBER.device, new_key=public(NEW), new_key_signature=proof)
    return signing.sign(DEVICE, identities.REKEY, message.encode()).encode()


@pytest.mark.parametrize(
    "make",
    [
        lambda: identities.rekey(FID, MEMBER.device, key("thief"), NEW),
        lambda: identities.rekey(FID, bytes(16), DEVICE, NEW),
        lambda: identities.rekey(bytes(32), MEMBER.device, DEVICE, NEW),
        rekey_to_a_key_of_somebody_else,
    ],
)
def test_a_forged_change_of_key_is_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(NotAuthentic):
        identities.check_rekey(FID, MEMBER, make())


def test_only_the_root_revokes() -> None:
    revocation = identities.check_revocation(public(ROOT), identities.revoke(ROOT, MEMBER.device, NOW))
    assert revocation == Revocation(fid=FID, subject=MEMBER.device, time=NOW)
    foreign = Revocation(fid=bytes(32), subject=MEMBER.device, time=NOW).encode()
    for forged in (
        identities.revoke(OTHER_ROOT, MEMBER.device, NOW),
        signing.sign(DEVICE, identities.REVOCATION, revocation.encode()).encode(),
        signing.sign(ROOT, identities.REKEY, revocation.encode()).encode(),
        signing.sign(ROOT, identities.REVOCATION, foreign).encode(),
    ):
        with pytest.raises(FanlightError):
            identities.check_revocation(public(ROOT), forged)


def test_a_member_leaves_by_its_own_current_key() -> None:
    data = identities.leave(FID, MEMBER.device, DEVICE, NOW)
    assert identities.check_leave(FID, MEMBER.device, public(DEVICE), data) == Leave(
        fid=FID, device=MEMBER.device, time=NOW
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: identities.leave(FID, MEMBER.device, key("thief"), NOW),
        lambda: identities.leave(FID, bytes(16), DEVICE, NOW),
        lambda: identities.leave(bytes(32), MEMBER.device, DEVICE, NOW),
        lambda: identities.rekey(FID, MEMBER.device, DEVICE, NEW),
        lambda: signing.sign(
            DEVICE, identities.REKEY, Leave(fid=FID, device=MEMBER.device, time=NOW).encode()
        ).encode(),
    ],
    ids=["another-key", "another-device", "another-federation", "another-message", "another-label"],
)
def test_nobody_else_makes_a_device_leave(make: Callable[[], bytes]) -> None:
    with pytest.raises(NotAuthentic):
        identities.check_leave(FID, MEMBER.device, public(DEVICE), make())
