"""A world, as a line of a study says it: ``diurnal:16,share=0.33+speeds:mixed+drop:train=0.1+deadline:60``.

| term | |
|---|---|
| ``always``, ``random``, ``diurnal``, ``file`` | who is there (see ``availability``) |
| ``speeds`` | how fast they are (see ``hardware``) |
| ``join``, ``leave`` | who becomes a member, or stops being one (see ``membership``) |
| ``drop:model=P,train=P,report=P`` | how likely a device goes before it has the model, in training, while it reports |
| ``over:PERCENT`` | so many more devices are asked than are wanted; a round ends when the wanted number has reported |
| ``deadline:S`` | seconds after which a round ends, whoever is missing |
| ``every:S`` | a round begins that many seconds after the last one began, or when that has ended; 0 = at once |

With ``diurnal``, and unless told otherwise, a round begins every hour.

All that a world says is a function of the seed, the device, the round and the simulated clock, never of what was asked
before: so a study that was interrupted goes on in the same world.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.terms import Term
from fanlight.simulation.seeds import chance, stream
from fanlight.simulation.specs import terms_of
from fanlight.simulation.worlds.availability import AVAILABILITIES, Availability, always
from fanlight.simulation.worlds.hardware import Hardware, Work, hardware_of
from fanlight.simulation.worlds.membership import Membership, membership_of

SUBJECT: Final = "world"
STEPS: Final = ("model", "train", "report")
"""Of a device in a round, in their order."""
HOURLY_S: Final = 3_600.0
_OTHERS: Final = ("speeds", "join", "leave", "drop", "over", "deadline", "every")


@dataclass(frozen=True)
class World:
    """Where the devices of a study live.

    Attributes:
        devices: how many there are.
        seed: of all that is drawn.
        there, hardware, membership: see their modules.
        drop_out: probability of each of ``STEPS``.
        over_percent: see the module.
        deadline_s, every_s: see the module; 0 = none.
    """

    devices: int
    seed: int
    there: Availability
    hardware: Hardware
    membership: Membership
    drop_out: Mapping[str, float]
    over_percent: float = 0.0
    deadline_s: float = 0.0
    every_s: float = 0.0

    @classmethod
    def of(cls, line: str, devices: int, seed: int) -> World:
        """The world that a line describes; of an empty one: all are there always, equally fast, and nobody drops out.

        Raises:
            SettingsError: the line cannot be read. StorageError, DataError: a file in it.
        """
        terms = terms_of(SUBJECT, line or "always", (*AVAILABILITIES, *_OTHERS), paths=("file",))
        by_name = {term.name: term for term in terms}
        when = [term for term in terms if term.name in AVAILABILITIES]
        if len(when) > 1:
            raise when[1].flaw(f"says who is there, and so does {when[0].name!r}", str(when[0]))
        there = AVAILABILITIES[when[0].name](when[0], devices, seed) if when else always(_ALWAYS, devices, seed)
        hourly = HOURLY_S if "diurnal" in by_name else 0.0
        return cls(
            devices=devices,
            seed=seed,
            there=there,
            hardware=hardware_of(by_name.get("speeds"), devices, seed),
            membership=membership_of(by_name.get("join"), by_name.get("leave"), devices, seed),
            drop_out=_drop_out(by_name.get("drop")),
            over_percent=_single(by_name.get("over"), "over:20", 0.0, 400.0),
            deadline_s=_single(by_name.get("deadline"), "deadline:60", 0.0, 1e9),
            every_s=_single(by_name.get("every"), "every:3600", hourly, 1e9),
        )

    def present(self, round_number: int, at_s: float = 0.0) -> NDArray[np.bool_]:
        """(devices,) the members that are there when a round begins.

        Args:
            round_number: from 1.
            at_s: seconds of the simulated clock.
        """
        return self.membership.members(round_number) & self.there(round_number, at_s)

    def asked(self, size: int) -> int:
        """How many devices are asked where ``size`` reports are wanted."""
        return min(self.devices, math.ceil(size * (100 + self.over_percent) / 100))

    def cohort(
        self, round_number: int, size: int, at_s: float = 0.0, able: NDArray[np.bool_] | None = None
    ) -> list[int]:
        """The devices that a round asks: drawn of those that are there.

        Args:
            round_number, at_s: see ``present``.
            size: reports that are wanted; 0 = of all that are there.
            able: (devices,) who can take part at all; None = all.
        """
        present = self.present(round_number, at_s)
        candidates = np.flatnonzero(present if able is None else present & able)
        asked = self.asked(size) if size else candidates.size
        drawn = candidates[stream(self.seed, "cohort", round_number).permutation(candidates.size)[:asked]]
        return sorted(drawn.tolist())

    def arrivals(self, round_number: int, work: Work) -> NDArray[np.float64]:
        """(devices,) seconds from the beginning of a round to a device's report, if it does not drop out."""
        return self.hardware.seconds(work, round_number)

    def drops(self, round_number: int, step: str) -> NDArray[np.bool_]:
        """(devices,) who goes at one of ``STEPS`` of a round, if it came as far as that."""
        probability = self.drop_out[step]
        if not probability:
            return np.zeros(self.devices, np.bool_)
        return chance(self.seed, f"world/drop/{step}/{round_number}").uniforms(self.devices) < probability

    def next_opening(self, opened_s: float, ended_s: float) -> float:
        """When the round after one that was open from ``opened_s`` to ``ended_s`` begins."""
        return max(ended_s, opened_s + self.every_s)


def _drop_out(term: Term | None) -> Mapping[str, float]:
    if term is None:
        return MappingProxyType(dict.fromkeys(STEPS, 0.0))
    example = "drop:model=0.01,train=0.1,report=0.05"
    term.takes(example, *STEPS, value=False)
    return MappingProxyType({step: term.of(step, example, low=0, high=1, default=0.0) for step in STEPS})


def _single(term: Term | None, example: str, default: float, high: float) -> float:
    if term is None:
        return default
    term.takes(example, value=True)
    return term.number(example, low=0, high=high)


_ALWAYS: Final = Term(SUBJECT, "always")
