"""What is told of rounds, and when: not before its outcome, its version and the end of every report are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fanlight.learning import model_file
from fanlight.learning.backbones import DEFAULT_BACKBONE, backbone
from fanlight.learning.model_file import HeadModel
from fanlight.protocol.closing import InclusionProof, Result
from fanlight.protocol.contribution import expected_layout
from fanlight.protocol.device_round import Delivery, End, Record
from fanlight.protocol.exchange import Offer
from fanlight.protocol.manifest import Proposal
from fanlight.protocol.plan import Kind
from fanlight.services.fleet.journal import Journal
from fanlight.services.fleet.lesson import Lesson
from fanlight.simulation import Line, Study
from fanlight.simulation.population import divide
from tests.unit.fleet.test_terms import plan_of
from tests.unit.simulation.studies import data_of

DATA = data_of(100)
POPULATION = divide(Study.of({"devices": 3}), DATA)
PLAN = plan_of(classes=DATA.classes, features=DATA.x.shape[1])


def lesson(version: int) -> Lesson:
    known = backbone(DEFAULT_BACKBONE)
    weight = np.full((PLAN.features, len(PLAN.classes)), version, np.float32)
    model = HeadModel(
        "t", version, PLAN.classes, known.id, known.compiled_sha256, 64, weight, np.zeros(len(PLAN.classes), np.float32)
    )
    file = model_file.encode(model)
    sha256 = bytes.fromhex(model_file.model_hash(file))
    offer = Offer(fid=bytes(32), version=1, by_itself=True, plan=PLAN.encode(), model=sha256, model_version=version)
    return Lesson.of(offer, file, POPULATION, 0)


def proposal(number: int, kind: Kind = Kind.TRAIN) -> Proposal:
    return Proposal(
        fid=bytes(32), suite=1, task="t", round=number, attempt=0, kind=kind.value, model=lesson(number - 1).sha256,
        plan=PLAN.of_kind(kind).hash, layout=expected_layout(PLAN.of_kind(kind), 10, 10_000_000, with_counts=False),
        cohort=b"", n_max=10, k_min=2, r_max_percent=0, window_s=60, demo=True, main_key=bytes(32), noise=0,
    )  # fmt: skip


def mh(number: int) -> bytes:
    return bytes([number]) * 32


def end(number: int, result: Result = Result.RELEASED, *, included: bool = True) -> End:
    record = Record(
        delivery=Delivery.ENDED.value, number=number, kind="train", mh=mh(number), plan=bytes(32), model=bytes(32),
        attempt=0, envelope=b"", length=1, committed_at=1,
    )  # fmt: skip
    return End(record, result, "ok" if result is Result.RELEASED else "too-few", included)


def proof(size: int, shard: int | None = None) -> InclusionProof:
    return InclusionProof(size=size, index=0, path=(), shard=shard)


class Watched:
    """A journal, and what it has told."""

    def __init__(self, wanted: int = 9) -> None:
        self.now = 0.0
        self.lines: list[Line] = []
        self.news: list[str] = []
        self.journal = Journal(POPULATION, lambda: self.now, wanted, (), self.lines.append, self.news.append)

    def built(self, number: int, *devices: int, kind: Kind = Kind.TRAIN) -> None:
        for device in devices:
            self.journal.opened(mh(number), proposal(number, kind), lesson(number - 1))
            self.journal.built(mh(number), device, seconds=0.5, clip=10.0, within_clip=device == 0)


def live(line: Line) -> dict[str, Any]:
    assert line.live is not None
    return dict(line.live)


@pytest.mark.parametrize("order", ["ends first", "version first"])
def test_a_round_is_told_when_all_is_known(order: str) -> None:
    seen = Watched()
    journal = seen.journal
    for _ in range(3):
        journal.fetched(lesson(0))
    seen.now = 5.0
    seen.built(1, 0, 1, 2)
    journal.delivered(mh(1), 700)
    journal.delivered(mh(1), 700)
    if order == "version first":
        seen.now = 7.0
        journal.fetched(lesson(1))
    journal.ended(0, end(1), proof(5))
    journal.ended(2, end(1, included=False), None)
    assert not seen.lines, "one report's end is not known yet"
    journal.ended(1, end(1), proof(5))
    if order == "ends first":
        assert not seen.lines, "there is no version yet"
        seen.now = 7.0
        journal.fetched(lesson(1))
    journal.fetched(lesson(1))
    (line,) = seen.lines
    assert (line.round, line.participants, line.seconds, line.bytes_up) == (1, 5, 2.0, 1400)
    assert line.bytes_down == 3 * lesson(0).file_bytes
    assert (line.device_seconds, line.within_clip, line.clip) == (1.5, 1, 10.0)
    told = live(line)
    assert (told["version"], told["built"], told["sent"], told["included"]) == (1, 3, 2, 2)
    assert line.loss == pytest.approx(lesson(1).measured_on(POPULATION.test).loss_sum / len(POPULATION.test.y))


def test_participants_are_those_of_all_shards_that_count() -> None:
    seen = Watched()
    seen.built(1, 0, 1, 2)
    seen.journal.ended(0, end(1), proof(4, 1))
    seen.journal.ended(1, end(1), proof(3, 2))
    seen.journal.ended(2, end(1, included=False), proof(5, 3))  # left out
    seen.journal.fetched(lesson(1))
    assert [line.participants for line in seen.lines] == [7]


def test_rounds_that_bring_no_version_are_news() -> None:
    seen = Watched()
    seen.built(1, 0)
    seen.journal.ended(0, end(1, Result.ABANDONED, included=False), None)
    seen.built(2, 0, kind=Kind.MEASURE)
    assert seen.journal.is_measuring
    seen.journal.ended(0, end(2), proof(3))
    assert not seen.journal.is_measuring
    seen.built(3, 0)
    seen.journal.ended(0, end(3), proof(3))
    seen.journal.fetched(lesson(3))
    assert [line.round for line in seen.lines] == [3]
    assert [(each["round"], each["kind"], each["result"]) for each in seen.journal.others] == [
        (1, "train", "abandoned"),
        (2, "measure", "released"),
    ]
    assert len(seen.news) == 2
    assert "too-few" in seen.news[0]


def test_no_more_are_told_than_are_wanted() -> None:
    seen = Watched(wanted=2)
    for number in (1, 2, 3):
        assert seen.journal.is_done is (number == 3)
        seen.built(number, 0)
        seen.journal.ended(0, end(number), proof(2))
        seen.journal.fetched(lesson(number))
    assert [line.round for line in seen.lines] == [1, 2]


def test_what_an_earlier_run_has_sent_is_no_round_of_this_one() -> None:
    seen = Watched()
    seen.journal.ended(0, end(1), proof(2))
    seen.journal.built(mh(1), 0, seconds=0.0, clip=0.0, within_clip=True)
    seen.journal.fetched(lesson(1))
    assert not seen.lines
