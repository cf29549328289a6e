"""Algorithms with real processes, chosen by the owner: versions are what all roles' files say that they must be.

Six devices with equally many pictures, so that means are plain ones; by hand, with every round in three shards.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import select

from fanlight.learning.algorithms import memory_file
from fanlight.learning.datasets import shapes
from fanlight.learning.heads import head_layout
from fanlight.learning.local_training import vector_of
from fanlight.learning.model_file import HeadModel, decode
from fanlight.services.http.sessions import API_TOKEN_FILE
from fanlight.storage.database import Database
from fanlight.storage.tables.device import memories, small_files
from fanlight.storage.tables.main import algorithm_memories
from tests.crash.federation import Federation
from tests.crash.role import until
from tests.crash.test_restarts import step
from tests.services_world import draw

Vector = NDArray[np.float64]
LAYOUT = head_layout(1280, len(shapes.CLASSES))
CLOSE = 1e-5
"""What quantising may cost: less than a step of 3 millionths of updates, and of 5 of control variates in each round."""

pytestmark = pytest.mark.timeout(1800)


@contextmanager
def running(folder: Path) -> Iterator[Federation]:
    pictures = tuple(folder / f"pictures-{number}" for number in range(6))
    for number, place in enumerate(pictures):
        draw(place, number, {"train": 2, "valid": 1, "test": 1}, shapes.CLASSES)
    rules: dict[str, Any] = {"n_max": 6, "most_pictures": 10, "shards": "always", "most_shards": 3}
    federation = Federation(folder, pictures, paused=True, **rules)
    try:
        for role in federation.roles.values():
            role.start()
        until(
            lambda: (federation.ask("aggregator", "/api/v1/status") or {}).get("members") == 6,
            "all are members at both servers",
            federation.summary,
        )
        federation.press("main", "/api/v1/go-on")
        until(federation.is_at_rest, "the first round is open everywhere", federation.summary)
        yield federation
    finally:
        federation.close()


@dataclass
class Trained:
    """A round, read out of the roles' files.

    Attributes:
        before, after: the versions. local: each device's own model, (6, d). left: what each has kept beside it.
    """

    before: HeadModel
    after: HeadModel
    local: NDArray[np.float64]
    left: list[Mapping[str, Vector]]

    @property
    def moved(self) -> Vector:
        return vector_of(LAYOUT, self.after) - vector_of(LAYOUT, self.before)

    @property
    def updates(self) -> NDArray[np.float64]:
        """What the devices have sent, (6, d)."""
        start = vector_of(LAYOUT, self.before)
        return np.array(
            [left.get("sends.update", own - start) for left, own in zip(self.left, self.local, strict=True)]
        )

    def mean(self, name: str) -> Vector:
        found: Vector = np.mean([left[name] for left in self.left], axis=0)
        return found


def owner(federation: Federation) -> httpx.Client:
    role = federation.roles["main"]
    token = (role.state / API_TOKEN_FILE).read_text().strip()
    return httpx.Client(base_url=role.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60)


def choose(federation: Federation, name: str, combine: str = "mean", **parameters: float) -> None:
    """Choose an algorithm for which devices do something else; the open round makes room for it."""
    number = federation.ask("main", "/api/v1/status")["round"]["round"]
    with owner(federation) as client:
        answer = client.put("/api/v1/algorithm", json={"name": name, "parameters": parameters, "combine": combine})
    assert answer.status_code == httpx.codes.OK, answer.text

    def is_open() -> bool:
        return federation.is_at_rest() and federation.ask("main", "/api/v1/status")["round"]["round"] > number

    until(is_open, "a round for the algorithm is open everywhere", federation.summary)


def report(federation: Federation, device: str) -> None:
    for route in ("/modeltrain", "/sendstatus", "/sendmodel"):
        step(federation, device, route)


def train(federation: Federation) -> Trained:
    number = federation.version()
    assert number is not None
    with ThreadPoolExecutor(len(federation.devices)) as owners:  # all at once: each mostly waits for its device
        list(owners.map(partial(report, federation), federation.devices))
    for name, route in (("aggregator", "/aggregate_models"), ("aggregator", "/send_model_secagg")):
        step(federation, name, route)
    step(federation, "main", "/send_model_clients")
    until(federation.is_at_rest, "the next round is open everywhere", federation.summary)
    with owner(federation) as client:
        before, after = (decode(client.get(f"/api/v1/models/{each}/file").content) for each in (number, number + 1))
    folders = [federation.roles[name].state for name in federation.devices]
    done = Trained(before, after, np.array([_local(each) for each in folders]), [_left(each) for each in folders])
    assert np.abs(done.moved).max() > 30 * CLOSE
    return done


def _local(device: Path) -> Vector:
    with Database(device / "state.sqlite3") as database, database.reading() as tx:
        content = tx.execute(select(small_files.c.content).where(small_files.c.name.startswith("local-"))).scalar_one()
    return vector_of(LAYOUT, decode(content))


def _left(device: Path) -> Mapping[str, Vector]:
    """Of the training that counted last."""
    newest = select(memories.c.content).where(memories.c.counted).order_by(memories.c.number.desc()).limit(1)
    with Database(device / "state.sqlite3") as database, database.reading() as tx:
        content = tx.execute(newest).scalar()
    return {} if content is None else memory_file.decode(content)


def exported(federation: Federation, *options: str) -> Vector:
    """What ``fanlight export`` makes of the first device, which runs."""
    device = federation.roles[federation.devices[0]].state
    with TemporaryDirectory() as out:
        words = [sys.executable, "-m", "fanlight", "export", "--state", str(device), "--out", out, *options]
        ran = subprocess.run(words, capture_output=True, text=True, check=True)
        return vector_of(LAYOUT, decode(Path(ran.stdout.split()[1]).read_bytes()))


def restart(federation: Federation) -> None:
    for role in federation.roles.values():
        role.stop()
    for role in federation.roles.values():
        role.start()
    until(federation.is_at_rest, "the round is open everywhere again", federation.summary)


def test_algorithms_one_after_another(tmp_path: Path) -> None:
    with running(tmp_path) as federation:
        scaffold(federation)
        fedadam(federation)
        fednova(federation)
        ditto(federation)
        median(federation)
        with owner(federation) as client:
            cards = [client.get(f"/api/v1/models/{number}/card.json").json() for number in range(7)]
        made_by = [card["algorithm"] and card["algorithm"]["name"] for card in cards]
        assert made_by == [None, "scaffold", "scaffold", "fedadam", "fednova", "ditto", "fedavg"]
        assert cards[-1]["algorithm"]["combine"] == "median"


def scaffold(federation: Federation) -> None:
    """Both sides know the same control variates, also after all processes have ended in between."""
    choose(federation, "scaffold", control_clip=20.0)
    first = train(federation)
    assert first.before.control is None
    restart(federation)
    second = train(federation)
    for each in (first, second):
        assert each.after.control is not None
        control = vector_of(LAYOUT, each.after.control.head)
        assert np.abs(control).max() > 100 * CLOSE
        np.testing.assert_allclose(control, each.mean("remembers.own_control"), atol=CLOSE)
        np.testing.assert_allclose(each.moved, each.updates.mean(axis=0), atol=CLOSE)
    for earlier, later in zip(first.left, second.left, strict=True):
        change = later["remembers.own_control"] - later["sends.control"]
        np.testing.assert_allclose(change, earlier["remembers.own_control"], atol=1e-9)


def fedadam(federation: Federation) -> None:
    choose(federation, "fedadam", learning_rate=0.02, beta1=0.5, beta2=0.75, tau=0.01)
    done = train(federation)
    assert done.after.control is None
    update = done.updates.mean(axis=0)
    sizes = 0.75 * 0.01**2 + 0.25 * update**2
    np.testing.assert_allclose(done.moved, 0.02 * 0.5 * update / (np.sqrt(sizes) + 0.01), atol=CLOSE)
    with Database(federation.roles["main"].state / "state.sqlite3") as database, database.reading() as tx:
        of_version = algorithm_memories.c.version == done.after.version
        kept = memory_file.decode(tx.execute(select(algorithm_memories.c.content).where(of_version)).scalar_one())
    np.testing.assert_allclose(kept["mean"], 0.5 * update, atol=CLOSE)
    np.testing.assert_allclose(kept["sizes"], sizes, atol=CLOSE)


def fednova(federation: Federation) -> None:
    choose(federation, "fednova", typical_steps=1.0)
    done = train(federation)
    start = vector_of(LAYOUT, done.before)
    for own, left in zip(done.local, done.left, strict=True):
        np.testing.assert_allclose(left["sends.update"] * left["sends.steps"], own - start, atol=1e-6)
    np.testing.assert_allclose(done.moved, done.mean("sends.steps") * done.updates.mean(axis=0), atol=CLOSE)


def ditto(federation: Federation) -> None:
    choose(federation, "ditto", pull=0.5)
    done = train(federation)
    np.testing.assert_allclose(done.moved, done.updates.mean(axis=0), atol=CLOSE)
    np.testing.assert_allclose(done.local, [left["remembers.own"] for left in done.left], atol=1e-6)
    shared = vector_of(LAYOUT, done.after)
    assert np.abs(done.local[0] - shared).max() > 30 * CLOSE
    np.testing.assert_array_equal(exported(federation), done.local[0])
    np.testing.assert_array_equal(exported(federation, "--shared"), shared)


def median(federation: Federation) -> None:
    choose(federation, "fedavg", "median")
    done = train(federation)
    np.testing.assert_array_equal(exported(federation), vector_of(LAYOUT, done.after))
    rounds = federation.ask("main", "/api/v1/rounds")["rounds"]
    number = max(line["round"] for line in rounds if line["state"] == "complete")
    summed = federation.ask("main", f"/api/v1/rounds/{number}")["shards"]["summed"]
    names = [[federation.devices.index(device["name"]) for device in shard["devices"]] for shard in summed]
    assert sorted(map(len, names)) == [2, 2, 2]
    middle = np.median([done.updates[shard].mean(axis=0) for shard in names], axis=0)
    np.testing.assert_allclose(done.moved, middle, atol=CLOSE)
    assert np.abs(middle - done.updates.mean(axis=0)).max() > 3 * CLOSE
