"""The part of a report that tells of the world, of stale updates and of cheats; empty where a study has none."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fanlight.simulation.plots import Curve, chart
from fanlight.simulation.result import Line
from fanlight.simulation.worlds.world import STEPS


def sections(world: str, lines: Sequence[Line]) -> list[str]:
    """HTML.

    Args:
        world: the study's.
        lines: all of them.
    """
    return [*_world(world, lines), *_staleness(lines), *_backdoor(lines)]


def unit_of(seconds: float) -> tuple[str, float]:
    """The unit that a time of the simulated clock is best read in, and its seconds."""
    units = (("seconds", 1.0), ("minutes", 60.0), ("hours", 3600.0), ("days", 86_400.0))
    return next((each for each in reversed(units) if seconds >= 3 * each[1]), units[0])


def _world(world: str, lines: Sequence[Line]) -> list[str]:
    told = [(line, line.world, line.simulated_seconds) for line in lines if line.world and line.simulated_seconds]
    if not told:
        return []
    unit, unit_s = unit_of(told[-1][2])
    ended = [seconds / unit_s for _, _, seconds in told]
    opened = [each["opened_s"] / unit_s for _, each, _ in told]
    gone = {step: sum(each["dropped"][step] for _, each, _ in told) for step in STEPS}
    words = (
        f"{len(told)} rounds in {ended[-1]:.1f} simulated {unit}; "
        f"{sum(each['asked'] for _, each, _ in told)} times a device was asked, "
        f"{sum(line.participants for line, _, _ in told)} reports counted, "
        f"{sum(each['late'] for _, each, _ in told)} came late, {sum(gone.values())} devices dropped out "
        f"({', '.join(f'{step}: {count}' for step, count in gone.items())}); "
        f"{sum(bool(each['failed']) for _, each, _ in told)} rounds failed."
    )
    return [
        "<h2>The world</h2>",
        f"<p><code>{escape(world)}</code></p><p>{escape(words)}</p>",
        chart(
            "Accuracy by simulated time",
            unit,
            [Curve("balanced accuracy", ended, [line.balanced_accuracy for line, _, _ in told])],
        ),
        chart(
            "Devices",
            unit,
            [
                Curve("there", opened, [each["present"] for _, each, _ in told]),
                Curve("asked", opened, [each["asked"] for _, each, _ in told]),
                Curve("in the sum", opened, [line.participants for line, _, _ in told]),
            ],
        ),
    ]


def _staleness(lines: Sequence[Line]) -> list[str]:
    told = [(line.round, line.staleness) for line in lines if line.staleness is not None]
    if not told:
        return []
    x = [number for number, _ in told]
    curves = [Curve(name, x, [figures[name] for _, figures in told]) for name in ("mean", "max")]
    return [chart("Staleness of updates, versions", "round", curves)]


def _backdoor(lines: Sequence[Line]) -> list[str]:
    successes = [(line.round, line.backdoor_success) for line in lines if line.backdoor_success is not None]
    if not successes:
        return []
    curve = Curve("success of the backdoor", [number for number, _ in successes], [share for _, share in successes])
    return [chart("Marked pictures of other classes that are taken for its target", "round", [curve])]
