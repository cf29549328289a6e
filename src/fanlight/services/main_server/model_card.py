"""The card of a model version: what it is, where it comes from, how well it does, and what it does not promise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fanlight.core.percent import percent
from fanlight.core.printable import printable
from fanlight.learning.backbones import backbone
from fanlight.services.main_server.task import Task

LIMITS: Final = (
    (
        "A round protects one round, not a history: two rounds whose devices differ by one expose that one. Only "
        "differential privacy bounds that; this model was trained without it."
    ),
    (
        "With k devices, k - 1 owners who work together can recover what the last one sent; with two devices, each can "
        "compute the other's from the published model."
    ),
    (
        "If one home alone has pictures of a class, the model's row for that class is that home's contribution. Honest "
        "servers hold such rows back; a dishonest main server could not be stopped from it."
    ),
    "If one organisation runs both servers, the promise covers the compromise of one process, not that organisation.",
    "Figures come from the devices' own held-out pictures, as sums; devices can report wrong ones.",
)
"""What the protocol does not do, in plain words (docs/threat-model)."""


def card(task: Task, model: dict[str, Any], lineage: Sequence[int], participants: int | None) -> dict[str, Any]:
    """The card as plain data.

    Args:
        task: what is learned.
        model: the version's line (see ``lines.version_lines``).
        lineage: numbers of the versions it was trained from, nearest first.
        participants: devices in the sum that made it; None for the first version.
    """
    entry = backbone(task.backbone)
    return {
        "format": 1,
        "task": task.name,
        "version": model["version"],
        "sha256": model["sha256"],
        "bytes": model["bytes"],
        "created_at": model["created_at"],
        "round": model["round"],
        "devices_in_the_sum": participants,
        "lineage": list(lineage),
        "classes": list(task.classes),
        "backbone": {"id": entry.id, "sha256": entry.compiled_sha256, "features": entry.features},
        "head": task.head,
        "picture_size": task.picture_size,
        "training": task.training.model_dump(),
        "demonstration": task.policy.demo,
        "metrics": model["metrics"],
        "note": model.get("note", ""),
        "limits": list(LIMITS),
    }


def as_markdown(content: dict[str, Any]) -> str:
    """The card as Markdown. Names and notes from outside stand there as code: nothing in them is markup or a link."""
    made = f"{datetime.fromtimestamp(content['created_at'], UTC):%Y-%m-%d %H:%M} UTC"
    origin = "the start; it knows nothing" if content["round"] is None else f"round {content['round']}"
    summed = content["devices_in_the_sum"]
    parts = [
        f"# {_text(content['task'])}, version {content['version']}",
        "",
        f"- File: safetensors, {content['bytes']} bytes, SHA-256 `{content['sha256']}`",
        f"- Made: {made}, from {origin}" + (f", a sum over {summed} devices" if summed else ""),
        f"- Trained from: {', '.join(f'version {number}' for number in content['lineage']) or 'nothing'}",
        f"- Classes: {', '.join(_text(name) for name in content['classes'])}",
        (
            f"- Backbone: {_text(content['backbone']['id'])} (SHA-256 `{content['backbone']['sha256']}`), "
            f"{content['backbone']['features']} features; head: {content['head']}"
        ),
        f"- Pictures: {content['picture_size']} x {content['picture_size']} pixels",
    ]
    if content["demonstration"]:
        parts.append("- A demonstration: two devices are enough, and each can work out the other's update.")
    parts += ["", "## Figures", "", *_figures(content["metrics"])]
    if content["note"]:
        parts += ["", "## Note", "", _block(content["note"])]
    parts += ["", "## What is not promised", "", *(f"- {limit}" for limit in content["limits"])]
    return "\n".join(parts) + "\n"


def _figures(metrics: dict[str, Any] | None) -> list[str]:
    if metrics is None:
        return ["Not measured yet."]
    lines = [f"{metrics['correct']} of {metrics['total']} held-out pictures right{_share(metrics['accuracy'])}."]
    if metrics.get("per_class"):
        lines += ["", "| Class | Pictures | Recall |", "|---|---|---|"]
        lines += [
            f"| {_in_table(row['class'])} | {row['pictures']} | {percent(row['recall'])} |"
            for row in metrics["per_class"]
        ]
    return lines


def _share(fraction: float | None) -> str:
    return "" if fraction is None else f" ({percent(fraction)})"


def _text(outside: str) -> str:
    """A code span (CommonMark, section 6.1): no escapes in it, and its fence is longer than any in the text."""
    plain = printable(" ".join(outside.split())) or " "
    fence = _fence(plain, 1)
    edge = " " if plain[0] in "` " or plain[-1] in "` " else ""
    return f"{fence}{edge}{plain}{edge}{fence}"


def _in_table(outside: str) -> str:
    return _text(outside).replace("|", r"\|")  # even code must not end a cell (GFM, section 4.10)


def _block(outside: str) -> str:
    """A fenced code block (CommonMark, section 4.5)."""
    plain = printable("\n".join(outside.splitlines()), keep="\n")
    fence = _fence(plain, 3)
    return f"{fence}text\n{plain}\n{fence}"


def _fence(text: str, least: int) -> str:
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))
