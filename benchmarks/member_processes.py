"""Many members of a federation in a few processes of their own: they fetch, mask and report when they are told to."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.federation import Federation, issue_token
from benchmarks.idle import register
from fanlight.errors import LocalError

PROCESSES = 2
"""As many as Flower's simulation has actors on two cores."""
_AT_ONCE = 4
_PATIENCE_S = 600.0


@dataclass(frozen=True)
class Members:
    """The processes' ends of the line."""

    lines: Sequence[Connection]

    def report(self, dropouts: int = 0) -> int:
        """Every member fetches the model; all but ``dropouts`` of them report. Bytes sent, of all together.

        Raises:
            LocalError: one could not.
        """
        for index, line in enumerate(self.lines):
            line.send(len(range(index, dropouts, len(self.lines))))
        return sum(_answer(line) for line in self.lines)


@contextmanager
def members(running: Federation, count: int, features: int, *, plain: bool = False) -> Iterator[Members]:
    """``count`` members, enrolled; they leave with the block.

    Args:
        running: the federation, whose servers answer.
        count: how many.
        features: of the stand-in backbone.
        plain: nobody masks anything.
    """
    tokens = [issue_token(running, f"device-{number}") for number in range(1, count + 1)]
    context = multiprocessing.get_context("spawn")
    processes, lines = [], []
    for index in range(PROCESSES):
        ours, theirs = context.Pipe()
        arguments = (theirs, tokens[index::PROCESSES], features, plain)
        processes.append(context.Process(target=_work, args=arguments, daemon=True))
        processes[-1].start()
        theirs.close()
        lines.append(ours)
    try:
        for line in lines:
            _answer(line)
        yield Members(lines)
    finally:
        for line in lines:
            line.close()  # which ends its process
        for process in processes:
            process.join()


def _answer(line: Connection) -> int:
    try:
        answer = line.recv() if line.poll(_PATIENCE_S) else "no answer"
    except EOFError:
        answer = "its process has ended"
    if not isinstance(answer, int):
        raise LocalError(f"members did not report: {answer}")
    return answer


def _work(line: Connection, tokens: Sequence[Path], features: int, plain: bool) -> None:
    """One process: enrol, then report each time it is told how many of its members drop out."""
    register(features)
    from benchmarks.member import Member

    if plain:
        from benchmarks.plain import mask_nothing

        mask_nothing()
    some = [Member(token) for token in tokens]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            list(pool.map(Member.enrol, some))
            line.send(0)
            while True:
                dropouts, before = line.recv(), sum(member.sent_bytes for member in some)
                turns = [Member.fetch] * dropouts + [Member.report] * (len(some) - dropouts)
                list(pool.map(lambda turn, member: turn(member), turns, some))
                line.send(sum(member.sent_bytes for member in some) - before)
        except EOFError:
            pass
        except Exception as error:  # noqa: BLE001 whatever it was, the other side says it
            line.send(repr(error))
        finally:
            for member in some:
                member.close()
