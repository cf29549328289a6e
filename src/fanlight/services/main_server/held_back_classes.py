"""Which classes the newest version learned nothing of, because too few devices have pictures of them, for the operator.

What is done with them is told in ``learning.held_back``. That a class is held back is no secret: its row stands still
in the versions that everybody gets.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

from fanlight.learning.held_back import HeldBack
from fanlight.services.main_server import notes
from fanlight.services.main_server.task import Task

_KEY: Final = "held_back_classes"


def keep(tx: Connection, round_number: int, held_back: HeldBack, least: int) -> None:
    """Remember those of the version that round ``round_number`` makes, instead of those of the one before.

    Args:
        round_number: of the round.
        held_back: the classes.
        least: fewest devices that have pictures of a class, else it is held back.
    """
    classes = np.flatnonzero(held_back.classes).tolist()
    notes.keep_text(tx, _KEY, json.dumps({"round": round_number, "classes": classes, "least": least}))


def as_json(tx: Connection, task: Task) -> dict[str, Any] | None:
    """For programs and pages; None where no class is held back.

    Returns:
        ``round``: that taught the newest version; ``classes``: names; ``least``: as in ``keep``; ``nothing_learned``:
        is no class, or only one, left for the others to be told from.
    """
    known: dict[str, Any] = json.loads(notes.read_text(tx, _KEY) or "{}")
    if not known.get("classes"):
        return None
    names = [task.classes[number] for number in known["classes"]]
    left = len(task.classes) - len(names)
    return known | {"classes": names, "nothing_learned": left == 0 or (left == 1 and known["least"] > 1)}
