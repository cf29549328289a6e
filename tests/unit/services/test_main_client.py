"""What the aggregator asks of main: the longest answer that may come is taken."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from fanlight.errors import MessageTooLarge
from fanlight.protocol.closing import CLOSE_LIMIT
from fanlight.protocol.exchange import Words
from fanlight.protocol.identities import Role
from fanlight.services.aggregator import main_client
from fanlight.services.federation import init_federation, load_server_identity
from fanlight.services.main_server.task import Task


class Answering:
    """In the place of ``Remote``: gives this answer, if it is not longer than is taken."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def send(self, method: str, path: str, *, limit: int, **_: Any) -> bytes:
        if len(self.answer) > limit:
            raise MessageTooLarge(f"{method} {path}: more than {limit} bytes")
        return self.answer


@pytest.fixture
def home(tmp_path: Path) -> Path:
    task = Task.default(classes=("cat", "dog"), demo=True).to_json()
    init_federation(tmp_path / "f", main_url="http://localhost:1", aggregator_url="http://localhost:2", task_json=task)
    return tmp_path / "f"


def test_words_of_the_longest_close_and_verdict_are_taken(home: Path) -> None:
    longest = bytes(CLOSE_LIMIT)
    words = Words(manifest=b"m", cohort=(), close=longest, verdict=longest, release=b"", outcome=b"")
    with mock.patch.object(main_client, "Remote", return_value=Answering(words.encode())):
        client = main_client.MainClient(load_server_identity(home / "aggregator", Role.AGGREGATOR), time.time)
    assert client.words(1) == words
