"""Who is a member: the aggregator tells main who has enrolled here, and hears who has at both servers."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select, update

from fanlight.protocol.exchange import Enrolments
from fanlight.services.aggregator.main_client import MainClient
from fanlight.services.aggregator.reception import Reception
from fanlight.storage.database import Database
from fanlight.storage.statements import Statement
from fanlight.storage.tables.aggregator import devices

_AT_ONCE: Final = 256
_UNTOLD: Final = Statement(
    select(devices.c.dev, devices.c.enrolment).where(devices.c.told_main.is_(False)).limit(_AT_ONCE)
)


class MembersExchange:
    """What both servers tell each other of their members.

    Args:
        database: with the enrolments.
        main: who is told.
        reception: takes reports of whom main confirms.
    """

    def __init__(self, database: Database, main: MainClient, reception: Reception) -> None:
        self._database = database
        self._main = main
        self._reception = reception
        self._version = -1

    def tell(self) -> None:
        """Hand new enrolments on.

        Raises:
            RemoteError: main cannot be reached.
        """
        with self._database.reading() as tx:
            rows = _UNTOLD.all(tx)
        if not rows:
            return
        self._main.enrolments(Enrolments(enrolments=tuple(row.enrolment for row in rows)))
        with self._database.transaction() as tx:
            told = devices.c.dev.in_([row.dev for row in rows])
            tx.execute(update(devices).where(told).values(told_main=True))

    def hear(self, version: int) -> bool:
        """Ask for main's list, of which there is this version; is it news?

        Raises:
            RemoteError: main cannot be reached.
        """
        if version == self._version:
            return False
        members = self._main.members()
        self._reception.confirm(members.devices)
        self._version = members.version
        return True
