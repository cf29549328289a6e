"""The policy: when rounds run and whom they need; a section of the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from fanlight.core.ring import WORD_BITS
from fanlight.core.segments import MOST_UPDATE_BITS, packed_update
from fanlight.errors import SettingsError
from fanlight.learning.algorithms.robust import FEWEST
from fanlight.protocol.contribution import W_MAX
from fanlight.protocol.manifest import MOST_DEVICES, MOST_REJECTED_PERCENT, MOST_SHARDS
from fanlight.services.main_server.quiet_hours import QuietHours

WINDOW_BY_ITSELF_S: Final = 600
WINDOW_BY_HAND_S: Final = 7 * 86_400
ShardRule = Literal["never", "after-failure", "always"]
"""When the reports of a round are summed in shards."""

MOST_DRAWN: Final = 10_000
"""The devices that are drawn, up to five times as many, go to the aggregator in one message of at most 1 MiB."""


class Section(BaseModel):
    """A part of the task's file: it knows its keys, takes no text for a number, and does not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Policy(Section):
    """When rounds run and whom they need.

    Attributes:
        by_itself: devices train when a manifest appears and rounds follow one another; else every step is by hand.
        rounds: training rounds to run by itself, then one measuring round; 0 = no end.
        k_min, n_max: fewest and most devices in a sum.
        r_max_percent: largest share of rejected reports.
        window_s: seconds a round stays open; 0 = 10 minutes by itself, 7 days by hand.
        wait_s: seconds to wait, by itself, for devices that are connected but have not reported, once k_min have.
        expected_percent: by itself, a round ends as soon as this share of the devices that are connected, or have
            reported, has reported, and k_min have.
        demo: the floors of two devices are meant.
        min_class_supporters: classes that fewer devices have pictures of are held back; 0 = k_min, 1 under demo.
        cohort_size: devices sampled for a round; 0 = all.
        over_selection_percent: so many more are sampled, and the round ends when cohort_size of them have reported.
        patience_rounds: by itself, end after so many training rounds in a row without a better accuracy on held-out
            pictures, and make the best version current; 0 = never.
        stop_on_drop_points: stop, and make the best version current, when a version's accuracy on held-out pictures is
            more percentage points below the best one's; 0 = never.
        paused: no round opens; an open one goes on.
        quiet_hours: hours of the day, such as 22:00-06:00, in which no round opens; empty = none.
        timezone: of the quiet hours, such as Europe/Berlin.
        update_bits: bits of each number of an update as a device rounds it, 10 to 23; it then travels in as many as the
            sum of n_max of them takes: 16 take 26 with 1,000 devices. 0 = not packed, 32 bits.
        most_pictures: most training pictures of one device that count; the fewer, the less narrow updates lose by
            rounding.
        shards: when reports are summed in several shards of k_min devices or more, so that one cheat spoils only its
            own: never, always, or in the rounds after one that has failed, until no shard is left out any more.
        most_shards: most shards of such a round; a cohort that is too small for as many has fewer.
        changes_from: by itself, a round of changes opens when so many devices report some, and k_min; a head that is
            solved from sums is then solved anew. 0 = k_min.
        polls_per_second: wanted polls for news of devices that have nothing to do; with more than ten devices for each,
            devices pause between two polls.
    """

    model_config = ConfigDict(validate_default=True)  # one that does not suffice can be the default

    by_itself: bool = False
    rounds: Annotated[int, Field(ge=0, le=100_000)] = 0
    k_min: Annotated[int, Field(ge=2, le=100_000)] = 5
    n_max: Annotated[int, Field(ge=2, le=MOST_DEVICES)] = 1000
    r_max_percent: Annotated[int, Field(ge=0, le=MOST_REJECTED_PERCENT)] = 10
    window_s: Annotated[int, Field(ge=0, le=90 * 86_400)] = 0
    wait_s: Annotated[int, Field(ge=1, le=86_400)] = 120
    expected_percent: Annotated[int, Field(ge=1, le=100)] = 100
    demo: bool = False
    min_class_supporters: Annotated[int, Field(ge=0, le=100_000)] = 0
    cohort_size: Annotated[int, Field(ge=0, le=MOST_DRAWN)] = 0
    over_selection_percent: Annotated[int, Field(ge=0, le=400)] = 0
    patience_rounds: Annotated[int, Field(ge=0, le=100_000)] = 0
    stop_on_drop_points: Annotated[int, Field(ge=0, le=100)] = 0
    paused: bool = False
    quiet_hours: str = ""
    timezone: str = "UTC"
    update_bits: Annotated[int, Field(ge=0, le=MOST_UPDATE_BITS)] = 0
    most_pictures: Annotated[int, Field(ge=1, le=W_MAX)] = W_MAX
    shards: ShardRule = "after-failure"
    most_shards: Annotated[int, Field(ge=2, le=MOST_SHARDS)] = 4
    changes_from: Annotated[int, Field(ge=0, le=100_000)] = 0
    polls_per_second: Annotated[int, Field(ge=1, le=100_000)] = 200

    @property
    def window(self) -> int:
        """Seconds a round stays open."""
        return self.window_s or (WINDOW_BY_ITSELF_S if self.by_itself else WINDOW_BY_HAND_S)

    @property
    def supporters(self) -> int:
        """Devices that must have pictures of a class before its row of the head is published."""
        return self.min_class_supporters or (1 if self.demo else self.k_min)

    @property
    def ring_bits(self) -> int:
        """Bits that each number of an update takes as it travels."""
        return packed_update(self.n_max, self.update_bits)[1] if self.update_bits else WORD_BITS

    @property
    def quiet(self) -> QuietHours | None:
        """The quiet hours, if there are any."""
        return QuietHours.parse(self.quiet_hours, self.timezone)

    def rests_at(self, unix_s: float) -> bool:
        """Does no round of any kind open at this moment?"""
        return self.paused or (self.quiet is not None and self.quiet.holds(unix_s))

    @property
    def sample_size(self) -> int:
        """Devices sampled for a round, over-selection included; 0 = all."""
        return -(-self.cohort_size * (100 + self.over_selection_percent) // 100)

    @field_validator("n_max", "cohort_size")
    @classmethod
    def _suffices(cls, devices: int, info: ValidationInfo) -> int:
        needed, most = info.data.get("k_min", 0), info.data.get("n_max", devices)
        if devices > most:
            raise ValueError(f"at most as many as a sum may have: {most:,}")
        nobody_is_drawn = info.field_name == "cohort_size" and not devices
        if devices < needed and not nobody_is_drawn:
            choice = "0, or at least" if info.field_name == "cohort_size" else "at least"
            raise ValueError(f"{choice} as many as the fewest devices in a sum: {needed:,}")
        return devices

    @field_validator("quiet_hours")
    @classmethod
    def _are_hours(cls, hours: str) -> str:
        QuietHours.parse(hours, "UTC")
        return hours

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, name: str) -> str:
        QuietHours.parse("", name)
        return name

    @field_validator("update_bits")
    @classmethod
    def _can_be_packed(cls, bits: int, info: ValidationInfo) -> int:
        if bits and "n_max" in info.data:
            try:
                packed_update(info.data["n_max"], bits)
            except SettingsError as error:
                raise ValueError(f"{error.message}. {error.next.rstrip('.')}") from error
        return bits

    def lacks_for(self, combine: str) -> tuple[str, ...]:
        """What it must say else before ``combine`` stands a bad shard, such as ``shards=always``; nothing for the mean.

        Whether there are as many devices shows in each round.
        """
        fewest = FEWEST.get(combine, 0)
        drawn = self.sample_size // self.k_min if self.sample_size else fewest
        wanted = {
            "shards=always": fewest == 0 or self.shards == "always",
            f"most_shards={fewest} or more": self.most_shards >= fewest,
            f"cohort_size={fewest * self.k_min} or more": drawn >= fewest,
        }
        return tuple(rule for rule, holds in wanted.items() if not holds)

    def flaws(self, changes: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong with some changes, by field, each in a sentence for people; empty if nothing is."""
        try:
            Policy.model_validate({**self.model_dump(), **changes})
        except ValidationError as error:
            found = error.errors(include_url=False)
            return {str(flaw["loc"][0]): self._in_words(flaw) for flaw in found}
        return {}

    @classmethod
    def _in_words(cls, flaw: ErrorDetails) -> str:
        given = flaw["input"]
        if flaw["type"] == "int_type":
            return f"This is no whole number: {str(given).strip()[:40]!r}."
        if flaw["type"] in ("greater_than_equal", "less_than_equal"):
            field = str(flaw["loc"][0])
            low, high = cls.range_of(field)
            return f"From {low:,} to {high:,}{' seconds' if field.endswith('_s') else ''}, not {given:,}."
        said = flaw["msg"].removeprefix("Value error, ")
        return f"{said[:1].upper()}{said[1:]}."

    @classmethod
    def range_of(cls, field: str) -> tuple[int, int]:
        """The smallest and the largest value of a field that is a number."""
        limits = cls.model_fields[field].metadata
        (low,) = [limit.ge for limit in limits if isinstance(limit, Ge)]
        (high,) = [limit.le for limit in limits if isinstance(limit, Le)]
        assert isinstance(low, int)
        assert isinstance(high, int)
        return low, high
