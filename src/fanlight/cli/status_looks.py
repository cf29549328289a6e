"""What ``fanlight status`` sees: how each role stands at the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from fanlight.cli.owner_client import OwnerClient
from fanlight.errors import FanlightError
from fanlight.services.main_server.made_room import made_room

NO_ANSWER: Final = "no answer"
_MOST_AT_ONCE: Final = 16


@dataclass(frozen=True)
class Look:
    """How one role stands; None, or an empty text, where it does not know or has no such thing.

    Attributes:
        role: ``main``, ``aggregator``, ``device``; empty if it does not answer.
        name: what people call it. url: where it answers.
        state: is it well; at a main server that opens no round, why: ``paused``, ``quiet``, ``all-done`` and so on.
        round, phase: the newest round, and how far it is there.
        reports, needed: of that round.
        here, enrolled: devices.
        model: version of the current model. accuracy: its, a fraction.
        problem: the last one.
        no_round: why the main server opens none.
    """

    role: str
    name: str
    url: str
    state: str
    round: int | None = None
    phase: str = ""
    reports: int | None = None
    needed: int | None = None
    here: int | None = None
    enrolled: int | None = None
    model: int | None = None
    accuracy: float | None = None
    problem: str = ""
    no_round: str = ""


def look_at(roles: Sequence[OwnerClient]) -> list[Look]:
    """How each of them stands now; all are asked at once."""
    with ThreadPoolExecutor(max_workers=min(_MOST_AT_ONCE, len(roles))) as asking:
        return list(asking.map(_look, roles))


def _look(role: OwnerClient) -> Look:
    try:
        status = role.get("/api/v1/status")
        return _READERS[status["role"]](role, status)
    except FanlightError as error:
        return Look("", role.name, role.url, NO_ANSWER, problem=error.message)
    except (KeyError, TypeError, AttributeError):
        problem = "Something else answers there, or another version of Fanlight."
        return Look("", role.name, role.url, NO_ANSWER, problem=problem)


def _main(role: OwnerClient, status: Mapping[str, Any]) -> Look:
    line, devices = status["round"] or {}, status["devices"]
    alone = "" if status["aggregator_connected"] else "The secure aggregator is not connected."
    held = status["held"] or {"reason": "running", "title": "", "message": ""}
    incidents = f"{status['incidents']} incidents: see the log page." if status["incidents"] else ""
    return Look(
        role="main",
        name="main server",
        url=role.url,
        state=held["reason"],
        round=line.get("round"),
        phase=line.get("state", ""),
        reports=status["reports"] if line else None,
        needed=line.get("k_min", status["k_min"]),
        here=devices["here"],
        enrolled=devices["here"] + devices["away"] + devices["waiting"],
        model=status["model"]["version"],
        accuracy=status["accuracy"],
        problem=status["problem"] or alone or _why_ended(line) or incidents,
        no_round=f"{held['title']} {held['message']}".strip(),
    )


def _why_ended(line: Mapping[str, Any]) -> str:
    """Why the newest round gave no model, if it did not."""
    over = line.get("state") in ("failed", "abandoned") and not made_room(line["reason"])
    return f"Round {line['round']} {line['state']}: {line['reason'] or 'no reason given'}." if over else ""


def _aggregator(role: OwnerClient, status: Mapping[str, Any]) -> Look:
    line = status["round"] or {}
    return Look(
        role="aggregator",
        name="secure aggregator",
        url=role.url,
        state="running",
        round=line.get("round"),
        phase=line.get("state", ""),
        reports=status["reports"] if line else None,
        needed=line.get("k_min"),
        enrolled=status["members"],
        problem=status["main_problem"] or "",
    )


def _device(role: OwnerClient, status: Mapping[str, Any]) -> Look:
    line, model, problem = status["round"] or {}, status["model"] or {}, status["problem"] or {}
    return Look(
        role="device",
        name=f"device {status['name']}",
        url=role.url,
        state=_state_of_device(status),
        round=line.get("round"),
        phase=line.get("report") or status["preparation"],
        model=model.get("version"),
        accuracy=status["accuracy"],
        problem=problem.get("message", ""),
    )


def _state_of_device(status: Mapping[str, Any]) -> str:
    known = (
        (status["left"], "has left"),
        (status["paused"], "paused"),
        (not all(status["enrolled"].values()), "not enrolled"),
    )
    return next((state for so, state in known if so), "running")


_READERS: Final[Mapping[str, Callable[[OwnerClient, Mapping[str, Any]], Look]]] = {
    "main": _main,
    "aggregator": _aggregator,
    "device": _device,
}
