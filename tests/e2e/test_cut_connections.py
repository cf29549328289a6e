"""A report and a model of 14 MB over a line that breaks, and over an aggregator that is killed meanwhile."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import Conflict, NotAuthentic, RemoteError, Unreachable
from fanlight.protocol.device_round import Delivery
from fanlight.protocol.digests import VECTOR_CHUNK_BYTES
from fanlight.services.device.deliveries import may_pass
from fanlight.services.http.remote import Answer
from fanlight.storage.blobs import BlobFolder
from tests.cutting_proxy import cut
from tests.large_reports import MANY_CLASSES, give_features
from tests.services_world import HOST, Sent, World, running, wait

FEATURES = 17_000
"""With 200 classes: a model of 13.6 MB, and a report of 13.9 MB."""
OVERHEAD = 1 << 16
"""Header fields, envelopes and hashes of a few requests."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    give_features(monkeypatch, FEATURES)
    with running(tmp_path, classes=MANY_CLASSES) as made:
        yield made


def tries(attempt: object) -> int:
    """How often it had to be tried until it succeeded."""
    assert callable(attempt)
    for number in range(1, 20):
        try:
            attempt()
        except Unreachable:
            continue
        return number
    raise AssertionError("it never succeeded")


def arrived(world: World, sent: Sent) -> int:
    """How long the unfinished file of a report is."""
    path = world.federation / "aggregator" / "reports" / f".{sent.envelope.report_id.hex()}.unfinished"
    return path.stat().st_size if path.exists() else 0


def wait_until_arrived(world: World, sent: Sent, chunks: int) -> None:
    """What the line had handed on before it broke is written when the aggregator gets to it."""
    wait(lambda: arrived(world, sent) >= chunks * VECTOR_CHUNK_BYTES, f"{chunks} chunks are on the disk")


def test_a_report_and_a_model_over_a_line_that_breaks(world: World, tmp_path: Path) -> None:
    device, _other = world.enrolled(2)
    sent = device.commit()
    size = 4 * sent.record.length
    assert size > 13_000_000
    with cut(
        device.aggregator.remote.wire, world.ports["aggregator"].number, [5_000_000, 3_500_000, 4_100_000]
    ) as line:
        for chunks in (4, 7, 10):
            with pytest.raises(Unreachable):
                device.upload(sent)
            wait_until_arrived(world, sent, chunks)
        receipt = device.upload(sent)
        assert size <= line.up <= size + 3 * VECTOR_CHUNK_BYTES + OVERHEAD, "at most a chunk is sent again for each cut"
    assert world.report_files()[sent.envelope.report_id.hex()] == sent.y.astype("<u4").tobytes()
    assert device.device.take_receipt(sent.record, receipt).receipt == receipt

    sha256, models = device.offer().model, []
    folder = BlobFolder(tmp_path / "models")

    def fetch() -> None:
        with folder.unfinished("model", 0, 0) as begun:
            models.append(bytes(device.main.model(sha256, begun)))

    with cut(device.main.remote.wire, world.ports["main"].number, [6_000_000, 6_000_000]) as line:
        assert tries(fetch) == 3
        assert line.down <= len(models[0]) + OVERHEAD, "nothing is sent twice"
    assert hashlib.sha256(models[0]).digest() == sha256
    assert len(models[0]) > 13_000_000

    with folder.unfinished("model", 0, 0) as begun:
        assert begun.size == len(models[0])
        begun.write(1234, b"spoilt")
        assert device.main.model(sha256, begun) == models[0], "fetched anew"
    with folder.unfinished("other", 0, 0) as begun:
        begun.write(0, models[0] + b"more")
        assert device.main.model(sha256, begun) == models[0], "fetched anew"


def test_more_arrives_than_was_here_when_it_was_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a broken line had still held: who asked too early asks again, at once."""
    device, _other = world.enrolled(2)
    sent, remote, told = device.commit(), device.aggregator.remote, list[str]()
    ask = remote.ask

    def too_early(method: str, path: str, **options: Any) -> Answer:
        answer = ask(method, path, **options)
        if method == "POST":
            told.append(answer.headers["Upload-Offset"])
            if len(told) == 1:
                with cut(remote.wire, world.ports["aggregator"].number, [3_500_000]), pytest.raises(Unreachable):
                    device.upload(sent)
                wait_until_arrived(world, sent, 3)
        return answer

    monkeypatch.setattr(remote, "ask", too_early)
    assert device.device.take_receipt(sent.record, device.upload(sent)).at == Delivery.RECEIPTED
    assert told == ["0", "0", str(3 * VECTOR_CHUNK_BYTES)]
    assert world.report_files()[sent.envelope.report_id.hex()] == sent.y.astype("<u4").tobytes()


def test_who_is_told_too_little_each_time_tries_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    device, _other = world.enrolled(2)
    sent, remote, asked = device.commit(), device.aggregator.remote, list[str]()
    with cut(remote.wire, world.ports["aggregator"].number, [3_500_000]), pytest.raises(Unreachable):
        device.upload(sent)
    wait_until_arrived(world, sent, 3)
    ask = remote.ask

    def nothing_is_here(method: str, path: str, **options: Any) -> Answer:
        answer = ask(method, path, **options)
        asked.append(method)
        return answer._replace(headers={"Upload-Offset": "0"})

    monkeypatch.setattr(remote, "ask", nothing_is_here)
    with pytest.raises(Conflict) as error:
        device.upload(sent)
    assert error.value.slug == "wrong-offset"
    assert may_pass(error.value)
    assert asked == ["POST"] * 4


def test_an_aggregator_that_is_killed_while_a_report_arrives(world: World) -> None:
    device, other = world.enrolled(2)
    sent = device.commit()
    port = world.ports["aggregator"].number
    world.stop_aggregator()

    def start() -> subprocess.Popen[bytes]:
        state = str(world.federation / "aggregator")
        arguments = ["aggregator", "--state", state, "--host", HOST, "--port", str(port)]
        return subprocess.Popen([sys.executable, "-m", "fanlight", *arguments], stdout=subprocess.DEVNULL)

    def is_ready() -> bool:
        """The first answer of a new process that knows its members."""
        try:
            device.upload(sent, b"\0" * (4 * sent.record.length))  # refused by its hashes, and changes nothing
        except RemoteError as error:
            return error.slug == "swapped-vector"
        return False

    first = start()
    try:
        wait(is_ready, "the aggregator takes reports")
        with cut(device.aggregator.remote.wire, port, [8 * VECTOR_CHUNK_BYTES]), pytest.raises(Unreachable):
            device.upload(sent)
        wait_until_arrived(world, sent, 7)
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    second = start()
    try:
        wait(is_ready, "it is there again")
        with cut(device.aggregator.remote.wire, port, []) as line:
            receipt = device.upload(sent)
            assert line.up <= 4 * sent.record.length - 7 * VECTOR_CHUNK_BYTES + OVERHEAD, "what had arrived is not sent"
        device.main.beacon(sent.record.mh, device.device.take_receipt(sent.record, receipt).receipt)
        other.report()
        assert set(world.report_files()) >= {sent.envelope.report_id.hex()}
    finally:
        second.terminate()
        second.wait()


def test_a_server_that_sends_another_model(world: World, tmp_path: Path) -> None:
    device = world.protocol_device()
    device.enrol()
    with BlobFolder(tmp_path / "models").unfinished("model", 0, 0) as begun, pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.main.service, "model", lambda _sha256: b"another")
        with pytest.raises(NotAuthentic, match="another file") as error:
            device.main.model(bytes(32), begun)
        assert error.value.slug == "model-altered"
        assert begun.size == 0, "nothing of it is kept"
