"""What the aggregator's page of rounds says after real rounds: reports, what is here now, whose report was refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import RemoteError
from fanlight.services.aggregator import held_reports
from tests.services_world import World, running, wait


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
        assert not world.report_files()
