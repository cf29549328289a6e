"""Remember which nonces were used while a signature may still be valid, in bounded memory.

A signature made at ``created`` is accepted until ``created`` + the window, so its nonce is kept just as long.  Nonces
lie in buckets of a minute by the time they may be forgotten; a whole bucket is dropped at once.  Only nonces under
verified signatures come here, and each key has a limit of its own, so one member cannot push out another's.
A restart forgets them: what a replayed request could do then is bounded by the protocol's own idempotence.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from sys import intern
from threading import Lock

from fanlight.errors import NotAuthentic, Refused

_BUCKET_S = 60


class NonceWindow:
    """Nonces in use.

    Args:
        per_key: most nonces one key may have in use; 20,000 in ten minutes is 33 requests a second.
        total: most nonces in use over all keys, about 100 bytes each.
    """

    def __init__(self, *, per_key: int = 20_000, total: int = 500_000) -> None:
        self._per_key = per_key
        self._total = total
        self._buckets: dict[int, dict[bytes, str]] = {}
        self._used: Counter[str] = Counter()
        self._lock = Lock()

    def use(self, key_id: str, nonce: str, *, now: float, until: float) -> None:
        """Mark ``nonce`` of ``key_id`` as used until ``until`` (both times in unix seconds).

        Raises:
            NotAuthentic: it was used before (a replay).
            Refused: too many are in use, by this key or in all.
        """
        key_id = intern(key_id)  # one for all nonces of a key, not the one that each request brings
        mark = blake2b(f"{key_id}\n{nonce}".encode(), digest_size=16).digest()
        with self._lock:
            self._forget(now)
            if any(mark in bucket for bucket in self._buckets.values()):
                raise NotAuthentic("This signed request was received before.", slug="replayed")
            if self._used[key_id] >= self._per_key or len(self) >= self._total:
                raise Refused(
                    "Too many signed requests.",
                    next="Wait some minutes.",
                    slug="too-many-requests",
                    retry_after_s=_BUCKET_S,
                )
            self._buckets.setdefault(int(until) // _BUCKET_S, {})[mark] = key_id
            self._used[key_id] += 1

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def _forget(self, now: float) -> None:
        for minute in [minute for minute in self._buckets if (minute + 1) * _BUCKET_S <= now]:
            self._used.subtract(self._buckets.pop(minute).values())
            self._used = +self._used
