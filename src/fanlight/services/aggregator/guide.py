"""What the aggregator's operator should do now: one thing, or nothing where others have to act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fanlight.protocol.aggregator_round import State
from fanlight.services.aggregator.step_jobs import AGGREGATE, RELEASE
from fanlight.services.http.steps import Now, StepView

_RUNNING: Final = {AGGREGATE: "The reports are being added up.", RELEASE: "The sum is being released."}
_ELSEWHERE: Final = {
    State.OFFERED: ("waits for the main server.", "It opens when the main server has signed it too."),
    State.CLOSED: ("is closed.", "The main server is asked which reports count."),
    State.RELEASED: ("is released.", "The main server has yet to say what became of it."),
    State.ABANDONED: ("was given up: no sum was released.", "Its reports are destroyed."),
    State.FINISHED: (
        "is finished: its reports are destroyed.",
        "The main server has the sum. When it has published what comes of it (step 6, there), the next round opens.",
    ),
}
"""Title and text of a round for which nobody can do anything here."""


def now(status: Mapping[str, Any], steps: Sequence[StepView]) -> Now:
    """What to do now, from ``AggregatorService.status`` and ``Steps.views``."""
    for step in steps:
        if step.job and step.job.active:
            return Now(_RUNNING[step.route], step.job.text, "Watch it", href=step.route)
    line = status["round"]
    if line is None:
        text = "One opens by itself when enough devices are enrolled at both servers."
        return Now("Waiting for the first round.", text)
    state, name = State(line["state"]), f"Round {line['round']}"
    if state in _ELSEWHERE:
        how, text = _ELSEWHERE[state]
        return Now(f"{name} {how}", text)
    if state is State.AGREED:
        text = "It gets the one sum, and no report."
        return Now(f"{name} is summed: send it to the main server.", text, "Release the sum", RELEASE)
    title = f"{name} is open: {status['reports']} of at least {line['k_min']} reports."
    if any(step.possible for step in steps if step.route == AGGREGATE):
        return Now(title, "That is enough: add them up now, or wait for more.", "Aggregate", AGGREGATE)
    return Now(title, "Devices send their masked reports. There is nothing to do here meanwhile.")
