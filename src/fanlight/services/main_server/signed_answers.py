"""What the aggregator asks main for, signed by it: the orders, the list of members.

Both only read, and are asked for on the event loop.
"""

from __future__ import annotations

from fanlight.protocol import signing
from fanlight.protocol.exchange import MEMBERS, ORDERS, Members, Order, Orders
from fanlight.protocol.main_round import State
from fanlight.services.main_server import members, round_table
from fanlight.services.main_server.service import MainService


def orders(service: MainService) -> bytes:
    """What the aggregator is to do."""
    version, members_version = service.news.version_of(service.news.orders), service.news.members_version
    with service.database.reading() as tx:
        stored = round_table.latest(tx)
    waits = stored is not None and stored.at is State.PROPOSED
    message = Orders(
        fid=service.identity.trust.fid,
        version=version,
        members_version=members_version,
        order=(stored.asked if stored else Order.NONE).value,
        mh=stored.mh if stored else b"",
        proposal=stored.record.proposal if stored and waits else None,
        cohort=stored.record.cohort if stored and waits else (),
    )
    return signing.sign(service.identity.private, ORDERS, message.encode()).encode()


def member_list(service: MainService) -> bytes:
    """The confirmed members, for the aggregator."""
    version = service.news.members_version  # read first: who is confirmed meanwhile makes another version
    with service.database.reading() as tx:
        devices = tuple(sorted(members.confirmed(tx)))
    message = Members(fid=service.identity.trust.fid, version=version, devices=devices)
    return signing.sign(service.identity.private, MEMBERS, message.encode()).encode()
