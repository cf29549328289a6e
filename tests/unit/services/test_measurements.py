"""Counts that a round released: kept, read again, and shown for the model received and the local ones alike."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import Connection

from fanlight.protocol.contribution import Measured, Totals
from fanlight.services.main_server import measurements
from fanlight.storage.database import Database
from fanlight.storage.migrating import migrate

CLASSES = ("cat", "dog")
RECEIVED, LOCAL = [[40, 20], [30, 60]], [[48, 12], [15, 75]]
MODEL = b"m" * 32


def keep(
    tx: Connection,
    received: list[list[int]] = RECEIVED,
    local: list[list[int]] = LOCAL,
    number: int = 1,
    count: int = 5,
) -> None:
    both = [Measured(np.array(matrix, np.int64), 30.0) for matrix in (received, local)]
    measurements.store(tx, number, MODEL, Totals(count=count, received=both[0], local=both[1]))


@pytest.fixture
def database() -> Database:
    made = Database(None)
    migrate(made, "main")
    return made


def test_the_counts_of_both_are_kept_and_shown_by_class_and_cell(database: Database) -> None:
    with database.transaction() as tx:
        keep(tx)
        kept = measurements.of_round(tx, 1)
        assert kept == measurements.of_model(tx, MODEL) == measurements.newest(tx)
    assert kept is not None
    said = kept.as_json(CLASSES, demo=False)
    assert (said["round"], said["participants"]) == (1, 5)
    assert (said["received"]["confusion"], said["local"]["confusion"]) == (RECEIVED, LOCAL)
    assert [entry["recall"] for entry in said["local"]["per_class"]] == [0.8, 75 / 90]
    assert [entry["precision"] for entry in said["received"]["per_class"]] == [40 / 70, 60 / 80]
    assert said["received"]["loss"] == 0.2


def test_one_small_cell_of_either_hides_the_cells_of_both(database: Database) -> None:
    with database.transaction() as tx:
        keep(tx, local=[[57, 3], [15, 75]])
        kept = measurements.of_round(tx, 1)
    assert kept is not None
    said = kept.as_json(CLASSES, demo=False)
    for figures, correct in ((said["received"], 100), (said["local"], 132)):
        assert (figures["shown"], figures["total"], figures["correct"]) == ("totals", 150, correct)
        assert (figures["confusion"], figures["per_class"], figures["balanced_accuracy"]) == (None, None, None)
    assert kept.as_json(CLASSES, demo=True)["local"]["confusion"] == [[57, 3], [15, 75]]


def test_local_counts_of_only_some_devices_are_not_shown(database: Database) -> None:
    """In a measuring round only one of five may have a local model: its counts would be that one's."""
    with database.transaction() as tx:
        keep(tx, local=[[10, 10], [10, 10]])
        kept = measurements.of_round(tx, 1)
    assert kept is not None
    for demo in (False, True):
        said = kept.as_json(CLASSES, demo=demo)
        assert said["local"] is None
        assert said["received"]["confusion"] == RECEIVED


def test_rounds_without_counts_have_none(database: Database) -> None:
    with database.transaction() as tx:
        measurements.store(tx, 1, MODEL, Totals(count=5))
        assert measurements.of_round(tx, 1) is None
        assert measurements.newest(tx) is None
        keep(tx, number=2)
        keep(tx, number=4)
        newest = measurements.newest(tx)
    assert newest is not None
    assert newest.round == 4
