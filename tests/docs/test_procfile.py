"""The Procfile: the servers are for the world, a device's pages for its owner."""

from __future__ import annotations

import re
from pathlib import Path

PROCFILE = (Path(__file__).parents[2] / "Procfile").read_text()


def test_only_the_servers_listen_on_all_addresses() -> None:
    bound = {line.split(":")[0]: re.findall(r"--bind (\S+):\$PORT", line) for line in PROCFILE.splitlines()}
    assert bound == {"main": ["0.0.0.0"], "aggregator": ["0.0.0.0"], "device": ["localhost"]}
