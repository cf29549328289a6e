"""What the owner should do now, on the way from an empty device to a better model, in words for newcomers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from fanlight.core.percent import percent
from fanlight.errors import NotAuthentic, NotPossibleNow, Refused
from fanlight.protocol.device_round import Delivery, Preparation
from fanlight.services.device.arrival import about_arrival, is_awaited, test_pictures, went_back
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.rounds import EQUIVOCATION, OTHER_MODEL
from fanlight.services.device.status import next_try_of
from fanlight.services.device.steps import MEASURE, SEND
from fanlight.services.device.supply import Supply
from fanlight.services.http.steps import Now, Place, Stage, StepView

_AGAIN: Final = "Train again"
_SO_FAR: Final = "What it has learned so far"
GO_ON: Final = "/privacy/pause"
"""A form that is posted there and says no more lets a paused device go on."""

_WAY: Final = (
    ("pictures", "Put pictures in", "/pictures"),
    ("label", "Say what they show", "/pictures?state=unlabelled"),
    ("train", "Train", "/modeltrain"),
    ("announce", "Announce", "/sendstatus"),
    ("send", "Send", "/sendmodel"),
    ("wait", "Wait for the others", "/learning"),
    ("better", "The new model", "/learning"),
)
_WAY_OF: Final = {
    "join": "pictures",
    "model": "pictures",
    "reading": "pictures",
    "undelivered": "send",
    "went-back": "train",
}
_STAGE_AT: Final = {
    Preparation.IDLE: "train",
    Preparation.TRAINED: "announce",
    Preparation.ANNOUNCED: "send",
    Preparation.SENT: "wait",
}
_FLOORS: Final = frozenset({"demo-refused", "below-floor", "may-reject-too-many", "answers-per-day"})
"""Refusals that the owner can end on the page Privacy."""


def now(role: DeviceRole, found: Supply) -> tuple[Now, list[StepView]]:
    """What to do now, with what there is to learn from; and the three steps, which say where the owner is in them."""
    views = role.steps.views()
    busy = _busy(views)
    thing = (
        _out(role)
        or _alone(role)
        or _to_learn_from(found)
        or _stuck(role)
        or (None if busy else _declining(role))
        or _calmly(role, found, busy or _of_the_round(role))
    )
    thing = replace(_possible(thing, views), stages=_stages(role, thing.name))
    return thing, [_placed(view, thing) for view in views]


def _placed(view: StepView, thing: Now) -> StepView:
    """The step, with whether it is the thing to do now or is done; what came of it in an earlier round is left out."""
    done = thing.name != "better" and any(stage.href == view.route and stage.place == "done" for stage in thing.stages)
    if view.job is None or view.job.active:
        over = False
    elif view.job.state == "failed":  # the agent has delivered it since, or tries again
        over = done or thing.name == "undelivered"
    else:
        over = not done
    button = _AGAIN if done and view.route == "/modeltrain" else view.button
    return replace(view, now=thing.step == view.route, done=done, job=None if over else view.job, button=button)


def effect_on_round(role: DeviceRole) -> str:
    """What a pause (or leaving) means for the open round, in a sentence."""
    signed = role.offers.manifest
    record = role.store.report(signed.hash) if signed else None
    if signed is None:
        return "No round is open now; the next ones go on without this device."
    number = signed.terms.proposal.round
    if record is None:
        return f"Round {number} goes on without this device."
    if record.at is Delivery.COMMITTED:
        return f"The report for round {number} has not arrived yet, and stays here."
    return f"The masked report for round {number} has arrived already, and counts in that round; later ones get none."


def _out(role: DeviceRole) -> Now | None:
    kept = role.rounds.wishes.kept
    if kept.left:
        text = "It asks the servers for nothing and answers no round. Your pictures are still here."
        return Now("This device has left the federation.", text, "What that means", href="/privacy#leave", name="left")
    if kept.forget:
        text = (
            "It learns no more. It takes its pictures out of the sums as soon as others have something to change too."
        )
        return Now("Waiting to be forgotten.", text, "What that means", href="/privacy#leave", name="forget")
    if kept.paused:
        text = f"You have paused this device: nothing is sent. {effect_on_round(role)} New models still come."
        return Now("Paused.", text, "Go on", GO_ON, name="paused")
    return None


def _alone(role: DeviceRole) -> Now | None:
    if not all(role.membership.is_enrolled(name) for name in role.membership.servers):
        text = "This device is making itself known to both servers. You can put pictures in meanwhile."
        return Now("Joining the federation.", text, "Put pictures in", href="/pictures", name="join")
    if role.store.held is None:
        text = "The main server sends it in a moment. You can put pictures in meanwhile."
        return Now("Waiting for the first model.", text, "Put pictures in", href="/pictures", name="model")
    return None


def _to_learn_from(found: Supply) -> Now | None:
    if found.labelled:
        return None
    if found.reading:
        text = "It reads what lies in its folder: thumbnails, sizes, copies. Nothing leaves this device by that."
        return Now("Looking through your pictures.", text, "Watch it", href="/pictures", name="reading")
    if found.waiting:
        text = "This device learns from examples: for each picture, you say once what it shows. Ten of each kind do."
        title = "Say what your pictures show."
        return Now(title, text, "Say what they show", href="/pictures?state=unlabelled", name="label")
    text = "This device learns from pictures of yours: from your camera or phone, or a folder. They never leave it."
    return Now("Put your first pictures in.", text, "Put pictures in", href="/pictures", name="pictures")


_RUNNING: Final = {
    "/modeltrain": ("train", "Learning from your pictures.", "This can take a moment. You can watch it.", "/learning"),
    "/sendstatus": ("announce", "Telling the main server.", "Only that this device is ready; no model.", "/sendstatus"),
    "/sendmodel": ("send", "Sending what was learned.", "Masked twice: no server can read it.", "/sendmodel"),
}


def _stuck(role: DeviceRole) -> Now | None:
    """A report for the open round that a server does not take: what is in the way, and when this device tries again."""
    trouble, signed = role.agent.trouble, role.offers.manifest
    running = any(job is not None and job.active for job in map(role.jobs.latest, (SEND, MEASURE)))
    open_still = signed is not None and any(record.mh == signed.hash for record in role.rounds.undelivered())
    if not open_still or (running and trouble is None):
        return None
    text = "Your report is kept here, and this device tries again by itself"
    text += f" ({next_try_of(role)})." if trouble else "."
    title = "Not delivered yet."
    if trouble:
        text = f"{trouble.message} {text}"
    if running:
        return Now(title, text, "Watch it", href="/sendmodel", name="undelivered")
    return Now(title, text, "Try now", "/sendmodel", name="undelivered")


def _declining(role: DeviceRole) -> Now | None:
    """The open round is one that this device does not answer: why, and where that can be changed."""
    signed = role.offers.manifest
    if signed is None or role.store.report(signed.hash) is not None:
        return None
    try:
        role.rounds.opening()
    except NotPossibleNow:
        return None
    except (Refused, NotAuthentic) as error:
        if error.slug == OTHER_MODEL:  # it is about to come
            return None
        title = f"This device does not take part in round {signed.terms.proposal.round}."
        text = f"{error.message} {error.next}".strip() + " New models still come."
        label, href = "What was refused", "/privacy#refused"
        if error.slug in _FLOORS:
            label, href = "Change what you allow", "/privacy#floors"
        elif error.slug == EQUIVOCATION:
            label, href = "See what happened", "/#equivocation"
        return Now(title, text, label, href=href, name="declines")
    return None


def _busy(views: Sequence[StepView]) -> Now | None:
    for view in views:
        if view.job and view.job.active:
            name, title, text, href = _RUNNING[view.route]
            return Now(title, text, "Watch it", href=href, name=name)
    return None


def _of_the_round(role: DeviceRole) -> Now:
    asks: dict[Preparation, Callable[[DeviceRole], Now]] = {
        Preparation.IDLE: _train,
        Preparation.TRAINED: _announce,
        Preparation.ANNOUNCED: _send,
        Preparation.SENT: _wait,
    }
    return asks[role.offers.preparation](role)


def _calmly(role: DeviceRole, found: Supply, thing: Now) -> Now:
    """The same words for a whole round that runs by itself; the stages show how far it is."""
    offer = role.offers.current
    if offer is None or not offer.by_itself:
        return thing
    text = "Rounds run by themselves here: in each the device trains, and sends what it learned."
    if found.waiting:
        title, text = "Say what your pictures show.", f"{text} Only one thing it cannot do: know what they show."
        label, href = "Say what they show", "/pictures?state=unlabelled"
    else:
        title, label, href = "You need do nothing.", "See what it learns", "/learning"
    if thing.name == "went-back":
        title = thing.title
    return Now(title, text, label, href=href, name=thing.name)


def _train(role: DeviceRole) -> Now:
    if is_awaited(role):
        text = "The sum is known, with yours in it. The new model comes here when the main server publishes it."
        return Now("Added up. Now wait for the new model.", text, _SO_FAR, href="/learning", name="wait")
    came = about_arrival(role)
    if came and went_back(role.store.held):
        return Now(*came, "Train", "/modeltrain", name="went-back")
    if came:
        return Now(*came, "See what it learned", href="/learning", again="/modeltrain", name="better")
    text = "Trains on your pictures, here. Nothing leaves this device by that."
    return Now("Now let it learn from your pictures.", text, "Train", "/modeltrain", name="train")


def _announce(role: DeviceRole) -> Now:
    text = f"{_own_model(role)}Tell the main server that this device is ready; no model is sent yet."
    return Now("Trained. Now announce it.", text, "Announce", "/sendstatus", name="announce")


def _own_model(role: DeviceRole) -> str:
    """What the training brought, on the device's own test pictures; empty without any."""
    prepared = role.offers.prepared
    before, after = (prepared.received.metrics, prepared.local.metrics) if prepared else (None, None)
    if before is None or after is None or not after.total:
        return ""
    rightly = f"{percent(after.accuracy)} of {test_pictures(before, after)} rightly, before {percent(before.accuracy)}"
    return f"This device's own model now names {rightly}. "


def _send(_role: DeviceRole) -> Now:
    text = "Send what was learned, masked twice: no server can read it, only the sum over all devices comes to light."
    return Now("Announced. Now send it.", text, "Send", "/sendmodel", name="send")


def _wait(role: DeviceRole) -> Now:
    offer = role.offers.current
    whose = "both servers" if offer is None or offer.by_itself else "the operators of both servers (steps 4 to 6)"
    text = f"When the others have sent theirs, {whose} add everything up, and the new model comes here by itself."
    return Now("Sent. Now wait for the others.", text, _SO_FAR, href="/learning", name="wait")


def _possible(thing: Now, views: Sequence[StepView]) -> Now:
    """Where the step of the button cannot be done, with the reason instead of the button."""
    view = next((view for view in views if view.route == thing.step), None)
    if view is None or view.possible:
        return thing
    return replace(thing, text=f"{view.reason} {view.next}".strip(), href=thing.step, label="See the step", step="")


def _stages(role: DeviceRole, name: str) -> tuple[Stage, ...]:
    """The way; none for a device that is not on it, because it is paused or has left."""
    names = [stage for stage, _title, _href in _WAY]
    current = _STAGE_AT[role.offers.preparation] if name == "declines" else _WAY_OF.get(name, name)
    if current not in names:
        return ()
    at = names.index(current)
    places: list[Place] = ["done" if index < at else "now" if index == at else "later" for index in range(len(names))]
    return tuple(Stage(*stage, place) for stage, place in zip(_WAY, places, strict=True))
