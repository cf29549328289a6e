"""State machines as tables: (state, event) -> state. What is not in the table is refused and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from fanlight.errors import NotPossibleNow

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class Table(Generic[S, E]):
    """Transitions of one machine.

    Attributes:
        name: whose round this is, for messages.
        moves: (state, event) -> next state; a move to the same state is a repeat that is answered as before.
        advice: what to do when a state refuses an event, by state.
        reasons: why it does, for people, by state; without one, the names of state and event have to do.
    """

    name: str
    moves: Mapping[tuple[S, E], S]
    advice: Mapping[S, str]
    reasons: Mapping[S, str] = field(default_factory=dict)

    def next(self, state: S, event: E) -> S:
        """The state after ``event``.

        Raises:
            NotPossibleNow: the table has no such move.
        """
        try:
            return self.moves[state, event]
        except KeyError:
            by_name = f"The {self.name}'s round is {state.value}; it cannot {event.value} now."
            raise NotPossibleNow(
                self.reasons.get(state, by_name),
                next=self.advice.get(state, ""),
                slug=f"round-{state.value}",
            ) from None

    def allows(self, state: S, event: E) -> bool:
        """Is there a move for ``event`` in ``state``?"""
        return (state, event) in self.moves
