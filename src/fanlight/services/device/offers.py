"""What main has for this device: plan, current model (fetched and verified) and open manifest."""

from __future__ import annotations

import functools
import threading

from fanlight.errors import ModelError, Refused, SettingsError
from fanlight.learning import model_file
from fanlight.learning.backbones import BACKBONES
from fanlight.learning.tuned_backbone import normalisation
from fanlight.protocol.device_round import Preparation
from fanlight.protocol.exchange import Offer
from fanlight.protocol.manifest import SignedManifest
from fanlight.protocol.plan import Plan
from fanlight.services.device.client import MainClient
from fanlight.services.device.learned import Earlier, Held, Prepared
from fanlight.services.device.local_algorithm import local_algorithm
from fanlight.services.device.store import DeviceStore


class Offers:
    """The latest offer.  The model that belongs to it is in the store before the offer is shown to anybody."""

    def __init__(self, store: DeviceStore, main: MainClient) -> None:
        self.current: Offer | None = None
        self._store = store
        self._main = main
        self._lock = threading.Lock()

    @property
    def manifest(self) -> SignedManifest | None:
        """The open round's manifest, not verified yet."""
        offer = self.current
        return _signed(offer.manifest) if offer and offer.manifest else None

    @property
    def preparation(self) -> Preparation:
        """How far this device is with the current plan and model."""
        prepared = self.prepared
        return prepared.at if prepared else Preparation.IDLE

    @property
    def prepared(self) -> Prepared | None:
        """The preparation, unless it is void: another model came, or the round it was sent in is over."""
        prepared = self._store.prepared
        return prepared if prepared and prepared.at != Preparation.IDLE else None

    @property
    def have(self) -> bytes | None:
        """The model that is here, verified: every question for an offer tells main of it."""
        held = self._store.held
        return held.sha256 if held else None

    def take(self, offer: Offer) -> None:
        """Take an offer that main signed; does nothing if it is taken already.

        Raises:
            RemoteError: plan or model do not hold what they should, or main does not answer.
            StorageError: the model cannot be kept.
        """
        with self._lock:
            held = self._store.held
            if held is None or (held.sha256, held.plan_bytes) != (offer.model, offer.plan):
                self._fetch(offer, held)
            self.current = offer

    def _fetch(self, offer: Offer, held: Held | None) -> None:
        plan = Plan.decode(offer.plan)
        fresh = Held(sha256=offer.model, version=offer.model_version, plan_bytes=offer.plan)
        if held is not None and held.sha256 == offer.model:
            here = self._store.global_file(offer.model)
            check_fits(here, plan)
            self._store.hold(fresh.with_(file_bytes=len(here), before=held.before))
            return
        along = self._main.model_along(offer)
        if along is not None:
            check_fits(along, plan)
            self._store.hold(fresh.with_(file_bytes=len(along), before=earlier(held)), along)
            return
        with self._store.unfinished_model(offer.model) as begun:
            file = self._main.model(offer.model, begun)
            check_fits(file, plan)
            self._store.hold(fresh.with_(file_bytes=len(file), before=earlier(held)), begun)


def earlier(held: Held | None) -> Earlier | None:
    """What is remembered of a model when another takes its place."""
    return Earlier(version=held.version, measured=held.measured) if held else None


@functools.lru_cache(maxsize=2)
def _signed(data: bytes) -> SignedManifest:
    return SignedManifest.decode(data)


def check_fits(file: bytes | memoryview, plan: Plan) -> None:
    """Refuse a model that is not the plan's.

    Raises:
        Refused: it is damaged, or for other classes, another backbone or another picture size; or the plan asks for an
            algorithm that this program does not know, or that makes nothing of such a model.
    """
    try:
        model = model_file.decode(file, own=False)
    except ModelError as error:
        raise Refused(f"The offered model cannot be used: {error.message}.", slug="model-refused") from error
    found = (model.classes, model.backbone_id, model.backbone_sha256, model.picture_size, model.weight.shape)
    shape = (plan.features, len(plan.classes))
    algorithm = local_algorithm(plan)
    expected = (plan.classes, plan.backbone, plan.backbone_hash.hex(), plan.picture_size, shape)
    if found != expected or model.kind != plan.head or model.layout.size != plan.parameters:
        raise Refused("The offered model does not fit the offered plan.", slug="model-refused")
    try:
        algorithm.at_home(model.layout, normalisation(model.layout))
    except SettingsError as error:
        raise Refused(f"The offered plan does not fit its model. {error.message}", slug="algorithm-refused") from error


def allowed_backbones() -> dict[str, bytes]:
    """The backbones that this program can run, and the SHA-256 of their compiled graphs."""
    return {name: bytes.fromhex(entry.compiled_sha256) for name, entry in BACKBONES.items()}
