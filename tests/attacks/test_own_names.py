"""Everything that leaves a device is caught: neither a name that only the home knows, nor a picture of it, is in there.

Three devices with the same pictures and the same secret randomness: the second has, beside them, six pictures of an own
name; the third has them as well, and lets them count as one of the task's classes. What the first and the second
train, measure and send is the same; of the third, only the sums of its pictures differ, and nothing says the name.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from fanlight.core.randomness import Keystream
from fanlight.protocol.plan import Kind
from fanlight.services.device.app import create_app
from fanlight.services.device.learned import Prepared
from fanlight.services.device.role import Chances, DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import issue_token_file
from fanlight.services.http.logging import configure_logging
from tests.e2e.trained_device import draw
from tests.services_world import ServiceDevice, World, wait
from tests.unit.consoles.federation import owner
from tests.unit.device.federation import NOW, FakeFederation
from tests.unit.device.joined import done, turn
from tests.unit.device.test_home_learning import CLASSES, drawn_federation

NAME = "Minka von der Heide"
WRITINGS = [NAME.encode(), b"Minka", b"Heide", NAME.encode().hex().encode(), NAME.replace(" ", "%20").encode(), b"_own"]

pytestmark = pytest.mark.usefixtures("restored_logging")


def hashes(folder: Path) -> list[bytes]:
    """The pictures' hashes as text, and their first bytes."""
    digests = [hashlib.sha256(path.read_bytes()) for path in folder.iterdir()]
    return [digest.hexdigest().encode()[:16] for digest in digests] + [digest.digest()[:8] for digest in digests]


@dataclass
class Caught:
    """All requests that a device makes: addresses, headers and bodies."""

    federation: FakeFederation
    all: list[bytes] = field(default_factory=list)

    def transport(self) -> httpx.MockTransport:
        def answer(request: httpx.Request) -> httpx.Response:
            body = request.read()
            self.all += [str(request.url).encode(), repr(request.headers.raw).encode(), body]
            return self.federation.answer(request)

        return httpx.MockTransport(answer)


@dataclass
class Told:
    """What a device sent in a round: the vector without masks, the sizes of bodies, and all that was caught."""

    update: np.ndarray
    totals: object
    sizes: list[int]
    prepared: Prepared | None
    caught: list[bytes]
    metrics: str


def a_round(folder: Path, prepare: Callable[[DeviceRole], None]) -> Told:
    """A device trains, announces and sends by itself, with the same randomness each time."""
    federation = drawn_federation(folder)
    caught = Caught(federation)
    for name in CLASSES:
        draw(folder / "data" / name, name, 8)
    settings = DeviceSettings(
        token=issue_token_file(federation.folder, "porch", NOW + 1000), state=folder / "state", data=folder / "data",
        accept_demo=True, port=8001, poll_wait_s=0,
    )  # fmt: skip
    stream = Keystream(bytes(32))
    chances = Chances(clock=lambda: float(NOW), randomness=stream.bytes, jitter=lambda: 0.5, sleep=lambda _s: None)
    app, role = create_app(settings, chances=chances, transport=caught.transport())
    browser: TestClient = owner(app, "http://localhost:8001")
    turn(role)
    role.library.refresh()
    prepare(role)
    if (job := role.home.job) is not None:
        done(role, job)
    signed = federation.open_round(Kind.TRAIN)
    turn(role)
    done(role, role.steps.train())
    done(role, role.steps.announce())
    done(role, role.steps.send())
    token = (role.settings.state / "metrics-token").read_text().strip()
    metrics = browser.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
    prepared = role.store.prepared
    totals = federation.look_into(signed)
    bodies = [part for part in caught.all[2::3] if part]  # how often it asks for news is a matter of the machine's load
    told = Told(np.asarray(totals.steps), totals, [len(body) for body in bodies], prepared, caught.all, metrics)
    role.stop()
    return told


def with_own_pictures(folder: Path, kind: str | None = None, *, counts: bool = False) -> Callable[[DeviceRole], None]:
    def prepare(role: DeviceRole) -> None:
        role.library.add_own(NAME, kind, counts)
        files = [(path.name, io.BytesIO(path.read_bytes())) for path in draw(folder / "cat", "star", 6, "cat-")]
        assert role.library.take_in(files, NAME).labels == {NAME: 6}

    return prepare


def assert_nothing_told(parts: list[bytes], pictures: Path) -> None:
    secrets = [*WRITINGS, *hashes(pictures)]
    for part in parts:
        assert not [secret for secret in secrets if secret in part]


def test_the_report_of_a_device_with_own_pictures_is_that_of_one_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging(json=True)
    plain = a_round(tmp_path / "plain", lambda _role: None)
    own = a_round(tmp_path / "own", with_own_pictures(tmp_path))
    assert np.array_equal(own.update, plain.update), "the masked sum gets the same from both"
    assert str(own.totals) == str(plain.totals), "and the same counts"
    assert own.sizes == plain.sizes, "nor does the size of anything tell"
    assert own.prepared is not None
    assert plain.prepared is not None
    assert own.prepared.with_(sent_in=None) == plain.prepared.with_(sent_in=None), "two federations, two manifests"
    assert_nothing_told([*own.caught, *(line.encode() for line in capsys.readouterr())], tmp_path / "cat")
    assert_nothing_told([own.metrics.encode()], tmp_path / "cat")
    figures = [re.findall(r"^(fanlight_\w+)", told.metrics, re.MULTILINE) for told in (own, plain)]
    assert set(figures[0]) == set(figures[1])


def test_pictures_that_count_as_a_class_go_in_without_their_name(tmp_path: Path) -> None:
    plain = a_round(tmp_path / "plain", lambda _role: None)
    counted = a_round(tmp_path / "counted", with_own_pictures(tmp_path, "circle", counts=True))
    assert not np.array_equal(counted.update, plain.update)
    assert counted.sizes == plain.sizes
    assert_nothing_told(counted.caught, tmp_path / "cat")


def test_no_server_has_a_trace_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Real servers and HTTP; a whole round; afterwards every byte of both servers' folders is looked through."""
    configure_logging(json=True)
    world = World(tmp_path)
    try:
        world.start()
        devices = [world.add_device(), world.add_device()]
        own = devices[0]
        folder = own.settings.data / "_own" / NAME
        draw(folder, "star", 6, "cat-")
        shutil.copytree(folder, tmp_path / "cat")
        for device in devices:
            device.start()
        wait(lambda: all(device.sees_round() for device in devices), "both devices see the round")
        assert own.role is not None
        own.role.library.refresh()
        wait(lambda: learned_own(own), "the own name is learned")
        for device in devices:
            device.send_model()
        world.aggregate()
        wait(lambda: world.round(1, state="complete"), "the round is complete")
        assert own.owner.get("/api/v1/own")["names"][0]["name"] == NAME
    finally:
        world.close()
    servers = [path.read_bytes() for path in world.federation.rglob("*") if path.is_file()]
    assert len(servers) > 10
    assert_nothing_told(servers, tmp_path / "cat")
    assert_nothing_told([part.encode() for part in capsys.readouterr()], tmp_path / "cat")
    here = (own.settings.state / "state.sqlite3").read_bytes()
    assert NAME.encode() in here, "the search would find it"


def learned_own(device: ServiceDevice) -> bool:
    assert device.role is not None
    return device.role.home.models.kept is not None
