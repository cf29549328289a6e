"""A restart forgets which nonces were used; whoever has listened and sends it all again must gain nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from sqlalchemy import Table, select

from fanlight.storage.database import Database
from fanlight.storage.tables import aggregator, main
from tests.crash.federation import Federation, running
from tests.crash.invariants import Invariants
from tests.crash.role import until

KEPT: Final[dict[str, tuple[Table, ...]]] = {
    "main": (
        main.rounds,
        main.beacons,
        main.models,
        main.measurements,
        main.members.rekeys,
        main.log,
        main.settings,
    ),
    "aggregator": (aggregator.rounds, aggregator.reports, aggregator.members.rekeys, aggregator.log),
}


def kept(federation: Federation) -> dict[str, list[Any]]:
    """All rows of which a round is made."""
    found: dict[str, list[Any]] = {}
    for name, tables in KEPT.items():
        with Database(federation.roles[name].state / "state.sqlite3") as database, database.transaction() as tx:
            found |= {f"{name} {table.name}": [tuple(row) for row in tx.execute(select(table))] for table in tables}
    return found


@pytest.mark.timeout(900)
def test_what_was_signed_before_a_restart_changes_nothing_when_it_comes_again(
    tmp_path: Path, pictures: tuple[Path, ...]
) -> None:
    with running(tmp_path, pictures) as federation:
        federation.cycle()
        federation.cycle()
        for name in KEPT:
            federation.roles[name].stop()
            federation.roles[name].start()
        until(federation.is_at_rest, "both servers are back", federation.summary)
        before = kept(federation)
        heard = [event for role in federation.roles.values() for event in role.said("signed")]
        with httpx.Client(trust_env=False, timeout=60) as client:
            for event in reversed(heard):  # the newest first, so that an older word comes last
                body = bytes.fromhex(event["body"])
                answer = client.post(event["url"], content=body, headers=[tuple(pair) for pair in event["headers"]])
                assert answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR, answer.text
            again = client.post(event["url"], content=body, headers=[tuple(pair) for pair in event["headers"]])
        assert again.json()["error"]["slug"] == "replayed", "within one life it is not even looked at"
        paths = {event["url"].rpartition("/")[2] for event in heard}
        assert paths >= {"enrolments", "readiness", "beacons", "manifest", "close", "release", "outcome"}
        assert kept(federation) == before
        federation.cycle()
        Invariants(federation).check()
