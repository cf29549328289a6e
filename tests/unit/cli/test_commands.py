"""Commands: help that helps, exit codes, and errors that say what to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanlight import __version__
from fanlight.services import federation
from tests.e2e.terminals import free_ports

Fanlight = Callable[..., Any]
COMMANDS = ("demo", "server", "aggregator", "device", "predict", "version", "federation")


def test_help_names_every_command(fanlight: Fanlight) -> None:
    ran = fanlight("--help")
    assert ran.code == 0
    assert all(command in ran.out for command in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, "federation init", "federation token", "federation revoke"])
def test_every_command_has_help(fanlight: Fanlight, command: str) -> None:
    ran = fanlight(*command.split(), "-h")
    assert (ran.code, ran.err) == (0, "")
    assert f"Usage: fanlight {command}" in ran.out


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom fanlight.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n"
        "    print(*sorted({'numpy', 'fastapi', 'onnxruntime', 'sqlalchemy', 'httpx', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("arguments", ["", "nonsense", "demo --nonsense", "device --port x", "federation init"])
def test_wrong_calls_exit_with_2(fanlight: Fanlight, arguments: str) -> None:
    assert fanlight(*arguments.split()).code == 2


def test_version(fanlight: Fanlight) -> None:
    assert fanlight("version") == (0, f"{__version__}\n", "")


def test_init_token_and_what_they_write(fanlight: Fanlight, tmp_path: Path) -> None:
    folder = tmp_path / "fed"
    assert fanlight("federation", "init", folder, "--classes", "cat, dog", "--demo").code == 0
    task = json.loads((folder / "main" / "task.json").read_text())
    assert task["classes"] == ["cat", "dog"]
    assert (task["policy"]["demo"], task["policy"]["k_min"], task["policy"]["by_itself"]) == (True, 2, False)
    first, second = (fanlight("federation", "token", folder) for _ in range(2))
    assert [Path(ran.out.strip()).name for ran in (first, second)] == ["device-1.json", "device-2.json"]
    assert federation.read_token(Path(first.out.strip())).name == "device-1"


def test_a_real_federation_needs_five_devices(fanlight: Fanlight, tmp_path: Path) -> None:
    assert fanlight("federation", "init", tmp_path / "fed", "--classes", "a,b", "--rounds", "3").code == 0
    policy = json.loads((tmp_path / "fed" / "main" / "task.json").read_text())["policy"]
    assert (policy["demo"], policy["k_min"], policy["by_itself"], policy["rounds"]) == (False, 5, True, 3)


def test_numbers_that_do_not_go_together_are_refused_before_anything_is_written(
    fanlight: Fanlight, tmp_path: Path
) -> None:
    ran = fanlight("federation", "init", tmp_path / "fed", "--classes", "a,b", "--k-min", "2000")
    assert (ran.code, ran.out) == (2, "")
    assert "n_max: at least as many as the fewest devices in a sum: 2,000" in ran.err
    assert not (tmp_path / "fed").exists()


def test_init_takes_classes_from_a_folder_of_pictures(fanlight: Fanlight, tmp_path: Path) -> None:
    for name in ("fox", "badger"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
    assert fanlight("federation", "init", tmp_path / "fed", "--dataset", tmp_path / "pictures").code == 0
    assert json.loads((tmp_path / "fed" / "main" / "task.json").read_text())["classes"] == ["badger", "fox"]


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--classes a,b --dataset faces",
        "--classes a",
        "--classes a,a",
        "--classes a,b --rounds 2 --by-hand",
        "--classes a,b --rounds 0",
        "--classes a,b --main-url nowhere",
    ],
)
def test_init_refuses_what_does_not_go_together_and_makes_nothing(
    fanlight: Fanlight, tmp_path: Path, arguments: str
) -> None:
    ran = fanlight("federation", "init", tmp_path / "fed", *arguments.split())
    assert ran.code == 2
    assert ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("expires", ["30", "0d", "-1d", "1y", "soon"])
def test_a_duration_that_is_none_is_refused(fanlight: Fanlight, tmp_path: Path, expires: str) -> None:
    fanlight("federation", "init", tmp_path / "fed", "--classes", "a,b")
    ran = fanlight("federation", "token", tmp_path / "fed", f"--expires={expires}")
    assert ran.code == 2
    assert "is no duration" in ran.err


def test_a_folder_without_a_root_is_named_with_what_to_do(fanlight: Fanlight, tmp_path: Path) -> None:
    ran = fanlight("federation", "token", tmp_path)
    assert (ran.code, ran.out) == (1, "")
    assert f"Error: {tmp_path} holds no root of a federation." in ran.err
    assert "What to do: Name the folder" in ran.err


def test_revoke_says_which_server_did_not_get_it_and_keeps_it(fanlight: Fanlight, tmp_path: Path) -> None:
    folder, device = tmp_path / "fed", "ab" * 16
    urls = {
        f"--{name}-url": f"http://localhost:{port}"
        for name, port in zip(("main", "aggregator"), free_ports(2), strict=True)
    }
    options = [word for pair in urls.items() for word in pair]
    assert fanlight("federation", "init", folder, "--classes", "a,b", *options).code == 0
    ran = fanlight("federation", "revoke", folder, device)
    assert ran.code == 1
    assert ran.out.count("does not answer") == 2
    assert all(url in ran.out for url in urls.values())
    assert (folder / "root" / "revocations" / f"{device}.cbor").stat().st_size > 0


@pytest.mark.parametrize("role", ["server", "aggregator", "device"])
def test_a_misspelt_setting_is_a_usage_error(
    fanlight: Fanlight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.setenv(f"FANLIGHT_{role.upper()}_PROT", "8000")
    ran = fanlight(role, "--state", tmp_path)
    assert ran.code == 2
    assert f"FANLIGHT_{role.upper()}_PORT" in ran.err


def test_hints_name_the_ports_of_the_addresses(fanlight: Fanlight, tmp_path: Path) -> None:
    addresses = ("--main-url", "http://localhost:8001", "--aggregator-url", "http://localhost:9003")
    ran = fanlight("federation", "init", tmp_path / "fed", "--classes", "a,b", "--demo", *addresses)
    assert f"fanlight server --state {tmp_path / 'fed' / 'main'} --port 8001;" in ran.err
    assert f"fanlight aggregator --state {tmp_path / 'fed' / 'aggregator'} --port 9003;" in ran.err
    for port in (8002, 8004):
        assert f"--state STATE --port {port} --accept-demo" in fanlight("federation", "token", tmp_path / "fed").err


def test_hints_do_not_name_ports_that_are_taken_anyhow(fanlight: Fanlight, tmp_path: Path) -> None:
    addresses = ("--main-url", "https://main.example", "--aggregator-url", "http://sum.example:8003")
    ran = fanlight("federation", "init", tmp_path / "fed", "--classes", "a,b", *addresses)
    assert "--port" not in ran.err
    for _ in range(2):
        assert "--port" not in fanlight("federation", "token", tmp_path / "fed").err


@pytest.mark.parametrize(("options", "warns"), [("--k-min 2", True), ("--k-min 5", False), ("--k-min 2 --demo", False)])
def test_sums_that_devices_will_refuse_are_warned_of(
    fanlight: Fanlight, tmp_path: Path, options: str, warns: bool
) -> None:
    ran = fanlight("federation", "init", tmp_path / "fed", "--classes", "a,b", *options.split())
    assert ran.code == 0
    assert ("devices refuse sums" in ran.err and "5 unless the owner lowers it" in ran.err) == warns


def test_errors_of_the_task_are_in_our_words(fanlight: Fanlight, tmp_path: Path) -> None:
    ran = fanlight("federation", "init", tmp_path / "fed", "--classes", "a,a")
    assert ran.code == 2
    assert "the task: classes: two classes have the same name." in ran.err
