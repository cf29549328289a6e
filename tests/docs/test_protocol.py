"""``docs/protocol.md`` says what the code does: its generated parts are current, and nothing is missing from it."""

from __future__ import annotations

import ast
import importlib
import re
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import fanlight
from fanlight.protocol.audit import one_log
from fanlight.protocol.audit.one_log import OneLog
from fanlight.protocol.catching_up import RESTORED
from fanlight.protocol.exchange import ORDERED_BY_MAIN, PREFIX
from fanlight.protocol.identities import Role
from fanlight.protocol.message import Message
from fanlight.services.aggregator import reports_api
from fanlight.services.aggregator.masked_sums import DEAD_ROUND
from fanlight.services.aggregator.older_copies import MAIN_RESTORED
from fanlight.services.aggregator.service import WINDOW_PASSED, AggregatorService
from fanlight.services.federation import init_federation, load_server_identity
from fanlight.services.http.plain_routes import PlainRoute
from fanlight.services.main_server import protocol_api
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.task import Task
from tests.docs.current import DOCS, check
from tests.docs.protocol_tables import BLOCKS, MACHINES, MESSAGES, blocks_of, filled, messages_of

SOURCE = Path(fanlight.__file__).parent
PAGE = (DOCS / "protocol.md").read_text()
BY_HAND = re.sub(r"<!-- generated: .+? -->.*?<!-- end -->", "", PAGE, flags=re.DOTALL)
LABEL = re.compile(r"fanlight/[a-z-]+/v[0-9]+|(?:manifest|outcome|mask)-(?:main|agg)")
STORED = {"protocol.main_round.Record", "protocol.aggregator_round.Record", "protocol.device_round.Record"}
"""Messages that a party writes for itself alone."""


def parsed(folder: str, about: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every node of the code in a folder, of files with ``about`` in them, with its module's name."""
    for path in sorted((SOURCE / folder).rglob("*.py")):
        text = path.read_text()
        if about in text:
            module = ".".join(("fanlight", *path.relative_to(SOURCE).with_suffix("").parts))
            yield from ((module, node) for node in ast.walk(ast.parse(text)))


def test_what_is_generated_is_current_and_all_of_it_is_on_the_page() -> None:
    assert sorted(blocks_of(PAGE)) == sorted(BLOCKS)
    check("protocol.md", filled(PAGE))


def test_every_message_class_is_on_the_page() -> None:
    found = {kind for kind in Message.__subclasses__() if kind.__module__.startswith("fanlight.protocol.")}
    listed = {kind for module in MESSAGES for kind in messages_of(module)}
    names = {f"{kind.__module__.removeprefix('fanlight.')}.{kind.__name__}" for kind in found - listed}
    assert names == STORED


def test_every_label_is_on_the_page_and_every_one_on_the_page_is_in_the_code() -> None:
    code = {
        node.value
        for _, node in parsed("protocol")
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and LABEL.fullmatch(node.value)
    }
    assert len(code) > 30, "the search for them finds too few"
    assert set(LABEL.findall(BY_HAND)) == code


def test_every_state_and_event_of_a_machine_is_drawn() -> None:
    for name, table in MACHINES.items():
        block = BLOCKS[f"{name} machine"]()
        for (state, event), following in table.moves.items():
            row = next(line for line in block.splitlines() if line.startswith(f"| **{state.value}** |"))
            head = next(line for line in block.splitlines() if line.startswith("| in \\ event |"))
            column = [cell.strip() for cell in head.split("|")].index(event.name)
            assert row.split("|")[column].strip() == ("same" if following is state else following.value)


def test_every_reason_of_verdicts_and_sums_is_on_the_page() -> None:
    wanted = {"_flaw", "_header_flaw", "_verdict_reason", "check_sum"}
    found = {
        said.value.value
        for _, node in parsed("protocol")
        if isinstance(node, ast.FunctionDef) and node.name in wanted
        for said in ast.walk(node)
        if isinstance(said, ast.Return) and isinstance(said.value, ast.Constant) and isinstance(said.value.value, str)
    }
    assert {"swapped-seed", "too-many-rejected", "no-pictures", "not-invited"} <= found
    assert sorted(reason for reason in found if f"`{reason}`" not in BY_HAND) == []


def test_every_reason_of_an_abandonment_is_on_the_page() -> None:
    section = BY_HAND.partition("### Outcome")[2].partition("## 11.")[0]
    reasons = {RESTORED, MAIN_RESTORED, WINDOW_PASSED, ORDERED_BY_MAIN, *DEAD_ROUND}
    assert {reason for reason in reasons if f"`{reason}`" not in section} == set()


@pytest.fixture(scope="module")
def types_of_entries() -> set[str]:
    """Every type of log entry that this version writes."""
    types: set[str] = set()
    for module, node in (*parsed("protocol", "LogEntry("), *parsed("services", "LogEntry(")):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "LogEntry":
            match node.args[0]:
                case ast.Constant(value=str(text)):
                    types.add(text)
                case ast.Name(id=name):
                    types.add(getattr(importlib.import_module(module), name))
    assert {"enrolled", "cohort", "shard-left-out", "token-conflict"} <= types
    return types


def test_every_type_of_log_entry_is_on_the_page(types_of_entries: set[str]) -> None:
    section = BY_HAND.partition("## 12. Logs")[2].partition("## 13.")[0]
    assert {kind for kind in types_of_entries if f"`{kind}`" not in section} == set()


def test_an_audit_knows_every_type_of_log_entry_and_no_other(types_of_entries: set[str]) -> None:
    assert {*OneLog._HANDLERS, *one_log._KEPT_AS_THEY_ARE} == types_of_entries


@pytest.fixture
def routes(tmp_path: Path) -> Iterator[set[tuple[str, str]]]:
    """Method and path of every route of the protocol, on either server."""
    home = tmp_path / "federation"
    task = Task.default(classes=("cat", "dog"), demo=True).to_json()
    init_federation(home, main_url="http://localhost:1", aggregator_url="http://localhost:2", task_json=task)
    identity = load_server_identity(home / "main", Role.MAIN)
    main = MainService(home / "main", identity, time.time, time.monotonic, secrets.token_bytes)
    identity = load_server_identity(home / "aggregator", Role.AGGREGATOR)
    clocks = time.time, time.monotonic
    aggregator = AggregatorService(home / "aggregator", identity, *clocks, secrets.token_bytes, lambda: 0.5)
    found: list[PlainRoute] = [
        *protocol_api.protocol_routes(main, ["localhost:1"]),
        *reports_api.protocol_routes(aggregator, ["localhost:2"]),
    ]
    yield {
        (method, route.path.removeprefix(PREFIX)) for route in found for method in (route.methods or set()) - {"HEAD"}
    }
    main.close()
    aggregator.close()


def test_every_route_is_on_the_page_and_no_other(routes: set[tuple[str, str]]) -> None:
    section = BY_HAND.partition("### Routes")[2].partition("## 6.")[0]
    assert set(re.findall(r"^\| `([A-Z]+) (/[^` ]+)` \|", section, re.MULTILINE)) == routes


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE))))
def test_every_link_within_the_documentation_leads_somewhere(link: str) -> None:
    if link.startswith("https://"):
        return
    path, _, anchor = link.partition("#")
    target = (DOCS / path).resolve() if path else DOCS / "protocol.md"
    assert target.is_file()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
