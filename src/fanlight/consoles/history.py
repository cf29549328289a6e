"""A device's history in sentences: what it did in a round, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from fanlight.consoles.formats import count
from fanlight.consoles.reasons import why
from fanlight.protocol.closing import SHARD_LEFT_OUT, Result
from fanlight.protocol.device import needs_training


def what_happened(line: Mapping[str, Any]) -> str:
    """One round of ``status.learning``, as its owner reads it."""
    version = line["model_version"]
    model = "the global model" if version is None else f"version {version}"
    if needs_training(line["kind"]):
        did = f"This device learned from {count(line['examples'], 'picture')}, beginning with {model}."
    else:
        did = f"This device measured {model} on its own test pictures."
    return f"{did} {_became(line)}"


def _became(line: Mapping[str, Any]) -> str:
    reason = why(line["reason"])
    because = f": {reason}" if reason else ""
    if line["result"] is None:
        return "The round is not over yet."
    if line["included"]:
        return "Its report was added up with the others."
    if line["result"] == Result.RELEASED and reason and line["reason"] != SHARD_LEFT_OUT:
        return f"Its report was added up in a shard that was left out{because}."
    if line["result"] == Result.RELEASED:
        return "The others were added up without its report."
    if line["result"] == Result.ABANDONED:
        again = " What was learned can be sent again." if needs_training(line["kind"]) else ""
        return f"The round was given up{because}.{again}"
    return f"Nothing came of the round{because}."


@dataclass(frozen=True)
class Milestone:
    """A model on the way from before to after: its ``title``, a ``note`` on it, its metrics on the test pictures.

    Attributes:
        kind: ``shared`` by all devices, or this device's ``own``.
        before: accuracy of the first one; None for that itself, and where it is not known.
    """

    title: str
    note: str
    metrics: Mapping[str, Any] | None
    kind: str = "shared"
    before: float | None = None


def milestones(learning: Mapping[str, Any]) -> list[Milestone]:
    """From the model that was here before, over what was trained here, to the one that is here now."""
    held, own = learning["global"], learning["local"]
    if held is None:
        return []
    own = own if own and _measured(own["metrics"]) else None
    earlier = {"version": own["from_version"], "metrics": own["received"]} if own else held["before"]
    now = Milestone(f"Version {held['version']}", "the model of all devices, here now", _measured(held["metrics"]))
    found = [now]
    if earlier and earlier["version"] != held["version"] and _measured(earlier["metrics"]):
        before = Milestone(f"Version {earlier['version']}", "the model of all devices, before", earlier["metrics"])
        found = [before, now]
    if own:
        note = f"learned from {count(own['examples'], 'picture')} in {count(own['epochs'], 'pass', 'passes')}"
        title = f"Own model, trained from version {own['from_version']}"
        found.insert(1, Milestone(title, note, own["metrics"], "own"))
    first, *rest = found
    share = first.metrics["accuracy"] if first.metrics else None
    return [first, *(replace(one, before=share) for one in rest)]


def _measured(metrics: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The metrics, unless there was no picture to test with."""
    return metrics if metrics and metrics["total"] else None


HISTORY: Final[Mapping[str, Callable[..., Any]]] = {"what_happened": what_happened}
