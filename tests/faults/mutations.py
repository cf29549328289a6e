"""Ways to break the real roles that only a mishap shows: a repetition, or a death at the wrong moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.errors import Conflict, FanlightError
from fanlight.protocol import aggregator as aggregator_protocol
from fanlight.protocol.aggregator_round import Held
from fanlight.protocol.aggregator_round import State as AggregatorState
from fanlight.protocol.main_round import Record, State, Step
from fanlight.protocol.main_server import MainServer
from fanlight.services.aggregator import held_reports
from fanlight.services.aggregator.masked_sums import sum_hashes
from fanlight.services.aggregator.reception import Arrived, Reception, _Taking
from fanlight.services.aggregator.rounds import Rounds
from tests.faults.stores import Died

Patch = pytest.MonkeyPatch


def sign_releases_anew(monkeypatch: Patch) -> None:
    """Asked for a release again, the aggregator signs another one."""
    release = Rounds.release

    def release_anew(rounds: Rounds, verdict: bytes = b"") -> tuple[bytes, NDArray[np.uint32]]:
        before = rounds.latest()
        signed, vector = release(rounds, verdict)
        if before is None or not before.record.release:
            return signed, vector
        fresh = before.record.with_(state=AggregatorState.AGREED.value, release=b"")
        with rounds._database.reading() as tx:
            held = held_reports.of_round(tx, fresh.mh)
        accepted = rounds._machine.accepted(fresh, held)
        return rounds._machine.release(fresh, accepted, sum_hashes(fresh, vector), bytes(32)).reply, vector

    monkeypatch.setattr(Rounds, "release", release_anew)


def forget_verdicts(monkeypatch: Patch) -> None:
    """Shown the same close again, main judges it anew: its log has grown meanwhile, so that is another verdict."""
    judge = MainServer.judge

    def judge_anew(machine: MainServer, record: Record, *arguments: Any) -> Step:
        fresh = record.with_(state=State.OPEN.value, close=b"", verdict=b"")
        return judge(machine, fresh if record.at is State.JUDGED else record, *arguments)

    monkeypatch.setattr(MainServer, "judge", judge_anew)


def refuse_repetitions(monkeypatch: Patch) -> None:
    """The aggregator takes a report that it holds for another one."""
    kept = Reception.kept

    def of_another(reception: Reception, mh: bytes, device: bytes) -> Any:
        if kept(reception, mh, device) is not None:
            raise Conflict("This device has sent a different report in this round.", slug="second-report")

    monkeypatch.setattr(Reception, "kept", of_another)


def list_another_report(monkeypatch: Patch) -> None:
    """The close names each device, and of the first one a report that it has never sent."""
    close = aggregator_protocol.Aggregator.close

    def of_another(machine: Any, record: Any, reports: Sequence[Held], log_head: bytes) -> Any:
        envelope = reports[0].envelope
        other = envelope.with_(header=envelope.header[:-1] + bytes([envelope.header[-1] ^ 1]))
        return close(machine, record, [replace(reports[0], envelope=other), *reports[1:]], log_head)

    monkeypatch.setattr(aggregator_protocol.Aggregator, "close", of_another)


def acknowledge_before_commit(monkeypatch: Patch) -> None:
    """Receipts leave before their reports are durable: wrong only if the aggregator dies in that moment."""
    take, answer = Reception.take, _Taking.answer
    said: list[bytes | FanlightError] = []

    def answer_aloud(taking: _Taking, report: Arrived) -> bytes | FanlightError:
        said.append(answer(taking, report))
        return said[-1]

    def take_hastily(reception: Reception, *arguments: Any) -> list[bytes | FanlightError]:
        said.clear()
        try:
            return take(reception, *arguments)
        except Died:
            return list(said)

    monkeypatch.setattr(_Taking, "answer", answer_aloud)
    monkeypatch.setattr(Reception, "take", take_hastily)
