"""What a demo keeps, when it goes on, and what it refuses to mix up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fanlight.cli.demo_folder import DemoFolder, Description, check_state, newest_demo, open_demo
from fanlight.cli.demo_policy import checked_algorithm, demo_task, write_policy
from fanlight.cli.task_options import Choices, Pictures, make_task
from fanlight.errors import StorageError, UsageError
from fanlight.learning.datasets import DataSet
from fanlight.protocol.identities import Role
from fanlight.services.federation import load_server_identity, read_token
from fanlight.services.main_server.task import Task

DESCRIPTION = Description("shapes", ("circle", "star"), devices=3, seed=0, port_base=9000)
TASK = make_task(Pictures(("circle", "star"), 64), demo=True)


def opened(state: Path, description: Description = DESCRIPTION, *, afresh: bool = False) -> DemoFolder:
    return open_demo(state, description, TASK.to_json(), afresh=afresh)


def test_ports_are_the_published_ones() -> None:
    description = replace(DESCRIPTION, devices=5, port_base=8000)
    assert (description.main_port, description.aggregator_port) == (8000, 8003)
    assert [description.device_port(number) for number in range(1, 6)] == [8001, 8002, 8004, 8005, 8006]
    assert sorted(description.ports) == list(range(8000, 8007))


def test_a_new_demo_has_a_federation_and_a_token_for_each_device(tmp_path: Path) -> None:
    folder = opened(tmp_path / "state")
    assert folder.root == tmp_path / "state" / "demo"
    identity = load_server_identity(folder.main, Role.MAIN)
    assert (identity.main_url, identity.aggregator_url) == ("http://localhost:9000", "http://localhost:9003")
    for number in (1, 2, 3):
        assert read_token(folder.token(number)).name == f"device-{number}"
    assert {path.name for path in folder.root.iterdir()} == {"demo.json", "federation", "logs"}


def test_the_same_demo_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = opened(tmp_path)
    key = (first.main / "identity.key").read_bytes()
    check_state(tmp_path, replace(DESCRIPTION, classes=()))
    assert opened(tmp_path) == first
    assert (first.main / "identity.key").read_bytes() == key


def test_a_measurement_starts_from_nothing_each_time(tmp_path: Path) -> None:
    folders = [opened(tmp_path, afresh=True) for _ in range(3)]
    assert [folder.root.name for folder in folders] == ["run-1", "run-2", "run-3"]
    assert len({(folder.main / "identity.key").read_bytes() for folder in folders}) == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dataset": "faces"}, "dataset shapes, not faces"),
        ({"devices": 2}, "devices 3, not 2"),
        ({"seed": 7}, "seed 0, not 7"),
        ({"port_base": 8000}, "port_base 9000, not 8000"),
        ({"classes": ("star", "circle")}, "classes circle, star, not star, circle"),
    ],
)
def test_a_demo_of_something_else_is_refused_and_left_alone(
    tmp_path: Path, change: dict[str, object], named: str
) -> None:
    folder = opened(tmp_path)
    before = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=named) as caught:
        opened(tmp_path, replace(DESCRIPTION, **change))  # type: ignore[arg-type]
    assert "--state" in caught.value.next
    assert {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"classes": 3}'])
def test_a_damaged_description_is_named(tmp_path: Path, text: str) -> None:
    (opened(tmp_path).root / "demo.json").write_text(text)
    with pytest.raises(StorageError, match=r"demo\.json is damaged"):
        opened(tmp_path)


def test_a_folder_called_demo_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    with pytest.raises(StorageError, match="is not the folder of a demo"):
        check_state(tmp_path, DESCRIPTION)


def test_the_newest_demo_is_the_one_used_last(tmp_path: Path) -> None:
    assert newest_demo(tmp_path) is None
    first, second = opened(tmp_path), opened(tmp_path, afresh=True)
    assert newest_demo(tmp_path) == second
    (first.main / "state.sqlite3").touch()
    assert newest_demo(tmp_path) == first


def test_the_policy_can_change_from_start_to_start(tmp_path: Path) -> None:
    main = opened(tmp_path).main
    assert write_policy(main, 4) == 0
    policy = Task.load(main / "task.json").policy
    assert (policy.by_itself, policy.rounds, policy.demo, policy.k_min) == (True, 4, True, 2)
    assert write_policy(main, None) == 0
    assert Task.load(main / "task.json") == TASK


@pytest.mark.parametrize(("combine", "devices", "most"), [("median", 6, 4), ("krum", 10, 5)])
def test_a_demo_that_combines_shards_has_them_in_every_round(
    tmp_path: Path, combine: str, devices: int, most: int
) -> None:
    choice = checked_algorithm(f"fedavg:combine={combine}", devices)
    task = demo_task(DataSet("shapes", ("circle", "star"), 64, ()), 1, Choices(choice))
    assert (task.algorithm.combine, task.policy.shards, task.policy.most_shards) == (combine, "always", most)
    assert task.policy.paused, "until all devices have joined"
    main = opened(tmp_path).main
    write_policy(main, 1, Choices(choice))
    assert Task.load(main / "task.json").policy == task.policy


def test_rounds_are_added_to_those_that_were(tmp_path: Path) -> None:
    from sqlalchemy import insert

    from fanlight.storage.database import Database
    from fanlight.storage.migrating import migrate
    from fanlight.storage.tables import main as tables

    main = opened(tmp_path).main
    database = Database(main / "state.sqlite3")
    migrate(database, "main")
    with database.transaction() as tx:
        for number, kind, ended in ((1, "train", 5.0), (2, "measure", 6.0), (3, "train", None)):
            values = {"state": "s", "record": b"", "model": bytes(32), "asked": "", "participants": 0, "reason": ""}
            tx.execute(insert(tables.rounds).values(number=number, kind=kind, ended_at=ended, **values))
    database.close()
    assert write_policy(main, 4) == 1
    assert Task.load(main / "task.json").policy.rounds == 5
