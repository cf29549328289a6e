"""The three roles with hostile names in everything that they keep, as strangers or older versions may have left it."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from PIL import Image
from sqlalchemy import insert, update

from benchmarks.stores.aggregator import fill_aggregator
from benchmarks.stores.past import Servers, past_rounds
from benchmarks.stores.studies import STUDIES, fill_studies
from fanlight.consoles import aggregator as aggregator_pages
from fanlight.consoles import device as device_pages
from fanlight.errors import RemoteError
from fanlight.learning import model_file
from fanlight.learning.folders import DELETED, NOT_USABLE, UNLABELLED
from fanlight.learning.heads import zero_head
from fanlight.learning.model_file import HeadModel
from fanlight.protocol.identities import Role
from fanlight.services.aggregator.app import AggregatorParts
from fanlight.services.aggregator.app import create_app as create_aggregator
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.device.agent import Trouble
from fanlight.services.device.app import create_app as create_device
from fanlight.services.device.role import Chances, DeviceRole
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import TASK_FILE, issue_token_file, load_server_identity
from fanlight.services.http.jobs import Jobs
from fanlight.services.http.problems import Problem
from fanlight.services.main_server.app import STUDIES_FOLDER
from fanlight.services.main_server.task import Task
from fanlight.storage.tables import aggregator as aggregator_tables
from fanlight.storage.tables import main as main_tables
from tests.e2e.test_pages import Served, served
from tests.hostile import ELEMENT, LONG, MARK, SCRIPT, TEXTS, TURNED
from tests.unit.consoles.federation import make_folder
from tests.unit.device.federation import NOW, PLAN, FakeFederation
from tests.unit.device.joined import done
from tests.unit.main_server import past

CLASSES = (f"<{MARK}><img src=x onerror=window.hit=1>", "W" * 64, "{{ 7*7 }}", "שלום", "\"'><b>")
"""What a task takes, and a model."""


@dataclass(frozen=True)
class World:
    """A role that is served, and which values the parameters of its addresses can have."""

    served: Served
    parameters: dict[str, str]
    more: tuple[str, ...]
    """Addresses that show something else than the bare routes."""


@contextmanager
def main_server(folder: Path) -> Iterator[World]:
    """Devices, proposals, notes, reasons and failed steps, each with every text."""
    app, parts = past.server(folder, demo=True, classes=CLASSES)
    for number in (1, 2):
        past.add_round(parts, number)
    counts = [[12] * len(CLASSES) for _ in CLASSES]
    past.measure(parts, 2, counts, counts)
    parts.service.promotion.write_note(1, f"{SCRIPT}\n{TURNED}\n{LONG[:9000]}")
    devices = [past.add_member(parts, number, name=text) for number, text in enumerate(TEXTS.values(), 1)]
    with parts.service.database.transaction() as tx:
        for device in devices:
            for text in TEXTS.values():
                row = {"name": text, "dev": device, "proposed_at": 1.0}
                tx.execute(insert(main_tables.class_proposals).values(**row))
        tx.execute(update(main_tables.rounds).where(main_tables.rounds.c.number == 1).values(reason=ELEMENT))
        tx.execute(update(main_tables.rounds).where(main_tables.rounds.c.number == 2).values(reason=LONG))
    fail(parts.service.jobs, "/aggregate_models", "/send_model_clients")
    fill_studies(folder / "main" / STUDIES_FOLDER)
    for run, text in zip(parts.studies.all(), TEXTS.values(), strict=False):
        run._write("asked.json", run.study | {"partition": text, "algorithm": text, "world": text})
        run.turn("failed", error=text)
    more = ("/models/1?with=2", f"/studies/compare?study={STUDIES}&study={STUDIES - 1}&study=1&fleet=true")
    with on_a_port("main", app) as made:
        yield World(made, {"number": "1", "version": "1", "study": str(STUDIES)}, more)


@contextmanager
def aggregator(folder: Path) -> Iterator[World]:
    """What the main server says to it, and devices whose reports it took or refused."""
    made = make_folder(folder)
    app, parts = create_aggregator(AggregatorSettings(state=made / "aggregator"))
    aggregator_pages.install(app, parts)
    main, task = load_server_identity(made / "main", Role.MAIN), Task.load(made / "main" / TASK_FILE)
    devices = [_enrolled(parts, text) for text in TEXTS.values()]
    rounds = list(past_rounds(Servers(main, parts.service.identity, task), devices, 2))
    fill_aggregator(parts.service, devices, rounds)
    with parts.service.database.transaction() as tx:
        for device in devices:
            refused = {"mh": rounds[-1].mh, "dev": device, "reason": ELEMENT, "times": 2, "last_at": 1.0}
            tx.execute(insert(aggregator_tables.refusals).values(**refused))
    text = "".join(TEXTS.values())
    parts.service.main_problem = Problem(502, "bad-answer", text, text)
    fail(parts.service.jobs, "/aggregate_models", "/send_model_secagg")
    with on_a_port("aggregator", app) as served_here:
        yield World(served_here, {"number": "1"}, ())


def _enrolled(parts: AggregatorParts, name: str) -> bytes:
    """A device of this name, as an older version may have let it in."""
    dev = hashlib.sha256(name.encode()).digest()[:16]
    keys = {"public_key": dev * 2, "token_key": dev[::-1] * 2}
    row = insert(aggregator_tables.devices).values(dev=dev, name=name, enrolment=b"", enrolled_at=1.0, **keys)
    with parts.service.database.transaction() as tx:
        tx.execute(row.values(told_main=True))
    return dev


@contextmanager
def device(folder: Path) -> Iterator[World]:
    """Files, folders, classes, refusals, trouble."""
    head = zero_head(PLAN.features, len(CLASSES))
    backbone, digest = PLAN.backbone, PLAN.backbone_hash.hex()
    model = HeadModel("default", 0, CLASSES, backbone, digest, PLAN.picture_size, head.weight, head.bias)
    plan = PLAN.with_(classes=CLASSES)
    federation = FakeFederation(folder / "federation", plan=plan, model=model_file.encode(model), pause_s=60)
    data = folder / SCRIPT.replace("/", "|")
    draw(data)
    settings = DeviceSettings(
        token=issue_token_file(federation.folder, "porch", NOW + 1000),
        state=folder / "state",
        data=data,
        accept_demo=True,
        port=8001,
        name=ELEMENT[:64],
    )
    chances = Chances(clock=lambda: float(NOW), jitter=lambda: 1.0, sleep=lambda _s: None)  # it asks, and then pauses
    app, role = create_device(settings, chances=chances, transport=federation.transport)
    device_pages.install(app, role)
    with on_a_port("device", app) as made:
        while role.store.held is None:  # the test's time limit ends a wait in vain
            role.stopping.wait(0.02)
        done(role, role.steps.train())
        (data / ELEMENT).mkdir()
        role.library.refresh()
        for text in TEXTS.values():
            role.store.refusals.keep(text.encode()[:32], RemoteError(text, next=text, slug=text[:64]), NOW)
        everything = "".join(TEXTS.values())
        role.agent.trouble = Trouble("bad-answer", everything, everything, NOW, NOW)
        fail(role.jobs, "/sendstatus", "/sendmodel", "suggest")
        yield World(made, {"sha256": a_picture(role)}, addresses_of(role))


def draw(data: Path) -> None:
    """Labelled and other pictures under bad names, and files that are none."""
    level = 0
    for folder in (*CLASSES, UNLABELLED, NOT_USABLE, DELETED):
        (data / folder).mkdir(parents=True)
        for text in TEXTS.values():
            level += 1
            name = text.replace("/", "|").replace("\x00", "")[:40]
            Image.new("RGB", (32, 32), (level * 3 % 256, level * 7 % 256, 99)).save(
                data / folder / f"{name}.png", "PNG"
            )
            (data / folder / f"{name}-broken.png").write_bytes(b"no picture")


def a_picture(role: DeviceRole) -> str:
    return role.library.page().pictures[0].sha256


def addresses_of(role: DeviceRole) -> tuple[str, ...]:
    states = ("labelled", "suggested", "unlabelled", "not_usable", "deleted")
    problems = ("duplicates", "tiny", "blurred")
    return (
        *(f"/pictures?state={state}" for state in states),
        *(f"/pictures?problem={problem}" for problem in problems),
        "/learning/pictures?model=own&shows=0&named=0",
        "/learning/pictures?model=global&shows=4&named=0",
    )


def fail(jobs: Jobs, *kinds: str) -> None:
    """Let jobs of these kinds end with what another server said."""
    text = "".join(TEXTS.values())

    def attempt(_progress: Any) -> None:
        raise RemoteError(text, next=text, slug=text[:64])

    for kind in kinds:
        jobs.wait(jobs.start(kind, attempt).id, 60)


@contextmanager
def on_a_port(role: str, app: FastAPI) -> Iterator[Served]:
    with socket.create_server(("127.0.0.1", 0)) as listener, served(role, app, listener) as made:
        yield made


WORLDS = {"main": main_server, "aggregator": aggregator, "device": device}
