"""What a step of the round looks like to a person: its state, whether it can be done now, and what to do instead.

The roles fill these records; the consoles draw them. So pages hold no logic of their own, and ``POST`` on the same
route performs the step under the same conditions that the page shows.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

from fanlight.errors import FanlightError
from fanlight.services.http.jobs import Job

Place = Literal["done", "now", "later"]


@dataclass(frozen=True)
class StepView:
    """One step as its page shows it.

    Attributes:
        route: where the step is performed (``POST``) and shown (``GET``), such as ``/modeltrain``.
        button: the label of its button.
        explanation: what the step does, in one or two plain sentences.
        possible: can it be performed now.
        reason: why not, if not; else what its state is.
        next: what to do instead, or after it.
        facts: (name, value) pairs about its state, for reading.
        job: the step's running or latest job, if any.
        now: is it the thing to do now; at most one of a role's steps is, and its button is the strong one.
        done: has it been performed in this round.
    """

    route: str
    button: str
    explanation: str
    possible: bool
    reason: str
    next: str
    facts: tuple[tuple[str, str], ...] = ()
    job: Job | None = None
    now: bool = False
    done: bool = False

    def unless(self, why_not: FanlightError | None) -> StepView:
        """The same, if nothing stands against it; else why it cannot be performed, and what to do instead."""
        if why_not is None:
            return self
        return replace(self, possible=False, now=False, reason=why_not.message, next=why_not.next)


@dataclass(frozen=True)
class Stage:
    """One stage of the way: what it is, where it is done, and whether it lies behind, here or ahead."""

    name: str
    title: str
    href: str
    place: Place


@dataclass(frozen=True)
class Now:
    """The one thing to do now.

    Attributes:
        title, text: how it stands, and what to do about it.
        label: of the button or link; empty if there is nothing to press.
        step: the route that the button posts to.
        href: where the link leads, if there is no button.
        name: of the thing, stable, where a page asks for it.
        again: the route of a step that can be performed again, if somebody likes.
        stages: the whole way, of a device.
    """

    title: str
    text: str
    label: str = ""
    step: str = ""
    href: str = ""
    _: KW_ONLY
    name: str = ""
    again: str = ""
    stages: tuple[Stage, ...] = ()
