"""The form of what a task learns by: its head, and the backbone that features come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fanlight.consoles.policy_form import Choice, Filled
from fanlight.errors import FanlightError
from fanlight.learning.backbones import BACKBONES
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.task import Task

HEAD: Final = Choice(
    "head",
    "Head",
    "Where squares are summed (analytic), devices ask for ten in a sum, unless their owners agree to fewer. The rule of"
    " five becomes ten with it; any other stays, and is yours to change below.",
    (
        ("softmax", "softmax: trained round by round"),
        ("analytic", "analytic: solved in one round, then trained"),
        ("prototypes", "prototypes: class means in one round, then trained"),
    ),
)


def backbone_choice(task: Task) -> Choice:
    """The backbones of the registry, and the task's own, if it has one."""
    own = ((task.backbone, f"{task.backbone}: your own"),) if task.own_backbone else ()
    known = tuple((name, f"{name}: {entry.features:,} features") for name, entry in BACKBONES.items())
    return Choice(
        "backbone",
        "Backbone",
        "All features are worked out anew on every device. One of your own from a file can only be given when a"
        " federation is made.",
        own + known,
    )


def change_line(service: MainService, typed: Mapping[str, str]) -> Filled:
    """Begin a new line of models with what was typed; nothing is changed if anything is wrong with it.

    Raises:
        StorageError: the disk refuses.
    """
    task = service.task
    try:
        service.change_line(typed.get("head", task.head), typed.get("backbone", task.backbone))
    except FanlightError as error:
        if error.slug not in ("bad-settings", "bad-layout", "round-not-over", "task-edited"):
            raise
        return Filled(typed, {"": f"{error.message} {error.next}"})
    return Filled()
