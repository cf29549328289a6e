"""What happens to processes in life: they are stopped and started, moved, out of disk, out of time, and away for hours.

Each ends with whole rounds and all invariants, and meanwhile somebody says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crash.federation import DEVICES, ROLES, Federation, running
from tests.crash.full_disk import fill, small_disk
from tests.crash.invariants import Invariants
from tests.crash.role import HOST, LIMIT_S, until
from tests.e2e.terminals import free_ports
from tests.requirements import require

HOUR_S = 3_600
DAY_S = 24 * HOUR_S
SKEWED = "a server's clock and this one differ"
jumps = pytest.mark.parametrize(
    ("whose", "shift_s"),
    [
        pytest.param(ROLES[0], DAY_S, id="main-forward"),
        pytest.param(ROLES[1], -DAY_S, id="aggregator-back"),
        pytest.param(ROLES[2], DAY_S, id="device-1-forward"),
        pytest.param(ROLES[0], -DAY_S, id="main-back", marks=pytest.mark.long),
        pytest.param(ROLES[1], DAY_S, id="aggregator-forward", marks=pytest.mark.long),
        pytest.param(ROLES[2], -DAY_S, id="device-1-back", marks=pytest.mark.long),
    ],
)
"""A day to either side; in the usual run each role's clock jumps to one."""

pytestmark = pytest.mark.timeout(1800)


def step(federation: Federation, name: str, route: str) -> None:
    """Perform a step as soon as it is possible, to its end."""

    def done() -> bool:
        job = federation.press(name, route, LIMIT_S)  # a step that is done cannot be done again
        assert not job or job["state"] != "failed" or job["error"]["slug"] == "unreachable", job
        if job is None and route == "/sendmodel":  # what a button could not deliver, the device goes on delivering
            return ((federation.ask(name, "/api/v1/status") or {}).get("round") or {}).get("report") == "confirmed"
        return job is not None and job["state"] == "done"

    until(done, f"{name} has done {route}", federation.summary)


def problem(federation: Federation, name: str) -> dict[str, Any] | None:
    """What a device says is wrong."""
    found: dict[str, Any] | None = (federation.ask(name, "/api/v1/status") or {}).get("problem")
    return found


def wait_for_problem(federation: Federation, name: str, slug: str) -> str:
    """The message of a device's problem, as soon as it is this one."""

    def message() -> str | None:
        found = problem(federation, name)
        return str(found["message"]) if found and found["slug"] == slug else None

    return until(message, f"{name} says {slug}", federation.summary)


def by_hand(federation: Federation, between: Callable[[], None]) -> None:
    """A training round and a measuring round, with something between every pair of steps."""
    version = until(federation.version, "the main server says its version") + 1
    for route in ("/modeltrain", "/sendstatus", "/sendmodel"):
        for name in DEVICES:
            step(federation, name, route)
        between()
    for name, route in (("aggregator", "/aggregate_models"), ("aggregator", "/send_model_secagg")):
        step(federation, name, route)
        between()
    step(federation, "main", "/send_model_clients")
    between()
    until(federation.is_at_rest, "the next round is open everywhere", federation.summary)
    assert federation.version() == version
    # a main server that has only just started refuses until the aggregator has found it again
    until(lambda: federation.press("main", "/api/v1/measure"), "the model is to be measured", federation.summary)
    between()
    until(lambda: federation.is_measured(version), "the model is measured", federation.summary)
    until(federation.is_at_rest, "the next round is open everywhere", federation.summary)


@pytest.mark.parametrize(
    "who",
    [
        pytest.param(ROLES, id="all"),
        pytest.param(ROLES[:1], id="main", marks=pytest.mark.long),
        pytest.param(ROLES[1:2], id="aggregator", marks=pytest.mark.long),
        pytest.param(DEVICES, id="devices", marks=pytest.mark.long),
    ],
)
def test_stopped_and_started_between_every_pair_of_steps(
    who: tuple[str, ...], tmp_path: Path, pictures: tuple[Path, ...]
) -> None:
    with running(tmp_path, pictures) as federation:

        def restart() -> None:
            for name in who:
                federation.roles[name].stop()
            for name in who:
                federation.roles[name].start()

        by_hand(federation, restart)
        Invariants(federation).check()


@pytest.mark.parametrize("moved", ["main", "aggregator"])
def test_a_server_moves_to_another_port(moved: str, tmp_path: Path, pictures: tuple[Path, ...]) -> None:
    with running(tmp_path, pictures) as federation:
        role = federation.roles[moved]
        old, role.port = role.port, free_ports(1)[0]
        role.stop()
        role.start()
        if moved == "main":
            said = wait_for_problem(federation, "device-1", "unreachable")
            assert f"The main server at http://{HOST}:{old} does not answer" in said
            until(
                lambda: (federation.ask("aggregator", "/api/v1/status") or {}).get("main_problem"),
                "the aggregator says so",
            )
        else:
            for route in ("/modeltrain", "/sendstatus"):
                step(federation, "device-1", route)
            federation.press("device-1", "/sendmodel")
            said = wait_for_problem(federation, "device-1", "unreachable")
            assert f"The secure aggregator at http://{HOST}:{old} does not answer" in said
        option = f"--{moved}-url"
        for other in federation.roles.values():
            if moved == "main" or other.name in DEVICES:
                other.words += [option, role.url] if other is not role else []
                if other is not role:
                    other.stop()
                    other.start()
        if moved == "main":
            until(federation.is_at_rest, "everybody has found it", federation.summary)
        federation.cycle()  # with the aggregator moved, a report is on its way
        Invariants(federation).check()


@pytest.mark.parametrize("full", ROLES[:3])
def test_a_full_disk_stops_a_step_and_no_more(full: str, tmp_path: Path, pictures: tuple[Path, ...]) -> None:
    require("tmpfs")
    federation = Federation(tmp_path, pictures)
    state = federation.roles[full].state
    state.mkdir(exist_ok=True)
    with small_disk(state, "64m"):
        try:
            federation.start()
            filler = fill(state)
            said = until(lambda: refusal(federation, full), f"{full} says that its disk is full", federation.summary)
            assert "No room left on the disk" in said
            filler.unlink()
            federation.cycle()
            Invariants(federation).check()
        finally:
            federation.close()


def refusal(federation: Federation, full: str) -> str | None:
    """Press on until somebody's disk is in the way; what is said then."""
    for name in DEVICES:
        for route in ("/modeltrain", "/sendstatus", "/sendmodel"):
            job = federation.press(name, route)
            if job and job["state"] == "failed" and job["error"]["slug"] == "disk-full":
                return str(job["error"]["message"])
    for name in DEVICES:
        found = problem(federation, name)
        if found and found["slug"] == "disk-full":
            return str(found["message"])
    return None


def said_by_all(federation: Federation) -> str:
    """The logs of all roles."""
    return "\n".join((role.folder / "output.txt").read_text(errors="replace") for role in federation.roles.values())


@jumps
def test_a_clock_that_jumps_by_a_day(whose: str, shift_s: float, tmp_path: Path, pictures: tuple[Path, ...]) -> None:
    with running(tmp_path, pictures) as federation:
        federation.roles[whose].command("shift", shift_s)
        federation.cycle()
        federation.roles[whose].command("shift", 0.0)
        federation.cycle()
        assert SKEWED in said_by_all(federation)
        Invariants(federation).check()


@jumps
def test_rounds_by_themselves_go_on_when_a_clock_jumps_by_a_day(
    whose: str, shift_s: float, tmp_path: Path, pictures: tuple[Path, ...]
) -> None:
    federation = Federation(tmp_path, pictures, by_itself=True, wait_s=DAY_S, window_s=7 * DAY_S)
    try:
        for role in federation.roles.values():
            role.start()

        def goes_on() -> None:
            before = until(federation.version, "the main server says its version") or 0
            until(lambda: (federation.version() or 0) >= before + 2, "two more rounds are over", federation.summary)

        goes_on()
        for shift in (shift_s, 0.0):
            federation.roles[whose].command("shift", shift)
            goes_on()
        rounds = federation.ask("main", "/api/v1/rounds")["rounds"]
        over = [entry for entry in rounds if entry["ended_at"] is not None]
        assert {(entry["state"], entry["participants"]) for entry in over} == {("complete", 2)}
        assert all(0 <= entry["seconds"] < DAY_S / 2 for entry in over), "no round lasted as long as the clock jumped"
        assert SKEWED in said_by_all(federation)
    finally:
        federation.close()


@pytest.mark.parametrize("shift_s", [DAY_S, -DAY_S], ids=["forward", "back"])
def test_a_round_with_a_dead_device_ends_though_the_clock_of_its_window_jumps(
    shift_s: float, tmp_path: Path, pictures: tuple[Path, ...]
) -> None:
    federation = Federation(tmp_path, pictures, by_itself=True, wait_s=DAY_S, window_s=10)
    try:
        for role in federation.roles.values():
            role.start()
        until(lambda: (federation.version() or 0) >= 2, "rounds run", federation.summary)
        federation.roles["device-2"].kill()
        number = until(lambda: round_with_one_report(federation), "a round waits for the dead", federation.summary)
        federation.roles["aggregator"].command("shift", shift_s)
        ended = until(lambda: ended_round(federation, number), "its window has passed", federation.summary)
        assert (ended["state"], ended["reason"]) == ("abandoned", "window-passed")
        federation.roles["aggregator"].command("shift", 0.0)
        version = until(federation.version, "the main server says its version")
        federation.roles["device-2"].start()
        until(lambda: (federation.version() or 0) >= version + 2, "rounds go on", federation.summary)
    finally:
        federation.close()


def round_with_one_report(federation: Federation) -> int | None:
    """The number of the open round, if the living device alone has reported: the dead one may have been the first."""
    found = (federation.ask("aggregator", "/api/v1/status") or {}).get("round") or {}
    if found.get("state") != "collecting":
        return None
    here = (federation.ask("aggregator", f"/api/v1/rounds/{found['round']}/reports") or {"reports": []})["reports"]
    return int(found["round"]) if [report["name"] for report in here] == ["device-1"] else None


def ended_round(federation: Federation, number: int) -> dict[str, Any] | None:
    """A round that is over, as main has it."""
    found = federation.ask("main", f"/api/v1/rounds/{number}")
    return dict(found) if found and found["ended_at"] is not None else None


def test_a_device_is_away_for_hours(tmp_path: Path, pictures: tuple[Path, ...]) -> None:
    with running(tmp_path, pictures, window_s=HOUR_S) as federation:
        for route in ("/modeltrain", "/sendstatus", "/sendmodel"):
            step(federation, "device-1", route)
        step(federation, "device-2", "/modeltrain")
        away = federation.roles["device-2"]
        away.stop()
        away.shift_s = 6 * HOUR_S
        for name in ROLES[:3]:
            federation.roles[name].command("shift", 6 * HOUR_S)
        until(lambda: newest_round(federation) == 2, "the window has passed", federation.summary)
        away.start()
        back = until(lambda: knows_round(federation, "device-2", 2), "it knows the new round", federation.summary)
        assert back["problem"] is None
        assert back["round"]["report"] is None, "what it had begun for the first round it does not send any more"
        assert back["preparation"] == "trained", "its training was not in vain: the model is the same"
        federation.cycle()
        first = federation.ask("main", "/api/v1/rounds/1")
        assert (first["state"], first["reason"]) == ("abandoned", "window-passed")
        history = federation.ask("device-1", "/api/v1/learning")["rounds"]
        assert (history[0]["result"], history[0]["reason"]) == ("abandoned", "window-passed")
        history = federation.ask("device-2", "/api/v1/learning")["rounds"]
        assert 1 not in [line["round"] for line in history], "it took no part in the first round, and says so"
        Invariants(federation).check()


def newest_round(federation: Federation) -> int | None:
    """The aggregator's; None while it does not answer."""
    found = (federation.ask("aggregator", "/api/v1/status") or {}).get("round") or {}
    return found.get("round")


def knows_round(federation: Federation, name: str, number: int) -> dict[str, Any] | None:
    """A device's status, once it knows that round as the open one."""
    status = federation.ask(name, "/api/v1/status") or {}
    return dict(status) if (status.get("round") or {}).get("round") == number else None
