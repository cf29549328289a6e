"""Why the newest round cannot be finished, given up or published now, for the operator to read."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from fanlight.errors import NotPossibleNow
from fanlight.protocol.exchange import Order
from fanlight.protocol.main_round import State
from fanlight.services.main_server import round_table
from fanlight.services.main_server.round_table import RoundLine, Stored

_OPENS: Final = "A round opens when enough devices are enrolled at both servers and the aggregator runs."


def why_not_ask(tx: Connection, stored: Stored | None, order: Order) -> NotPossibleNow | None:
    """Why ``order`` cannot be given now, or None."""
    if stored is None or stored.at not in (State.OPEN, State.JUDGED):
        return _why_not_open(stored)
    if order is not Order.FINISH:
        return None
    if stored.asked is Order.ABANDON:
        return NotPossibleNow(
            f"Round {stored.number} is being abandoned.",
            next="Wait until the secure aggregator has answered; the next round opens by itself.",
            slug="being-abandoned",
        )
    arrived, needed = round_table.arrived(tx, stored.mh), stored.record.terms.k_min
    if arrived < needed:
        return NotPossibleNow(
            f"Round {stored.number} has {arrived} of the {needed} reports it needs.",
            next="Let more devices send their models (device page /sendmodel), then try again.",
            slug="too-few-reports",
        )
    return None


def why_not_publish(line: RoundLine | None) -> NotPossibleNow:
    """Why there is nothing to publish."""
    state = f"Round {line.number} is {line.state}." if line else "There was no round yet."
    return NotPossibleNow(
        f"There is no new model to publish. {state}",
        next="Aggregate first (/aggregate_models).",
        slug="nothing-to-publish",
    )


def _why_not_open(line: RoundLine | None) -> NotPossibleNow:
    if line is None or line.is_over:
        message, advice = "No round is open.", _OPENS
    elif line.at is State.PROPOSED:
        message, advice = f"Round {line.number} waits for the secure aggregator.", _OPENS
    elif line.at is State.RELEASED:
        message, advice = f"Round {line.number} is released.", "Publish the new model (/send_model_clients)."
    else:
        message, advice = f"Round {line.number} is {line.state}.", "Wait until the secure aggregator has answered."
    return NotPossibleNow(message, next=advice, slug="no-open-round")
