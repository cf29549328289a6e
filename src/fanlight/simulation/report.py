"""A result as a page that is one file: it can be mailed, kept, and opened without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from fanlight.core.percent import percent
from fanlight.simulation import who_has_what, world_report
from fanlight.simulation.plots import Curve, chart
from fanlight.simulation.result import Line, Result

STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 760px; margin: 2rem auto; padding: 0 1rem; }
figure { margin: 1.5rem 0; } figcaption { font-weight: 600; } svg { max-width: 100%; height: auto; }
figure > svg { width: 100%; } svg text { font-size: 12px; fill: currentColor; }
.grid { stroke: currentColor; stroke-opacity: .15; }
.key { list-style: none; padding: 0; margin: .3rem 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
.wide { overflow-x: auto; } .wide svg { max-width: none; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .15rem .7rem; } td { white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td:first-child { white-space: normal; overflow-wrap: anywhere; min-width: 5rem; }
.settings td, .settings th { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 6rem; }
.settings td:first-child { white-space: nowrap; }
@media (max-width: 40rem) { figure > svg text { font-size: 18px; } th, td { padding: .15rem .4rem; } }
tr:nth-child(even) { background: rgb(128 128 128 / .12); } code { overflow-wrap: anywhere; }
"""
"""The one style sheet of every report."""
_SHOWN: Final = 200
_REPEATED: Final = (
    "The same study gives the same model on any engine, with any number of workers. This was {}, {}. SHA-256 of its "
    "numbers:"
)
_LIVE: Final = (
    "These were rounds of the live servers at {}; keys, masks and rounding were drawn anew, so another run would not "
    "give the same numbers. SHA-256 of these:"
)


def page(result: Result) -> str:
    """The page of one run."""
    study, lines = result.study, result.rounds
    levels = [
        (name, float(figures["balanced_accuracy"]))
        for name, figures in (("pooled", result.pooled), ("each alone", result.local_only))
        if figures is not None
    ]
    x = [line.round for line in lines]
    body = [
        f"<p>{escape(_summary(result))}</p>",
        chart(
            "Accuracy on held-out examples",
            "round",
            [
                Curve("balanced accuracy", x, [line.balanced_accuracy for line in lines]),
                Curve("accuracy", x, [line.accuracy for line in lines]),
            ],
            levels,
        ),
        chart("Loss on held-out examples, nats", "round", [Curve("loss", x, [line.loss for line in lines])]),
        _against(lines, "bytes_up", 1e6, "megabytes that devices have sent"),
        _homes(result.homes),
        *world_report.sections(str(study["world"]), lines),
        "<h2>Who has what</h2>",
        f"<p>{escape(who_has_what.in_words(result.data['partition']))}</p>",
        f'<div class="wide">{who_has_what.as_svg(result.data["partition"])}</div>',
        "<h2>By class</h2>",
        table(
            ("class", "examples", "precision", "recall"),
            [(e["class"], e["pictures"], percent(e["precision"]), percent(e["recall"])) for e in result.per_class],
        ),
        "<h2>Rounds</h2>",
        _rounds(lines),
        "<h2>To run it again</h2>",
        f"<p>{escape(_where_from(result))} <code>{result.model_sha256}</code></p>",
        f'<div class="settings">{table(("setting", "value"), sorted(_flat(study)))}</div>',
    ]
    name = result.data.get("name", study["dataset"])
    return whole(f"Simulation: {study['module'] or name}", body)


def whole(title: str, body: Sequence[str]) -> str:
    """A page around a body of HTML."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width, initial-scale=1"><title>{escape(title)}</title><style>{STYLE}</style></head>'
        f"<body><h1>{escape(title)}</h1>\n{chr(10).join(filter(None, body))}\n</body></html>\n"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table that scrolls by itself where it is too wide."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    cells = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{cells}</tbody></table></div>'


def _summary(result: Result) -> str:
    study, last = result.study, result.last
    best = max(result.rounds, key=lambda line: line.balanced_accuracy)
    rounds = f"{len(result.rounds)} round{'s' * (len(result.rounds) > 1)}"
    words = (
        f"{study['devices']} devices, {study['partition']}, {study['algorithm']}, {rounds} of up to "
        f"{study['cohort'] or study['devices']}. Balanced accuracy at the end {percent(last.balanced_accuracy)}"
    )
    words += f", at best {percent(best.balanced_accuracy)} (round {best.round})."
    if cheats := result.data.get("cheats"):
        words += f" {cheats} of the devices cheat{'s' * (cheats == 1)} ({study['attack']})."
    if result.pooled is not None:
        words += f" All examples in one place: {percent(result.pooled['balanced_accuracy'])}."
    if result.local_only is not None:
        words += f" A device alone: {percent(result.local_only['balanced_accuracy'])} on average."
    return words


def _homes(homes: Mapping[str, float | None] | None) -> str:
    if homes is None:
        return ""
    devices = int(homes["devices"] or 0)
    words = f"Means over {devices} devices" if devices > 1 else "Of one device"
    names = {"own": "its own", "global": "the global one", "alone": "one trained on its own examples alone"}
    rows = [(name, percent(homes[key])) for key, name in names.items() if homes[key] is not None]
    return (
        f"<h2>What homes have</h2>\n<p>{words}, in held-out examples whose classes are as frequent as a home's own.</p>"
        f"\n{table(('model', 'accuracy at home'), rows)}"
    )


def _where_from(result: Result) -> str:
    if result.live is not None:
        return _LIVE.format(result.live["main"])
    return _REPEATED.format(result.engine, result.workers)


def _against(lines: Sequence[Line], name: str, unit: float, label: str) -> str:
    total, x = 0.0, list[float]()
    for line in lines:
        total += float(getattr(line, name)) / unit
        x.append(total)
    curve = Curve("balanced accuracy", x, [line.balanced_accuracy for line in lines])
    return chart(f"Accuracy by {label}", label, [curve])


def _rounds(lines: Sequence[Line]) -> str:
    step = -(-len(lines) // _SHOWN)
    shown = [line for place, line in enumerate(lines) if place % step == 0 or place == len(lines) - 1]
    return table(
        ("round", "devices", "balanced accuracy", "accuracy", "loss", "seconds", "MB sent"),
        [
            (
                line.round,
                line.participants,
                percent(line.balanced_accuracy),
                percent(line.accuracy),
                f"{line.loss:.4f}",
                f"{line.seconds:.3f}",
                f"{line.bytes_up / 1e6:.2f}",
            )
            for line in shown
        ],
    )


def _flat(fields: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in fields.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", str(value))]
    return found
