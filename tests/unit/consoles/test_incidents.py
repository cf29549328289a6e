"""What should not have happened stands on the pages of those who can do something about it."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from fanlight.protocol.identities import Role
from fanlight.protocol.log import LogEntry, first_head, next_head
from fanlight.services.federation import load_server_identity
from fanlight.services.server.incidents import TOKEN_CONFLICT
from fanlight.storage.database import Database
from fanlight.storage.migrating import migrate
from fanlight.storage.tables import aggregator as aggregator_tables
from fanlight.storage.tables import main as main_tables
from tests.unit.consoles.federation import AGGREGATOR_URL, MAIN_URL, Page, aggregator, main_server, make_folder, owner


def note_conflict(folder: Path, role: Role) -> None:
    """Put a conflict into a server's log before it starts."""
    fid = load_server_identity(folder, role).trust.fid
    table = (main_tables if role is Role.MAIN else aggregator_tables).log
    entry = LogEntry(TOKEN_CONFLICT, b"evidence")
    with Database(folder / "state.sqlite3") as database:
        migrate(database, "main" if role is Role.MAIN else "aggregator")
        with database.transaction() as tx:
            head = next_head(1, first_head(fid, role.value), entry)
            tx.execute(table.insert().values(seq=1, head=head, type=entry.type, payload=entry.payload))


def shown(browser: TestClient) -> str:
    response = browser.get("/")
    assert 'id="incidents"' in response.text
    return Page.of(response).text


def test_a_token_that_two_devices_used_stands_on_the_main_servers_page(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "federation")
    note_conflict(folder / "main", Role.MAIN)
    assert "was copied or has leaked" in shown(owner(main_server(folder), MAIN_URL))


def test_it_stands_on_the_aggregators_page_too(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "federation")
    note_conflict(folder / "aggregator", Role.AGGREGATOR)
    assert "was copied or has leaked" in shown(owner(aggregator(folder), AGGREGATOR_URL))


def test_nothing_is_said_while_nothing_has_happened(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "federation")
    assert 'id="incidents"' not in owner(main_server(folder), MAIN_URL).get("/").text
