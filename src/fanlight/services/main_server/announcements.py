"""What devices say of themselves: ready, have the model, will not report, miss a class."""

from __future__ import annotations

from sqlalchemy import update

from fanlight.errors import NotAuthentic, NotEnrolled
from fanlight.protocol import signing
from fanlight.protocol.exchange import Change, Changing, Decline
from fanlight.protocol.main_round import State
from fanlight.protocol.report import READINESS, Readiness
from fanlight.services.main_server import class_proposals, device_models, round_table, teaching
from fanlight.services.main_server.service import MainService
from fanlight.storage.tables.main import devices


def take_readiness(service: MainService, device: bytes, data: bytes) -> None:
    """Step 2 of a device: it has trained on this plan and model.

    Raises:
        NotAuthentic: not that device's, or for another federation. NotEnrolled: it is not a member any more.
    """
    public_key = service.membership.public_keys().get(device)
    if public_key is None:
        raise NotEnrolled("This device is not a member (any more).", device=device.hex())
    readiness = Readiness.decode(signing.verify_bytes(public_key, READINESS, data))
    if (readiness.fid, readiness.device) != (service.identity.trust.fid, device):
        raise NotAuthentic("The readiness is another device's.")
    values = {"ready_plan": readiness.plan, "ready_model": readiness.model}
    with service.database.transaction() as tx:
        tx.execute(update(devices).where(devices.c.dev == device).values(**values))
        if readiness.plan == teaching.plan_of_next(tx, service.task).hash:
            line = round_table.latest_line(tx)
            since = line.opened_at if line is not None and line.opened_at else 0.0
            device_models.note_ready(tx, device, readiness.model, since, service.clock())
    service.pages.notify()  # no round waits for it


def take_acknowledgement(service: MainService, device: bytes, sha256: bytes) -> None:
    """A device has fetched and verified a model; nothing is kept of one that is not published here.

    Not durably: all devices say so while the round waits for them, and say it again to a server that was started anew.
    """
    with service.database.transaction(durable=False) as tx:
        if service.models.is_published(tx, sha256):
            device_models.note_fetched(tx, device, sha256, service.clock())
    service.presence.note_model(device, sha256)  # only now: what was not stored, the next poll says again
    service.pages.notify()  # no round waits for it


def take_refusal(service: MainService, device: bytes, mh: bytes, data: bytes) -> None:
    """A device will not report in this round, and says why: nobody needs to wait for it.

    Of a round that is not the newest one, or not open, or does not ask this device, there is nothing to note.

    Raises:
        NotFound: there is no such round. MalformedMessage: it says nothing of the kind.
    """
    reason = Decline.because(Decline.decode(data).reason).reason
    with service.database.reading() as tx:
        stored, newest = round_table.by_hash(tx, mh), round_table.latest_line(tx)
    cohort = stored.record.cohort
    is_newest = newest is not None and newest.number == stored.number
    if is_newest and stored.at is State.OPEN and (not cohort or device in cohort):
        service.presence.decline(device, stored.number, reason)
        service.news.tell()


def take_changing(service: MainService, device: bytes, data: bytes) -> None:
    """A device would change something in the sums that the head is solved from, or nothing any more.

    Raises:
        MalformedMessage: it says nothing of the kind.
    """
    said = Changing.decode(data)
    if service.changers.say(device, said.collection, Change(said.change) if said.change else None):
        service.news.policy.notify()
        service.pages.notify()


def take_class_proposal(service: MainService, device: bytes, data: bytes) -> None:
    """A device's owner would like another class; see ``class_proposals.take`` for what it raises."""
    with service.database.transaction() as tx:
        class_proposals.take(tx, device, data, service.task.classes, service.clock())
    service.pages.notify()
