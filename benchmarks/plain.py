"""Plain summation: the same processes, routes, hashes, signatures and files, and no mask is put on or taken off.

There is no such mode in the product. Here two names are replaced in a process that serves a benchmark, which shows how
much of a round's time secure aggregation takes.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from numpy.typing import NDArray

from fanlight.core.masks import MaskStream
from fanlight.protocol import sealing

_SEALED_BYTES = 80


class _Open:
    """In the place of HPKE: what is sealed stands there for all to read."""

    def encrypt(self, plain: bytes, _key: X25519PublicKey, *, info: bytes) -> bytes:  # noqa: ARG002 bound to nothing
        return plain.ljust(_SEALED_BYTES, b"\0")

    def decrypt(self, sealed: bytes, _key: X25519PrivateKey, *, info: bytes) -> bytes:  # noqa: ARG002
        return sealed[:32]


def mask_nothing() -> None:
    """From now on, in this process, masks are zero and seeds are not sealed."""
    for changes in ("add_to", "subtract_from"):
        setattr(MaskStream, changes, _change_nothing)
    setattr(sealing, "_SUITE", _Open())  # noqa: B010 a constant for everybody but us


def _change_nothing(_stream: MaskStream, _piece: NDArray[np.uint32]) -> None:
    """In the place of a mask's addition and subtraction."""
