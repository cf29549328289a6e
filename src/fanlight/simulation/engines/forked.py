"""Persistent forked workers.

The data are loaded before the fork, so no worker has a copy of them. In a round the global model lies in memory that
all share; each worker adds to one sum of its own in shared memory. What travels through pipes is an order of some
hundred bytes a worker, and the notes that come back.

Work is taken, not given: the numbers of all groups (of many, in pieces) are written into one pipe, and a worker that is
done reads the next one. A read of eight bytes is whole or nothing, since writes are; so a slow device holds nobody up,
and no message goes back and forth for each device.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import struct
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.errors import FanlightError, LocalError
from fanlight.simulation.learners import Published
from fanlight.simulation.orders import Done, Note, Order, Words, decode_notes, encode_notes
from fanlight.simulation.workshop import Workshop

_NUMBER: Final = struct.Struct("<q")
_NO_MORE: Final = _NUMBER.pack(-1)
_MOST_PIECES: Final = 1 << 10
"""A pipe holds so many numbers without a reader, on any system: to write them never blocks."""
_MOST_SUMS: Final = 16
_PATIENCE_S: Final = 1.0


class _Shared:
    """Anonymous memory that a fork shares."""

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, max(size, 1))

    def vector(self, kind: np.dtype[Any], length: int) -> NDArray[Any]:
        return np.frombuffer(self._memory, kind, count=length)


class Forked:
    """The engine; workers are forked when it is made.

    Args:
        workshop: what they work with.
        workers: how many, at least 1.
    """

    def __init__(self, workshop: Workshop, workers: int) -> None:
        self._workshop = workshop
        names = workshop.algorithm.publishes
        self._published = _Shared(4 * workshop.learner.layout.size * (1 + len(names)))
        self._queue = os.pipe()
        self._sums = [_Shared(_MOST_SUMS * workshop.longest_sum_bytes) for _ in range(max(workers, 1))]
        context = get_context("fork")
        self._lines: list[Connection] = []
        self._processes = []
        for sums in self._sums:
            ours, theirs = context.Pipe()
            process = context.Process(target=self._work, args=(theirs, ours, sums), daemon=True)
            process.start()
            theirs.close()
            self._lines.append(ours)
            self._processes.append(process)

    def carry_out(self, order: Order, published: Published) -> Done:
        """Have all groups of an order learn.

        Raises:
            FanlightError: what a device failed with. LocalError: a worker has died.
        """
        names = self._workshop.algorithm.publishes
        shared = self._in_shared_memory()
        shared[0][:] = published.parameters
        for row, name in zip(shared[1:], names, strict=True):
            row[:] = published.memory[name]
        data = order.encode()
        for line in self._lines:
            self._say(line, data)
        starts = range(0, len(order.groups), _piece(order))
        os.write(self._queue[1], b"".join([*map(_NUMBER.pack, starts), *[_NO_MORE] * len(self._lines)]))
        notes = list[Note]()
        for line in self._lines:
            notes += self._heard(line)
        total = self._workshop.empty_sums(order)
        for sums in self._sums:
            ring.add_into(total.reshape(-1), sums.vector(total.dtype, total.size))
        return Done(total, tuple(sorted(notes)))

    def close(self) -> None:
        """End the workers; those that are at work, by force: what they have not reported counts for nothing."""
        for line in self._lines:
            line.close()
        for process in self._processes:
            process.join(_PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join()
        for end in self._queue:
            os.close(end)
        self._lines, self._processes = [], []

    def _in_shared_memory(self) -> NDArray[np.float32]:
        rows = 1 + len(self._workshop.algorithm.publishes)
        size = self._workshop.learner.layout.size
        vector = self._published.vector(np.dtype(np.float32), rows * size)
        return vector.reshape(rows, size)

    @staticmethod
    def _say(line: Connection, data: bytes) -> None:
        try:
            line.send_bytes(data)
        except OSError as error:
            raise _died() from error

    @staticmethod
    def _heard(line: Connection) -> list[Note]:
        try:
            data = line.recv_bytes()
        except (EOFError, OSError) as error:
            raise _died() from error
        if data.startswith(b"{"):
            failed = json.loads(data)
            raise LocalError(failed["message"], next=failed["next"], slug=failed["slug"])
        return decode_notes(data)

    # -- in a worker

    def _work(self, line: Connection, other_end: Connection, sums: _Shared) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides what an interrupt means
        other_end.close()
        for other in self._lines:  # else nobody would see that the first process has gone
            other.close()
        os.close(self._queue[1])  # likewise
        while True:
            try:
                order = Order.decode(line.recv_bytes())
            except (EOFError, OSError):
                return
            try:
                answer = encode_notes(self._carry_out(order, sums))
            except EOFError:
                return
            except FanlightError as error:
                answer = json.dumps({"message": error.message, "next": error.next, "slug": error.slug}).encode()
            with contextlib.suppress(OSError):  # nobody wants to know any more
                line.send_bytes(answer)

    def _carry_out(self, order: Order, shared: _Shared) -> list[Note]:
        empty = self._workshop.empty_sums(order)
        sums: Words = shared.vector(empty.dtype, empty.size).reshape(empty.shape)
        sums[...] = 0
        rows = self._in_shared_memory()
        memory: Mapping[str, NDArray[np.float32]] = dict(zip(self._workshop.algorithm.publishes, rows[1:], strict=True))
        published, notes = Published(rows[0], memory), list[Note]()
        failed: FanlightError | None = None
        while (start := self._next_start()) >= 0:
            for group in order.groups[start : start + _piece(order)]:
                try:
                    if failed is None:  # the others' numbers are taken all the same: each worker reads on to its end
                        notes += self._workshop.carry_out(order, published, group, sums)
                except FanlightError as error:
                    failed = error
        if failed is not None:
            raise failed
        return notes

    def _next_start(self) -> int:
        """The first of the next groups that nobody has taken; negative if there is none.

        Raises:
            EOFError: the first process has gone.
        """
        data = os.read(self._queue[0], _NUMBER.size)
        if not data:
            raise EOFError
        return int(_NUMBER.unpack(data)[0])


def _piece(order: Order) -> int:
    """Groups that are taken at once."""
    return max(1, -(-len(order.groups) // _MOST_PIECES))


def _died() -> LocalError:
    return LocalError(
        "A worker has ended before its work was done.",
        slug="worker-died",
        next="Is there enough memory? Run it again: it goes on where it stopped; fewer workers need less.",
    )
