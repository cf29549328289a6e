"""What a demo's rounds came to: from the roles' owner APIs to the one JSON line of ``--json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fanlight.cli.owner_client import OwnerClient
from fanlight.errors import FanlightError
from fanlight.services.main_server.made_room import made_room

PROTOCOL = "split-trust/1"

_FIGURES = (
    "accuracy_before",
    "accuracy_after",
    "balanced_accuracy_before",
    "balanced_accuracy_after",
)
_FAILED_STATES = ("abandoned", "failed")
_RELEASED_STATES = ("released", "complete")


@dataclass(frozen=True)
class Round:
    """One training round; accuracies are None where they are not known (yet, or never)."""

    number: int
    state: str
    reason: str
    participants: int
    figures: Mapping[str, float | None]
    local_accuracy: Mapping[str, float | None]
    seconds: float | None

    @property
    def failed(self) -> bool:
        """Did it end without a model?"""
        return self.state in _FAILED_STATES

    @property
    def released(self) -> bool:
        """Did it end with a model?"""
        return self.state in _RELEASED_STATES

    @property
    def over(self) -> bool:
        """Has it ended, well or not?"""
        return self.failed or self.state == "complete"

    def as_json(self) -> dict[str, Any]:
        """As in the output of ``fanlight demo --json``."""
        return {
            "round": self.number,
            "participants": self.participants,
            **self.figures,
            "local_accuracy": dict(self.local_accuracy),
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Result:
    """All training rounds so far, oldest first; ``model`` has ``version`` and ``sha256``."""

    rounds: tuple[Round, ...]
    finished: bool
    model: Mapping[str, Any]

    @property
    def good(self) -> bool:
        """Has every round ended with a model, and was each one measured?"""
        return all(r.released and None not in r.figures.values() for r in self.rounds)

    def since(self, earlier: int) -> Result:
        """Without the ``earlier`` oldest rounds."""
        return Result(self.rounds[earlier:], self.finished, self.model)


NOTHING_YET = Result((), False, {"version": None, "sha256": None})
"""Before the main server has been asked."""


def ask(main: OwnerClient) -> Result:
    """Ask the main server; local accuracies are not in yet.

    Raises:
        Unreachable, MalformedMessage: it does not answer as it should.
    """
    answer = main.get("/api/v1/rounds")
    rounds = tuple(_round(entry) for entry in answer["rounds"] if not made_room(entry.get("reason")))
    return Result(rounds, bool(answer["finished"]), answer["model"])


def with_local_accuracies(result: Result, devices: Sequence[OwnerClient]) -> Result:
    """The same with what each device measured of its own model: None in every round for one that does not answer."""
    local = {device.name: _local_accuracies(device) for device in devices}
    rounds = (
        replace(
            entry,
            local_accuracy={
                name: None if found is None else found[entry.number]
                for name, found in local.items()
                if found is None or entry.number in found
            },
        )
        for entry in result.rounds
    )
    return replace(result, rounds=tuple(rounds))


def _local_accuracies(device: OwnerClient) -> dict[int, float | None] | None:
    try:
        learning = device.get("/api/v1/learning")
    except FanlightError:
        return None
    return {int(entry["round"]): entry.get("local_accuracy") for entry in learning.get("rounds", ())}


def _round(entry: Mapping[str, Any]) -> Round:
    failed = entry["state"] in _FAILED_STATES
    return Round(
        number=int(entry["round"]),
        state=str(entry["state"]),
        reason=str(entry.get("reason") or ""),
        participants=int(entry.get("participants") or 0),
        figures={name: None if failed else entry.get(name) for name in _FIGURES},
        local_accuracy={},
        seconds=entry.get("seconds"),
    )
