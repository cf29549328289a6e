"""What a device says in a round of sums: all of its own, or the exact difference to what main counts of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fanlight.errors import NotPossibleNow
from fanlight.protocol.contribution import Contribution
from fanlight.protocol.exchange import Change
from fanlight.protocol.manifest import Proposal
from fanlight.services.device import sums_file as sums_files
from fanlight.services.device.counted import Counted, InQuestion
from fanlight.services.device.learned import Prepared, StoredCounts
from fanlight.services.device.store import DeviceStore

_UNKNOWN = bytes(32)
"""The digest of pictures of a preparation from before it was kept."""


class Said(NamedTuple):
    """What goes into the report, and what is counted if the report counts; ``mh`` is the manifest."""

    contribution: Contribution
    asked: InQuestion


def say(store: DeviceStore, proposal: Proposal, mh: bytes, prepared: Prepared | None, classes: int) -> Said:
    """For a round of statistics, or of changes.

    Args:
        store: with the files of sums.
        proposal, mh: of the round.
        prepared: what was worked out from the pictures; None to take back what is counted.
        classes: K.

    Raises:
        NotPossibleNow: it is not known yet whether an earlier report with sums counts: what this one is to say hangs on
            it.
        Refused: see ``Account.counted_in``.
        NotFound, StorageError, ModelError: a file of sums is gone or damaged, or of another task.
    """
    earlier = store.account.in_question
    if earlier is not None and earlier.mh != mh:
        raise NotPossibleNow(
            f"It is not known yet what became of round {earlier.round}, which this device's sums went into.",
            slug="sums-in-question",
            next="Wait a moment: this device asks the main server for it.",
        )
    collection = proposal.round if proposal.collection is None else proposal.collection
    before = None if proposal.collection is None else store.account.counted_in(collection)
    then = None if prepared is None else _counted(prepared, collection, proposal.round)
    sums = None if then is None else sums_files.decode(store.sums_file(then.sums))
    supporters = np.array(then.supporters if then else (False,) * classes, np.int64)
    if before is not None:
        known = sums_files.decode(store.sums_file(before.sums))
        sums = (known.without() if sums is None else sums) - known
        supporters = supporters - np.array(before.supporters, np.int64)
    none = StoredCounts.none(classes)
    contribution = Contribution(
        examples=prepared.examples if prepared else 0,
        update=None,
        sums=sums,
        received=(prepared.received if prepared else none).measured,
        local=(prepared.local if prepared else none).measured,
        supporters=supporters,
        members=(then is not None) - (before is not None),
    )
    change = None if proposal.collection is None else _change(before, then).value
    return Said(contribution, InQuestion(mh=mh, round=proposal.round, then=then, change=change))


def _change(before: Counted | None, then: Counted | None) -> Change:
    if then is None:
        return Change.LEAVES
    return Change.JOINS if before is None else Change.CHANGES


def _counted(prepared: Prepared, collection: int, number: int) -> Counted | None:
    if prepared.sums is None:
        return None
    return Counted(
        collection=collection,
        round=number,
        sums=prepared.sums,
        examples=prepared.examples,
        supporters=prepared.supporters,
        pictures=prepared.pictures or _UNKNOWN,
    )
