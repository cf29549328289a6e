"""What thousands of devices ask of the servers, from one process, and how long the answers take.

They ask as the product's device does (``services.device.client``): every poll says which model is here and that another
one may come along, and whoever has reported awaits the end of that round.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
import numpy as np

from benchmarks.crowd import Report, Someone, missing_words, prepare
from benchmarks.federation import Federation
from benchmarks.wire import Answer, Connection, connect, request, signed
from fanlight.errors import LocalError
from fanlight.protocol.exchange import ALONG_BYTES, PREFIX, Offer
from fanlight.protocol.manifest import Manifest, SignedManifest
from fanlight.protocol.signing import Signed

_CONNECTIONS = 32
_WAIT_S = 10
_PATIENCE_S = 120.0
_TICK_S = 0.1


@dataclass
class Seen:
    """What the devices saw.

    Attributes:
        seconds: how long answers took, by kind of request.
        errors: answers that were none, by kind and status.
        participants: devices in the sum.
        wrong_parameters: of the published model.
        ending_s: from the last beacon to the new model at its first device; waking_s: from there to the last one.
        taking_part_s: from the first reporter's coming to the last one's beacon.
        own_share: this process's processor time by the time that went by, while reports came.
        memory: of each server, in MB, while all wait.
    """

    seconds: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    participants: int = 0
    wrong_parameters: int = 0
    ending_s: float = 0.0
    waking_s: float = 0.0
    taking_part_s: float = 0.0
    own_share: float = 0.0
    memory: dict[str, float] = field(default_factory=dict)

    def note(self, kind: str, answer: Answer) -> Answer:
        """Count an answer."""
        self.seconds[kind].append(answer.seconds)
        if not 200 <= answer.status < 300:
            self.errors[f"{kind}: {answer.status} {answer.body[:200]!r}"] += 1
        return answer

    def milliseconds(self, *kinds: str) -> list[float]:
        """Of all answers of these kinds."""
        return [1e3 * some for kind in kinds for some in self.seconds[kind]]


def percentile(values: Sequence[float], percent: float) -> float:
    """NaN where there are none."""
    return float(np.percentile(values, percent)) if values else float("nan")


class Devices:
    """All of a federation's devices."""

    def __init__(self, running: Federation, crowd: Sequence[Someone]) -> None:
        self._running = running
        self._crowd = crowd
        self._main, self._aggregator = running.ports["main"], running.ports["aggregator"]
        self._seen = Seen()
        self._waiting: list[asyncio.Task[None]] = []
        self._told: list[float] = []
        self._shown: list[float] = []
        self._ended = 0

    # -- as fast as it goes

    async def report_at_once(self, reporters: int) -> float:
        """Reports over a few connections, while everybody waits for news at the main server; reports a second.

        Raises:
            LocalError: one was not taken.
        """
        _, offer = await self._open_round()
        requests = [self._report(someone, prepare(someone, offer)) for someone in self._crowd[:reporters]]
        await self._all_wait(offer)
        connections = [await connect(self._aggregator) for _ in range(_CONNECTIONS)]

        async def send(connection: Connection) -> None:
            while requests:
                self._seen.note("report", await connection.ask(requests.pop()))

        began = time.perf_counter()
        await asyncio.gather(*map(send, connections))
        took = time.perf_counter() - began
        for connection in connections:
            connection.close()
        if self._seen.errors:
            raise LocalError(f"not every report was taken: {dict(self._seen.errors)}")
        return reporters / took

    # -- a round

    async def live_through_a_round(
        self, reporters: int, seconds: float, polls: int, look: Callable[[], dict[str, float]]
    ) -> Seen:
        """All wait for news, some report; then more wait.

        Args:
            reporters: how many report.
            seconds: in which they come, evenly.
            polls: connections that wait in the end.
            look: at the servers' memory, while these wait.
        """
        signed_manifest, offer = await self._open_round()
        some = self._crowd[:reporters]
        reports = [prepare(someone, offer) for someone in some]
        await self._all_wait(offer)
        began = time.perf_counter(), time.process_time()
        coming = [
            asyncio.create_task(self._take_part(someone, report, offer, seconds * number / reporters))
            for number, (someone, report) in enumerate(zip(some, reports, strict=True))
        ]
        outcomes = await asyncio.gather(*coming, return_exceptions=True)
        own_s, took = time.process_time() - began[1], time.perf_counter() - began[0]
        self._seen.errors.update(f"{error!r}" for error in outcomes if isinstance(error, BaseException))
        last = max(self._shown, default=began[0])  # without any, the errors say why
        self._seen.taking_part_s, self._seen.own_share = last - began[0], own_s / took
        await self._until_told(len(self._waiting))
        if self._ended != reporters:
            self._seen.errors["were not told how the round ended"] = reporters - self._ended
        self._seen.ending_s, self._seen.waking_s = min(self._told) - last, max(self._told) - min(self._told)
        await self._check_sum(some, Manifest.decode(signed_manifest.payload))
        for number in range(polls - len(self._waiting)):
            await self._begin_to_wait(self._crowd[-1 - number % len(self._crowd)], offer)
        await asyncio.sleep(1.2 * _WAIT_S)  # every one of them has been answered once
        self._seen.memory = look()
        self._seen.errors.update(repr(task.exception()) for task in self._waiting if task.done())
        return self._seen

    async def _open_round(self) -> tuple[SignedManifest, Offer]:
        connection, deadline = await connect(self._main), time.monotonic() + _PATIENCE_S
        try:
            while time.monotonic() < deadline:
                offer = _offer(await self._ask_offer(connection, self._crowd[0]))
                if offer.manifest is not None:
                    return SignedManifest.decode(offer.manifest), offer
                await asyncio.sleep(_TICK_S)
        finally:
            connection.close()
        raise LocalError("no round is open")

    async def _take_part(self, someone: Someone, report: Report, offer: Offer, after_s: float) -> None:
        await asyncio.sleep(after_s)
        main, aggregator = await connect(self._main), await connect(self._aggregator)
        seen = self._seen
        try:
            came = _offer(seen.note("offer", await self._ask_offer(main, someone)))
            if came.file is None or hashlib.sha256(came.file).digest() != offer.model:
                seen.errors["another model came along than was offered"] += 1
            receipt = seen.note("report", await aggregator.ask(self._report(someone, report)))
            beacon = self._signed(someone, "POST", f"{PREFIX}/rounds/{report.mh.hex()}/beacons", receipt.body)
            seen.note("beacon", await main.ask(beacon))
            self._shown.append(time.perf_counter())
        finally:
            main.close()
            aggregator.close()
        await self._begin_to_wait(someone, offer, report.mh)

    async def _all_wait(self, offer: Offer) -> None:
        for someone in self._crowd:
            await self._begin_to_wait(someone, offer)

    async def _begin_to_wait(self, someone: Someone, offer: Offer, awaited: bytes | None = None) -> None:
        """Say once that the model of ``offer`` is here, which main notes; go on in a long-poll."""
        connection = await connect(self._main)
        first = await self._ask_offer(connection, someone, have=offer.model, awaited=awaited)
        latest = _offer(self._seen.note("awaiting" if awaited else "first poll", first))
        self._waiting.append(asyncio.create_task(self._wait_for_news(connection, someone, offer, latest, awaited)))

    async def _wait_for_news(
        self, connection: Connection, someone: Someone, offer: Offer, latest: Offer, awaited: bytes | None
    ) -> None:
        """Ask again and again, as a device does; note when there is another model than in ``offer``."""
        told = False
        while True:
            if latest.ended is not None:
                awaited, self._ended = None, self._ended + 1
            if latest.model != offer.model and not told:
                told = True
                self._told.append(time.perf_counter())
                if latest.file is None or hashlib.sha256(latest.file).digest() != latest.model:
                    self._seen.errors["the new model did not come along"] += 1
            asked = self._ask_offer(connection, someone, latest.version, _WAIT_S, latest.model, awaited)
            latest = _offer(self._seen.note("long-poll", await asked))

    async def _until_told(self, count: int) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while len(self._told) < count:
            if time.monotonic() > deadline:
                raise LocalError(f"{len(self._told)} of {count} devices heard of a new model: {self._seen.errors}")
            await asyncio.sleep(_TICK_S)

    async def _check_sum(self, reporters: Sequence[Someone], manifest: Manifest) -> None:
        main = self._running.roles["main"]
        headers = {"Authorization": f"Bearer {main.token_file.read_text().strip()}"}
        async with httpx.AsyncClient(base_url=main.url, headers=headers, trust_env=False, timeout=60) as owner:
            rounds = (await owner.get("/api/v1/rounds")).json()["rounds"]
            model = (await owner.get("/api/v1/models/1/file")).content
        self._seen.participants = rounds[0]["participants"]
        self._seen.wrong_parameters = missing_words(model, reporters, manifest)

    # -- requests

    async def _ask_offer(
        self,
        connection: Connection,
        someone: Someone,
        after: int = 0,
        wait_s: int = 0,
        have: bytes | None = None,
        awaited: bytes | None = None,
    ) -> Answer:
        target = f"{PREFIX}/offer?after={after}&wait={wait_s}&most={ALONG_BYTES}"
        target += f"&have={have.hex()}" if have else ""
        target += f"&ended={awaited.hex()}" if awaited else ""
        return await connection.ask(self._signed(someone, "GET", target))

    def _signed(self, someone: Someone, method: str, target: str, body: bytes = b"") -> bytes:
        return signed(someone.private, someone.key_id, method, self._main, target, body)

    def _report(self, someone: Someone, report: Report) -> bytes:
        target = f"{PREFIX}/rounds/{report.mh.hex()}/reports/{someone.key_id}"
        return request("PUT", self._aggregator, target, report.body)


def _offer(answer: Answer) -> Offer:
    """The offer, whose signature is not checked again and again."""
    return Offer.decode(Signed.decode(answer.body).payload)
