"""Writes a past into a device's state folder, and reads its pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sqlalchemy import insert

from benchmarks.stores.past import PastRound, envelope
from fanlight.errors import Refused
from fanlight.learning import model_file
from fanlight.learning.backbones import compile_backbone
from fanlight.learning.feature_cache import FeatureCache
from fanlight.protocol.device_round import Delivery, Preparation, Record
from fanlight.protocol.plan import Plan
from fanlight.services.device.learned import Held, Learned, Prepared, StoredCounts
from fanlight.services.device.library import Filter, State
from fanlight.services.device.library.index import Index
from fanlight.services.device.role import DeviceRole
from fanlight.storage.tables import device as tables

_REFUSALS = 100
_LONGEST_PAGE = 500


def fill_device(role: DeviceRole, plan: Plan, past: Sequence[PastRound]) -> None:
    """Put in: its report in every round of ``past``, the newest model and one of its own, its pictures, suggestions."""
    chance = np.random.default_rng(4)
    newest = past[-1].made or past[-1].start
    counts = _counts(plan, chance)
    held = Held(sha256=newest.sha256, version=newest.number, plan_bytes=plan.encode(), measured=counts)
    with role.store.unfinished_model(held.sha256) as begun:
        begun.write(0, newest.content)
        role.store.hold(held, begun)
    role.store.trained(_prepared(plan, held, newest.content, counts), newest.content)
    for name in role.membership.servers:
        role.store.values.keep(f"enrolled-{name}", b"yes")
    _reports(role, plan, past, chance)
    for number in range(_REFUSALS):
        error = Refused("The round sums fewer devices than you allow.", slug="floor", next="Wait for another round.")
        role.store.refusals.keep(chance.bytes(32), error, past[0].opened_at + number)
    _pictures(role, plan, newest.sha256, chance)


def _counts(plan: Plan, chance: np.random.Generator) -> StoredCounts:
    side = len(plan.classes)
    confusion = chance.integers(0, 9, (side, side)) + 40 * np.eye(side, dtype=np.int64)
    return StoredCounts(confusion=tuple(int(count) for count in confusion.ravel()), loss_micro=300_000_000)


def _prepared(plan: Plan, held: Held, file: bytes, counts: StoredCounts) -> Prepared:
    return Prepared(
        state=Preparation.IDLE.value,
        plan=plan.hash,
        model=held.sha256,
        model_version=held.version,
        head=bytes.fromhex(model_file.model_hash(file)),
        examples=2000,
        epochs=10,
        supporters=(True,) * len(plan.classes),
        received=counts,
        local=counts,
        trained_at=1_760_000_000,
    )


def _reports(role: DeviceRole, plan: Plan, past: Sequence[PastRound], chance: np.random.Generator) -> None:
    device = role.identity.device.device
    records = [
        Record(
            delivery=Delivery.ENDED.value,
            number=some.number,
            kind=some.kind.value,
            mh=some.mh,
            plan=plan.of_kind(some.kind).hash,
            model=some.start.sha256,
            attempt=0,
            envelope=envelope(chance, device).encode(),
            length=13_000,
            committed_at=some.opened_at,
            receipt=chance.bytes(250),
            outcome=some.outcome,
        )
        for some in past
    ]
    lines = [
        {
            "mh": some.mh,
            "number": some.number,
            "kind": some.kind.value,
            "learned": _learned(plan, chance).encode(),
            "result": "released" if some.released else "abandoned",
            "reason": "ok" if some.released else "window-passed",
            "included": some.released,
            "asked_again": True,
        }
        for some in past
    ]
    rows = [
        {"mh": it.mh, "delivery": it.delivery, "record": it.encode(), "committed_at": it.committed_at} for it in records
    ]
    with role.store.database.transaction() as tx:
        tx.execute(insert(tables.reports), rows)
        tx.execute(insert(tables.rounds), lines)
        tx.execute(insert(tables.answered), [{"answer_key": chance.bytes(32), "mh": it.mh} for it in records])


def _learned(plan: Plan, chance: np.random.Generator) -> Learned:
    return Learned(received=_counts(plan, chance), local=_counts(plan, chance), examples=2000, epochs=10)


def _pictures(role: DeviceRole, plan: Plan, model: bytes, chance: np.random.Generator) -> None:
    """Measure every picture as the device does, suggest labels for half of those without, and keep features."""
    role.library.refresh()
    index = Index(role.store.database)
    waiting = index.without_suggestion(model)
    names = plan.classes
    found = {
        picture.sha256: (names[number % len(names)], float(chance.uniform(0.3, 1)))
        for number, picture in enumerate(waiting[::2])
    }
    index.suggest(found, model)
    compiled = compile_backbone(plan.backbone, role.settings.state / "backbones")
    cache = FeatureCache(role.settings.state / "features", compiled.sha256, plan.picture_size, compiled.features)
    for number in range(1, role.library.page(Filter(State.LABELLED), 1, _LONGEST_PAGE).pages + 1):
        for picture in role.library.page(Filter(State.LABELLED), number, _LONGEST_PAGE).pictures:
            cache.put(picture.sha256, chance.random(compiled.features, np.float32))
