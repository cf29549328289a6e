"""What a study can say where servers are live: the task is theirs, and so are the clock and the cohort.

Whatever else it says is refused with a word why, not left out in silence: a result has to be of what was asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from fanlight.errors import NotPossibleNow, SettingsError
from fanlight.learning.backbones import DEFAULT_BACKBONE, backbone
from fanlight.protocol.plan import Plan
from fanlight.simulation.data import Data
from fanlight.simulation.study import Study
from fanlight.simulation.worlds.world import SUBJECT

OF_THE_TASK: Final = frozenset(
    {
        *("algorithm", "head", "module", "training", "cohort", "shards", "fidelity"),
        *("clip", "n_max", "most_pictures", "update_bits", "supporters"),
    }
)
_WORLDS: Final = frozenset({"always", "random", "drop"})


def check_study(study: Study) -> None:
    """Refuse what live servers decide, or what only a laboratory can do.

    Raises:
        SettingsError: says what, and what to do.
    """
    theirs = sorted(OF_THE_TASK & study.model_fields_set)
    if theirs:
        raise SettingsError(
            f"At live servers {theirs[0]} is what the task says.",
            next="Leave it out; to try another one, change the task at the main server, or leave out --connect.",
            slug="of-the-task",
        )
    if study.baselines:
        raise SettingsError(
            "Baselines need no servers.", next="Ask for them without --connect.", slug="no-live-baselines"
        )
    for term in study.world.split("+") if study.world else ():
        name = term.partition(":")[0].strip().lower()
        if name not in _WORLDS:
            raise SettingsError(
                f"{SUBJECT}: at live servers there is no {name!r}: the clock is theirs, and so is who is asked.",
                next=f"Choose among {', '.join(sorted(_WORLDS))}; or leave out --connect.",
                slug="no-live-world",
            )


def check_plan(plan: Plan, study: Study) -> None:
    """Refuse a task that simulated devices, which have features of pictures and not the pictures, cannot learn.

    Raises:
        NotPossibleNow: another backbone, varied pictures, or a backbone that learns. SettingsError: other pictures.
    """
    known = backbone(DEFAULT_BACKBONE)
    if (plan.backbone, plan.backbone_hash.hex()) != (known.id, known.compiled_sha256):
        raise NotPossibleNow(
            f"The task's features come from the backbone {plan.backbone} ({plan.backbone_hash.hex()[:12]}…); simulated "
            f"devices have those of {known.id} ({known.compiled_sha256[:12]}…).",
            slug="other-backbone",
            next="Connect them to a task with that backbone.",
        )
    for what, is_asked in (("varies training pictures", plan.augmentation), ("has the backbone learn", plan.fine_tune)):
        if is_asked is not None:
            raise NotPossibleNow(
                f"The task {what}, which simulated devices cannot do: they keep features, not pictures.",
                slug="needs-pictures",
                next="Change the task at the main server, or run real devices: fanlight device.",
            )
    if study.picture_size not in (0, plan.picture_size):
        raise SettingsError(
            f"The task's pictures are {plan.picture_size} pixels wide, not {study.picture_size}.",
            next="Leave out picture_size: devices do as the task says.",
            slug="other-picture-size",
        )


def check_data(plan: Plan, data: Data) -> None:
    """Raise ``SettingsError`` unless examples are of what the task is about."""
    if set(data.classes) != set(plan.classes):
        raise SettingsError(
            f"The classes of {data.name} are {_some(data.classes)}; those of the task are {_some(plan.classes)}.",
            next="Name the data set that the task is for: --dataset.",
            slug="other-classes",
        )
    if data.x.shape[1:] != (plan.features,):
        raise SettingsError(
            f"An example of {data.name} is {data.x.shape[1:]} numbers; the task's features are {plan.features}.",
            slug="other-features",
        )


def in_order_of(classes: tuple[str, ...], data: Data) -> Data:
    """The same examples, with labels in the order of the task's classes."""
    if data.classes == classes:
        return data
    places = np.array([classes.index(name) for name in data.classes], np.int64)
    return replace(data, y=places[data.y], classes=classes)


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown}, … ({len(names)})"
