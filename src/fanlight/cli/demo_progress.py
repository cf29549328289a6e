"""Shows a demo's rounds while they run: on standard error, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from fanlight.cli.demo_result import Result, Round
from fanlight.core.percent import percent
from fanlight.core.printable import printable

_STATES = {
    "proposed": "being opened",
    "open": "devices train and report",
    "judged": "reports are checked",
    "released": "released",
    "complete": "published",
}


class Progress:
    """Says each change once: a line when a round begins or ends, and the table of all rounds at the end."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._said: dict[int, str] = {}
        self._held = ""

    def show(self, result: Result) -> None:
        """Say what has changed since the last call."""
        for entry in result.rounds:
            if self._said.get(entry.number) != entry.state:
                self._said[entry.number] = entry.state
                state = _STATES.get(entry.state, entry.state)
                self.console.print(f"round {entry.number}: {state}{_why(entry)}", markup=False)

    def hold(self, held: Mapping[str, Any] | None) -> None:
        """Say why no round opens, unless it is because all have been."""
        words = f"{held['title']} {held['message']} {held['next']}" if held and held["reason"] != "all-done" else ""
        if words and words != self._held:
            self.console.print(printable(words), markup=False)
        self._held = words

    def table(self, result: Result) -> None:
        """Draw all rounds."""
        names = list(dict.fromkeys(name for entry in result.rounds for name in entry.local_accuracy))
        table = Table(title="Accuracy on held-out pictures: of the model before and after, and of each local model")
        for heading in ("round", "devices", "before", "after", *names, "balanced after", "seconds"):
            table.add_column(heading, justify="right")
        for entry in result.rounds:
            table.add_row(
                f"{entry.number}{' ' + entry.state if entry.failed else ''}",
                str(entry.participants),
                percent(entry.figures["accuracy_before"]),
                percent(entry.figures["accuracy_after"]),
                *(percent(entry.local_accuracy.get(name)) for name in names),
                percent(entry.figures["balanced_accuracy_after"]),
                "-" if entry.seconds is None else f"{entry.seconds:.1f}",
            )
        self.console.print(table)


def _why(entry: Round) -> str:
    return f" ({entry.reason})" if entry.failed and entry.reason else ""
