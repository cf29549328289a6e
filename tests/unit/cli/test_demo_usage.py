"""``fanlight demo`` says what is wrong before anything starts."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.terminals import free_base
from tests.unit.learning.drawn import pictures

Fanlight = Callable[..., Any]


@pytest.fixture(autouse=True)
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("subprocess.Popen.__init__", refuse)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--devices 1", "one alone never makes a round"),
        ("--devices 0", "one alone never makes a round"),
        ("--devices 1000", "more than one machine"),
        ("--json", "--exit"),
        ("--json --rounds 3", "--exit"),
        ("--exit", "--rounds"),
        ("--rounds 0", "--rounds must be 1 or more"),
        ("--seed -1", "--seed must be 0 or more"),
        ("--port-base 65533", "leaves no room"),
        ("--fine-tune 1 --head analytic", "--fine-tune and --head analytic do not go together"),
        ("--port-base 0", "leaves no room"),
        ("--algorithm fedavg:combine=krum", "Ask for --devices 10 or more, or leave out combine"),
        ("--devices 5 --algorithm fedavg:combine=median", "Ask for --devices 6 or more, or leave out combine"),
        ("--dataset nothing-of-the-kind", "faces, digits, shapes, fashion, stamps"),
    ],
)
def test_wrong_usage(fanlight: Fanlight, tmp_path: Path, arguments: str, said: str) -> None:
    ran = fanlight("demo", "--state", tmp_path / "state", *arguments.split())
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_a_taken_port_is_named(fanlight: Fanlight, tmp_path: Path, which: int) -> None:
    base = free_base()  # its neighbours are free too, or one of those would be named
    with socket.create_server(("localhost", base + which)):
        ran = fanlight("demo", "--state", tmp_path / "state", "--port-base", base)
    assert (ran.code, ran.out) == (1, "")
    assert f"Port {base + which} of localhost is taken" in ran.err
    assert "--port-base" in ran.err
    assert not (tmp_path / "state").exists()


def test_missing_data_are_named_with_how_to_get_them(
    fanlight: Fanlight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fanlight.learning.datasets import locate

    monkeypatch.setattr(locate.Places, "find", _not_here)
    ran = fanlight("demo", "--state", tmp_path / "state", "--dataset", "digits", "--port-base", free_base())
    assert (ran.code, ran.out) == (1, "")
    assert "not on this machine" in ran.err
    assert "What to do: " in ran.err


def _not_here(_places: object, relative: str, *, what: str, next: str, **_: object) -> None:
    from fanlight.errors import DataError

    raise DataError(f"the data of {what} are not on this machine ({relative})", next=next)


def test_a_folder_without_pictures_is_named(fanlight: Fanlight, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
    ran = fanlight(
        "demo", "--state", tmp_path / "state", "--dataset", tmp_path / "pictures", "--port-base", free_base()
    )
    assert ran.code == 1
    assert "no picture that can be used" in ran.err


@pytest.mark.parametrize(
    ("folders", "devices", "said"),
    [
        ((), 2, "0 classes"),
        (("cat",), 2, "1 classes"),
        (("device-1/cat", "device-1/dog", "device-2/cat"), 3, "folders for 2 devices, not 3"),
    ],
)
def test_a_folder_that_cannot_be_meant_is_wrong_usage(
    fanlight: Fanlight, tmp_path: Path, folders: tuple[str, ...], devices: int, said: str
) -> None:
    (tmp_path / "own").mkdir()
    for name in folders:
        (tmp_path / "own" / name).mkdir(parents=True)
    given = ("--dataset", tmp_path / "own", "--devices", devices, "--port-base", free_base())
    ran = fanlight("demo", "--state", tmp_path / "state", *given)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err


def test_bad_pictures_of_a_folder_are_named(
    fanlight: Fanlight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fanlight.cli import demo_run

    monkeypatch.setattr(demo_run, "run", lambda *_, **__: True)
    for start, name in enumerate(("cat", "dog")):
        pictures(tmp_path / "own" / name, 5, 10 * start)
    (tmp_path / "own" / "cat" / "bad.png").write_bytes(b"no picture")
    ran = fanlight("demo", "--state", tmp_path / "state", "--dataset", tmp_path / "own", "--port-base", free_base())
    assert ran.code == 0
    assert "own/cat/bad.png" in ran.err
