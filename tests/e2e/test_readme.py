"""The README is true: its commands are run word for word, with only the ports replaced by free ones.

The working folder is an empty one with a link to the environment, so nothing but what the README says makes the
commands work.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from fanlight.cli import app
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.settings import RoleSettings, env_prefix
from tests.e2e.terminals import LIMIT_S, Shell, Terminals, free_ports, port_of, until

ROOT: Final = Path(__file__).parents[2]
README: Final = (ROOT / "README.md").read_text()
PROCFILE: Final = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
ROLES: Final = ("main", "aggregator", "device")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LONG_RUNNING = re.compile(r"^\.venv/bin/fanlight (server|aggregator|device) ")
_POST = re.compile(r'-X POST -H "\$(\w+)" (http://localhost:\d+)(/\S+)')

pytestmark = pytest.mark.timeout(3 * LIMIT_S)


def section(title: str) -> str:
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def blocks(text: str, *languages: str) -> list[str]:
    return [content for language, content in _FENCE.findall(text) if language in (languages or ("sh",))]


class Place:
    """An empty folder, free ports in place of 8000 to 8003, terminals and a shell."""

    def __init__(self, folder: Path) -> None:
        (folder / ".venv").symlink_to(sys.prefix)
        self.folder = folder
        self._ports = dict(zip(("8000", "8001", "8002", "8003"), free_ports(4), strict=True))
        usual = {name: value for name, value in os.environ.items() if not name.startswith("FANLIGHT_")}
        path = f"{sys.prefix}/bin{os.pathsep}{usual['PATH']}"
        variables = {**usual, "PATH": path, "XDG_CACHE_HOME": str(folder / "cache"), "no_proxy": "localhost"}
        self.terminals = Terminals(folder, variables)
        self.shell = Shell(folder, variables)

    def here(self, text: str) -> str:
        """``text`` with the ports of this place."""
        return re.sub(r"\b800[0-3]\b", lambda found: str(self._ports[found[0]]), text)

    def port(self, usual: int) -> int:
        return self._ports[str(usual)]

    def ask(self, who: str, address: str) -> Any:
        """A GET by the README's own variables."""
        return json.loads(self.shell.run(f'curl -s -H "${who}" {address}'))

    def get(self, usual_port: int, path: str, **headers: str) -> httpx.Response:
        address = f"http://localhost:{self.port(usual_port)}{path}"
        return httpx.get(address, headers=headers, trust_env=False, timeout=LIMIT_S)

    def close(self) -> None:
        self.terminals.close()
        self.shell.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def test_four_terminals_and_the_walk_by_curl(place: Place) -> None:
    walked = []
    for block in blocks(place.here(section("Four terminals"))):
        if _LONG_RUNNING.match(block):
            place.terminals.start(block, port_of(block))
        else:
            wait_as_a_person_would(place, block)
            walked += run_steps(place, block)
    assert walked == [
        *("/modeltrain", "/modeltrain", "/sendstatus", "/sendstatus", "/sendmodel", "/sendmodel"),
        *("/aggregate_models", "/send_model_secagg", "/send_model_clients", "/api/v1/measure"),
    ]
    (first,) = place.ask("main", place.here("http://localhost:8000/api/v1/rounds"))["rounds"][:1]
    assert first["participants"] == 2
    assert first["accuracy_after"] > first["accuracy_before"]
    logs = place.terminals.close()
    assert len(logs) == 4
    assert not [log for log in logs if "Traceback" in log]


def wait_as_a_person_would(place: Place, block: str) -> None:
    """For what the README says takes some seconds."""

    def asked(who: str, address: str) -> Callable[[], Any]:
        return lambda: place.ask(who, place.here(address))

    if "/aggregate_models" in block or "/modeltrain" in block or "/measure" in block:
        status = asked("main", "http://localhost:8000/api/v1/status")
        until(lambda: (status()["round"] or {}).get("state") == "open", "a round is open")
    if "/modeltrain" in block:
        for device in (1, 2):
            status = asked(f"device{device}", f"http://localhost:800{device}/api/v1/status")
            until(lambda status=status: status()["model"], "the device has the model")  # type: ignore[misc]
    if block.rstrip().endswith("/api/v1/rounds | .venv/bin/python -m json.tool"):
        rounds = asked("main", "http://localhost:8000/api/v1/rounds")
        until(lambda: rounds()["rounds"][0]["accuracy_after"] is not None, "the new model is measured")


def run_steps(place: Place, block: str) -> list[str]:
    """Run a block; the routes of the steps that it performed, each followed to the end of its job."""
    said = place.shell.run(block)
    posts = _POST.findall(block)
    answers = [json.loads(line) for line in said.splitlines() if posts and line.startswith('{"')]
    performed = []
    for (who, origin, route), answer in zip(posts, answers, strict=True):
        if "job" in answer:
            look = f"{origin}{answer['status_url']}"
            job = until(lambda look=look, who=who: ended(place.ask(who, look)), f"the job of {route} ends")  # type: ignore[misc]
            assert job["state"] == "done", job
            performed.append(route)
        else:
            assert said.splitlines()[-1] == "409"
            assert [answer] == [json.loads(shown) for shown in blocks(section("Four terminals"), "json")]
    if "predict" in block:
        assert len(re.findall(r"star/\d+\.png: star \(", said)) > len(said.splitlines()) / 2
    return performed


def ended(job: dict[str, Any]) -> dict[str, Any] | None:
    return job if job["state"] in ("done", "failed") else None


def gunicorn_of_readme(place: Place) -> dict[str, tuple[str, dict[str, str]]]:
    lines = [block for block in blocks(place.here(section("Under gunicorn"))) if "\ngunicorn -k" in block]
    return {role: (line, {}) for role, line in zip(ROLES, lines, strict=True)}


def gunicorn_of_procfile(place: Place) -> dict[str, tuple[str, dict[str, str]]]:
    """The Procfile's lines, with the variables of the README's section and PORT, as a platform sets them."""
    lines = {}
    for (role, command), block in zip(PROCFILE.items(), gunicorn_of_readme(place).values(), strict=True):
        words = shlex.split(block[0].split("\ngunicorn")[0].replace("\\\n", " "))
        exported = dict(word.split("=", 1) for word in words if "=" in word and "_PORT=" not in word)
        port = str(port_of(block[0]))
        lines[role] = (command.replace("$PORT", "${PORT}"), {**exported, "PORT": port})
    return lines


@pytest.mark.parametrize("source", [gunicorn_of_procfile, pytest.param(gunicorn_of_readme, marks=pytest.mark.long)])
def test_under_gunicorn(place: Place, source: Callable[[Place], dict[str, tuple[str, dict[str, str]]]]) -> None:
    place.shell.run(blocks(place.here(section("Four terminals")))[0])
    usual_ports = {"main": 8000, "aggregator": 8003, "device": 8001}
    commands = source(place)
    assert tuple(commands) == ROLES
    logs = {}
    for role, (command, variables) in commands.items():
        logs[role] = place.terminals.start(command, place.port(usual_ports[role]), variables)
    for role, port in usual_ports.items():
        check_owner_side(place, role, port, logs[role])
    for port, path in ((8000, "/protocol/v1/offer"), (8000, "/protocol/v1/orders")):
        assert place.get(port, path).status_code == 401  # a stranger's request is not signed
    token = (place.folder / "fanlight-state/by-hand/device-1/api-token").read_text().strip()

    def enrolled() -> bool:
        answer = place.get(8001, "/api/v1/status", authorization=f"Bearer {token}").json()
        return bool(answer["enrolled"] == {"main": True, "aggregator": True})

    until(enrolled, "the device's signed requests are taken by both servers")
    assert not [log for log in place.terminals.close() if "Traceback" in log]


def check_owner_side(place: Place, role: str, port: int, log: Path) -> None:
    assert place.get(port, "/healthz").json()["role"] == role
    browser = place.get(port, "/", accept="text/html")
    assert (browser.status_code, browser.headers["location"]) == (303, "/login?next=/")
    program = place.get(port, "/api/v1/status")
    assert (program.status_code, program.json()["error"]["slug"]) == (401, "login-required")
    link = re.search(rf"http://localhost:{place.port(port)}(/login\?token=\S+)", log.read_text())
    assert link, log.read_text()
    logged_in = place.get(port, link[1], accept="text/html")
    assert logged_in.status_code == 303
    assert f"fanlight-{role}-{place.port(port)}" in logged_in.cookies


# ---- what the README names exists


def snippets() -> list[str]:
    """Every command line of the README: in blocks, and in running text."""
    lines = "\n".join(blocks(README)).replace("\\\n", " ").splitlines()
    prose = _FENCE.sub("", README)
    return lines + re.findall(r"`([^`\n]+)`", prose)


def command_lines(name: str) -> list[list[str]]:
    """The words after ``name`` of each command line that begins with it (variables may stand before it)."""
    found = []
    for snippet in snippets():
        match = re.match(rf"(?:\w+=\S+ )*(?:\.venv/bin/)?{name} (.+)", snippet)
        if match:
            found.append(shlex.split(match[1]))
    return found


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_exists() -> None:
    named = {words[0] for words in command_lines("make")}
    assert {"demo", "test", "lint"} <= named <= make_targets()
    programs = [word.removeprefix("NAME=") for words in command_lines("make") for word in words if "NAME=" in word]
    assert programs
    assert all((ROOT / "benchmarks" / f"{program}.py").is_file() for program in programs)


def fanlight_lines() -> list[list[str]]:
    """Command lines of ``fanlight``, those that ``make demo ARGS=…`` runs among them."""
    through_make = [
        ["demo", *shlex.split(word.removeprefix("ARGS="))]
        for words in command_lines("make")
        for word in words
        if word.startswith("ARGS=")
    ]
    return [*command_lines("fanlight"), *through_make]


@pytest.mark.parametrize("words", fanlight_lines(), ids=" ".join)
def test_every_command_and_option_exists(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = words[:2] if words[0] == "federation" else words[:1]
    with pytest.raises(SystemExit) as ended_with:
        app([*path, "--help"], prog_name="fanlight")
    assert ended_with.value.code == 0
    said = capsys.readouterr().out
    assert f"Usage: fanlight {' '.join(path)}" in said
    assert {word for word in words if word.startswith("--")} <= set(re.findall(r"--[a-z-]+", said))


def test_every_variable_and_file_exists() -> None:
    roles: tuple[type[RoleSettings], ...] = (MainServerSettings, AggregatorSettings, DeviceSettings)
    known = {f"{env_prefix(role)}{name.upper()}" for role in roles for name in role.model_fields}
    named = set(re.findall(r"\bFANLIGHT_(?:SERVER|AGGREGATOR|DEVICE)_[A-Z_]+", README))
    assert named
    assert named <= known
    linked = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
    assert linked
    assert [path for path in linked if not (ROOT / path).exists()] == []
