"""The card of a model version: what it is, where it comes from, how well it does, and what it does not promise."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fanlight.core.percent import percent
from fanlight.core.printable import printable
from fanlight.learning.algorithms.robust import FEWEST
from fanlight.learning.backbones import BACKBONES
from fanlight.learning.model_file import HeadModel, model_hash
from fanlight.learning.own_backbones import Description
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.services.main_server.solving import Solution
from fanlight.services.main_server.task import OwnBackbone, Task
from fanlight.services.main_server.taught_by import Taught

FORMAT: Final = 1
PRIVACY: Final = (
    "No picture left a device. Each device's update travelled under two masks, one for each of two servers, which "
    "could take them off sums over several devices only, each sum once. Numbers of pictures, too, are known as such "
    "sums alone."
)
"""What the protocol does, in plain words (docs/threat-model)."""
IF_FEDERATED: Final = "A file cannot prove where it comes from. If a federation of Fanlight's made this one: "
LINEAGE: Final = 50
"""Most ancestors of a version that a page or card names; there can be thousands."""

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
    (
        "Which version is the current one may have been chosen by these very figures: the best of many that are alike "
        "looks a little better than it is. Pictures that no version was chosen by would tell."
    ),
)
"""What the protocol does not do, in plain words (docs/threat-model)."""

OWN_NOTE: Final = (
    "This card was made on the device. The main server has one of the model of all devices, and knows nothing of this "
    "model."
)
OWN_PRIVACY: Final = (
    "This model was trained on one home's pictures, with no sum or mask in between. It is a device's own, and no "
    "server has it. Of the model of all devices, which it goes with: "
)
OWN_LIMIT: Final = (
    "Whoever has this file has what was learned from one home's pictures: it tells which classes that home has, and "
    "may tell more about them. Give it only to those who may know that."
)

_KNOWN_TO_THE_SERVER: Final = (
    "created_at",
    "round",
    "devices_in_the_sum",
    "shards_in_the_sum",
    "training_rounds",
    "lineage",
    "algorithm",
    "solution",
    "solved_before",
    "training_pictures",
    "training",
    "demonstration",
)


@dataclass(frozen=True)
class Origin:
    """How a version came to be, as far as that is known.

    Attributes:
        devices: in the sum that made it; None for the first version.
        shards: sums that it was made from: one, or one for each shard of its round that could be used; likewise.
        algorithm: that made it; None for the first version, those that were solved, and those from before there was a
            choice.
        solution: how it was solved, if it was.
        solved_before: the nearest version that it comes of and that was solved, and how.
        taught: what it was made from.
    """

    devices: int | None = None
    shards: int | None = None
    algorithm: AlgorithmChoice | None = None
    solution: Solution | None = None
    solved_before: tuple[int, Solution] | None = None
    taught: Taught | None = None

    def shown(self, *, demo: bool) -> dict[str, Any]:
        """How it learned, as on a card; what was chosen to combine shards counts where there were several."""
        algorithm, before = self.algorithm.as_json() if self.algorithm else None, self.solved_before
        if algorithm and (self.shards or 0) < 2:
            algorithm["combine"] = "mean"
        return {
            "devices_in_the_sum": self.devices,
            "shards_in_the_sum": self.shards,
            "algorithm": algorithm,
            "solution": _shown_solution(self.solution, demo=demo) if self.solution else None,
            "solved_before": {"version": before[0]} | _shown_solution(before[1], demo=demo) if before else None,
        }


def card(task: Task, model: dict[str, Any], file: HeadModel, lineage: Sequence[int], origin: Origin) -> dict[str, Any]:
    """The card as plain data.

    Args:
        task: what is learned.
        model: the version's line (see ``lines.version_lines``). file: what it is, which the task may not be any more.
        lineage: numbers of all the versions it was trained from, nearest first; each step is one training round.
        origin: how it came to be.
    """
    demo, taught = task.policy.demo, origin.taught
    return {
        "format": FORMAT,
        "task": task.name,
        "version": model["version"],
        "sha256": model["sha256"],
        "bytes": model["bytes"],
        "created_at": model["created_at"],
        "round": model["round"],
        "training_rounds": len(lineage),
        "lineage": list(lineage[:LINEAGE]),
        "classes": list(task.classes),
        "backbone": _backbone(file, task.own_backbone if task.backbone_sha256 == file.backbone_sha256 else None),
        "head": file.kind.value,
        "fine_tune": _fine_tuned(file, task),
        "picture_size": file.picture_size,
        "training": task.training.model_dump(),
        "training_pictures": taught.shown(task.classes, demo=demo) if taught else None,
        "demonstration": demo,
        "metrics": model["metrics"],
        "note": model.get("note", ""),
        "own_model": None,
        "privacy": PRIVACY,
        "limits": list(LIMITS),
    } | origin.shown(demo=demo)


def card_of_file(model: HeadModel, content: bytes, own: Description | None) -> dict[str, Any]:
    """What a model's file alone says of it, as ``card``; None where only the main server knows.

    ``own``: what the file of its backbone says of itself, where that is none of the registry.
    """
    return dict.fromkeys(_KNOWN_TO_THE_SERVER) | {
        "format": FORMAT,
        "task": model.task,
        "version": model.version,
        "sha256": model_hash(content),
        "bytes": len(content),
        "classes": list(model.classes),
        "backbone": _backbone(model, own),
        "head": model.kind.value,
        "fine_tune": _fine_tuned(model),
        "picture_size": model.picture_size,
        "metrics": None,
        "note": "This card was made from the model's file alone; the main server has one with origin and figures.",
        "own_model": None,
        "privacy": IF_FEDERATED + PRIVACY,
        "limits": list(LIMITS),
    }


def card_of_own(
    model: HeadModel, content: bytes, learned: dict[str, Any], backbone: Description | None
) -> dict[str, Any]:
    """The card of a home's own model: by which algorithm, in which round and when (unix seconds) it was ``learned``."""
    return card_of_file(model, content, backbone) | {
        "own_model": learned,
        "note": OWN_NOTE,
        "privacy": OWN_PRIVACY + PRIVACY,
        "limits": [OWN_LIMIT, *LIMITS],
    }


def _fine_tuned(model: HeadModel, task: Task | None = None) -> dict[str, Any] | None:
    """What has learned of the backbone; None if nothing has."""
    if not model.tuned:
        return None
    said = task.fine_tune.as_json() if task and task.fine_tune else {}
    return {**said, "parameters": sum(tensor.size for tensor in model.tuned.values())}


def _backbone(model: HeadModel, own: OwnBackbone | Description | None) -> dict[str, Any]:
    """Of the registry, or somebody's own; what nobody here knows of it is None."""
    known = own or BACKBONES.get(model.backbone_id)
    return {
        "id": model.backbone_id,
        "title": known.title if known else None,
        "licence": known.licence if known else None,
        "sha256": model.backbone_sha256,
        "features": model.weight.shape[0],
    }


def as_markdown(content: dict[str, Any]) -> str:
    """The card as Markdown. Names and notes from outside stand there as code: nothing in them is markup or a link."""
    backbone = content["backbone"]
    own, version = content.get("own_model"), f"version {content['version']}"
    parts = [
        f"# {_text(content['task'])}, {'a home’s own model beside ' if own else ''}{version}",
        "",
        *_own(own, version),
        f"- File: safetensors, {content['bytes']} bytes, SHA-256 `{content['sha256']}`",
        *_origin(content),
        f"- Classes: {', '.join(_text(name) for name in content['classes'])}",
        (
            f"- Backbone: {_text(backbone['id'])} (SHA-256 `{backbone['sha256']}`), "
            f"{backbone['features']} features; licence of its weights: "
            f"{_text(backbone['licence']) if backbone['licence'] else 'not known'}"
        ),
        *_fine_tuning(content["fine_tune"]),
        f"- Head: {content['head']}; pictures: {content['picture_size']} x {content['picture_size']} pixels",
    ]
    if content["demonstration"]:
        parts.append("- A demonstration: two devices are enough, and each can work out the other's update.")
    if content["created_at"] is not None:
        parts += ["", "## Figures", "", *_figures(content["metrics"])]
    if content["note"]:
        parts += ["", "## Note", "", _block(content["note"])]
    parts += ["", "## Privacy", "", content["privacy"]]
    parts += ["", "## What is not promised", "", *(f"- {limit}" for limit in content["limits"])]
    return "\n".join(parts) + "\n"


def _own(learned: dict[str, Any] | None, version: str) -> list[str]:
    if learned is None:
        return []
    at = learned["learned_at"]
    when = "" if at is None else f" ({datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC)"
    what = f"by {learned['algorithm']}, learned in round {learned['round']}{when}"
    return [f"- This home's own model, {what}. It is not {version}, the model of all devices, which it goes with"]


def _fine_tuning(chosen: dict[str, Any] | None) -> list[str]:
    if chosen is None:
        return []
    part = chosen.get("words", f"{chosen['parameters']:,} of its numbers")
    return [f"- The backbone has learned too: {part}. They are in the file; the backbone's hash is of where it began"]


def _origin(content: dict[str, Any]) -> list[str]:
    """Lines about what only the main server knows."""
    if content["created_at"] is None:
        return []
    made = f"{datetime.fromtimestamp(content['created_at'], UTC):%Y-%m-%d %H:%M} UTC"
    origin = "the start; it knows nothing" if content["round"] is None else f"round {content['round']}"
    summed = content["devices_in_the_sum"]
    rounds, before, pictures = content["training_rounds"], content["lineage"], content["training_pictures"]
    more = ", and those before" if rounds > len(before) else ""
    return [
        f"- Made: {made}, from {origin}" + (f", a sum over {summed} devices" if summed else ""),
        f"- Training rounds: {rounds}",
        f"- Trained from: {', '.join(f'version {number}' for number in before) or 'nothing'}{more}",
        *(
            [f"- Training pictures: {pictures_in_words(pictures)}"]
            if (pictures := content["training_pictures"])
            else []
        ),
        *([f"- Algorithm: {_algorithm(content)}"] if content["algorithm"] else []),
        *([f"- Solved: {_solution_in_words(content['solution'])}"] if content["solution"] else []),
        *([f"- Trained on {_solved_before(content)}"] if content["algorithm"] and content.get("solved_before") else []),
    ]


def learned_in_words(shown: dict[str, Any]) -> str:
    """How a version learned what it knows, in words; empty if that is not known. Takes what ``Origin.shown`` gives."""
    if shown["solution"]:
        return f"solved {_solution_in_words(shown['solution'])}"
    if not shown["algorithm"]:
        return ""
    return f"trained; {_algorithm(shown)}" + (f"; {_solved_before(shown)}" if shown["solved_before"] else "")


def _algorithm(shown: dict[str, Any]) -> str:
    algorithm, shards = shown["algorithm"], shown.get("shards_in_the_sum")  # servers of before do not say it
    takes = ", ".join(f"{name} {value:g}" for name, value in algorithm["parameters"].items())
    combine = algorithm["combine"]
    combined = "" if combine == "mean" else f"; {f'{shards} ' if shards else ''}shards combined by {combine}"
    too_few = ", which stands no bad one of so few" if combined and shards and shards < FEWEST[combine] else ""
    return f"{algorithm['title']}{f' ({takes})' if takes else ''}{combined}{too_few}"


def _solved_before(shown: dict[str, Any]) -> str:
    before = shown["solved_before"]
    return f"from version {before['version']}, which was solved {_solution_in_words(before)}"


def _shown_solution(solution: Solution, *, demo: bool) -> dict[str, Any]:
    """How a version was solved, with what may be shown of the number of pictures (see ``taught_by``)."""
    shown = Taught(solution.devices, solution.pictures).shown((), demo=demo)
    return solution.as_json() | {"pictures": shown["total"] if shown else None}


def pictures_in_words(pictures: dict[str, Any]) -> str:
    """How many training pictures, in words."""
    about = "" if pictures["exact"] else "about "
    listed = ", ".join(f"{_text(name)} {number:,}" for name, number in (pictures["per_class"] or {}).items())
    return f"{about}{pictures['total']:,} in the sum{f': {listed}' if listed else ''}"


def _solution_in_words(solution: dict[str, Any]) -> str:
    """How a version was solved, in a sentence."""
    pictures = "the pictures" if solution["pictures"] is None else f"{solution['pictures']} pictures"
    sums = f"from the sums of {pictures} on {solution['devices']} devices, in one round"
    if solution.get("changed"):
        sums = (
            f"anew from the sums of {pictures} on {solution['devices']} devices, collected in round "
            f"{solution['collection']} and changed last in round {solution['changed']}"
        )
    if solution["strength"] is None:
        return f"{sums}; the mean of each class."
    if solution["held_out_error"] is None:
        return f"{sums}; ridge λ = {solution['strength']:g}, with no held-out pictures to choose it by."
    error = f"(mean squared error {solution['held_out_error']:.3f})"
    return f"{sums}; ridge λ = {solution['strength']:g}, chosen by held-out pictures {error}."


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
