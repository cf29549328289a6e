"""Devices that do not do what is asked of them: who they are in a study, and what they send.

Those of a round know one another's honest updates; so they are worked on together, as one group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import SettingsError
from fanlight.simulation.attacks.attack import NO_ATTACK, Attack
from fanlight.simulation.attacks.registry import Planned
from fanlight.simulation.seeds import chance


@dataclass(frozen=True)
class Cheats:
    """The attackers of a study.

    Attributes:
        attack: what they do.
        who: their numbers.
        seed: of what they draw.
    """

    attack: Attack = NO_ATTACK
    who: frozenset[int] = frozenset()
    seed: int = 0

    @classmethod
    def of(cls, plan: Planned | None, devices: int, seed: int) -> Cheats:
        """Those of an attack; nobody of None."""
        if plan is None:
            return cls()
        return cls(plan.attack, frozenset(np.flatnonzero(plan.attackers(devices, seed)).tolist()), seed)

    def poisoned(
        self, owners: NDArray[np.int64], labels: NDArray[np.int64], classes: int
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """What the devices call their examples, and which of them get a mark.

        Args:
            owners, labels: (n,) the device of each example, and its class.
            classes: how many there are.

        Raises:
            SettingsError: the target of a backdoor is none of the classes.
        """
        theirs = np.isin(owners, list(self.who))
        called, marked = labels.copy(), np.zeros(labels.size, np.bool_)
        if self.attack.relabel is not None:
            called[theirs] = self.attack.relabel(labels[theirs], classes)
        trigger = self.attack.trigger
        if trigger is not None:
            if trigger.target >= classes:
                raise SettingsError(
                    f"attack: 'backdoor' has target {trigger.target} of {classes} classes.",
                    next=f"Classes are counted from 0: take 0 to {classes - 1}.",
                )
            marked = theirs & (chance(self.seed, "attack/marks").uniforms(labels.size) < trigger.rate)
            called[marked] = trigger.target
        return called, marked

    def groups(self, devices: Sequence[int]) -> list[list[int]]:
        """The devices of a round, those together that know of one another."""
        together = [device for device in devices if device in self.who]
        alone = [[device] for device in devices if device not in self.who]
        return [together, *alone] if together else alone

    def sent(
        self, round_number: int, honest: Mapping[int, NDArray[np.float64]], devices: int
    ) -> Mapping[int, NDArray[np.float64]]:
        """What the devices of a group send, by device.

        Args:
            round_number: from 1.
            honest: (d,) what each has learned; all of them attack, or none.
            devices: of the whole round.
        """
        if not self.who.issuperset(honest):
            return honest
        crafted = self.attack.craft(
            np.stack(list(honest.values())), devices, chance(self.seed, f"attack/{round_number}")
        )
        return dict(zip(honest, crafted, strict=True))


NOBODY: Final = Cheats()
