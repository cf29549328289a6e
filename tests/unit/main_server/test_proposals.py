"""When a proposal that waits for the aggregator's signature is still what would be proposed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from sqlalchemy import delete

from fanlight.services.main_server import notes, round_table
from fanlight.services.main_server.app import MainServerParts
from fanlight.services.main_server.policy import Policy
from fanlight.storage.tables import main as tables
from tests.unit.main_server.past import add_member, server

NOON: Final = datetime(2027, 3, 1, 12, tzinfo=UTC).timestamp()
OTHERS: Final = {
    "k_min": 3,
    "update_bits": 16,
    "shards": "always",
    "quiet_hours": "22:00-06:00",
    "timezone": "Europe/Berlin",
}


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[MainServerParts]:
    _app, made = server(tmp_path / "federation", demo=True)
    for number in (1, 2, 3):
        add_member(made, number)
    yield made
    made.service.close()


def propose(parts: MainServerParts) -> None:
    parts.service.see_aggregator()
    assert parts.conductor.advance()


def is_current(parts: MainServerParts, **changed: Any) -> bool:
    """Is the newest proposal what would be proposed, with these changes to the policy?"""
    task = parts.service.task
    policy = task.policy.model_copy(update=changed)  # unchecked: also what an operator changes only by editing the file
    tasks: Any = SimpleNamespace(task=task.model_copy(update={"policy": policy}))
    with parts.service.database.transaction() as tx:
        stored = round_table.latest(tx)
        assert stored is not None
        return replace(parts.service.proposals, tasks=tasks).is_current(tx, stored.record, NOON)


def another(field: str, value: Any) -> Any:
    """Another value of a field of the policy, one that is noon's no quiet hour."""
    if isinstance(value, bool):
        return not value
    return OTHERS[field] if field in OTHERS else value - 1 if value else 1


@pytest.mark.parametrize("field", list(Policy.model_fields))
def test_no_rule_may_change_meanwhile(parts: MainServerParts, field: str) -> None:
    propose(parts)
    assert is_current(parts)
    before = getattr(parts.service.task.policy, field)
    assert not is_current(parts, **{field: another(field, before)})


@pytest.mark.parametrize("changed", [{"over_selection_percent": 50}, {"rounds": 1}, {"by_itself": True}])
def test_what_is_proposed_by_the_changed_rules_is_current(parts: MainServerParts, changed: dict[str, Any]) -> None:
    parts.service.change_policy(cohort_size=2)
    propose(parts)
    parts.service.change_policy(**changed)
    assert not is_current(parts)
    with parts.service.database.transaction() as tx:
        round_table.withdraw(tx, 1)
    propose(parts)
    assert is_current(parts)


def test_what_was_proposed_before_its_policy_was_kept_is_not_taken_for_current(parts: MainServerParts) -> None:
    propose(parts)
    with parts.service.database.transaction() as tx:
        tx.execute(delete(tables.settings).where(tables.settings.c.key == notes.PROPOSED_BY))
    assert not is_current(parts)


def test_no_policy_changes_in_the_middle_of_a_transaction(parts: MainServerParts) -> None:
    service = parts.service
    changing = threading.Thread(target=lambda: service.change_policy(paused=True))
    with service.database.transaction():
        changing.start()
        changing.join(0.2)
        assert not service.task.policy.paused, "a round might be proposed here"
    changing.join(60)
    assert service.task.policy.paused


def test_a_change_that_is_taken_back_changes_nothing(parts: MainServerParts) -> None:
    propose(parts)
    parts.service.change_policy(paused=True)
    assert not is_current(parts)
    parts.service.change_policy(paused=False)
    assert is_current(parts)


def test_quiet_hours_that_begin_meanwhile_let_none_open(parts: MainServerParts) -> None:
    parts.service.change_policy(quiet_hours="11:00-13:00")
    parts.service.clock = lambda: NOON - 7200
    propose(parts)
    assert not is_current(parts)
