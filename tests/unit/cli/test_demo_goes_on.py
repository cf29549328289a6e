"""A demo that is asked for more rounds has them, whatever had ended it, and says what that was."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console

from fanlight.cli.demo_progress import Progress
from fanlight.cli.demo_run import _begin_with_all, _go_on
from fanlight.cli.demo_run_devices import Survival
from fanlight.cli.owner_client import OwnerClient
from fanlight.services.main_server import notes
from fanlight.services.main_server.course import Stop
from tests.services_world import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, by_itself=True, rounds=3)
    world.start_main()
    yield world
    world.close()


def held(world: World) -> Any:
    return world.owner("main").status()["held"]


def main_of(world: World) -> OwnerClient:
    return OwnerClient.here("main", world.ports["main"].number, world.federation / "main")


def stopped(world: World) -> None:
    service = world.main.service
    with service.database.transaction() as tx:
        notes.keep_all(tx, {notes.STOPPED: Stop.NO_BETTER, notes.STOPPED_BY: 0, notes.STOPPED_AT: 0})


def paused(world: World) -> None:
    world.main.service.change_policy(paused=True)


@pytest.mark.parametrize(("end", "reason"), [(stopped, "no-better"), (paused, "paused")])
def test_it_goes_on_and_says_what_had_ended_it(
    world: World, end: Any, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    end(world)
    title = held(world)["title"]
    assert held(world)["reason"] == reason
    _go_on(main_of(world), 2)
    assert held(world) is None
    assert f"It had ended: {title}" in (said := capsys.readouterr().err)
    assert "You ask for 2 more rounds, so it goes on." in said


def test_where_nothing_had_ended_it_nothing_is_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    _go_on(main_of(world), 2)
    assert "It had ended" not in capsys.readouterr().err


def test_why_no_round_opens_is_said_once(world: World) -> None:
    paused(world)
    screen = StringIO()
    progress = Progress(Console(file=screen, width=200))
    for _ in range(2):
        progress.hold(held(world))
    assert screen.getvalue().count("Rounds are paused.") == 1
    progress.hold(None)
    progress.hold(held(world))
    assert screen.getvalue().count("Rounds are paused.") == 2


def joining(*members: int, left: int = 0, revoked: int = 0) -> Mock:
    """A main server that says so many members, one number each time it is asked."""
    main = Mock(spec=OwnerClient)
    gone = {"left": left, "revoked": revoked}
    main.get.side_effect = [{"members": number, "devices": gone} for number in members]
    return main


@pytest.mark.parametrize(("members", "gone"), [((0, 2, 5, 6), {}), ((3, 4), {"left": 1, "revoked": 1})])
def test_a_demo_that_combines_shards_begins_when_all_devices_have_joined(
    members: tuple[int, ...], gone: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    main = joining(*members, **gone)
    _begin_with_all(Mock(spec=Survival), main, 6)
    assert [name for name, _arguments, _options in main.mock_calls] == ["get"] * len(members) + ["post"]
    main.post.assert_called_once_with("/api/v1/go-on")
    assert capsys.readouterr().err == ""


def test_a_demo_that_waits_for_too_long_says_with_how_many_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    main = joining(4, left=1)
    _begin_with_all(Mock(spec=Survival), main, 6, limit_s=0)
    main.post.assert_called_once_with("/api/v1/go-on")
    assert capsys.readouterr().err == "Only 4 of 5 devices have joined after 0 s; it begins with these.\n"
