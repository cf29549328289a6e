"""What becomes of a round where a server's state was put back: found by having each state told all that can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fanlight.protocol import aggregator_round, main_round
from fanlight.protocol.catching_up import aggregator_catches_up, aggregator_words, main_catches_up, main_words
from fanlight.protocol.exchange import Words
from tests.protocol_world import HEAD, Round, World

NOTHING = "(unknown)"
"""The state of a round that this server does not know."""


@dataclass
class Copies:
    """One round and what can become of it: records of both servers by state, and what each can then be told."""

    world: World
    main: dict[str, main_round.Record | None] = field(default_factory=lambda: {NOTHING: None})
    aggregator: dict[str, aggregator_round.Record | None] = field(default_factory=lambda: {NOTHING: None})
    by_main: dict[str, Words] = field(default_factory=dict)
    by_aggregator: dict[str, Words] = field(default_factory=dict)

    def keep(self, what: str, m: main_round.Record | None = None, a: aggregator_round.Record | None = None) -> None:
        """These records, which hold ``what`` and all before it; of each state the first that comes."""
        if m is not None:
            self.main.setdefault(m.state, m)
            self.by_main.setdefault(what, main_words(m))
        if a is not None:
            self.aggregator.setdefault(a.state, a)
            self.by_aggregator.setdefault(what, aggregator_words(a))


def copies() -> Copies:
    """Of a round that is summed, one that is dismissed, one that is given up before it is judged."""
    world = World(3)
    main, aggregator, told, found = world.main, world.aggregator, Round(world), Copies(world)
    found.main[told.m.state] = told.m
    offered = told.offer().record
    found.aggregator[offered.state] = offered
    told.open().collect()
    found.keep("manifest", told.m, told.a)
    close, opened = told.close(), told.m
    given_up = aggregator.abandon(told.a, "operator")
    found.keep("close", a=told.a)
    dismissal = main.judge(opened, close, world.members, told.beacons, None, HEAD)
    dismissed = aggregator.take_verdict(told.a, dismissal.reply, told.held)
    told.take_verdict(told.judge(close).reply)
    found.keep("verdict", told.m, told.a)
    found.keep("verdict not to sum", dismissal.record)
    release, vector = told.release()
    lost = main.take_release(told.m, release, np.zeros(0, np.uint32), told.main_round_key)
    step = told.take_release(release, vector)
    found.keep("release", told.m, told.a)
    found.main[lost.record.state] = lost.record
    told.finish(step.reply)
    found.keep("outcome", main.publish(told.m).record, told.a)
    found.keep("abandoned, no verdict", main.abandoned(opened, given_up.reply).record, given_up.record)
    found.keep("abandoned by verdict", main.abandoned(dismissal.record, dismissed.reply).record, dismissed.record)
    return found


def moves_of_aggregator(all_of: Copies) -> dict[tuple[str, str], str]:
    """The aggregator's state afterwards, by its own state and what it is told; those that change alone."""
    found = {}
    for state, record in all_of.aggregator.items():
        for what, words in all_of.by_main.items():
            step = aggregator_catches_up(all_of.world.aggregator, record, words)
            if step.entries:
                found[state, what] = step.record.state
    return found


def moves_of_main(all_of: Copies) -> dict[tuple[str, str], str]:
    """Main's, likewise."""
    found = {}
    for state, record in all_of.main.items():
        for what, words in all_of.by_aggregator.items():
            step = main_catches_up(all_of.world.main, record, words)
            if step.entries:
                found[state, what] = step.record.state
    return found


def table(moves: Mapping[tuple[str, str], str], told: Mapping[str, Words]) -> str:
    """As a table in Markdown: of the states that change."""
    states = list(dict.fromkeys(state for state, _ in moves))
    head = [f"| is \\ is told | {' | '.join(told)} |", "|---" * (len(told) + 1) + "|"]
    rows = [f"| **{state}** | {' | '.join(moves.get((state, what), '') for what in told)} |" for state in states]
    return "\n".join([*head, *rows])


def tables() -> str:
    """Both servers'."""
    all_of = copies()
    return "\n\n".join(
        (
            "**Aggregator**, told by main",
            table(moves_of_aggregator(all_of), all_of.by_main),
            "**Main**, told by the aggregator",
            table(moves_of_main(all_of), all_of.by_aggregator),
        )
    )
