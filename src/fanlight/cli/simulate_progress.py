"""Shows a simulation's rounds while they run: on standard error, for people."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich import progress as bars
from rich.console import Console

from fanlight.simulation.result import Line


class Progress:
    """A bar with the last round's figures; where nobody watches, a line every tenth of the way.

    Args:
        rounds: of the whole run.
        console: by default standard error.
    """

    def __init__(self, rounds: int, console: Console | None = None) -> None:
        self._rounds = rounds
        self._console = console or Console(stderr=True, highlight=False)
        self._bar = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.fields[figures]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("rounds", total=rounds, figures="")
        self._features: bars.TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def features(self, done: int, total: int) -> None:
        """So many pictures have features, which takes time once."""
        if self._features is None:
            self._features = self._bar.add_task("features, once", total=total, figures="pictures")
            if self._bar.disable:
                self._console.print(f"Working out the features of {total} pictures, once.", markup=False)
        self._bar.update(self._features, completed=done)

    def round_done(self, line: Line) -> None:
        """One more round."""
        figures = f"balanced accuracy {line.balanced_accuracy:.3f}, loss {line.loss:.3f}, {line.seconds:.2f} s a round"
        self._bar.update(self._task, completed=line.round, figures=figures)
        tenth = max(self._rounds // 10, 1)
        if self._bar.disable and (line.round % tenth == 0 or line.round == self._rounds):
            self._console.print(f"round {line.round}: {figures}", markup=False)
