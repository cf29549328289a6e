"""A study from its first round to its last."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.core.metrics import Metrics
from fanlight.core.segments import layout_words
from fanlight.errors import ModelError
from fanlight.protocol.contribution import Totals, centre, check_sum, read_totals
from fanlight.protocol.plan import Kind
from fanlight.simulation.attendance import attendance, is_buffered
from fanlight.simulation.buffered import staleness_figures
from fanlight.simulation.checkpoint import Checkpoints, Standing
from fanlight.simulation.engines import Engine, engine
from fanlight.simulation.federation import open_round
from fanlight.simulation.learners import Published
from fanlight.simulation.members import Members
from fanlight.simulation.orders import Done, Order
from fanlight.simulation.reporter import model_hash
from fanlight.simulation.result import Line, Result, figures
from fanlight.simulation.server import Global, Server
from fanlight.simulation.stopwatch import Stopwatch
from fanlight.simulation.study import Study
from fanlight.simulation.workshop import Workshop
from fanlight.simulation.worlds.course import Course
from fanlight.simulation.worlds.hardware import Work
from fanlight.simulation.worlds.world import World

_NOTHING_DONE = Done(np.zeros((0, 0), np.uint32), ())


@dataclass(frozen=True)
class Run:
    """A study with all that it takes.

    Attributes:
        study, workshop, server, world: what is simulated.
        checkpoints: where it stands.
        members: the federation, for rounds that servers open.
        engine_name, workers: see ``engines``.
        on_round: told of each round that is done; what it raises ends the run, which can go on later.
        clock: seconds.
    """

    study: Study
    workshop: Workshop
    server: Server
    world: World
    checkpoints: Checkpoints
    members: Members
    engine_name: str
    workers: int
    on_round: Callable[[Line], None]
    clock: Callable[[], float] = field(default=time.perf_counter)

    def run(self) -> Standing:
        """All rounds that are not done yet; where it stands then.

        Raises:
            FanlightError: of what a device or the server failed with.
        """
        with closing(engine(self.engine_name, self.workshop, self.workers)) as crew, self.checkpoints.held():
            standing = self.checkpoints.find()
            if standing is None:
                standing = Standing(self.server.first(self.workshop.learner.start(), self.study.clip))
            while len(standing.lines) < self.study.rounds:
                standing = self._round(crew, standing)
                self.on_round(standing.lines[-1])
        return standing

    def _round(self, crew: Engine, before: Standing) -> Standing:
        number, watch, population = before.next_round, Stopwatch(self.clock), self.workshop.population
        kind = Kind.STATISTICS if self.study.head.is_solved and not before.state.solved else Kind.TRAIN
        published = Published(before.state.parameters, self.server.published(before.state))
        work = self._work(kind, published, before.state.clip_micro)
        course, buffer, parts = attendance(self.study, self.world, before, kind, work, population.learns)
        order = self._order(number, kind, course.reported, before)
        state, done, totals = before.state, _NOTHING_DONE, None
        if not course.failed:
            versions = {0: published, **before.older}
            order, done, totals = self._summed(crew, order, versions, parts, course, watch)
            if kind.sums:
                state = self.server.solve(state, self.workshop.vectors.plan, totals)
            else:
                state = self.server.move(state, totals)
        watch.lap("server")
        measured = self._measured(state)
        watch.lap("measuring")
        line = Line(
            round=number,
            participants=0 if totals is None else totals.count,
            **measured,
            seconds=watch.total,
            bytes_up=course.sent * int(work.bytes_up),
            bytes_down=course.fetched * int(work.bytes_down),
            phases=watch.laps,
            device_seconds=sum(note.seconds for note in done.notes),
            clip=order.clip_micro / 1e6 if kind is Kind.TRAIN else 0.0,
            within_clip=0 if totals is None else totals.within_clip or 0,
            simulated_seconds=course.ended_s if self.study.world else None,
            world=course.as_json() if self.study.world else None,
            staleness=staleness_figures(parts) if is_buffered(self.study, kind) and parts else None,
        )
        waits = not is_buffered(self.study, kind)
        next_s = self.world.next_opening(course.opened_s, course.ended_s) if waits else course.ended_s
        after = Standing(
            state,
            (*before.lines, line),
            self._remembered(before, order, done),
            next_s,
            buffer,
            before.versions_after(buffer),
        )
        self.checkpoints.keep(after)
        self._forget(before, after)
        return after

    def _work(self, kind: Kind, published: Published, clip_micro: int) -> Work:
        bounds = self.workshop.population.bounds
        passes = 1 if kind.sums else self.study.training.epochs
        return Work(
            examples=(passes * (bounds[:, 1] - bounds[:, 0])).astype(np.float64),
            bytes_down=4 * published.parameters.size * (1 + len(published.memory)),
            bytes_up=4 * layout_words(self.workshop.vectors.layout(kind, clip_micro)),
        )

    def _summed(
        self,
        crew: Engine,
        order: Order,
        versions: Mapping[int, Published],
        parts: Mapping[int, Sequence[int]],
        course: Course,
        watch: Stopwatch,
    ) -> tuple[Order, Done, Totals]:
        """Have the devices learn, those of each version by themselves; what main reads out of their reports' sums."""
        opened = None
        if self.study.is_opened:
            opened = open_round(self.members, order, model_hash(versions[0]), course.asked)
            order = opened.ordered(order, course.reported)
        groups = self.workshop.cheats.groups
        done = Done.of_parts(
            [
                crew.carry_out(replace(order, groups=groups(devices), staleness=staleness), versions[staleness])
                for staleness, devices in parts.items()
            ]
        )
        watch.lap("devices")
        if opened is not None and self.workshop.reporter is not None:
            return order, done, opened.close(done)
        return order, done, self._totals(order, done)

    def _measured(self, state: Global) -> dict[str, Any]:
        learner, population = self.workshop.learner, self.workshop.population
        found: dict[str, Any] = figures(learner.measure(state.parameters, population.test))
        if population.marked is not None:
            found["backdoor_success"] = figures(learner.measure(state.parameters, population.marked))["accuracy"]
        return found

    def _order(self, number: int, kind: Kind, devices: Sequence[int], before: Standing) -> Order:
        return Order(
            round=number,
            kind=kind,
            clip_micro=before.state.clip_micro,
            groups=self.workshop.cheats.groups(list(devices)),
            remembered={device: before.remembered[device] for device in devices if device in before.remembered},
        )

    def _totals(self, order: Order, done: Done) -> Totals:
        """What main reads out of the sums.

        Raises:
            ModelError: a sum that main would not use.
        """
        layout = self.workshop.vectors.layout(order.kind, order.clip_micro)
        found = []
        for number, row in enumerate(done.sums):
            count = sum(order.shards.get(note.device, 0) == number for note in done.notes)
            total = centre(layout, row)
            flaw = check_sum(layout, total, count)
            if flaw is not None:
                raise ModelError(f"round {order.round}: main would not use this sum: {flaw}", slug=flaw)
            found.append((count, total))
        if len(found) == 1:
            return read_totals(layout, found[0][1], found[0][0])
        both: NDArray[np.int64] = np.sum(np.stack([total for _, total in found]), axis=0, dtype=np.int64)
        shards = tuple(read_totals(layout, total, count) for count, total in found)
        return replace(read_totals(layout, both, sum(count for count, _ in found)), shards=shards)

    @staticmethod
    def _remembered(before: Standing, order: Order, done: Done) -> Mapping[int, int]:
        new = {note.device: order.round for note in done.notes if note.remembers}
        return MappingProxyType({**before.remembered, **new}) if new else before.remembered

    def _forget(self, before: Standing, after: Standing) -> None:
        if after.remembered is not before.remembered:
            for device, of_round in before.remembered.items():
                if after.remembered[device] != of_round:
                    self.workshop.memories.forget(device, of_round)

    def result(self, standing: Standing) -> Result:
        """What was found, without baselines."""
        population, state = self.workshop.population, standing.state
        counts = self.workshop.learner.measure(state.parameters, population.test)
        return Result(
            study=self.study.as_json(),
            engine=self.engine_name,
            workers=self.workers,
            rounds=standing.lines,
            parameters=state.parameters,
            model_sha256=model_sha256(state),
            data=population.as_json(self.study.partition) | {"cheats": len(self.workshop.cheats.who)},
            per_class=Metrics.from_confusion(counts.confusion).as_dict(population.classes)["per_class"],
        )


def model_sha256(state: Global) -> str:
    """Of the model's numbers, hexadecimal."""
    return hashlib.sha256(state.parameters.astype("<f4").tobytes()).hexdigest()
