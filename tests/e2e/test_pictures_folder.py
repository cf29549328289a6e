"""What happens to a running device's pictures: they vanish, become too few, or hold what the task does not know.

Each time: the step and the status say what is wrong, nothing else changes, and when the pictures are right again the
device goes on without a restart.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.services_world import CLASSES, ServiceDevice, World, running, wait


@dataclass(frozen=True)
class Mishap:
    """What happens to a folder, the slug that the step answers with, what its message names, how the status calls it.

    ``in_status`` is None where the folder as such is fine, and its counts say the rest.
    """

    name: str
    spoil: Callable[[Path], object]
    slug: str
    names: tuple[str, ...]
    in_status: str | None


def _vanish(folder: Path) -> None:
    shutil.rmtree(folder)


def _become_a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"no folder")


def _empty(folder: Path) -> None:
    for picture in folder.rglob("*.png"):
        picture.unlink()


def _lose_training_pictures(folder: Path) -> None:
    shutil.rmtree(folder / "train")


def _gain_unknown_class(folder: Path) -> None:
    shutil.copytree(folder / "train" / "circle", folder / "train" / "hexagon")


MISHAPS = [
    Mishap("vanishes", _vanish, "data-folder-gone", ("pictures",), "data-folder-gone"),
    Mishap("becomes-a-file", _become_a_file, "data-folder-gone", ("pictures",), "data-folder-gone"),
    Mishap("becomes-empty", _empty, "nothing-to-learn-from", ("pictures",), None),
    Mishap("no-training-pictures", _lose_training_pictures, "nothing-to-learn-from", ("pictures",), None),
    Mishap("unknown-class", _gain_unknown_class, "unknown-class", ("hexagon", *CLASSES), "unknown-class"),
]


def step_fails(device: ServiceDevice) -> dict[str, str]:
    """Step 1 is refused at once or its job fails; the error."""
    answer = device.owner.ask("POST", "/modeltrain")
    if answer.status_code != 202:
        error: dict[str, str] = answer.json()["error"]
        return error
    url = answer.json()["status_url"]

    def failed() -> Any:
        job = device.owner.get(url)
        assert job["state"] != "done", job
        return job["error"]

    found: dict[str, str] = wait(failed, "the job fails")
    return found


def lasting(world: World, device: ServiceDevice) -> tuple[Any, ...]:
    """What a mishap must leave alone."""
    assert device.role is not None
    store = device.role.store
    return (
        world.snapshot(),
        store.prepared,
        store.held,
        store.past.reports(),
        store.past.rounds(),
        device.owner.status()["round"],
    )


def put_back(folder: Path, kept: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)
    shutil.copytree(kept, folder)


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running(tmp_path_factory.mktemp("world")) as world:
        device = world.add_device().start()
        world.enrolled(1)
        wait(device.sees_round, "a round is open for the device")
        wait(lambda: has_measured(device), "the device has read its folder, and measured the model that it holds")
        yield world, device


def has_measured(device: ServiceDevice) -> bool:
    """It does so once, in a job of its own; only then it does nothing any more that nobody asks for."""
    held = device.role.store.held if device.role is not None else None
    return held is not None and held.measured is not None


@pytest.mark.parametrize("trained", [False, True], ids=["untrained", "trained"])
@pytest.mark.parametrize("mishap", MISHAPS, ids=lambda mishap: mishap.name)
def test_a_mishap_of_the_pictures_by_hand(
    by_hand: tuple[World, ServiceDevice], mishap: Mishap, trained: bool, tmp_path: Path
) -> None:
    world, device = by_hand
    if trained:
        device.owner.step("/modeltrain")
    folder = device.settings.data
    shutil.copytree(folder, tmp_path / "kept")
    before = lasting(world, device)

    mishap.spoil(folder)
    error = step_fails(device)
    assert error["slug"] == mishap.slug
    assert all(name in error["message"] for name in mishap.names)
    assert error["next"]
    shown = device.owner.status()["pictures"]
    assert (shown["error"]["slug"] if shown["error"] else None) == mishap.in_status
    if mishap.in_status is None:
        assert sum(shown["counts"]["train"].values()) == 0
    assert lasting(world, device) == before

    put_back(folder, tmp_path / "kept")
    assert device.owner.step("/modeltrain")["examples"] == 8
    assert device.owner.status()["pictures"]["error"] is None
    assert lasting(world, device)[0] == before[0]


def test_what_was_trained_is_sent_without_the_pictures(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        device = world.add_device().start()
        world.enrolled(1)
        wait(device.sees_round, "a round is open for the device")
        device.owner.step("/modeltrain")
        _vanish(device.settings.data)
        device.owner.step("/sendstatus")
        assert device.owner.step("/sendmodel")["state"] == "confirmed"


@pytest.mark.parametrize("mishap", [MISHAPS[0], MISHAPS[2]], ids=lambda mishap: mishap.name)
def test_by_itself_the_others_go_on_and_the_device_joins_again(mishap: Mishap, tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, wait_s=2) as world:
        device, _second, _third = [world.add_device().start() for _ in range(3)]

        def complete(participants: int, after: int) -> int | None:
            found = [entry for entry in world.rounds() if entry["state"] == "complete" and entry["round"] > after]
            return next((entry["round"] for entry in found if entry["participants"] == participants), None)

        together = wait(lambda: complete(3, 0), "a round of three")
        shutil.copytree(device.settings.data, tmp_path / "kept")
        mishap.spoil(device.settings.data)
        alone = wait(lambda: complete(2, together), "a round of the other two")

        def says_so() -> bool:
            status = device.owner.status()
            if mishap.in_status is None:
                counts = status["pictures"]["counts"]
                return counts is not None and not any(counts["train"].values())
            return bool(status["problem"]) and status["problem"]["slug"] == mishap.slug

        wait(says_so, "the device says what is wrong")
        put_back(device.settings.data, tmp_path / "kept")
        wait(lambda: complete(3, alone), "a round of three again")
        assert device.owner.status()["pictures"]["error"] is None
