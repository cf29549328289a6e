"""What the aggregator's page of rounds says after real rounds: reports, what is here now, whose report was refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import RemoteError
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
