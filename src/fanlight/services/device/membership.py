"""How this device becomes a member at both servers, and how it changes its key at both.

Both are done once at each server, which is remembered; what was interrupted goes on at the next occasion.  During a
change of key no report is built: one server would not know the key that signed it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import NotAuthentic, NotPossibleNow
from fanlight.protocol import identities
from fanlight.protocol.exchange import Welcome
from fanlight.services.device.client import Server
from fanlight.services.device.identity import Identity
from fanlight.services.device.store import DeviceStore
from fanlight.services.federation import Token

_CHANGE: Final = "rekey"


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
        return self.store.value(_CHANGE) is not None

    def renew_key(self) -> None:
        """Change the key at both servers.

        Raises:
            NotPossibleNow: not enrolled yet, or a report is on its way.
            RemoteError: a server did not take it; ``resume_change`` goes on.
        """
        if not all(self.is_enrolled(name) for name in self.servers):
            raise NotPossibleNow("This device is not enrolled yet.", slug="not-enrolled-yet", next="Wait until it is.")
        with self.identity.lock:
            if self.store.unfinished():
                raise NotPossibleNow(
                    "A report of this device is part of an open round.",
                    slug="report-on-its-way",
                    next="Change the key when the round is over.",
                )
            if not self.changing_key:
                device, private = self.identity.device, self._next_key()
                change = identities.rekey(device.trust.fid, device.device, device.private, private)
                self.store.keep(_CHANGE, change)
        self.resume_change()

    def resume_change(self) -> None:
        """Go on with a change of key, if one is under way; errors as in ``renew_key``."""
        with self._changing:
            self._resume()

    def _resume(self) -> None:
        change = self.store.value(_CHANGE)
        if change is None:
            return
        private = self._next_key()
        for name, server in self.servers.items():
            if self.store.value(f"{_CHANGE}-{name}") is None:
                self._check(self._rekey(server, change, private))
                self.store.keep(f"{_CHANGE}-{name}", b"yes")
            server.remote.use_key(private)
        self.store.keep(_CHANGE, None)
        self.identity.finish_change()
        for name in self.servers:
            self.store.keep(f"{_CHANGE}-{name}", None)

    def _next_key(self) -> Ed25519PrivateKey:
        private = self.identity.keys.next_key(make=True)
        assert private is not None
        return private

    def _rekey(self, server: Server, change: bytes, private: Ed25519PrivateKey) -> Welcome:
        with contextlib.suppress(NotAuthentic):  # it may have taken the change, and its answer was lost
            return server.rekey(change)
        server.remote.use_key(private)
        try:
            return server.rekey(change)
        except BaseException:
            server.remote.use_key(self.identity.device.private)
            raise

    def _check(self, welcome: Welcome) -> None:
        if welcome.device != self.identity.device.device:
            raise NotAuthentic("The server took this device for another one.", slug="wrong-device-id")
