"""All that a simulation draws follows from its seed, what is drawn, and for whom: never from who draws first."""

from __future__ import annotations

import hashlib

from fanlight.core.randomness import Keystream
from fanlight.learning.datasets.chance import Chance


def stream(seed: int, purpose: str, *numbers: int) -> Keystream:
    """A generator for one purpose, such as one device's batch order in one round."""
    return Keystream(secret(seed, purpose, *numbers))


def secret(seed: int, purpose: str, *numbers: int) -> bytes:
    """32 bytes for one purpose: in a simulation nothing is secret, but keys have to be something."""
    words = "/".join(["fanlight/simulation", purpose, str(seed), *map(str, numbers)])
    return hashlib.sha256(words.encode()).digest()


def chance(seed: int, purpose: str) -> Chance:
    """The same, for distributions."""
    return Chance(f"simulation/{purpose}", seed)
