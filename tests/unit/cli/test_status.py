from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fanlight.cli import main
from fanlight.cli.running_roles import find_roles
from fanlight.cli.status_looks import NO_ANSWER, look_at
from fanlight.errors import NotPossibleNow
from tests.e2e.terminals import free_ports, until
from tests.services_world import CLIENT, running


def died(folder: Path, url: str, started: int = 1) -> Path:
    folder.mkdir(parents=True)
    (folder / "api-token").write_text("s3cret\n")
    (folder / "api-token").chmod(0o600)
    (folder / "address").write_text(f"{url}\n")
    os.utime(folder / "address", (started, started))
    return folder


def test_roles_are_found_below_a_folder_the_servers_first(tmp_path: Path) -> None:
    for number, name in enumerate(("demo/device-1", "demo/federation/aggregator", "demo/federation/main")):
        died(tmp_path / name, f"http://localhost:{1 + number}")
    (tmp_path / "demo" / "address").write_text("http://localhost:9\n")  # without a token: nobody's
    assert [role.name for role in find_roles(tmp_path)] == ["main", "aggregator", "device-1"]
    assert [role.name for role in find_roles(tmp_path / "demo" / "device-1")] == ["device-1"]


def test_of_two_at_one_address_the_latest_is_shown(tmp_path: Path) -> None:
    died(tmp_path / "run-2" / "main", "http://localhost:1", started=20)
    died(tmp_path / "run-1" / "main", "http://localhost:1", started=10)
    [role] = find_roles(tmp_path)
    assert role.state == tmp_path / "run-2" / "main"


def test_without_any_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotPossibleNow) as caught:
        find_roles(tmp_path)
    assert caught.value.slug == "nothing-runs"
    assert "fanlight demo" in caught.value.next


def test_one_that_has_died_is_said_to_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [port] = free_ports(1)
    died(tmp_path / "main", f"http://localhost:{port}")
    with pytest.raises(SystemExit) as caught:
        main(["status", "--state", str(tmp_path)])
    assert caught.value.code == 1
    said = capsys.readouterr()
    assert f"None of these answers: main at http://localhost:{port}." in said.err
    assert "s3cret" not in said.err
    with pytest.raises(SystemExit) as caught:
        main(["status", "--json", "--state", str(tmp_path)])
    assert caught.value.code == 1
    [look] = json.loads(capsys.readouterr().out)["roles"]
    assert look["state"] == NO_ANSWER


def test_addresses_and_tokens_come_in_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["status", "--url", "http://localhost:1"])
    assert caught.value.code == 2
    assert "as many --token-file as --url" in capsys.readouterr().err


def test_trouble_is_shown_beside_what_goes_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path) as world:
        for device in world.enrolled(2):
            device.offer()
        world.stop_aggregator()
        died(tmp_path / "earlier" / "main", f"http://localhost:{world.ports['main'].number}")
        [main_server] = look_at(find_roles(tmp_path))
        assert (main_server.phase, main_server.reports, main_server.needed) == ("open", 0, 2)
        assert (main_server.here, main_server.enrolled) == (2, 2)
        assert main_server.state == "running"
        world.main.service.change_policy(paused=True)
        [main_server] = look_at(find_roles(tmp_path))
        assert main_server.state == "paused"
        wrong = tmp_path / "wrong" / "api-token"
        wrong.parent.mkdir()
        wrong.write_text("guessed\n")
        wrong.chmod(0o600)
        with pytest.raises(SystemExit):
            main(["status", "--url", world.ports["main"].url, "--token-file", str(wrong)])
        assert "401" in capsys.readouterr().err


def test_in_a_terminal_the_table_follows_what_happens_until_it_is_interrupted(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        world.stop_aggregator()
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", "from fanlight.cli import main; main()", "status", "--state", str(tmp_path)]
        variables = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
        table = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables)
        os.close(theirs)
        shown = ""

        def shows(word: str) -> bool:
            nonlocal shown
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 1 << 16).decode(errors="replace")
            return word in shown

        try:
            until(lambda: shows("running"), "the table is there")
            assert "paused" not in shown
            world.main.service.change_policy(paused=True)
            until(lambda: shows("paused"), "the table says what has changed")
            table.send_signal(signal.SIGINT)
            assert table.wait(60) == 0, shown
        finally:
            table.kill()
            table.wait()
            os.close(ours)


def test_a_fresh_login_link_logs_in_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path) as world:
        world.stop_aggregator()
        with pytest.raises(SystemExit) as caught:
            main(["login-link", "--state", str(tmp_path)])
        assert caught.value.code == 0
        [line] = capsys.readouterr().out.splitlines()
        name, _, link = line.partition(": ")
        assert name == "main"
        assert [CLIENT.get(link).status_code for _ in range(2)] == [303, 401]


def test_who_gives_no_login_link_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [port] = free_ports(1)
    died(tmp_path / "main", f"http://localhost:{port}")
    with pytest.raises(SystemExit) as caught:
        main(["login-link", "--state", str(tmp_path)])
    assert caught.value.code == 1
    assert "main does not answer" in capsys.readouterr().err
