"""Records of rounds: the last ones are decoded once, or not at all."""

from __future__ import annotations

import pytest

from fanlight.errors import MalformedMessage
from fanlight.protocol.main_round import Record, State
from fanlight.services.server.round_rows import Records


def record(number: int) -> Record:
    return Record(state=State.OPEN, number=number, attempt=0, kind="train", proposal=b"p", cohort=(b"1" * 16,))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    found: list[bytes] = []
    decode = Record.decode

    def noted(data: bytes, *, limit: int) -> Record:
        found.append(data)
        return decode(data, limit=limit)

    monkeypatch.setattr(Record, "decode", noted)
    return found


def test_what_was_encoded_is_the_same_without_decoding(decoded: list[bytes]) -> None:
    records = Records(Record)
    data = records.encode(record(1))
    assert data == record(1).encode()
    assert records.decode(data) == record(1)
    assert decoded == []
    records.forget()
    assert records.decode(data) == record(1)
    assert records.decode(bytes(bytearray(data))) == record(1)
    assert decoded == [data]


def test_few_are_kept(decoded: list[bytes]) -> None:
    records = Records(Record)
    first, *others = [records.encode(record(number)) for number in (1, 2, 3)]
    for number, data in enumerate(others, 2):
        assert records.decode(data).number == number
    assert decoded == []
    assert records.decode(first).number == 1
    assert decoded == [first]


def test_what_is_no_record_is_refused_each_time() -> None:
    records = Records(Record)
    for _ in range(2):
        with pytest.raises(MalformedMessage):
            records.decode(b"\xa0")
