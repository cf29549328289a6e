"""Which rounds a version comes of by one algorithm: what devices remember of others is of another course.

What a device remembers is that of a round that it was in. The server's part belongs to a version: where the operator
goes back to one, the server goes on with what it knew there; where another algorithm or a head that was solved has been
in between, with nothing. A device cannot know, least of all one that was away. So each version tells the rounds on its
way, back to where the algorithm began; what a device remembers of any other does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from fanlight.errors import ModelError

MOST_SPANS: Final = 64
"""Each time that somebody goes back costs one; memories from before so many times begin anew."""
_MOST_NAME: Final = 200
_MOST_ROUND: Final = 2**53


@dataclass(frozen=True)
class Lineage:
    """The rounds on the way to a version.

    Attributes:
        algorithm: what devices did in them, by its name.
        spans: first and last round of each stretch, oldest first, 1 to 64. Between them lie rounds that made versions
            which are not on the way; within them none.

    Raises:
        ModelError: spans that overlap or are out of order, none or too many; no name.
    """

    algorithm: str
    spans: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        ends = [number for span in self.spans for number in span]
        rising = all(first <= last for first, last in self.spans) and ends == sorted(ends)
        apart = all(last < first for (_, last), (first, _) in zip(self.spans, self.spans[1:], strict=False))
        if not (1 <= len(self.spans) <= MOST_SPANS and rising and apart and ends[0] >= 1 and ends[-1] < _MOST_ROUND):
            raise ModelError(f"{self.spans} are no rounds on the way to a version")
        if not (1 <= len(self.algorithm) <= _MOST_NAME and self.algorithm.isprintable()):
            raise ModelError("the algorithm of a version's rounds has no name")

    @classmethod
    def after(cls, start: Lineage | None, algorithm: str, round_number: int, *, next_version: bool) -> Lineage:
        """Of the version that a round makes.

        Args:
            start: of the version that it starts from.
            algorithm: that of the round. If ``start`` is of another one, it begins here.
            round_number: greater than all on the way.
            next_version: is it the very next version after that? Then no round has made another in between.
        """
        here = (round_number, round_number)
        if start is None or start.algorithm != algorithm:
            return cls(algorithm, (here,))
        *before, (first, last) = start.spans
        ends = ((first, round_number),) if next_version else ((first, last), here)
        return cls(algorithm, (*before, *ends)[-MOST_SPANS:])

    @property
    def first(self) -> int:
        """The round in which the algorithm began."""
        return self.spans[0][0]

    def __contains__(self, round_number: int) -> bool:
        """Is a round that made a version on the way?"""
        return any(first <= round_number <= last for first, last in self.spans)

    def as_json(self) -> dict[str, Any]:
        """As in the metadata of a model's file."""
        return {"algorithm": self.algorithm, "rounds": [list(span) for span in self.spans]}

    @classmethod
    def of_json(cls, said: Any) -> Self:
        """From what anybody may have written; errors as for the class."""
        rounds = said.get("rounds") if isinstance(said, dict) and said.keys() == {"algorithm", "rounds"} else None
        if not (isinstance(rounds, list) and isinstance(said["algorithm"], str) and all(map(_is_span, rounds))):
            raise ModelError("the model file's rounds are not as they should be")
        return cls(said["algorithm"], tuple((first, last) for first, last in rounds))


def _is_span(said: Any) -> bool:
    return isinstance(said, Sequence) and len(said) == 2 and all(type(number) is int for number in said)
