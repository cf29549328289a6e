"""Reports that are not done with: those that a server has not acknowledged, and those whose round may be over."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fanlight.errors import Conflict, MalformedMessage, MessageTooLarge, NotAuthentic, Refused, RemoteError
from fanlight.protocol.device_round import Record
from fanlight.services.device.rounds import Rounds
from fanlight.services.http.backoff import Backoff


def may_pass(error: RemoteError) -> bool:
    """Could the server that answered so take the same report in a moment?"""
    said_so = error.retry_after_s is not None or error.slug == "wrong-offset"
    return said_so or not isinstance(error, Conflict | Refused | NotAuthentic | MalformedMessage | MessageTooLarge)


class Deliveries:
    """The agent's part in them.

    Args:
        rounds: this device's.
        jitter: a number in [0, 1), fresh each call.
    """

    def __init__(self, rounds: Rounds, jitter: Callable[[], float]) -> None:
        self._rounds = rounds
        self._asking = Backoff(jitter, first_s=1.0, longest_s=20.0)
        self._too_late: set[bytes] = set()

    def patience_s(self, longest_s: float) -> float:
        """How long to wait for news before asking again whether a round is over."""
        return min(longest_s, self._asking.next()) if self._rounds.possibly_over() else longest_s

    def end_what_matters_now(self) -> None:
        """As ``end``, of those rounds only whose end decides what may be sent now."""
        self._end(self._rounds.in_question())

    def end(self) -> None:
        """Ask what became of rounds that are offered no more; errors as in ``Rounds.end``."""
        self._end(self._rounds.possibly_over())

    def _end(self, records: Iterable[Record]) -> None:
        for record in records:
            if self._rounds.end(record.mh):
                self._asking.reset()
                self._too_late.discard(record.mh)

    def deliver(self) -> None:
        """Send what is not acknowledged.

        A round that takes no reports any more is no trouble: what became of it is heard when it is over.

        Raises:
            RemoteError: a server does not answer, or refuses.
        """
        if self._rounds.wishes.kept.paused:
            return
        for record in self._rounds.undelivered():
            if record.mh not in self._too_late:
                self._deliver(record)

    def _deliver(self, record: Record) -> None:
        try:
            self._rounds.deliver(record.mh)
        except Conflict as error:
            if may_pass(error):
                raise
            self._too_late.add(record.mh)
            self._rounds.log.info("report not taken", round=record.number, mh=record.mh.hex()[:12], slug=error.slug)
