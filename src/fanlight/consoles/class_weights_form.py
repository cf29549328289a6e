"""The form of by what classes of few pictures weigh more: its fields in words, and what is wrong with those typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fanlight.consoles.policy_form import Choice, Filled
from fanlight.errors import FanlightError
from fanlight.learning.training_settings import MOST_OF_A_CLASS
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.task import Training

OWN: Final = "own"
FEDERATION: Final = "federation"
OFF: Final = "off"
BY: Final = Choice(
    "by",
    "Classes of few pictures weigh more",
    "Each device's own pictures are enough where every device has the same mix.",
    (
        (OWN, "by each device's own pictures"),
        (FEDERATION, "by the pictures of the whole federation"),
        (OFF, "no, all pictures weigh alike"),
    ),
)
COUNTS: Final = "counts"


def chosen(training: Training) -> str:
    """Which of ``BY`` holds."""
    if not training.class_weights:
        return OFF
    return FEDERATION if training.class_counts else OWN


def change_class_weights(service: MainService, typed: Mapping[str, str]) -> Filled:
    """Change what was typed; nothing is changed if anything is wrong with it.

    Raises:
        StorageError: the disk refuses.
    """
    by, classes = typed.get(BY.name, OWN), len(service.task.classes)
    if by not in (OWN, FEDERATION, OFF):
        return Filled(typed, {BY.name: f"Choose one of these, not {by[:40]}."})
    counts: tuple[int, ...] = ()
    if by == FEDERATION:
        parts = [part.strip() for part in typed.get(COUNTS, "").split(",")]
        if not all(part.isascii() and part.isdigit() and int(part[:20]) <= MOST_OF_A_CLASS for part in parts):
            return Filled(typed, {COUNTS: f"Whole numbers from 0 to {MOST_OF_A_CLASS:,}, with commas between them."})
        if len(parts) != classes:
            return Filled(typed, {COUNTS: f"One number for each of the {classes} classes, not {len(parts)}."})
        counts = tuple(int(part) for part in parts)
    try:
        service.change_class_weights(class_weights=by != OFF, class_counts=counts)
    except FanlightError as error:
        if error.slug not in ("bad-settings", "bad-layout", "round-not-over", "task-edited"):
            raise
        return Filled(typed, {"": f"{error.message} {error.next}"})
    return Filled(typed)
