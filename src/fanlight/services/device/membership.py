"""How this device becomes a member at both servers, how it changes its key at both, and how it leaves both.

Both are done once at each server, which is remembered; what was interrupted goes on at the next occasion.  During a
change of key no report is built: one server would not know the key that signed it.

A change of key is one record in the database: the signed message, and who has taken it.  Its order makes every moment
safe for a power cut: new key beside the old one, record, servers one by one, new key in the old one's place, record
gone, copy of the new key gone.

Leaving holds on this device at once, whether a server answers or not. A server that has heard of it refuses this device
for good; as long as none has, the device can come back. Whether it is to leave is looked at under the lock under which
the servers are told, so that who has come back is not told of any more.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import FanlightError, NotAuthentic, NotEnrolled, NotPossibleNow
from fanlight.protocol import identities, signing
from fanlight.protocol.exchange import Welcome
from fanlight.services.device.client import Server
from fanlight.services.device.identity import Identity
from fanlight.services.device.store import Departure, DeviceStore, KeyChange
from fanlight.services.device.wishes import Wishes
from fanlight.services.federation import Token


@dataclass(frozen=True)
class Membership:
    """This device as a member.

    Attributes:
        token: lets it join, once.
        servers: ``main`` and ``aggregator``.
        wishes: say whether it is to leave.
        clock: unix seconds.
        not_told: what was wrong when a server was last told that this device leaves, by server.
    """

    token: Token
    identity: Identity
    store: DeviceStore
    servers: Mapping[str, Server]
    wishes: Wishes
    clock: Callable[[], float]
    not_told: dict[str, FanlightError] = field(default_factory=dict)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def enrol(self) -> None:
        """Enrol where that has not been done.

        Raises:
            RemoteError: a server refuses the token, or does not answer.
        """
        with self._changing:
            if not self.store.departure.told:
                self._enrol()

    def _enrol(self) -> None:
        device = self.identity.device
        for name, server in self.servers.items():
            if self.is_enrolled(name):
                continue
            enrolment = identities.enrol(device.trust.fid, self.token.certificate, self.token.private, device.private)
            self._check(server.enrol(enrolment, device.private))
            self.store.values.keep(f"enrolled-{name}", b"yes")

    def is_enrolled(self, name: str) -> bool:
        """Has the server taken the enrolment?"""
        return self.store.values.get(f"enrolled-{name}") is not None

    def why_not_ready(self) -> str:
        """Why this device can take part in nothing just now; empty if it can."""
        if self.store.departure.told:
            return "This device has left the federation."
        return "" if all(map(self.is_enrolled, self.servers)) else "This device is not a member at both servers yet."

    def forget_enrolments(self) -> None:
        """A server says that this device is no member: enrol again everywhere (which changes nothing where it is).

        Only the first key can do that: to a server, another key under the same token is another device.
        """
        for name in self.servers if self.identity.has_first_key else ():
            self.store.values.keep(f"enrolled-{name}", None)

    @property
    def changing_key(self) -> bool:
        """Is a change of key under way?"""
        return self.store.key_change is not None

    def renew_key(self) -> None:
        """Change the key at both servers.

        Raises:
            NotPossibleNow: not enrolled yet, or a report is on its way.
            RemoteError: a server did not take it; ``resume_change`` goes on.
        """
        if not all(self.is_enrolled(name) for name in self.servers):
            raise NotPossibleNow("This device is not enrolled yet.", slug="not-enrolled-yet", next="Wait until it is.")
        with self._changing:
            self._begin()
            self._resume()

    def _begin(self) -> None:
        with self.identity.lock:
            if self.store.unfinished():
                raise NotPossibleNow(
                    "A report of this device is part of an open round.",
                    slug="report-on-its-way",
                    next="Change the key when the round is over.",
                )
            if not self.changing_key:
                device, private = self.identity.device, self.identity.keys.make_next()
                change = identities.rekey(device.trust.fid, device.device, device.private, private)
                self.store.change_key(KeyChange(message=change))

    def recover(self) -> None:
        """At start: finish what needs no server, and know which servers have the new key already.

        Raises:
            StorageError: the new key is lost, or the disk failed.
        """
        with self._changing:
            change = self.store.key_change
            if change is None:
                self.identity.keys.forget_next()
                return
            for name in change.taken_by:
                _use_key(self.servers[name], self._key(change))
            if set(change.taken_by) == set(self.servers):
                self._finish(change)

    def resume_change(self) -> None:
        """Go on with a change of key, if one is under way; errors as in ``renew_key``."""
        with self._changing:
            self._resume()

    def _resume(self) -> None:
        change = self.store.key_change
        if change is None:
            return
        for name, server in self.servers.items():
            if name not in change.taken_by:
                self._check(self._rekey(server, change))
                change = change.with_(taken_by=(*change.taken_by, name))
                self.store.change_key(change)
            _use_key(server, self._key(change))
        self._finish(change)

    def _finish(self, change: KeyChange) -> None:
        """Install first: if that is repeated it makes no difference, while a forgotten change could not go on."""
        self.identity.use(self._key(change))
        self.store.change_key(None)
        self.identity.keys.forget_next()

    def _key(self, change: KeyChange) -> Ed25519PrivateKey:
        return self.identity.key_for(identities.Rekey.decode(signing.Signed.decode(change.message).payload).new_key)

    def _rekey(self, server: Server, change: KeyChange) -> Welcome:
        with contextlib.suppress(NotAuthentic):  # it may have taken the change, and its answer was lost
            return server.rekey(change.message)
        _use_key(server, self._key(change))
        try:
            return server.rekey(change.message)
        except BaseException:
            _use_key(server, self.identity.device.private)
            raise

    # -- leaving

    @property
    def has_told_all(self) -> bool:
        """Does every server know that this device has left?"""
        return set(self.store.departure.told) == set(self.servers)

    def leave(self) -> None:
        """Leave from now on, and tell the servers, as in ``say_goodbye``."""
        self.wishes.leave(True)  # before the lock: a server that hangs must not keep anybody here
        self.say_goodbye()

    def say_goodbye(self) -> None:
        """Tell the servers that do not know it yet that this device leaves; why one could not be is in ``not_told``.

        Nothing, if its owner does not want it to leave any more.
        """
        with self._changing:
            if not self.wishes.kept.left:
                return
            with contextlib.suppress(FanlightError):
                self._resume()  # a server that is in between would not know the key
            for name, server in self.servers.items():
                if name not in self.store.departure.told:
                    self._tell(name, server)

    def _tell(self, name: str, server: Server) -> None:
        device = self.identity.device
        now = int(self.clock() + server.remote.auth.clock_offset_s)
        try:
            with contextlib.suppress(NotEnrolled):  # our message arrived, its answer did not; or it never knew us
                server.leave(identities.leave(device.trust.fid, device.device, server.remote.private, now))
        except FanlightError as error:
            self.not_told[name] = error
            return
        self.not_told.pop(name, None)
        told = self.store.departure.told
        self.store.depart(Departure(told=(*told, name)))

    def come_back(self) -> None:
        """Leave no more, if no server knows of it yet.

        Raises:
            NotPossibleNow: one does, for good.
        """
        with self._changing:
            if self.store.departure.told:
                raise NotPossibleNow(
                    "This device has left for good: a server knows it.",
                    slug="left",
                    next="Ask the operator for a new token, and start the device with it and an empty state folder. "
                    "The pictures can stay where they are.",
                )
            self.wishes.leave(False)
            self.not_told.clear()

    def _check(self, welcome: Welcome) -> None:
        if welcome.device != self.identity.device.device:
            raise NotAuthentic("The server took this device for another one.", slug="wrong-device-id")


def _use_key(server: Server, private: Ed25519PrivateKey) -> None:
    """What was learned of the server's clock is as true under the new key."""
    offset = server.remote.auth.clock_offset_s
    server.remote.use_key(private)
    server.remote.auth.clock_offset_s = offset
