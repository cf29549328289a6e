"""A device that was written from ``docs/protocol.md`` alone takes part in rounds of a real federation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fanlight.learning.datasets import shapes
from fanlight.services.federation import issue_token_file
from tests.crash.federation import SERVERS, Federation
from tests.crash.role import LIMIT_S, until
from tests.docs.current import DOCS
from tests.services_world import draw, running
from tests.unit.cli.conftest import fanlight as fanlight  # noqa: PLC0414 - a fixture

EXAMPLE = DOCS.parent / "examples" / "device_from_spec.py"

pytestmark = pytest.mark.timeout(3 * LIMIT_S)


@contextmanager
def started(token: Path, state: Path) -> Iterator[subprocess.Popen[str]]:
    """The example, without this project in its path."""
    command: list[str | Path] = [sys.executable, "-P", EXAMPLE, "--token", token, "--state", state, "--accept-demo"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as made:
        try:
            yield made
        finally:
            made.kill()


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it says of its one training round, when it has ended by itself."""
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    (said,) = [line for line in map(json.loads, out.splitlines()) if line["kind"] == "train"]
    return dict(said)


@pytest.mark.parametrize(
    ("policy", "examples"),
    [
        ({"k_min": 3}, 1),
        ({"k_min": 2, "shards": "always", "update_bits": 16, "most_pictures": 100}, 2),
    ],
    ids=["one sum", "packed, in shards"],
)
def test_it_enrols_and_completes_a_round_with_real_devices(
    policy: dict[str, Any], examples: int, tmp_path: Path, fanlight: Any
) -> None:
    pictures = (tmp_path / "pictures-1", tmp_path / "pictures-2")
    for number, folder in enumerate(pictures):
        draw(folder, number, {"train": 4, "valid": 1, "test": 2}, shapes.CLASSES)
    federation = Federation(tmp_path, pictures, by_itself=True, paused=True, rounds=1, **policy)
    tokens = [issue_token_file(federation.home, f"spec-{n}", int(time.time()) + 86_400) for n in range(examples)]
    try:
        for role in federation.roles.values():
            role.start()

        def members() -> int | None:
            status = federation.ask("aggregator", "/api/v1/status")
            return status["members"] if status else None

        with ExitStack() as stack:
            processes = [stack.enter_context(started(token, tmp_path / token.stem)) for token in tokens]
            until(lambda: members() == 2 + examples, "all are members at both servers", federation.summary)
            federation.press("main", "/api/v1/go-on")
            said = [told(process) for process in processes]

        def complete() -> Any:
            entry = federation.ask("main", "/api/v1/rounds/1")
            return entry if entry and entry["state"] == "complete" else None

        shown = until(complete, "the round is complete", federation.summary)
        assert shown["participants"] == 2 + examples
        assert shown["reason"] == "ok"
        folders = [word for name in SERVERS for word in (f"--{name}", federation.home / name)]
        audited = fanlight("audit", *folders, "--json")
        assert audited.code == 0, audited.out
        line = json.loads(audited.out.splitlines()[0])
        assert (line["round"], line["result"], line["signed_by_both"]) == (1, "released", True)
        for each in said:
            assert (each["result"], each["summed"], each["included"]) == ("released", True, True)
            assert each["mh"] == line["mh"]
            assert each["device"] in line["accepted"]
            assert (each["shard"] is not None) == (line["shards"] is not None)
        assert len(line["accepted"]) == 2 + examples
    finally:
        federation.close()


def test_by_hand_it_announces_and_a_report_of_more_than_a_mebibyte_goes_in_parts(tmp_path: Path) -> None:
    with (
        running(tmp_path, k_min=2, classes=[f"class-{n}" for n in range(200)]) as world,
        started(world.token("a"), tmp_path / "a") as one,
        started(world.token("b"), tmp_path / "b") as two,
    ):

        def arrived() -> bool:
            if world.round(1) is None:
                return False
            return bool(world.owner("main").get("/api/v1/rounds/1/timeline")["counts"]["report"] == 2)

        until(arrived, "both have reported, and main knows it")
        assert {device["ready"] for device in world.owner("main").get("/api/v1/devices")["devices"]} == {True}
        world.aggregate()
        assert [told(process)["included"] for process in (one, two)] == [True, True]
        line = world.owner("aggregator").get("/api/v1/rounds/held")["rounds"][-1]
        assert (line["reports"], line["report_bytes"] > 1 << 20) == (2, True)
        assert world.audit() == []


def test_it_says_why_it_does_not_answer_and_main_hears_one_word(tmp_path: Path) -> None:
    with (
        running(tmp_path, by_itself=True, k_min=2, demo=False) as world,
        started(world.token("a"), tmp_path / "a") as one,
        started(world.token("b"), tmp_path / "b") as two,
    ):
        said = world.main.service.presence
        until(lambda: len(said.declined(1)) == 2, "both have said why they do not report")
        assert set(said.declined(1).values()) == {"below-floor"}
        assert (one.poll(), two.poll()) == (None, None), "they wait for the next round"
