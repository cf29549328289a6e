"""A home's own model, where the plan's algorithm gives homes models of their own: what answers here.

It is made of what the algorithm has this device remember with the version that is here, and of nothing that is kept
beside: so it is of a released round that this device's report was in, on the way to that version; after the operator
has gone back it is what it was then; and what another algorithm left, or one that began anew, is none.  Before the
first such round the global model answers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fanlight.learning import model_file
from fanlight.learning.algorithms.registry import recipe
from fanlight.learning.model_file import HeadModel
from fanlight.services.device.learned import Held
from fanlight.services.device.local_algorithm import algorithm_name, local_algorithm
from fanlight.services.device.memories import Memories
from fanlight.services.device.store import read_held
from fanlight.storage.database import DATABASE_FILE, Database


@dataclass(frozen=True)
class OwnModel:
    """The model, and where it comes from.

    Attributes:
        model: as this device learned it; its version is that of the global model that it stands beside.
        algorithm: that gave it to this home, as people write it.
        round: in which it was learned.
        learned_at: unix seconds; None where that was not kept.
        digest: changes with it, 32 bytes.
    """

    model: HeadModel
    algorithm: str
    round: int
    learned_at: int | None
    digest: bytes

    @property
    def words(self) -> str:
        """Which one it is, for people."""
        return f"This home's own model ({self.algorithm}, learned in round {self.round})"

    def as_json(self) -> dict[str, Any]:
        """Where it comes from, for programs."""
        return {"algorithm": self.algorithm, "round": self.round, "learned_at": self.learned_at}


class Answering(NamedTuple):
    """The model that answers on a device, a digest that changes with it, and where it comes from if it is its own."""

    model: HeadModel
    digest: bytes
    own: OwnModel | None = None

    @property
    def own_round(self) -> int | None:
        """The round in which it was learned, if it is the home's own."""
        return self.own.round if self.own else None

    @property
    def words(self) -> str:
        """Which one it is, for people."""
        return self.own.words if self.own else f"Version {self.model.version}, the model of all devices"


def own_model(memories: Memories, held: Held, current: HeadModel) -> OwnModel | None:
    """This home's own model; None if it has none, or none yet.

    Args:
        memories: of this device. held: the global model that is here, and its plan. current: that model, decoded.

    Raises:
        ModelError: what is remembered is damaged. Refused: see ``local_algorithm``.
    """
    name, own = algorithm_name(held.plan), local_algorithm(held.plan).own
    last = memories.last(name, current.lineage) if own else None
    vector = last.memory.get(own) if last else None
    if last is None or vector is None or vector.size != current.layout.size:
        return None
    digest = hashlib.sha256(held.sha256 + last.round.to_bytes(8, "little")).digest()
    model = current.with_tensors(current.layout.unflatten(vector))
    return OwnModel(model, recipe(name).title, last.round, last.at, digest)


def read_own_model(state: Path, content: bytes) -> OwnModel | None:
    """The same from the folder of a device, running or not, whose global model's file is ``content``.

    Raises:
        ModelError, Refused: see ``own_model``. MalformedMessage: what is kept of the global model is damaged.
        StorageError: the database cannot be read.
    """
    with Database(state / DATABASE_FILE, read_only=True) as database:
        held = read_held(database)
        if held is None or held.sha256 != hashlib.sha256(content).digest():
            return None
        return own_model(Memories(database), held, model_file.decode(content))
