"""A whole round, a refused report and a broken route: nothing secret reaches a log line, in whatever writing."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fanlight.errors import RemoteError
from fanlight.protocol import main_server as main_machine
from fanlight.services.aggregator import masked_sums
from fanlight.services.http.logging import configure_logging
from tests.services_world import ProtocolDevice, World, running, wait

ENOUGH = 12
"""Bytes of a secret that would be too much."""


pytestmark = pytest.mark.usefixtures("restored_logging")


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every seed that a server opens; the servers do what they always do."""
    opened: list[bytes] = []

    def noting(open_seed: Callable[..., bytes]) -> Callable[..., bytes]:
        def opens(*arguments: object) -> bytes:
            opened.append(open_seed(*arguments))
            return opened[-1]

        return opens

    for module in (masked_sums, main_machine):
        monkeypatch.setattr(module, "open_seed", noting(module.open_seed))
    return opened


def raw(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def texts(folder: Path) -> list[bytes]:
    return [file.read_bytes().strip() for file in folder.rglob("*") if file.is_file()]


def writings(secret: bytes) -> list[str]:
    """How the beginning of a secret could be written."""
    start = secret[:ENOUGH]
    quoted = repr(start)[2:-1]
    return [
        start.hex(),
        quoted,
        quoted.replace("\\", "\\\\"),
        base64.b64encode(start).decode(),
        base64.urlsafe_b64encode(start).decode(),
    ]


def a_round(world: World, devices: list[ProtocolDevice]) -> list[bytes]:
    """Report, be refused, aggregate, publish; the vectors before and after masking."""
    made = [device.commit() for device in devices]
    swapped = made[0].y.copy()
    swapped[0] ^= 1
    with pytest.raises(RemoteError):
        devices[0].upload(made[0], swapped.astype("<u4").tobytes())
    for device, sent in zip(devices, made, strict=True):
        device.report(sent)
    world.aggregate()
    wait(lambda: world.round(1, state="complete"), "the round is complete")
    return [vector.tobytes()[: 4 * ENOUGH] for sent in made for vector in (sent.y, sent.plain) if vector.any()]


@pytest.mark.parametrize("json", [True, False], ids=["json", "for people"])
def test_nothing_secret_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seeds: list[bytes], json: bool
) -> None:
    configure_logging(json=json)
    with running(tmp_path) as world:
        devices = world.enrolled(2)
        round_keys = [kept.secret for role in ("main", "aggregator") if (kept := world.round_key(role)) is not None]
        assert len(round_keys) == 2
        vectors = a_round(world, devices)
        servers = [world.owner(role) for role in ("main", "aggregator")]
        for owner in servers:
            owner.ask("GET", "/login?token=a-guess-at-a-login-link")
        tokens = [(owner.state / name).read_bytes() for owner in servers for name in ("api-token", "metrics-token")]
        keys = [raw(device.private) for device in devices] + [raw(device.token.private) for device in devices]
        identities = [raw(server.service.identity.private) for server in (world.main, world.aggregator)]
    assert len(seeds) >= 4  # of each report, one at each server
    said = capsys.readouterr().err
    lines = "\n".join(line for line in said.splitlines() if "log in at http" not in line)  # the owner's own link
    assert lines.count("round moved") >= 8
    assert "report rejected" in lines
    assert "swapped-vector" in lines
    for secret in (*seeds, *round_keys, *vectors, *keys, *identities):
        assert not [form for form in writings(secret) if form in lines]
    for token in tokens:
        assert token.decode().strip() not in lines
    assert "a-guess-at-a-login-link" not in lines
