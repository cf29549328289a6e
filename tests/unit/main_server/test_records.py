"""The past of a main server: rounds and versions page by page, lineage, cards, the log with its chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update

from fanlight.errors import NotFound
from fanlight.protocol.closing import Outcome, ShardOutcome
from fanlight.protocol.signing import Signed
from fanlight.services.main_server import model_card, round_table
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice, Combine
from fanlight.services.main_server.app import MainServerParts
from fanlight.storage.tables import main as tables
from tests.unit.main_server.past import BETTER, RECEIVED, add_round, measure, server


@pytest.fixture
def parts(tmp_path: Path) -> MainServerParts:
    _app, made = server(tmp_path / "federation")
    return made


def test_a_new_server_has_one_version_and_no_round(parts: MainServerParts) -> None:
    assert parts.records.rounds() == {"rounds": [], "page": 1, "pages": 1, "total": 0}
    (first,) = parts.records.models()["models"]
    assert (first["version"], first["current"], first["from_version"]) == (0, True, None)


def test_rounds_come_in_pages_newest_first(parts: MainServerParts) -> None:
    for number in range(1, 53):
        add_round(parts, number, kind="measure")
    first, second = parts.records.rounds(), parts.records.rounds(2)
    assert (first["pages"], first["total"], len(first["rounds"])) == (2, 52, 50)
    assert [line["round"] for line in first["rounds"][:2] + second["rounds"]] == [52, 51, 2, 1]
    assert parts.records.rounds(9)["rounds"] == []


def test_a_round_names_the_versions_before_and_after_it(parts: MainServerParts) -> None:
    add_round(parts, 1)
    add_round(parts, 2, state="failed")
    add_round(parts, 3)
    measure(parts, 1, RECEIVED)
    found = [parts.records.round(number) for number in (1, 2, 3)]
    assert [(line["from_version"], line["to_version"]) for line in found] == [(0, 1), (1, None), (1, 2)]
    assert found[0]["figures"]["received"]["correct"] == 100
    with pytest.raises(NotFound, match="no round 4"):
        parts.records.round(4)


def test_a_version_knows_its_lineage_and_what_came_of_it(parts: MainServerParts) -> None:
    for number in (1, 2, 3):
        add_round(parts, number)
    model = parts.records.model(2)
    assert (model["lineage"], model["children"], model["current"]) == ([1, 0], [3], False)
    with pytest.raises(NotFound, match="version 4"):
        parts.records.model(4)


def test_a_card_says_what_a_version_is(parts: MainServerParts) -> None:
    for number in (1, 2):
        add_round(parts, number)
    measure(parts, 2, BETTER)
    card = parts.records.card(1)
    assert (card["devices_in_the_sum"], card["lineage"], card["metrics"]["correct"]) == (5, [0], 130)
    text = model_card.as_markdown(card)
    for said in ("version 1", card["sha256"], "130 of 150", "86.7 %", "Only differential privacy bounds that"):
        assert said in text
    assert "may have been chosen by these very figures" in text
    assert "Not measured yet." in model_card.as_markdown(parts.records.card(2))


def summed_in(parts: MainServerParts, number: int, shards: Sequence[str], combine: Combine) -> tuple[str, str, str]:
    """The card's line of the algorithm, what it says of combining, and what the page says, after such a round."""
    add_round(parts, number)
    told = tuple(
        ShardOutcome(number=place, count=2, set_root=bytes(32), reason=reason) for place, reason in enumerate(shards)
    )
    outcome = Outcome(mh=bytes(32), result="released", reason="ok", set_root=bytes(32), shards=told or None)
    signed = Signed(outcome.encode(), bytes(16), bytes(64)).encode()
    with parts.service.database.transaction() as tx:
        record = round_table.whole(tx, number).record.model_copy(update={"signed_outcome": signed})
        tx.execute(update(tables.rounds).where(tables.rounds.c.number == number).values(record=record.encode()))
        choice = AlgorithmChoice(combine=combine).model_dump_json()
        kept = tables.algorithm_memories
        tx.execute(update(kept).where(kept.c.version == number).values(choice=choice))
    card = parts.records.card(number)
    [line] = [line for line in model_card.as_markdown(card).splitlines() if line.startswith("- Algorithm: ")]
    return line, card["algorithm"]["combine"], parts.records.model(number)["learned"]


def test_a_card_says_that_shards_were_combined_only_where_there_were_several(parts: MainServerParts) -> None:
    five = summed_in(parts, 1, ["ok"] * 5 + ["too-large"], "krum")
    assert five == (
        "- Algorithm: FedAvg; 5 shards combined by krum",
        "krum",
        "trained; FedAvg; 5 shards combined by krum",
    )
    few = summed_in(parts, 2, ["ok"] * 2, "median")[0]
    assert few == "- Algorithm: FedAvg; 2 shards combined by median, which stands no bad one of so few"
    plain = ("- Algorithm: FedAvg", "mean", "trained; FedAvg")
    assert summed_in(parts, 3, [], "krum") == plain, "a single sum"
    assert summed_in(parts, 4, ["ok", "too-large"], "krum") == plain, "all that is left is one sum"
    assert summed_in(parts, 5, ["ok"] * 5, "mean") == plain
    assert [parts.records.card(number)["shards_in_the_sum"] for number in range(6)] == [None, 5, 2, 1, 1, 5]


def test_the_card_of_a_server_of_before_can_be_written_too(parts: MainServerParts) -> None:
    """``fanlight export --url`` asks a main server that may be older; it said nothing of shards and of solved ones."""
    summed_in(parts, 1, ["ok", "ok", "ok"], "median")
    card = parts.records.card(1)
    del card["shards_in_the_sum"], card["solved_before"]
    card["algorithm"]["combine"] = "median"
    text = model_card.as_markdown(card)
    assert "; shards combined by median\n" in text


def test_a_card_and_a_page_tell_of_the_nearest_version_that_was_solved(parts: MainServerParts) -> None:
    for number in range(1, model_card.LINEAGE + 4):
        add_round(parts, number)
    solved = {"devices": 2, "pictures": 24, "strength": 0.03, "held_out_error": 0.125}
    with parts.service.database.transaction() as tx:
        tx.execute(delete(tables.algorithm_memories).where(tables.algorithm_memories.c.version.in_([1, 2])))
        for version in (1, 2):
            tx.execute(insert(tables.solutions).values(version=version, **solved))
    last = model_card.LINEAGE + 3
    said = "from version 2, which was solved from the sums of the pictures on 2 devices, in one round; ridge λ = 0.03, "
    for number in (3, last):
        assert f"- Trained on {said}" in model_card.as_markdown(card := parts.records.card(number))
        assert (card["solution"], card["solved_before"]["version"]) == (None, 2)
        assert parts.records.model(number)["learned"].startswith(f"trained; FedAvg; {said}")
    text = model_card.as_markdown(parts.records.card(2))
    assert ("- Solved: from the sums" in text, "- Trained on" in text) == (True, False)
    assert parts.records.card(1)["solved_before"] is None


def test_a_card_counts_all_rounds_and_names_the_nearest_versions(parts: MainServerParts) -> None:
    most = model_card.LINEAGE
    for number in range(1, most + 2):
        add_round(parts, number)
    whole, cut = parts.records.card(most), parts.records.card(most + 1)
    assert (whole["training_rounds"], whole["lineage"]) == (most, list(range(most - 1, -1, -1)))
    assert (cut["training_rounds"], cut["lineage"]) == (most + 1, list(range(most, 0, -1)))
    assert "and those before" not in model_card.as_markdown(whole)
    assert f"- Training rounds: {most + 1}" in (text := model_card.as_markdown(cut))
    assert "version 1, and those before" in text


def test_names_in_a_card_cannot_become_markup(tmp_path: Path) -> None:
    _app, parts = server(tmp_path / "hostile", classes=("[x](javascript:1)", "<b>*|dog"))
    text = model_card.as_markdown(parts.records.card(0))
    assert "- Classes: `[x](javascript:1)`, `<b>*|dog`" in text


def test_the_log_is_recomputed_and_shown_newest_first(parts: MainServerParts) -> None:
    for number in (1, 2, 3):
        add_round(parts, number, kind="measure")
    log = parts.records.log.page(size=2)
    assert [entry["number"] for entry in log["entries"]] == [3, 2]
    assert (log["verified"], log["verified_entries"], log["pages"]) == (True, 3, 2)
    add_round(parts, 4, kind="measure")
    assert parts.records.log.page()["verified_entries"] == 4


@pytest.mark.parametrize("changes", [{"payload": b"other"}, {"head": b"x" * 32}, {"type": "close"}])
def test_an_altered_log_is_noticed(parts: MainServerParts, changes: dict[str, object]) -> None:
    for number in (1, 2, 3):
        add_round(parts, number, kind="measure")
    assert parts.records.log.page()["verified"]
    with parts.service.database.transaction() as tx:
        tx.execute(update(tables.log).where(tables.log.c.seq == 2).values(**changes))
    log = parts.records.log.page(again=True)
    assert (log["verified"], log["broken"], log["verified_entries"]) == (False, 2, 1)


def test_a_missing_entry_is_noticed(parts: MainServerParts) -> None:
    for number in (1, 2, 3):
        add_round(parts, number, kind="measure")
    with parts.service.database.transaction() as tx:
        tx.execute(tables.log.delete().where(tables.log.c.seq == 2))
    assert parts.records.log.page()["broken"] == 2
