"""One case from its first operation to its last law, and what a run of many cases has seen."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fanlight.protocol.closing import Outcome
from fanlight.protocol.signing import Signed
from tests.faults.answers import again
from tests.faults.invariants import check
from tests.faults.operations import Operation
from tests.faults.scenarios import Scenario
from tests.faults.stores import Kind
from tests.faults.view import View
from tests.faults.world import Template, World


@dataclass
class Simulation:
    """Runs cases on one kind of store.

    Args:
        folder: for the worlds; each is deleted when its case is over.
        kind: of all stores.

    Attributes:
        seen: counts of what the cases were made of and came to.
    """

    folder: Path
    kind: Kind
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._templates: dict[Scenario, Template] = {}

    def run(self, operations: Sequence[Operation], seed: int = 0, scenario: Scenario = Scenario.PLAIN) -> View:
        """Let operations happen to a fresh federation, heal it, and check every law.

        Raises:
            Violation: a law does not hold; it carries which one.
            ServerFault: a server failed by itself.
        """
        if scenario not in self._templates:
            self._templates[scenario] = Template.make(scenario, self.folder / scenario.name, self.kind)
        place = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            with self._templates[scenario].world(place / "world", self.kind, seed.to_bytes(32, "big")) as world:
                for operation in operations:
                    operation(world)
                world.settle()
                view = check(world)
                self._count(world, view, operations)
        finally:
            shutil.rmtree(place)
        return view

    def _count(self, world: World, view: View, operations: Sequence[Operation]) -> None:
        self.seen["cases"] += 1
        self.seen[f"cases {world.scenario.name.lower()}"] += 1
        self.seen["operations"] += len(operations)
        self.seen["devices gone"] += len(world.gone)
        self.seen["requests"] += len(world.net.sent)
        self.seen["deaths"] += sum(process.fate.deaths for process in world.processes.values())
        self.seen.update(f"rounds {record.state}" for record in view.main.values())
        self.seen.update(again(world))
        for record in view.main.values():
            if record.signed_outcome and record.terms.shards is not None:
                told = Outcome.decode(Signed.decode(record.signed_outcome).payload).shards or ()
                self.seen["rounds with shards"] += 1
                self.seen["shards"] += len(told)
                self.seen["shards left out"] += sum(shard.reason != "ok" for shard in told)

    def summary(self, **facts: Any) -> dict[str, Any]:
        """What a run has seen, for a line of JSON."""
        return {"store": self.kind.value, **facts, **dict(sorted(self.seen.items()))}
