"""What the aggregator's page of rounds says after real rounds: reports, what is here now, whose report was refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from fanlight.errors import RemoteError
from fanlight.protocol.aggregator_round import Held
from fanlight.protocol.manifest import SignedManifest
from fanlight.services.aggregator import held_reports
from fanlight.services.aggregator.reception import Reception
from tests.services_world import ProtocolDevice, World, running, wait


def held(world: World) -> Any:
    return world.owner("aggregator").get("/api/v1/rounds/held")["rounds"]


def test_what_was_held_and_refused(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        first, second = world.enrolled(2)
        sent = first.commit()
        for _ in range(2):
            with pytest.raises(RemoteError):
                first.upload(sent, b"\0" * (4 * sent.record.length))
        first.report(sent)
        (now,) = held(world)
        assert (now["reports"], now["held_bytes"]) == (1, 4 * sent.record.length)
        assert now["report_bytes"] == now["held_bytes"]
        ((refused),) = now["refused"]
        assert (refused["device"], refused["reason"], refused["times"]) == (first.id.hex(), "swapped-vector", 2)

        second.report()
        world.aggregate()
        wait(lambda: world.open_round() == 2, "round 2 is open")
        after = held(world)[1]
        assert (after["result"], after["accepted"], after["held_bytes"], after["left_out"]) == ("released", 2, 0, [])
        world.owner("main").ask("POST", "/api/v1/rounds/2/abandon")
        wait(lambda: held(world)[-2]["state"] == "abandoned", "round 2 is abandoned")
        assert held(world)[-2]["reason"] == "ordered-by-main"
        log = world.owner("aggregator").get("/api/v1/log")
        assert log["verified"]
        assert log["total"] >= 5


def test_reports_that_come_at_once_lie_where_their_rows_say_and_add_up(tmp_path: Path) -> None:
    with running(tmp_path, n_max=20) as world:
        devices = world.enrolled(12)
        built = [device.commit() for device in devices]
        devices[0].report(built[0])
        with ThreadPoolExecutor(len(devices)) as pool:
            list(pool.map(lambda pair: pair[0].report(pair[1]), zip(devices[1:], built[1:], strict=True)))
        service = world.aggregator.service
        with service.database.transaction() as tx:
            places = held_reports.places(tx, built[0].record.mh)
        files = world.report_files()
        assert {place.file for place in places.values()} == set(files)
        for device, sent in zip(devices, built, strict=True):
            vector, (file, start) = sent.y.astype("<u4").tobytes(), places[device.id]
            assert files[file][start : start + len(vector)] == vector
        assert sum(map(len, files.values())) == len(devices) * built[0].y.nbytes

        world.aggregate()
        wait(lambda: world.open_round() == 2, "round 2 is open")
        assert (held(world)[1]["result"], held(world)[1]["accepted"]) == ("released", len(devices))
        wait(lambda: not world.report_files(), "the reports are deleted, which the next round does not wait for")


def test_a_receipt_can_be_had_again_also_if_two_reports_met_while_the_round_was_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as world:
        first, second = world.enrolled(2)
        built, other = first.commit(), second.commit()
        look, met = held_reports.of_round, threading.Event()
        receipts = dict[ProtocolDevice, bytes]()
        sending = threading.Thread(target=lambda: receipts.update({second: second.upload(other)}))

        def look_slowly(tx: Connection, mh: bytes) -> list[Held]:
            found = look(tx, mh)
            if not met.is_set():
                met.set()
                sending.start()
                sending.join(1)  # it gets through meanwhile if nothing holds it
            return found

        monkeypatch.setattr(held_reports, "of_round", look_slowly)
        world.aggregator.service.reception._reported = b"", set()  # as after a start in the middle of a round
        receipts[first] = first.upload(built)
        sending.join()
        assert met.is_set()
        for device, sent in ((first, built), (second, other)):
            device.main.beacon(sent.record.mh, receipts[device])
        world.owner("aggregator").step("/aggregate_models")
        assert first.upload(built) == receipts[first]
        assert second.upload(other) == receipts[second]


def test_a_receipt_can_be_had_again_also_if_its_report_is_not_known_yet_without_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the transaction that stores a report and the note that it is here, the round may be closed."""
    with running(tmp_path) as world:
        devices = world.enrolled(2)
        manifest = SignedManifest.decode(devices[0].offer().manifest or b"")
        built = [device.commit() for device in devices]
        receipts = [device.upload(sent) for device, sent in zip(devices, built, strict=True)]
        for device, sent, receipt in zip(devices, built, receipts, strict=True):
            device.main.beacon(sent.record.mh, receipt)
        world.owner("aggregator").step("/aggregate_models")
        monkeypatch.setattr(Reception, "is_first", lambda *_: True)
        assert [device.upload(sent) for device, sent in zip(devices, built, strict=True)] == receipts
        late = world.protocol_device()
        late.enrol()
        world.wait_members([late.id])
        with pytest.raises(RemoteError) as error:
            late.upload(late.commit_to(manifest))
        assert error.value.slug == "round-agreed"
