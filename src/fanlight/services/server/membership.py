"""The members of a federation as one server knows them: enrolment, change of key, leaving, revocation.

Both servers do the same with the same messages. The first device key per token wins; what is refused on the way is in
the log, for the operator to see.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, or_, select, update

from fanlight.errors import Conflict, NotEnrolled
from fanlight.protocol.identities import (
    Enrolment,
    Member,
    Trust,
    check_enrolment,
    check_leave,
    check_rekey,
    check_revocation,
)
from fanlight.protocol.log import LogEntry
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.incidents import TOKEN_CONFLICT
from fanlight.storage.database import Database
from fanlight.storage.tables.server import MemberTables

Forget = Callable[[Connection, bytes], None]
"""Deletes what a server keeps of a device that has left and need not keep."""


@dataclass
class Membership:
    """The members at one server.

    Attributes:
        database: the role's database.
        tables: those of its members.
        log: its log.
        trust: the pinned root and servers.
        forget: what else goes when a device leaves, in the same transaction.
    """

    database: Database
    tables: MemberTables
    log: ChainedLog
    trust: Trust
    forget: Forget = lambda _tx, _device: None
    _left: frozenset[bytes] = frozenset()
    _keys: dict[bytes, bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def table(self) -> Table:
        """The members."""
        return self.tables.devices

    def load(self) -> None:
        """Read the members' keys into memory; call once at the start."""
        with self.database.reading() as tx:
            self._read(tx)

    def public_keys(self) -> Mapping[bytes, bytes]:
        """Current public key by device id, without those that were revoked or have left."""
        return self._keys

    def resolve(self, key_id: str) -> bytes | None:
        """The key of the device whose id is ``key_id`` in hexadecimal (for request signatures).

        Raises:
            NotEnrolled: the device has left.
        """
        try:
            return self.public_key(bytes.fromhex(key_id))
        except ValueError:
            return None

    def public_key(self, device: bytes) -> bytes | None:
        """The current public key of a device; None if it is no member.

        Raises:
            NotEnrolled: the device has left.
        """
        if device in self._left:
            raise _has_left(device)
        return self._keys.get(device)

    def enrol(self, data: bytes, now: int) -> tuple[Member, bool]:
        """Take an enrolment; (member, whether it is new).

        Raises:
            NotAuthentic, Refused, MalformedMessage: see ``check_enrolment``.
            NotEnrolled: the device was revoked, or has left.
            Conflict: another device has used this token.
        """
        member = check_enrolment(self.trust.root_key, data, now)
        with self.database.transaction() as tx:
            row = tx.execute(select(self.table).where(self.table.c.token_key == member.token_key)).first()
            is_revoked = self._is_revoked(tx, member.device, member.token_key)
            if row is None and not is_revoked:
                values = {"enrolment": data, "enrolled_at": now, "name": member.name, "token_key": member.token_key}
                tx.execute(insert(self.table).values(dev=member.device, public_key=member.public_key, **values))
                self.log.append(tx, [LogEntry("enrolled", data)])
                self._refresh(tx)
            elif row is not None and row.dev != member.device:
                self.log.append_once(tx, LogEntry(TOKEN_CONFLICT, data))
        if row is not None and row.dev != member.device:
            raise Conflict(
                f"The token of {member.name} was used by another device.",
                slug="token-used",
                next="Ask the operator for a new token. If that was not you, the token has leaked: tell the operator.",
                device=member.device.hex(),
            )
        if is_revoked:
            raise NotEnrolled(f"{member.name} was revoked.", slug="revoked", next="Ask the operator for a new token.")
        if row is not None and row.left_at is not None:
            raise _has_left(member.device)
        return member, row is None

    def rekey(self, device: bytes, data: bytes) -> Member:
        """Take a change of key; a repeated one changes nothing.

        Raises:
            NotEnrolled: not a member.
            NotAuthentic, MalformedMessage: see ``check_rekey``.
        """
        with self.database.transaction() as tx:
            row = tx.execute(select(self.table).where(self.table.c.dev == device)).first()
            row = _member(row, device)
            current = Member(device, row.public_key, row.token_key, row.name)
            if self._last_rekey(tx, device) == data:
                return current  # our answer was lost; the request itself came under the new key
            member = check_rekey(self.trust.fid, current, data)
            if member.public_key in self._used_keys(tx, device):
                raise Conflict(
                    "The device has had this key before.",
                    slug="key-used-before",
                    next="Make a new key.",
                    device=device.hex(),
                )
            tx.execute(insert(self.tables.rekeys).values(public_key=member.public_key, dev=device, message=data))
            tx.execute(update(self.table).where(self.table.c.dev == device).values(public_key=member.public_key))
            self.log.append(tx, [LogEntry("rekeyed", data)])
            self._refresh(tx)
        return member

    def leave(self, device: bytes, data: bytes, now: int) -> None:
        """A member leaves, for good: its id and its token are used up.

        Raises:
            NotEnrolled: not a member, or it has left before.
            NotAuthentic, MalformedMessage: see ``check_leave``.
        """
        with self.database.transaction() as tx:
            row = _member(tx.execute(select(self.table).where(self.table.c.dev == device)).first(), device)
            check_leave(self.trust.fid, device, row.public_key, data)
            tx.execute(update(self.table).where(self.table.c.dev == device).values(left_at=now))
            self.forget(tx, device)
            self.log.append(tx, [LogEntry("left", data)])
            self._refresh(tx)

    def revoke(self, data: bytes) -> None:
        """Take a revocation of a device or a token, also of one that is not known here (yet).

        Raises:
            NotAuthentic, MalformedMessage: see ``check_revocation``.
        """
        revocation = check_revocation(self.trust.root_key, data)
        with self.database.transaction() as tx:
            if self._is_revoked(tx, revocation.subject):
                return
            tx.execute(insert(self.tables.revocations).values(subject=revocation.subject, message=data))
            columns = self.table.c
            named = or_(columns.dev == revocation.subject, columns.token_key == revocation.subject)
            tx.execute(update(self.table).where(named).values(revoked_at=revocation.time))
            self.log.append(tx, [LogEntry("revoked", data)])
            self._refresh(tx)

    def _is_revoked(self, tx: Connection, *subjects: bytes) -> bool:
        columns = self.tables.revocations.c
        return tx.execute(select(columns.subject).where(columns.subject.in_(subjects))).first() is not None

    def _last_rekey(self, tx: Connection, device: bytes) -> bytes | None:
        columns = self.tables.rekeys.c
        current = select(columns.message).join(self.table, self.table.c.public_key == columns.public_key)
        return tx.execute(current.where(columns.dev == device)).scalar()

    def _used_keys(self, tx: Connection, device: bytes) -> set[bytes]:
        """All keys this device has had: an old change of key must not bring an old key back."""
        columns = self.table.c
        enrolment: bytes = tx.execute(select(columns.enrolment).where(columns.dev == device)).scalar_one()
        changed = tx.execute(
            select(self.tables.rekeys.c.public_key).where(self.tables.rekeys.c.dev == device)
        ).scalars()
        return {Enrolment.decode(enrolment).public_key, *changed}

    def _refresh(self, tx: Connection) -> None:
        with self._lock:
            self._read(tx)

    def _read(self, tx: Connection) -> None:
        columns = self.table.c
        rows = tx.execute(select(columns.dev, columns.public_key, columns.left_at).where(columns.revoked_at.is_(None)))
        found = rows.all()
        self._left = frozenset(row.dev for row in found if row.left_at is not None)
        self._keys = {row.dev: row.public_key for row in found if row.left_at is None}


def _member(row: Row[Any] | None, device: bytes) -> Row[Any]:
    """The row of a device that is a member now."""
    if row is None or row.revoked_at is not None:
        raise NotEnrolled("This device is not a member.", device=device.hex())
    if row.left_at is not None:
        raise _has_left(device)
    return row


def _has_left(device: bytes) -> NotEnrolled:
    return NotEnrolled(
        "This device has left the federation.",
        slug="left",
        next="To take part again, ask the operator for a new token, and start the device with an empty state folder.",
        device=device.hex(),
    )
