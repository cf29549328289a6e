"""Who this device is: its key in an owner-only file, and the id that its first key gave it.

The id survives changes of key, so it has a file of its own.  During a change of key the new key lies beside the old
one (``device.key.next``).  Whether there is such a change, only the database says (see ``membership``): without one the
file means nothing.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import NotFound, StorageError
from fanlight.protocol.device import Device
from fanlight.protocol.digests import device_id
from fanlight.protocol.identities import Trust
from fanlight.protocol.signing import raw_public_key
from fanlight.storage.folders import make_private_folder
from fanlight.storage.secret_files import destroy, read_secret, write_secret

KEY_FILE = "device.key"
NEXT_KEY_FILE = "device.key.next"
IDENTITY_FILE = "device.id"


@dataclass(frozen=True)
class KeyFolder:
    """The files that make a device who it is, in its state folder."""

    folder: Path

    def device(self, trust: Trust) -> Device:
        """This device in the federation that ``trust`` pins; key and id are made at the first start.

        Raises:
            StorageError: files that others can read, that are damaged, or that belong to another federation.
        """
        make_private_folder(self.folder)
        try:
            private = self._read(KEY_FILE)
        except NotFound:
            private = Ed25519PrivateKey.generate()
            self._write(KEY_FILE, private)
        return Device(private, self._id(trust, private), trust)

    def make_next(self) -> Ed25519PrivateKey:
        """A fresh key for a change of key to lead to; one that lies there from an earlier try is overwritten."""
        private = Ed25519PrivateKey.generate()
        self._write(NEXT_KEY_FILE, private)
        return private

    def next_key(self) -> Ed25519PrivateKey:
        """The key that the change of key leads to.

        Raises:
            NotFound: there is none.
        """
        return self._read(NEXT_KEY_FILE)

    def install(self, private: Ed25519PrivateKey) -> None:
        """Make ``private`` the key; again makes no difference."""
        self._write(KEY_FILE, private)

    def forget_next(self) -> None:
        """Destroy the next key, if there is one."""
        destroy(self.folder / NEXT_KEY_FILE)

    def _id(self, trust: Trust, private: Ed25519PrivateKey) -> bytes:
        path = self.folder / IDENTITY_FILE
        try:
            fid, _, device = read_secret(path).decode("ascii", "replace").strip().partition(" ")
        except NotFound:
            made = device_id(trust.fid, raw_public_key(private))
            write_secret(path, f"{trust.fid.hex()} {made.hex()}\n".encode())
            return made
        if fid != trust.fid.hex():
            raise StorageError(
                f"The state in {self.folder} belongs to another federation than the token.",
                next="Give this device a state folder of its own for each federation.",
                slug="foreign-state",
            )
        return _bytes(path, device, 16)

    def _read(self, name: str) -> Ed25519PrivateKey:
        path = self.folder / name
        seed = _bytes(path, read_secret(path).decode("ascii", "replace").strip(), 32)
        return Ed25519PrivateKey.from_private_bytes(seed)

    def _write(self, name: str, private: Ed25519PrivateKey) -> None:
        write_secret(self.folder / name, f"{private.private_bytes_raw().hex()}\n".encode(), replace=True)


class Identity:
    """Who this device is now; ``device`` changes when its key does.

    Args:
        folder: the state folder.
        trust: the federation.

    Attributes:
        lock: held while a report is built and kept, and while a change of key begins: never both.
    """

    def __init__(self, folder: Path, trust: Trust) -> None:
        self.keys = KeyFolder(folder)
        self.device = self.keys.device(trust)
        self.lock = threading.Lock()

    @property
    def has_first_key(self) -> bool:
        """Is it still the key that it enrolled with?"""
        return device_id(self.device.trust.fid, raw_public_key(self.device.private)) == self.device.device

    def key_for(self, public_key: bytes) -> Ed25519PrivateKey:
        """The private key of a change of key: it lies beside the key, or is installed already.

        Raises:
            StorageError: it is lost.
        """
        candidates = [self.device.private]
        with contextlib.suppress(NotFound):
            candidates.append(self.keys.next_key())
        for private in candidates:
            if raw_public_key(private) == public_key:
                return private
        raise StorageError(
            f"The new key of a change of key is gone from {self.keys.folder}.",
            next=f"Put {NEXT_KEY_FILE} back; else ask the operator to revoke this device, and for a new token.",
            slug="next-key-lost",
        )

    def use(self, private: Ed25519PrivateKey) -> None:
        """Be the holder of ``private`` from now on, also after a restart."""
        self.keys.install(private)
        self.device = replace(self.device, private=private)


def _bytes(path: Path, text: str, length: int) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != length:
        raise StorageError(f"{path} is damaged: it should hold {length} bytes in hexadecimal.")
    return value
