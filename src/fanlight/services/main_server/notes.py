"""Single values, mostly numbers, that main remembers beside its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert

from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import settings

CLIP_MICRO: Final = "clip_micro"
"""The clip of the next round, in millionths."""

MEASURE_NEXT: Final = "measure_next"
"""1 if the next round is to measure instead of to train."""

CHANGES_NEXT: Final = "changes_next"
"""1 if the next round is to take in what has changed on devices since the head was solved."""

NONE: Final = -1
"""No version: of the two below."""

LINE_NEXT: Final = "line_next"
"""The head and backbone of the line of models that begins when the open round is over, as JSON; empty: none."""

CURRENT_MODEL: Final = "current_model"
"""Number of the current version."""

CURRENT_NEXT: Final = "current_next"
"""Number of the version that becomes current when the open round is over."""

ATTEMPT_UP: Final = "attempt_up"
"""1 if another version has become current since the last round was proposed."""

POLICY: Final = "policy"
"""Which policy was in force, by the first bytes of its hash; see ``policy_log``."""

ALGORITHM_IN_FORCE: Final = "algorithm_in_force"
"""The same of the algorithm."""

AUGMENTATION_IN_FORCE: Final = "augmentation_in_force"
"""And of how pictures are varied."""

CLASS_WEIGHTS_IN_FORCE: Final = "class_weights_in_force"
"""And of by what classes weigh."""

PROPOSED_BY: Final = "proposed_by"
"""The policy by which the newest round was proposed, as JSON; nothing if that was before this was kept."""

SUPPORTERS: Final = "supporters"
"""Devices that a class needs in the round proposed last."""

ALGORITHM: Final = "algorithm"
"""The algorithm of the round proposed last, as JSON: who chooses another one meanwhile means the rounds after it."""

WAIT_S: Final = "wait_s"
EXPECTED_PERCENT: Final = "expected_percent"
ENOUGH: Final = "enough"
BY_ITSELF: Final = "by_itself"
"""What the round proposed last goes by; see ``stragglers.WaitingRules``."""

SINCE_ROUND: Final = "since_round"
SINCE_VERSION: Final = "since_version"
"""Where the rules that stop training begin to count; see ``scores``."""

STOPPED: Final = "stopped"
"""Why training has stopped, see ``course.Stop``; 0 if it has not."""

STOPPED_BY: Final = "stopped_by"
"""Number of the version that it was stopped by."""

STOPPED_AT: Final = "stopped_at"
"""Number of the version that was the best one then."""


_READ: Final = Statement(select(settings.c.value).where(settings.c.key == bindparam("wanted")))
_READ_ALL: Final = Statement(select(settings))
_ROW: Final = insert(settings)
_KEEP: Final = Statement(_ROW.on_conflict_do_update(index_elements=["key"], set_={"value": _ROW.excluded.value}))


def read(tx: Connection, key: str, default: int) -> int:
    """The number under ``key``."""
    value = _READ.scalar(tx, wanted=key)
    return default if value is None else int(value)


def read_all(tx: Connection, defaults: Mapping[str, int]) -> dict[str, int]:
    """The numbers under some keys, at once."""
    found = {row.key: int(row.value) for row in _READ_ALL.all(tx) if row.key in defaults}
    return {**defaults, **found}


def keep(tx: Connection, key: str, value: int) -> None:
    """Remember ``value`` under ``key``."""
    keep_all(tx, {key: value})


def keep_all(tx: Connection, values: Mapping[str, int]) -> None:
    """Remember some numbers, by key, at once."""
    for key, value in values.items():
        _KEEP.run(tx, key=key, value=b"%d" % value)


def read_text(tx: Connection, key: str) -> str | None:
    """The text under ``key``."""
    value: bytes | None = _READ.scalar(tx, wanted=key)
    return None if value is None else value.decode()


def keep_text(tx: Connection, key: str, text: str) -> None:
    """Remember a ``text`` under ``key``."""
    _KEEP.run(tx, key=key, value=text.encode())
