"""How this device becomes a member at both servers, and how it changes its key at both.

Both are done once at each server, which is remembered; what was interrupted goes on at the next occasion.  During a
change of key no report is built: one server would not know the key that signed it.

A change of key is one record in the database: the signed message, and who has taken it.  Its order makes every moment
safe for a power cut: new key beside the old one, record, servers one by one, new key in the old one's place, record
gone, copy of the new key gone.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import NotAuthentic, NotPossibleNow
from fanlight.protocol import identities, signing
from fanlight.protocol.exchange import Welcome
from fanlight.services.device.client import Server
from fanlight.services.device.identity import Identity
from fanlight.services.device.store import DeviceStore, KeyChange
from fanlight.services.federation import Token


@dataclass(frozen=True)
class Membership:
    """This device as a member.

    Attributes:
        token: lets it join, once.
        servers: ``main`` and ``aggregator``.
    """

    token: Token
    identity: Identity
    store: DeviceStore
    servers: Mapping[str, Server]
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def enrol(self) -> None:
        """Enrol where that has not been done.

        Raises:
            RemoteError: a server refuses the token, or does not answer.
        """
        device = self.identity.device
        for name, server in self.servers.items():
            if self.is_enrolled(name):
                continue
            enrolment = identities.enrol(device.trust.fid, self.token.certificate, self.token.private, device.private)
            self._check(server.enrol(enrolment, device.private))
            self.store.keep(f"enrolled-{name}", b"yes")

    def is_enrolled(self, name: str) -> bool:
        """Has the server taken the enrolment?"""
        return self.store.value(f"enrolled-{name}") is not None

    def forget_enrolments(self) -> None:
        """A server says that this device is no member: enrol again everywhere (which changes nothing where it is).

        Only the first key can do that: to a server, another key under the same token is another device.
        """
        for name in self.servers if self.identity.has_first_key else ():
            self.store.keep(f"enrolled-{name}", None)

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

    def _check(self, welcome: Welcome) -> None:
        if welcome.device != self.identity.device.device:
            raise NotAuthentic("The server took this device for another one.", slug="wrong-device-id")


def _use_key(server: Server, private: Ed25519PrivateKey) -> None:
    """What was learned of the server's clock is as true under the new key."""
    offset = server.remote.auth.clock_offset_s
    server.remote.use_key(private)
    server.remote.auth.clock_offset_s = offset
