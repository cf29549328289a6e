"""Fleets of a few devices, with made-up features of the length that tasks have, at the servers of a test's world."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fanlight.protocol.device_round import Floors
from fanlight.services.federation import issue_token_files
from fanlight.services.fleet.connecting import Places, Watch, connect, floors
from fanlight.services.fleet.tokens import read_tokens
from fanlight.simulation import Data, Line, Result, Study
from tests.services_world import World, wait

FEATURES = 1280
DEMO = floors(k_min=5, accept_demo=True)


def data_of(*classes: str, examples: int = 300) -> Data:
    """Examples around as many points as there are classes."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, len(classes), examples)
    x = 0.3 * generator.standard_normal((examples, FEATURES)) + 4 * np.eye(len(classes), FEATURES)[y]
    return Data.of(x, y, classes)


@dataclass
class Seen:
    """What a fleet's watch was told."""

    lines: list[Line] = field(default_factory=list)
    news: list[str] = field(default_factory=list)

    @property
    def watch(self) -> Watch:
        return Watch(self.lines.append, self.news.append)


@contextmanager
def all_in(servers: World, devices: int) -> Iterator[None]:
    """Inside, the first round opens when so many devices are members; the servers are paused until then.

    Else it would open for the first ones, and could be over before the last ones are there.
    """

    def let_go_on() -> None:
        wait(lambda: len(servers.aggregator.service.reception.confirmed) == devices, "all are members")
        servers.main.service.change_policy(paused=False)

    thread = threading.Thread(target=let_go_on)
    thread.start()
    yield
    thread.join()


def fleet(
    servers: World,
    folder: Path,
    devices: int = 6,
    *,
    name: str = "crowd",
    allowed: Floors = DEMO,
    seen: Seen | None = None,
    data: Data | None = None,
    **study: Any,
) -> Result | None:
    """Have so many devices work at these servers."""
    tokens = issue_token_files(servers.federation, name, devices, int(servers.clock()) + 3600)
    with ThreadPoolExecutor(max_workers=1) as own_thread:  # in that of the tests, a browser's loop may be running
        return own_thread.submit(
            connect,
            Study.of({"partition": "iid", "devices": devices, "rounds": 2, **study}),
            read_tokens(tokens, main_url=servers.ports["main"].url),
            Places(folder, folder),
            allowed,
            (seen or Seen()).watch,
            data or data_of(*servers.task.classes),
        ).result()
