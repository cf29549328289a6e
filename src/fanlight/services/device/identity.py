"""Who this device is: its key in an owner-only file, and the id that its first key gave it.

The id survives changes of key, so it has a file of its own.  During a change of key the new key lies beside the old
one (``device.key.next``) until both servers have taken it.
"""

from __future__ import annotations

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

    def next_key(self, *, make: bool) -> Ed25519PrivateKey | None:
        """The key that a change of key leads to; None if there is no change under way and none is to be made."""
        try:
            return self._read(NEXT_KEY_FILE)
        except NotFound:
            if not make:
                return None
        private = Ed25519PrivateKey.generate()
        self._write(NEXT_KEY_FILE, private)
        return private

    def finish_change(self, device: Device) -> Device:
        """The next key becomes the key."""
        private = self.next_key(make=False)
        if private is None:
            return device
        self._write(KEY_FILE, private)
        destroy(self.folder / NEXT_KEY_FILE)
        return replace(device, private=private)

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

    @property
    def changing_key(self) -> bool:
        """Is a change of key under way?"""
        return self.keys.next_key(make=False) is not None

    def finish_change(self) -> None:
        """Use the next key from now on."""
        self.device = self.keys.finish_change(self.device)


def _bytes(path: Path, text: str, length: int) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != length:
        raise StorageError(f"{path} is damaged: it should hold {length} bytes in hexadecimal.")
    return value
