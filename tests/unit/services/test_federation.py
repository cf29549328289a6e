"""The folders of a federation: made whole, for their owner only, and believed only as far as the root signed."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import NotAuthentic, NotFound, SettingsError, StorageError
from fanlight.protocol import identities, signing
from fanlight.protocol.identities import Role
from fanlight.protocol.signing import raw_public_key
from fanlight.services import federation

MAIN, AGGREGATOR = "http://localhost:8000", "http://localhost:8003"


def made(folder: Path) -> Path:
    federation.init_federation(folder, main_url=MAIN, aggregator_url=AGGREGATOR, task_json=b'{"format": 1}')
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return made(tmp_path / "fed")


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_each_server_finds_its_identity_and_both_pin_the_same(folder: Path) -> None:
    main = federation.load_server_identity(folder / "main", Role.MAIN)
    aggregator = federation.load_server_identity(folder / "aggregator", Role.AGGREGATOR)
    assert main.trust == aggregator.trust
    assert signing.raw_public_key(main.private) == main.trust.main_key
    assert signing.raw_public_key(aggregator.private) == main.trust.aggregator_key
    assert (main.main_url, main.aggregator_url) == (MAIN, AGGREGATOR)
    assert (folder / "main" / "task.json").read_bytes() == b'{"format": 1}'


def test_everything_is_for_its_owner_only(folder: Path) -> None:
    federation.issue_token_file(folder, "a", 100)
    federation.revoke(folder, "0" * 32, 100)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert len(modes) > 12
    assert {path for path, mode in modes.items() if mode & 0o077} == set()


def test_the_roots_key_is_in_its_own_folder_only(folder: Path) -> None:
    secret = (folder / "root" / "root.key").read_text().strip()
    others = [path for path in folder.rglob("*") if path.is_file() and path.name != "root.key"]
    assert others
    assert not [path for path in others if secret in path.read_text()]


def test_two_federations_have_nothing_in_common(folder: Path, tmp_path: Path) -> None:
    ours = federation.load_server_identity(folder / "main", Role.MAIN)
    theirs = federation.load_server_identity(made(tmp_path / "other") / "main", Role.MAIN)
    assert not set(vars(ours.trust).values()) & set(vars(theirs.trust).values())


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(StorageError, match="holds something already"):
        made(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    (tmp_path / "fed").mkdir()
    assert federation.load_server_identity(made(tmp_path / "fed") / "main", Role.MAIN).role is Role.MAIN


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://a", "http://", "http://a/b", "http://a?b", "http://u@a", "http://a:99999", ""]
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsError, match="no server's address"):
        federation.init_federation(tmp_path / "f", main_url=url, aggregator_url=AGGREGATOR, task_json=b"{}")
    assert not (tmp_path / "f").exists()


def test_one_address_for_both_servers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="same address"):
        federation.init_federation(tmp_path / "f", main_url=MAIN, aggregator_url=MAIN + "/", task_json=b"{}")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"There is no folder .*nowhere"):
        federation.load_server_identity(tmp_path / "nowhere", Role.MAIN)


def test_the_whole_federation_is_not_a_servers_folder_and_the_error_says_which_is(folder: Path) -> None:
    with pytest.raises(NotFound, match="It has a folder main in it"):
        federation.load_server_identity(folder, Role.MAIN)


def test_a_server_does_not_start_with_the_other_ones_folder(folder: Path) -> None:
    with pytest.raises(NotAuthentic, match="not the one that the root certified as main"):
        federation.load_server_identity(folder / "aggregator", Role.MAIN)


@pytest.mark.parametrize("name", ["identity.key", "federation.json"])
def test_a_servers_file_that_others_can_read_is_refused(folder: Path, name: str) -> None:
    (folder / "main" / name).chmod(0o644)
    with pytest.raises(StorageError, match="other users can open it"):
        federation.load_server_identity(folder / "main", Role.MAIN)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1}'])
def test_a_damaged_federation_file_is_named(folder: Path, text: str) -> None:
    (folder / "main" / "federation.json").write_text(text)
    with pytest.raises(StorageError, match=r"federation\.json is damaged"):
        federation.load_server_identity(folder / "main", Role.MAIN)


def test_an_unknown_field_is_refused(folder: Path) -> None:
    change(folder / "main" / "federation.json", colour="red")
    with pytest.raises(StorageError, match="colour"):
        federation.load_server_identity(folder / "main", Role.MAIN)


def test_certificates_of_another_root_are_refused(folder: Path, tmp_path: Path) -> None:
    other = json.loads((made(tmp_path / "other") / "main" / "federation.json").read_text())
    change(folder / "main" / "federation.json", root_key=other["root_key"])
    with pytest.raises(NotAuthentic):
        federation.load_server_identity(folder / "main", Role.MAIN)


def test_a_token_lets_a_device_enrol(folder: Path) -> None:
    token = federation.read_token(federation.issue_token_file(folder, "hall door", 1000))
    assert (token.name, token.expires, token.main_url, token.aggregator_url) == ("hall door", 1000, MAIN, AGGREGATOR)
    device = Ed25519PrivateKey.generate()
    enrolment = identities.enrol(token.trust.fid, token.certificate, token.private, device)
    assert identities.check_enrolment(token.trust.root_key, enrolment, 999).name == "hall door"


def test_tokens_take_free_names_and_are_not_overwritten(folder: Path) -> None:
    for expected in ("device-1", "device-2"):
        name = federation.free_token_name(folder)
        assert federation.issue_token_file(folder, name, 1).name == f"{expected}.json"
    with pytest.raises(StorageError, match="exists already"):
        federation.issue_token_file(folder, "device-1", 1)


def test_a_token_can_be_written_elsewhere(folder: Path, tmp_path: Path) -> None:
    path = federation.issue_token_file(folder, "a", 1, out=tmp_path / "here.json")
    assert federation.read_token(path).name == "a"
    assert not (folder / "tokens" / "a.json").exists()


@pytest.mark.parametrize("name", ["", "../a", "a/b", ".hidden", "a" * 65, "a\n"])
def test_a_name_that_is_no_files_name_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="cannot be a device's name"):
        federation.issue_token_file(folder, name, 1)


def test_without_the_root_there_are_no_tokens(folder: Path) -> None:
    with pytest.raises(NotFound, match="holds no root"):
        federation.issue_token_file(folder / "main", "a", 1)


def test_another_federations_root_is_noticed(folder: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "other") / "root" / "root.key"
    other.replace(folder / "root" / "root.key")
    with pytest.raises(NotAuthentic, match="another federation's root"):
        federation.issue_token_file(folder, "a", 1)


def test_a_token_file_that_others_can_read_is_refused(folder: Path) -> None:
    path = federation.issue_token_file(folder, "a", 1)
    path.chmod(0o640)
    with pytest.raises(StorageError, match="other users can open it") as caught:
        federation.read_token(path)
    assert "chmod 600" in caught.value.next


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no token file"):
        federation.read_token(tmp_path / "t.json")


def test_a_token_of_another_root_is_refused(folder: Path, tmp_path: Path) -> None:
    ours = federation.issue_token_file(folder, "a", 1)
    theirs = json.loads(federation.issue_token_file(made(tmp_path / "other"), "a", 1).read_text())
    change(ours, token=theirs["token"], token_key=theirs["token_key"])
    with pytest.raises(NotAuthentic, match="was not signed by the root"):
        federation.read_token(ours)


def test_a_token_with_another_key_is_refused(folder: Path) -> None:
    path = federation.issue_token_file(folder, "a", 1)
    change(path, token_key="11" * 32)
    with pytest.raises(NotAuthentic, match="was not signed by the root"):
        federation.read_token(path)


def test_the_name_comes_from_the_root_not_from_the_file(folder: Path) -> None:
    path = federation.issue_token_file(folder, "a", 1)
    change(path, name="somebody else")
    assert federation.read_token(path).name == "a"


def test_a_revocation_is_signed_once_and_kept(folder: Path) -> None:
    device = "00112233445566778899aabbccddeeff"
    first = federation.revoke(folder, device, 500)
    again = federation.revoke(folder, device, 600)
    assert first == again
    root_key = federation.load_server_identity(folder / "main", Role.MAIN).trust.root_key
    revocation = identities.check_revocation(root_key, first.body)
    assert (revocation.subject.hex(), revocation.time) == (device, 500)


@pytest.mark.parametrize("device", ["", "xyz", "AA" * 16, "../../../../../../../../../../x"])
def test_a_device_id_that_is_none_is_refused(folder: Path, device: str) -> None:
    with pytest.raises(SettingsError, match="is neither a device id nor the name of a token"):
        federation.revoke(folder, device, 1)


def test_a_token_is_revoked_by_its_name(folder: Path) -> None:
    path = federation.issue_token_file(folder, "front door", 1)
    revocation = federation.revoke(folder, path.stem, 500)
    root_key = federation.load_server_identity(folder / "main", Role.MAIN).trust.root_key
    subject = identities.check_revocation(root_key, revocation.body).subject
    assert subject == raw_public_key(federation.read_token(path).private)


@pytest.mark.parametrize("certificate", ["00", "ff" * 40])
def test_bad_certificates_are_named_with_their_file_and_what_to_do(folder: Path, certificate: str) -> None:
    token = federation.issue_token_file(folder, "a", 1)
    files = [token, *(folder / name / "federation.json" for name in ("main", "root"))]
    for path in files:
        change(path, main_certificate=certificate)
    readers: list[Callable[[], object]] = [
        lambda: federation.read_token(token),
        lambda: federation.load_server_identity(folder / "main", Role.MAIN),
        lambda: federation.issue_token_file(folder, "b", 1),
    ]
    for path, read in zip(files, readers, strict=True):
        with pytest.raises(NotAuthentic) as caught:
            read()
        assert str(path) in caught.value.message
        assert caught.value.next
