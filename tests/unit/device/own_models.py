"""A federation whose algorithm gives homes models of their own, and one device's rounds in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fanlight.learning import model_file
from fanlight.learning.algorithms.lineage import Lineage
from fanlight.learning.heads import SoftmaxHead
from fanlight.learning.model_file import HeadModel
from fanlight.protocol.closing import Result
from fanlight.protocol.plan import PlannedAlgorithm
from fanlight.services.device.role import DeviceRole
from tests.unit.device.federation import PLAN, FakeFederation, first_model
from tests.unit.device.joined import turn

DITTO = PlannedAlgorithm(name="ditto", parameters=(("pull", 100_000),), steps=False)
FEDPER = PlannedAlgorithm(name="fedper", parameters=(("personal", 1_000_000),), steps=False)
FEDREP = PlannedAlgorithm(name="fedrep", parameters=(("personal", 1_000_000),), steps=False)


def ditto_federation(folder: Path, algorithm: PlannedAlgorithm = DITTO) -> FakeFederation:
    """Its devices train by themselves; the global model names everything "bright"."""
    return FakeFederation(folder, plan=PLAN.with_(algorithm=algorithm, epochs=40, patience=40), by_itself=True)


def version(number: int, *spans: tuple[int, int], algorithm: str = "ditto") -> bytes:
    """A global model that comes of these rounds, and is sure that all is "bright"."""
    model = model_file.decode(first_model(number, bias=9.0))
    return model_file.encode(replace(model, lineage=Lineage(algorithm, spans) if spans else None))


def sends(federation: FakeFederation, device: DeviceRole) -> NDArray[np.float64]:
    """It trains for a round, and sends; its local model, (d,), of which nobody knows yet whether it counts."""
    federation.open_round()
    turn(device)
    prepared = device.store.prepared
    assert prepared is not None
    assert len(federation.uploads) == federation.round_number
    return vector(model_file.decode(device.store.local_file(prepared.head)))


def takes_part(federation: FakeFederation, device: DeviceRole, made: bytes) -> NDArray[np.float64]:
    """As ``sends``, and the round is released with its report, which makes the global model ``made``."""
    local = sends(federation, device)
    federation.end_round(Result.RELEASED)
    federation.publish(made)
    turn(device)
    return local


def vector(model: HeadModel | SoftmaxHead) -> NDArray[np.float64]:
    """(d,) of a head."""
    return np.concatenate([model.weight.ravel(), model.bias]).astype(np.float64)
