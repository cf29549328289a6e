"""The released sum is the plain integer sum, bit for bit, over the real services, whatever becomes of a device.

Spies keep what no process ever hands out: each surviving device's quantised vector before its masks, and main's sum
after both masks are off.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.randomness import Keystream
from fanlight.core.segments import Segment, slices
from fanlight.errors import NotFound
from fanlight.learning.heads import head_layout
from fanlight.learning.model_file import HeadModel, decode
from fanlight.protocol.closing import OutcomeForDevice
from fanlight.protocol.contribution import W_MAX, Contribution, check_sum, encode
from fanlight.protocol.extras import Integers
from tests.services_world import HOST, Owner, ProtocolDevice, Sent, ServiceDevice, World, running, wait


@dataclass
class Spied:
    """What the spies saw: vectors before masking, and sums after unmasking with their layouts and counts."""

    vectors: list[NDArray[np.uint32]] = field(default_factory=list)
    sums: list[tuple[tuple[Segment, ...], Integers, int]] = field(default_factory=list)


@pytest.fixture
def spied(monkeypatch: pytest.MonkeyPatch) -> Spied:
    seen = Spied()

    def spy_encode(layout: Sequence[Segment], said: Contribution, stream: Keystream) -> NDArray[np.uint32]:
        vector = encode(layout, said, stream)
        seen.vectors.append(vector.copy())  # the masks are added in place
        return vector

    def spy_check_sum(layout: Sequence[Segment], total: Integers, count: int) -> str | None:
        seen.sums.append((tuple(layout), total.copy(), count))
        return check_sum(layout, total, count)

    monkeypatch.setattr("fanlight.protocol.device.encode", spy_encode)
    monkeypatch.setattr("fanlight.protocol.unmasking.check_sum", spy_check_sum)
    return seen


def listening(owner: Owner) -> bool:
    try:
        return bool(owner.ask("GET", "/healthz").is_success)
    except OSError:
        return False


@contextmanager
def process_of(device: ServiceDevice) -> Iterator[subprocess.Popen[bytes]]:
    """The device as a process of its own."""
    settings = device.settings
    options = {"token": settings.token, "data": settings.data, "state": settings.state, "port": settings.port}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "fanlight", "device", *words, "--host", HOST, "--accept-demo"]
    with (
        (device.settings.state.parent / "process.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        try:
            wait(lambda: listening(device.owner) or process.poll() is not None, "the device's process listens")
            assert process.poll() is None, Path(log.name).read_text()
            yield process
        finally:
            process.kill()


def model_of(world: World, version: int) -> HeadModel:
    return decode(world.owner("main").ask("GET", f"/api/v1/models/{version}/file").content)


def parameters(model: HeadModel) -> NDArray[np.float64]:
    return head_layout(*model.weight.shape).flatten({"head.weight": model.weight, "head.bias": model.bias})


def fedavg(before: HeadModel, layout: Sequence[Segment], total: NDArray[np.int64]) -> NDArray[np.float64]:
    """The next parameters, computed here from the plain sum: before + W_max · x / (s · Σn)."""
    places = slices(layout)
    update = next(segment for segment in layout if segment.kind == "update")
    scale = update.scale_numerator / update.scale_denominator
    return parameters(before) + W_MAX * total[places["update"]] / (scale * int(total[places["weight"]][0]))


def check_sum_and_model(world: World, spied: Spied, survivors: int) -> None:
    assert len(spied.vectors) == survivors
    assert len(spied.sums) == 1
    layout, total, count = spied.sums[0]
    assert count == survivors
    plain = np.zeros(total.shape, np.int64)
    for vector in spied.vectors:
        plain += ring.centre(vector)
    np.testing.assert_array_equal(total, plain)
    assert plain[slices(layout)["update"]].any(), "the devices learned something, or the test proves little"
    published = parameters(model_of(world, 1))
    expected = fedavg(model_of(world, 0), layout, plain)
    np.testing.assert_allclose(published, expected, rtol=1e-6, atol=1e-12)  # a file holds float32
    assert published.any()


def test_the_sum_is_exact_when_a_device_is_killed_after_training(tmp_path: Path, spied: Spied) -> None:
    with running(tmp_path) as world:
        first, second, third = (world.add_device() for _ in range(3))
        survivors = [first.start(), second.start()]
        with process_of(third) as process:
            devices: list[ServiceDevice] = [*survivors, third]
            for device in devices:
                wait(device.sees_round, "a round is open for each device")
                assert device.owner.step("/modeltrain")["examples"] == 8
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        for device in survivors:
            device.owner.step("/sendstatus")
            device.owner.step("/sendmodel")
        world.owner("aggregator").step("/aggregate_models")
        world.owner("aggregator").step("/send_model_secagg")
        world.owner("main").step("/send_model_clients")

        check_sum_and_model(world, spied, survivors=2)
        assert world.round(1, state="complete", participants=2)
        wait(lambda: world.round(2, state="open"), "the next round is open")


def test_the_sum_is_exact_by_itself_without_a_device_that_died(tmp_path: Path, spied: Spied) -> None:
    with running(tmp_path, by_itself=True, rounds=1, wait_s=1, k_min=3) as world:
        first, second, third = (world.add_device() for _ in range(3))
        for device in (first, second, third):
            device.start()
        wait(lambda: world.owner("main").status()["finished"], "the round and its measurement are over")
        training = [seen for seen in spied.sums if any(segment.kind == "update" for segment in seen[0])]
        length = training[0][1].size
        spied.sums, spied.vectors = training, [vector for vector in spied.vectors if vector.size == length]
        check_sum_and_model(world, spied, survivors=3)


def test_a_device_that_dies_between_upload_and_beacon_is_in_the_sum(tmp_path: Path, spied: Spied) -> None:
    with running(tmp_path) as world:
        first, second, third = world.enrolled(3)
        first.report()
        second.report()
        dead = third.commit()
        third.upload(dead)  # and no word of it to main
        world.owner("main").step("/aggregate_models")
        world.owner("main").step("/send_model_clients")
        check_sum_and_model(world, spied, survivors=3)
        assert third.device.end(dead.record, wait(lambda: over(third, dead), "the round is over")).was_included


def over(device: ProtocolDevice, sent: Sent) -> OutcomeForDevice | None:
    try:
        return device.outcome(sent.record.mh)
    except NotFound:
        return None
