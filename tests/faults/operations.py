"""What can happen to a federation, as data: a case is a list of these, and a failure is such a list, shrunk.

Operations say what somebody does, or what will go wrong next: a mishap waits for the next request on its line, a crash
for a commit of its role. Whatever is not possible at its moment does nothing, or is refused by the program, as in life.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from fanlight.errors import RemoteError
from fanlight.protocol.exchange import Order
from fanlight.services.main_server.policy import ShardRule
from tests.faults.lines import Mishap
from tests.faults.request import Route
from tests.faults.roles import Aggregator, Device, Main
from tests.faults.world import World


class Operation(Protocol):
    """Something that happens."""

    def __call__(self, world: World) -> None:
        """Let it happen."""


@dataclass(frozen=True)
class Enrol:
    """A device shows its token to the servers that have not taken it yet."""

    device: str

    def __call__(self, world: World) -> None:
        world.devices[self.device].act(Device.enrol)


@dataclass(frozen=True)
class Answer:
    """A device takes main's offer, if it can, and builds its report for the round that it knows of."""

    device: str

    def __call__(self, world: World) -> None:
        world.devices[self.device].act(Device.poll)
        world.devices[self.device].act(Device.answer)


@dataclass(frozen=True)
class Upload:
    """A device sends its reports that are not acknowledged to the aggregator, and their receipts to main."""

    device: str

    def __call__(self, world: World) -> None:
        world.devices[self.device].act(Device.upload)


@dataclass(frozen=True)
class Hear:
    """A device asks what became of rounds that are offered no more."""

    device: str

    def __call__(self, world: World) -> None:
        world.devices[self.device].act(Device.hear)


@dataclass(frozen=True)
class Turn:
    """A device does all that its agent would."""

    device: str

    def __call__(self, world: World) -> None:
        world.devices[self.device].act(Device.turn)


@dataclass(frozen=True)
class Leave:
    """A device leaves, and tells the servers that it can reach; the others when it can."""

    device: str

    def __call__(self, world: World) -> None:
        world.leave(self.device)


@dataclass(frozen=True)
class Revoke:
    """The operator puts a device out, at one server first; the other hears of it in the end."""

    device: str
    server: str

    def __call__(self, world: World) -> None:
        world.revoke(self.device, self.server)


@dataclass(frozen=True)
class Conduct:
    """Main does what its policy asks for next: propose a round, have it finished, publish."""

    def __call__(self, world: World) -> None:
        world.main.act(Main.conduct)


@dataclass(frozen=True)
class Follow:
    """The aggregator asks for orders and follows them."""

    def __call__(self, world: World) -> None:
        world.aggregator.act(Aggregator.follow)


@dataclass(frozen=True)
class Everybody:
    """A turn of each role."""

    def __call__(self, world: World) -> None:
        world.everybody()


@dataclass(frozen=True)
class CloseEarly:
    """The aggregator's operator closes the round."""

    def __call__(self, world: World) -> None:
        world.aggregator.act(lambda aggregator: aggregator.service.close_round())


@dataclass(frozen=True)
class Release:
    """The aggregator's operator has the sum released."""

    def __call__(self, world: World) -> None:
        world.aggregator.act(lambda aggregator: aggregator.service.release_round())


@dataclass(frozen=True)
class Abandon:
    """The aggregator's operator gives the round up."""

    def __call__(self, world: World) -> None:
        world.aggregator.act(lambda aggregator: aggregator.service.abandon_round("operator"))


@dataclass(frozen=True)
class Ask:
    """Main's operator has the aggregator finish the round, or abandon it."""

    order: Order

    def __call__(self, world: World) -> None:
        world.main.act(lambda main: main.order(self.order))


@dataclass(frozen=True)
class Measure:
    """Main's operator has the current model measured by the next round."""

    def __call__(self, world: World) -> None:
        world.main.act(lambda main: main.conductor.measure_next())


@dataclass(frozen=True)
class Cheat:
    """The next report that a device builds will be garbage, properly signed."""

    device: str

    def __call__(self, world: World) -> None:
        world.cheat(self.device)


@dataclass(frozen=True)
class Rule:
    """Main's operator says when rounds have shards."""

    shards: ShardRule

    def __call__(self, world: World) -> None:
        world.main.act(lambda main: main.service.change_policy(shards=self.shards))


@dataclass(frozen=True)
class Advance:
    """Time passes."""

    seconds: int

    def __call__(self, world: World) -> None:
        world.now += self.seconds


@dataclass(frozen=True)
class Upset:
    """Something will happen to the next request from one role to another, or to the next for ``route``."""

    caller: str
    server: str
    mishap: Mishap
    route: Route | None = None

    def __call__(self, world: World) -> None:
        world.net.upset(world.end_of_line(self.caller), self.server, self.mishap, self.route)


@dataclass(frozen=True)
class Arrive:
    """A request that was kept back arrives, after others that were sent later; nobody waits for the reply any more."""

    which: int

    def __call__(self, world: World) -> None:
        if world.net.kept_back:
            late = world.net.kept_back.pop(self.which % len(world.net.kept_back))
            with suppress(RemoteError):
                world.net.answer(late)


@dataclass(frozen=True)
class Replay:
    """A request that was sent before, no matter when, comes again; ``which`` counts from the newest (for ``route``)."""

    which: int
    route: Route | None = None

    def __call__(self, world: World) -> None:
        sent = [request for request in world.net.sent if self.route in (None, request.route)]
        if sent:
            with suppress(RemoteError):
                world.net.answer(sent[-1 - self.which % len(sent)])


@dataclass(frozen=True)
class Crash:
    """A role will die at its next commit but ``commits``, before or after it, and stay dead until it is restarted."""

    role: str
    commits: int
    after: bool

    def __call__(self, world: World) -> None:
        world.processes[self.role].fate.seal(self.commits, after=self.after)


@dataclass(frozen=True)
class Restart:
    """A role is started again, whether it has died or is well."""

    role: str

    def __call__(self, world: World) -> None:
        world.processes[self.role].restart()
