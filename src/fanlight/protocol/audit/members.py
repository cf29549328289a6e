"""Who was a member of the federation, as a log proves it from the root down."""

from __future__ import annotations

from fanlight.errors import Conflict, NotEnrolled
from fanlight.protocol.identities import (
    Leave,
    Member,
    Rekey,
    Trust,
    check_enrolment,
    check_leave,
    check_rekey,
    check_revocation,
)
from fanlight.protocol.signing import Signed

_ANY_TIME = 0
"""Whether a token had expired when it was used, the log does not say: it holds no times."""


class Members:
    """All that have ever enrolled, each with all its keys, and who is a member no more since which entry.

    A report may be older than a change of key, so all keys are kept. Each entry of the root's or a member's is checked
    as the servers did. Memory grows with what the root has signed only: nobody else can make a member or a revocation.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._members: dict[bytes, Member] = {}
        self._keys: dict[bytes, list[bytes]] = {}
        self._tokens: set[bytes] = set()
        self._revoked: dict[bytes, int] = {}
        self._left: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._members)

    def keys(self, device: bytes) -> list[bytes]:
        """All public keys that a device has had, the latest last; none of a stranger."""
        return self._keys.get(device, [])

    def name(self, device: bytes) -> str:
        """The operator's name for it; empty for a stranger."""
        member = self._members.get(device)
        return member.name if member else ""

    def gone(self, device: bytes, revoked_by: int, left_by: int) -> str:
        """How a device had ceased to be a member by these entries, as a clause; empty if it had not.

        Args:
            device: its id.
            revoked_by, left_by: the last entry whose revocation, or leaving, counts.
        """
        member = self._members.get(device)
        for subject in (device, member.token_key) if member else (device,):
            entry = self._revoked.get(subject)
            if entry is not None and entry <= revoked_by:
                return f"had been revoked (entry {entry})"
        entry = self._left.get(device)
        return f"had left (entry {entry})" if entry is not None and entry <= left_by else ""

    def enrolled(self, data: bytes) -> None:
        """A device came in.

        Raises:
            NotAuthentic, MalformedMessage: see ``check_enrolment``. Conflict: its token had been used.
        """
        member = check_enrolment(self._trust.root_key, data, _ANY_TIME)
        if member.token_key in self._tokens:
            raise Conflict(f"The token of {member.name} had been used before.")
        self._tokens.add(member.token_key)
        self._members[member.device] = member
        self._keys[member.device] = [member.public_key]

    def tried_again(self, data: bytes) -> None:
        """Somebody tried to enrol with a used token: at least the token was one of the root's."""
        check_enrolment(self._trust.root_key, data, _ANY_TIME)

    def rekeyed(self, data: bytes) -> None:
        """A member changed its key."""
        device = Rekey.decode(Signed.decode(data).payload).device
        member = check_rekey(self._trust.fid, self._known(device), data)
        self._members[device] = member
        self._keys[device].append(member.public_key)

    def left(self, data: bytes, entry: int) -> None:
        """A member left by its own word, in entry number ``entry``."""
        device = Leave.decode(Signed.decode(data).payload).device
        check_leave(self._trust.fid, device, self._known(device).public_key, data)
        self._left.setdefault(device, entry)

    def revoked(self, data: bytes, entry: int) -> None:
        """The root put somebody out, or a token, in entry number ``entry``."""
        self._revoked.setdefault(check_revocation(self._trust.root_key, data).subject, entry)

    def _known(self, device: bytes) -> Member:
        member = self._members.get(device)
        if member is None:
            raise NotEnrolled(f"Device {device.hex()} has not enrolled in this log.")
        return member
