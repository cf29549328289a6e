"""What the operator should do now: one thing, or nothing where others have to act, in words for newcomers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fanlight.protocol.main_round import TERMINAL, State
from fanlight.protocol.plan import Kind
from fanlight.services.http.steps import Now, StepView
from fanlight.services.main_server.overview import AGGREGATE, MEASURE, PUBLISH


def now(status: Mapping[str, Any], steps: Sequence[StepView]) -> Now:
    """What to do now, from ``Overview.status`` and ``Overview.steps``."""
    line = status["round"]
    under_way = line is not None and State(line["state"]) not in TERMINAL
    at_hand = _running(steps) or _unmeasured(status, steps)
    found = at_hand or (_of_the_round(status, steps) if under_way else _between(status))
    return found if found.label else _with_suspects(status, found)


def _with_suspects(status: Mapping[str, Any], found: Now) -> Now:
    """Where others have to act: name the devices that the operator should look at."""
    out = [device for device in status["quarantined"] if device["left_out"]]
    if not out:
        return found
    names, until = ", ".join(device["name"] for device in out), max(device["until"] for device in out)
    text = f"{found.text} Left out until round {until}: {names}. What came from there could not be opened: look at it, "
    return Now(found.title, f"{text}or revoke it.", "See the devices", href="/devices")


_RUNNING: Final = {
    AGGREGATE: "The reports are being added up.",
    PUBLISH: "The new model is being published.",
    MEASURE: "The current model is being measured.",
}


def _running(steps: Sequence[StepView]) -> Now | None:
    for step in steps:
        if step.job and step.job.active:
            return Now(_RUNNING[step.route], step.job.text, "Watch it", href=step.route)
    return None


def _unmeasured(status: Mapping[str, Any], steps: Sequence[StepView]) -> Now | None:
    """By hand, a new version is measured before devices train on: nothing is lost by that yet."""
    if not next(step for step in steps if step.route == MEASURE).now:
        return None
    title = f"Version {status['model']['version']} is published: measure it."
    text = "Each device tests it on pictures of its own; only the sum comes here. Or let the devices train on at once."
    return Now(title, text, "Measure", MEASURE)


def _of_the_round(status: Mapping[str, Any], steps: Sequence[StepView]) -> Now:
    line = status["round"]
    name = f"Round {line['round']}"
    match State(line["state"]):
        case State.OPEN:
            return _open(status, steps)
        case State.RELEASED if line["by_itself"]:
            return Now(f"{name} made a new model.", "It is published by itself in a moment.")
        case State.RELEASED:
            text = "Devices fetch it as soon as it is published."
            return Now(f"{name} made a new model: publish it.", text, "Publish", PUBLISH)
        case State.PROPOSED:
            return Now(f"{name} waits for the secure aggregator.", _waits_for_aggregator(status))
        case State.DISMISSED:
            return Now(f"{name} cannot be summed: it is given up.", _waits_for_aggregator(status))
        case _:
            return Now(f"{name} is being summed.", _waits_for_aggregator(status))


def _open(status: Mapping[str, Any], steps: Sequence[StepView]) -> Now:
    line, reports, needed = status["round"], status["reports"], status["round"]["k_min"]
    title = f"Round {line['round']} is open: {reports} {'report' if reports == 1 else 'reports'} so far."
    if line["kind"] == Kind.MEASURE:
        return Now(title, "Each device tests the current model on pictures of its own. The round ends by itself.")
    if line["by_itself"]:
        return Now(title, "It ends by itself when enough devices have reported. There is nothing to do.")
    if next(step for step in steps if step.route == AGGREGATE).possible:
        return Now(title, "That is enough: add them up now, or wait for more.", "Aggregate", AGGREGATE)
    text = f"It needs {needed}. On each device, its owner now trains, announces and sends: steps 1 to 3."
    return Now(title, text, "See the devices", href="/devices")


def _between(status: Mapping[str, Any]) -> Now:
    held, line = status["held"], status["round"]
    if held is not None:
        title, text = held["title"], f"{held['message']} {held['next']}"
        if held["can_go_on"]:
            return Now(title, text, "Let rounds go on", "/go-on")
        return Now(title, text, "See the rules of the rounds", href="/task#rules")
    if status["members"] < status["k_min"]:
        text = f"{status['members']} of the {status['k_min']} that a round needs are enrolled at both servers."
        return Now("Waiting for devices.", text, "Invite a device", href="/devices#invite")
    if not status["aggregator_connected"]:
        return Now("Waiting for the secure aggregator.", _waits_for_aggregator(status))
    if line is None:
        return Now("Waiting for the first round.", "It opens by itself in a moment.")
    ended = {"abandoned": "was given up", "failed": "failed"}.get(line["state"], "is complete")
    return Now(f"Round {line['round']} {ended}.", "The next one opens by itself in a moment.")


def _waits_for_aggregator(status: Mapping[str, Any]) -> str:
    if status["aggregator_connected"]:
        return "The secure aggregator answers in a moment."
    return "Start the secure aggregator (fanlight aggregator): without it no round opens, and none can end."
