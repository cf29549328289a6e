"""The head of a home's own names in the device's database: one row, which a new one takes the place of.

Beside it the rate of strangers that its owner lets pass.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import delete, insert, select

from fanlight.errors import ModelError, SettingsError
from fanlight.learning import familiar as familiar_file
from fanlight.learning import model_file
from fanlight.learning.home_model import HomeModel
from fanlight.protocol.message import Message
from fanlight.services.device.home_findings import Findings
from fanlight.services.device.values import Values
from fanlight.storage.database import Database
from fanlight.storage.tables.device import home_models

DEFAULT_PERCENT: Final = 10
"""With 5, a quarter fewer right names came without a "perhaps" on the data sets that were tried."""
_KEY: Final = "home"
_FINDINGS: Final = TypeAdapter(Findings)


class HomeWishes(Message):
    """How many of a hundred strangers may be named without a "perhaps"."""

    strangers_percent: Annotated[int, Field(strict=True, ge=1, le=50)] = DEFAULT_PERCENT


@dataclass(frozen=True)
class Kept:
    """The head, what was found about it, what it was made of (a digest), and when (unix seconds)."""

    model: HomeModel
    findings: Findings
    made_of: bytes
    made_at: int


class HomeModels:
    """The row, in memory too.

    Args:
        database, values: this device's.
    """

    def __init__(self, database: Database, values: Values) -> None:
        self._database = database
        self._values = values
        self._lock = threading.Lock()
        self._read = False
        self._kept: Kept | None = None

    @property
    def strangers_percent(self) -> int:
        """How many of a hundred strangers may be named without a "perhaps"."""
        return (self._values.read(HomeWishes, _KEY) or HomeWishes()).strangers_percent

    def let_pass(self, percent: int) -> None:
        """Let so many of a hundred strangers pass, without a "perhaps".

        Raises:
            SettingsError: it is not in 1 to 50.
        """
        try:
            wishes = HomeWishes(strangers_percent=percent)
        except ValidationError as error:
            raise SettingsError(
                "The rate must be a whole number from 1 to 50 percent.",
                slug="bad-rate",
                next=f"{DEFAULT_PERCENT} is usual.",
            ) from error
        self._values.keep(_KEY, wishes)

    @property
    def kept(self) -> Kept | None:
        """The head, if there is one that can be read."""
        with self._lock:
            if not self._read:
                self._kept, self._read = self._load(), True
            return self._kept

    def keep(self, kept: Kept) -> None:
        """Keep this one, durably, instead of the last."""
        model = kept.model
        values = {
            "made_of": kept.made_of,
            "head": model_file.encode(model.head),
            "familiar": familiar_file.encode(model.familiar) if model.familiar else None,
            "findings": _FINDINGS.dump_json(kept.findings),
            "made_at": kept.made_at,
        }
        with self._lock:
            with self._database.transaction() as tx:
                tx.execute(delete(home_models))
                tx.execute(insert(home_models).values(number=1, **values))
            self._kept, self._read = kept, True

    def _load(self) -> Kept | None:
        with self._database.reading() as tx:
            row = tx.execute(select(home_models)).first()
        if row is None:
            return None
        try:
            findings = _FINDINGS.validate_json(row.findings)
            model = home_model(row.head, row.familiar, findings)
        except (ModelError, ValidationError):  # it is made anew
            return None
        return Kept(model, findings, row.made_of, row.made_at)


def home_model(head: bytes, familiar: bytes | None, findings: Findings) -> HomeModel:
    """The head from its files.

    Raises:
        ModelError: they are damaged.
    """
    score = findings.threshold.score if findings.threshold else 0.0
    return HomeModel(model_file.decode(head), familiar_file.decode(familiar) if familiar else None, score)


def read_row(head: bytes, familiar: bytes | None, findings: bytes) -> tuple[HomeModel, Findings]:
    """The head from a row of the table, and what was found about it (for ``fanlight predict``).

    Raises:
        ModelError: it is damaged.
    """
    try:
        found = _FINDINGS.validate_json(findings)
        return home_model(head, familiar, found), found
    except ValidationError as error:
        raise ModelError("what was found about the home's head is damaged", next="Start the device.") from error
