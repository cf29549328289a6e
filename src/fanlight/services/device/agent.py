"""What a device does by itself, in a thread of its own: stay a member, keep up with offers, finish what it began.

One turn of the loop: enrol, take the offer, deliver reports that are not acknowledged, answer the open round if that is
this device's to decide, or say that nobody need wait for it, and end reports whose rounds are over: while it trains, or
after the answer, since the round waits for it, unless the answer depends on how they ended. Its long-polls (but behind
a proxy) and pauses end as soon as the owner changes something or the process stops; a time that a server has named with
a refusal is kept all the same. Whatever goes wrong is remembered for the page and tried again, later each time; nothing
ends the loop. When the owner has the device leave, it tells the servers, and does nothing more.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from fanlight.errors import (
    Conflict,
    FanlightError,
    NotAuthentic,
    NotEnrolled,
    NotFound,
    NotPossibleNow,
    Refused,
    RemoteError,
    StorageError,
    Unreachable,
)
from fanlight.protocol.device import NOTHING_CHANGED, NOTHING_TO_LEARN_FROM
from fanlight.protocol.device_round import Preparation
from fanlight.protocol.exchange import Change, Offer
from fanlight.protocol.manifest import SignedManifest
from fanlight.protocol.plan import Kind
from fanlight.services.device import knocks
from fanlight.services.device.deliveries import Deliveries
from fanlight.services.device.membership import Membership
from fanlight.services.device.rounds import OTHER_MODEL, Rounds
from fanlight.services.device.signs_of_life import SignsOfLife
from fanlight.services.device.steps import KNOCK_S, Steps
from fanlight.services.http.backoff import Backoff
from fanlight.services.http.jobs import Job
from fanlight.services.http.problems import Problem, as_problem
from fanlight.services.http.wire import Wire

_SOON_S = 0.02
"""What takes no longer is waited for: the round waits for the answer, and nothing else does."""
_LOOK_S = 5.0
"""How often to look, while a step is waited for, whether to stop."""
_RESTART = 34
"""For so many tries, about ten seconds, a server may just be starting again, and the round waits for this device."""
_LOOK_AGAIN_S = 600.0
"""How often to look whether pictures have come or gone that the pages know nothing of."""
_NOBODY_WAITS = frozenset({OTHER_MODEL, "window-passed", "not-invited"})


@dataclass(frozen=True)
class Trouble:
    """The last problem: what, when, and when the next try is (both in unix seconds)."""

    slug: str
    message: str
    next: str
    at: int
    again_at: int


class Agent:
    """The loop.

    Args:
        membership, rounds, steps: this device's.
        clock: unix seconds. jitter: a number in [0, 1), fresh each call.
        poll_wait_s: longest wait for news in one request.
        on_change: called whenever what an owner sees may have changed.
        at_leisure: called at the end of a turn, when nobody waits for this device.
    """

    def __init__(
        self,
        membership: Membership,
        rounds: Rounds,
        steps: Steps,
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        poll_wait_s: float,
        on_change: Callable[[], object] = lambda: None,
        at_leisure: Callable[[], object] = lambda: None,
    ) -> None:
        self.trouble: Trouble | None = None
        self.connected_at: int | None = None
        self._membership = membership
        self._rounds = rounds
        self._steps = steps
        self._clock = clock
        self._poll_wait_s = poll_wait_s
        self._on_change = on_change
        self._at_leisure = at_leisure
        self._jitter = jitter
        self._failing = Backoff(jitter, first_s=KNOCK_S, longest_s=knocks.LONGEST_S, steady=_RESTART)
        # the first refusals may pass (servers that still tell each other who is a member); later ones hardly do
        self._refused = Backoff(jitter, longest_s=120.0)
        self._deliveries = Deliveries(rounds, jitter)
        self._leaving = Backoff(jitter, first_s=2.0, longest_s=20.0)
        self._ask_at_once = True
        self._declined: tuple[bytes, int] | None = None  # the round, and the offer by which it was open
        self._told: tuple[int, Change | None] | None = None
        self._looked_at = 0.0
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._break_off: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="fanlight-agent", daemon=True)
        self._signs_of_life = SignsOfLife(lambda: self._rounds.main.offer(self._rounds.offers.have))

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End the loop; a request that is under way is given ``timeout_s`` seconds to end."""
        self._stopping.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._signs_of_life.close()

    def wake(self) -> None:
        """The owner has changed what this device may do: look at once, whatever is waited for."""
        self._ask_at_once = True
        self._woken.set()
        self._break_off()

    def refresh(self) -> None:
        """Take main's present offer now, so that a step by hand sees the newest model; without an answer, go on."""
        if not self._membership.is_enrolled("main") or self._has_left:
            return
        try:
            self._rounds.offers.take(self._rounds.main.offer(self._rounds.offers.have, along=True))
            self._rounds.settle_time()
        except RemoteError as error:
            self._note(error)

    # -- the loop

    def _run(self) -> None:
        while self._goes_on():
            with self._rounds.main.remote.open_line() as line:
                self._break_off = line.break_off
                while self._goes_on() and not line.is_broken_off:
                    self._try_turn(line)

    def _try_turn(self, line: Wire) -> None:
        try:
            self._turn(line)
        except Exception as error:  # noqa: BLE001 the loop must survive whatever happens in it
            self._ask_at_once = True
            told_s = error.retry_after_s if isinstance(error, FanlightError) else None
            if line.is_broken_off and isinstance(error, Unreachable) and told_s is None:
                self._rest(0.0)  # it was broken off by ``wake``
                return
            self._declined = self._told = None  # main, if it was started again, does not know it any more
            self._rest(self._note(error), told_s or 0.0)
        else:
            self.trouble = None
            self._failing.reset()
            self._refused.reset()
            self._rest(self._pause_s())

    def _rest(self, longest_s: float, told_s: float = 0.0) -> None:
        """Wait so long, unless there is something to do before; as long as a server has told only the end counts."""
        self._stopping.wait(told_s)
        self._woken.wait(longest_s - told_s)
        self._woken.clear()

    def _goes_on(self) -> bool:
        return not (self._stopping.is_set() or self._is_done)

    def _pause_s(self) -> float:
        """How long to wait before asking again: as main asks of devices that have nothing to do."""
        offer = self._rounds.offers.current
        if offer is None or not offer.pause_s or self._has_left or self._rounds.store.unfinished():
            return 0.0
        return self._jitter() * offer.pause_s

    def _longest_s(self) -> float:
        """How long at most to wait before knocking again, see ``knocks``."""
        offer = self._rounds.offers.current
        awaited = bool(self._rounds.store.unfinished()) or (offer is not None and offer.manifest is not None)
        return knocks.longest_s(awaited=awaited, pause_s=offer.pause_s if offer else None)

    def _turn(self, line: Wire) -> None:
        if self._has_left:
            self._rest(self._say_goodbye())
            return
        self._membership.resume_change()
        self._membership.enrol()
        offer = self._poll(line)
        if self._stopping.is_set() or self._has_left:
            return
        self.connected_at = int(self._clock())
        with self._signs_of_life:
            self._follow(offer)

    def _follow(self, offer: Offer) -> None:
        self._rounds.offers.take(offer)
        self._on_change()
        self._deliveries.end_what_matters_now()
        self._rounds.ask_again()
        self._deliveries.deliver()
        self._steps.look_for_pictures()
        if self._is_forgotten(offer):
            self._leave()
            return
        self._tell_change(offer)
        self._act(offer)
        self._deliveries.end()
        self._on_change()
        held = self._rounds.store.held
        if held is not None and (held.measured is None or not self._rounds.learner.has_looked):
            self._wait_for(self._steps.look_at_model())
        self._at_leisure()

    @property
    def _is_done(self) -> bool:
        """Has it left for good? Nothing can bring it back, once every server knows."""
        return self._has_left and self._membership.has_told_all

    @property
    def _has_left(self) -> bool:
        return self._rounds.wishes.kept.left

    def _say_goodbye(self) -> float:
        """Tell the servers that do not know it yet that this device has left; seconds to wait afterwards."""
        self._membership.say_goodbye()
        self._on_change()
        told_s = [error.retry_after_s for error in self._membership.not_told.values() if error.retry_after_s]
        return self._leaving.next(max(told_s, default=None))

    def _poll(self, line: Wire) -> Offer:
        current = self._rounds.offers.current
        at_once, self._ask_at_once = self._ask_at_once, False  # what changes from now on is looked at once more
        after = 0 if current is None or at_once else current.version
        wait_s = 0 if after == 0 else self._poll_wait_s
        wait_s = self._deliveries.patience_s(wait_s)
        have, awaited = self._rounds.offers.have, self._rounds.awaited_end()
        return self._rounds.main.poll_offer(line, after, wait_s, have, awaited)

    def _act(self, offer: Offer) -> None:
        """Answer the open round, if that is for this device to decide."""
        signed = self._rounds.offers.manifest
        if signed is None or self._rounds.store.report(signed.hash) is not None:
            return
        self._rounds.settle_time()
        try:
            opening = self._rounds.examine()
        except (Refused, NotAuthentic) as error:
            self._log_of(signed).debug("manifest refused", slug=error.slug, reason=error.message)  # the page tells it
            if isinstance(error, Refused) and error.slug not in _NOBODY_WAITS:
                self._decline(signed.hash, error.slug)
            return
        if Kind(opening.plan.kind).sums and self._rounds.store.account.in_question is not None:
            return  # what to say hangs on how an earlier round has ended, which is asked for soon again
        change = self._rounds.change()
        with self._or_decline(signed):
            if not opening.trains:
                self._wait_for(self._steps.measure())
            elif opening.plan.kind == Kind.CHANGES and change is None:
                self._decline(signed.hash, NOTHING_CHANGED)
            elif opening.plan.kind == Kind.CHANGES and change is Change.LEAVES:
                self._wait_for(self._steps.take_out())
            elif offer.by_itself:
                self._take_part()

    def _take_part(self) -> None:
        if self._rounds.offers.preparation in (Preparation.IDLE, Preparation.SENT):
            self._train()
        self._wait_for(self._steps.answer())

    @contextlib.contextmanager
    def _or_decline(self, signed: SignedManifest) -> Iterator[None]:
        """A device without the pictures that a round is about is no fault: main hears that it need not wait."""
        try:
            yield
        except NotPossibleNow as error:
            if error.slug not in (NOTHING_TO_LEARN_FROM, NOTHING_CHANGED):
                raise
            self._log_of(signed).info("this round is left out", reason=error.slug)
            self._decline(signed.hash, error.slug)

    def _log_of(self, signed: SignedManifest) -> FilteringBoundLogger:
        """Its lines say which round they are about."""
        return self._rounds.log.bind(round=signed.terms.proposal.round, mh=signed.hash.hex()[:12])

    def _tell_change(self, offer: Offer) -> None:
        """Tell main if this device would change something in the sums that it has.

        Again with each offer that is new: main forgets it when a round of changes is over, or when it is started anew.
        """
        if offer.collection is None:
            return
        self._look_again()
        change, before = self._rounds.change(), self._told
        told = (offer.version, change)
        if told == before or (change is None and (before is None or before[1] is None)):
            return
        self._rounds.main.tell_change(offer.collection, change)
        self._told = told

    def _look_again(self) -> None:
        """Read the folder anew if the owner has changed something, or long ago: files can be laid in from outside."""
        pictures, now = self._rounds.learner.pictures, self._clock()
        if pictures.is_stale or not self._looked_at <= now < self._looked_at + _LOOK_AGAIN_S:
            self._looked_at = now
            self._rounds.learner.look()

    def _is_forgotten(self, offer: Offer) -> bool:
        """Does the owner want this device to be forgotten, and is it?"""
        account = self._rounds.store.account
        if not self._rounds.wishes.kept.forget or account.in_question is not None:
            return False
        counted = account.counted
        return counted is None or (offer.collection is not None and counted.collection < offer.collection)

    def _leave(self) -> None:
        self._membership.leave()
        with contextlib.suppress(StorageError):
            self._rounds.learner.pictures.forget_made()

    def _train(self) -> None:
        job = self._steps.train()
        try:
            if self._steps.jobs.wait(job.id, _SOON_S).active:
                self._deliveries.end()
        finally:
            self._wait_for(job)

    def _decline(self, mh: bytes, slug: str) -> None:
        """Tell main that it need not wait for this device, and in a word why.

        Again with each offer that is new: a main server that was started anew meanwhile has forgotten it, and its
        offers have other versions.
        """
        offer = self._rounds.offers.current
        assert offer is not None  # what is declined was in it
        if self._declined == (mh, offer.version):
            return
        with contextlib.suppress(NotFound, Conflict):  # the round is over, or main is older than this message
            self._rounds.main.decline(mh, slug)
        self._declined = mh, offer.version

    def _wait_for(self, job: Job) -> None:
        """Wait until a step has ended; its problem becomes the loop's."""
        ended = self._steps.jobs.wait(job.id, _LOOK_S)
        while ended.active and not self._stopping.is_set():
            ended = self._steps.jobs.wait(job.id, _LOOK_S)
        if ended.state == "failed" and ended.problem and not self._stopping.is_set():
            raise _as_error(ended.problem)

    def _note(self, error: Exception) -> float:
        """Remember what went wrong; seconds to wait before the next try."""
        if self._stopping.is_set():
            return 0.0
        problem = as_problem(error)
        hopeless = isinstance(error, (NotEnrolled, Refused, Conflict, NotAuthentic))
        told_s = problem.retry_after_s
        pause_s = self._refused.next(told_s) if hopeless else self._failing.next(told_s, self._longest_s())
        now = self._clock()
        self.trouble = Trouble(problem.slug, problem.message, problem.next, int(now), int(now + pause_s))
        self._on_change()
        if isinstance(error, FanlightError):
            signed = self._rounds.offers.manifest
            log = self._rounds.log if signed is None else self._log_of(signed)
            log.info("trying again later", slug=problem.slug, reason=problem.message, next=problem.next)
        if isinstance(error, NotEnrolled) and not self._has_left:
            self._membership.forget_enrolments()
        return pause_s


def _as_error(problem: Problem) -> NotPossibleNow:
    """Why a job failed, as an error again."""
    return NotPossibleNow(problem.message, slug=problem.slug, next=problem.next, retry_after_s=problem.retry_after_s)
