"""What the owner allows and wants, changed on the privacy page and kept in the state folder.

The settings that the device was started with hold until the owner says otherwise here.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Collection
from typing import Annotated, Final

from pydantic import Field

from fanlight.errors import Refused, SettingsError
from fanlight.learning.backbones import is_backbone_name
from fanlight.learning.heads import HeadKind
from fanlight.protocol.device_round import Floors
from fanlight.protocol.manifest import MOST_REJECTED_PERCENT
from fanlight.protocol.message import U32, Message, Name
from fanlight.protocol.plan import Plan
from fanlight.services.device.offers import allowed_backbones
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.device.store import DeviceStore

HEADS: Final = frozenset(kind.value for kind in HeadKind)
FEWEST, MOST = 2, 1 << 20
MOST_ANSWERS: Final = 1_000_000
PAUSED: Final = "paused"
LEFT: Final = "left"
OUT_OF_RANGE: Final = "floor-out-of-range"
MOST_TRUSTED: Final = 16
_KEY: Final = "wishes"
_SHA256: Final = re.compile("[0-9a-f]{64}")


class Trusted(Message):
    """A backbone that this program does not know by itself, and its owner allows: name, and SHA-256 in hexadecimal."""

    name: Name
    sha256: Annotated[str, Field(strict=True, pattern="^[0-9a-f]{64}$")]


class Kept(Message):
    """The floors as the owner set them, and whether this device takes part at all.

    ``excluded``: backbones and heads, by registry id, that this program knows and its owner does not want.
    ``trusted``: backbones that it does not know, and its owner wants.
    ``forget``: this device learns no more, and leaves when a round has taken its pictures out of main's sums.
    """

    k_min: U32
    accept_demo: bool
    answers_per_day: U32
    paused: bool = False
    left: bool = False
    excluded: tuple[Name, ...] = ()
    r_max_percent: U32 = MOST_REJECTED_PERCENT
    trusted: tuple[Trusted, ...] = ()
    forget: bool = False


def check_k_min(number: int) -> None:
    """Raise ``SettingsError`` unless it can be the fewest devices in a sum."""
    if not FEWEST <= number <= MOST:
        raise SettingsError(
            f"The fewest devices in a sum must be a number from {FEWEST} to {MOST:,}.",
            next="With one device, its sum would be what it learned.",
            slug=OUT_OF_RANGE,
        )


def check_answers_per_day(number: int) -> None:
    """Raise ``SettingsError`` unless it can be the most reports a day."""
    if not 1 <= number <= MOST_ANSWERS:
        raise SettingsError(
            f"The most reports a day must be a number from 1 to {MOST_ANSWERS:,}.",
            next="To send none, pause the device.",
            slug=OUT_OF_RANGE,
        )


def check_r_max_percent(number: int) -> None:
    """Raise ``SettingsError`` unless it can be the most that main may leave out of a round, percent."""
    if not 0 <= number <= MOST_REJECTED_PERCENT:
        raise SettingsError(
            f"The share that may be left out must be a number from 0 to {MOST_REJECTED_PERCENT}.",
            next="Whoever leaves out nearly all of a sum has what is left of it.",
            slug=OUT_OF_RANGE,
        )


def parse_trusted(text: str) -> Trusted:
    """A backbone written as ``NAME=SHA256``.

    Raises:
        SettingsError: it is not, or its name is a head's or the registry's.
    """
    name, _, sha256 = text.strip().partition("=")
    known = name in allowed_backbones() or name in HEADS  # on the page they are one list
    if not is_backbone_name(name) or known or not _SHA256.fullmatch(sha256.lower()):
        raise SettingsError(
            f"{text[:200]!r} is no backbone that could be allowed.",
            next="Write the name that the operator says, none that this program knows, an equals sign, and the 64 "
            "hexadecimal digits of its SHA-256.",
            slug="bad-backbone",
        )
    return Trusted(name=name, sha256=sha256.lower())


class Wishes:
    """The owner's.

    Args:
        store: where they are kept.
        settings: hold until the owner changes something.

    Attributes:
        on_change: called when the owner has changed something.
    """

    def __init__(self, store: DeviceStore, settings: DeviceSettings) -> None:
        self.on_change: Callable[[], object] = lambda: None
        self._store = store
        self._settings = settings
        self._keeping = threading.Lock()

    @property
    def kept(self) -> Kept:
        """As they are now."""
        kept = self._store.values.read(Kept, _KEY)
        if kept is not None:
            return kept
        given = self._settings
        return Kept(
            k_min=given.k_min,
            accept_demo=given.accept_demo,
            answers_per_day=given.answers_per_day,
            r_max_percent=given.r_max_percent,
            trusted=tuple(map(parse_trusted, given.backbones)),
        )

    @property
    def floors(self) -> Floors:
        """What a manifest is checked against."""
        kept = self.kept
        excluded = frozenset(kept.excluded)
        backbones = {name: sha256 for name, sha256 in allowed_backbones().items() if name not in excluded}
        backbones |= {each.name: bytes.fromhex(each.sha256) for each in kept.trusted}
        return Floors(
            k_min=kept.k_min,
            accept_demo=kept.accept_demo,
            answers_per_day=kept.answers_per_day,
            r_max_percent=kept.r_max_percent,
            backbones=backbones,
            heads=HEADS - excluded,
        )

    @property
    def choices(self) -> dict[str, bool]:
        """Every backbone and head that this program knows, or its owner trusts, and whether its owner allows it."""
        kept = self.kept
        trusted = (each.name for each in kept.trusted)
        return {name: name not in kept.excluded for name in (*sorted(allowed_backbones()), *trusted, *sorted(HEADS))}

    def unknown(self, plan: Plan | None) -> Trusted | None:
        """The backbone that the task asks for, if it is one that the owner may come to trust and does not yet."""
        if plan is None or plan.backbone in allowed_backbones() or not is_backbone_name(plan.backbone):
            return None
        asked = Trusted(name=plan.backbone, sha256=plan.backbone_hash.hex())
        return None if asked in self.kept.trusted else asked

    def trust(self, name: str, sha256: str) -> None:
        """Allow a backbone that this program does not know; one that was trusted under this name gives way.

        Raises:
            SettingsError: the name is the registry's, or none; or the hash is not one.
        """
        added = parse_trusted(f"{name}={sha256}")
        others = [each for each in self.kept.trusted if each.name != added.name]
        if len(others) >= MOST_TRUSTED:
            raise SettingsError(f"{MOST_TRUSTED} backbones are trusted already.", next="Untick one, then try again.")
        self._keep(trusted=(*others, added))

    def allow(self, names: Collection[str]) -> None:
        """Allow these backbones and heads, and no others, from the next manifest on. Others that were trusted are not.

        Raises:
            SettingsError: this program knows none of this name.
        """
        known = self.choices
        if unknown := sorted(set(names) - known.keys()):
            raise SettingsError(
                f"There is no backbone or head {unknown[0]!r} here.",
                next=f"Choose among {', '.join(known)}.",
                slug="unknown-part",
            )
        trusted = {each.name for each in self.kept.trusted}
        self._keep(
            excluded=tuple(name for name in known if name not in names and name not in trusted),
            trusted=tuple(each for each in self.kept.trusted if each.name in names),
        )

    def set_floors(self, *, k_min: int, accept_demo: bool, answers_per_day: int, r_max_percent: int) -> None:
        """Change the floors, from the next manifest on.

        Raises:
            SettingsError: ``k_min`` is not in 2 to 2^20, ``answers_per_day`` not in 1 to 1,000,000, or
                ``r_max_percent`` not in 0 to 34.
        """
        check_k_min(k_min)
        check_answers_per_day(answers_per_day)
        check_r_max_percent(r_max_percent)
        self._keep(k_min=k_min, accept_demo=accept_demo, answers_per_day=answers_per_day, r_max_percent=r_max_percent)

    def pause(self, paused: bool) -> None:
        """Answer no round, or go on; models are fetched all the same."""
        self._keep(paused=paused)

    def leave(self, left: bool) -> None:
        """Have nothing to do with the servers any more, or come back; ``membership`` is who tells the servers."""
        self._keep(left=left)

    def forget(self, on: bool) -> None:
        """Have this device's pictures taken out of main's sums, then leave; or go on. A pause would be in the way."""
        self._keep(forget=on, paused=False)

    def check(self) -> None:
        """Nothing if this device may answer rounds.

        Raises:
            Refused: its owner paused it, or left.
        """
        kept = self.kept
        if kept.left:
            raise Refused(
                "This device has left the federation.",
                slug=LEFT,
                next="The page Privacy says what that means, and whether it can come back.",
            )
        if kept.paused:
            raise Refused("You have paused this device.", slug=PAUSED, next="Let it go on, on the page Privacy.")

    def _keep(self, **changes: int | bool | tuple[str, ...] | tuple[Trusted, ...]) -> None:
        with self._keeping:  # a pause does not undo a leaving that comes at the same moment
            self._store.values.keep(_KEY, self.kept.with_(**changes))
        self.on_change()
