"""How the next round is proposed: its terms follow from the task, the current model and the adapted clip."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from fanlight.core.adaptive_clip import FIRST_CLIP, next_clip
from fanlight.protocol.contribution import Totals, clip_of, expected_layout
from fanlight.protocol.main_round import Record, State
from fanlight.protocol.main_server import MainServer
from fanlight.protocol.manifest import SUITE, Proposal, cohort_hash
from fanlight.protocol.plan import Kind
from fanlight.services.main_server import (
    algorithm_memories,
    collected_sums,
    measurements,
    members,
    notes,
    quarantine,
    round_table,
    teaching,
)
from fanlight.services.main_server.models import Models
from fanlight.services.main_server.presence import Presence
from fanlight.services.main_server.round_table import Stored
from fanlight.services.main_server.sharding import shards_of_next
from fanlight.services.main_server.stragglers import WaitingRules
from fanlight.services.main_server.task_file import TaskFile
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.round_keys import RoundKeys


@dataclass(frozen=True)
class Proposals:
    """Makes proposals.

    Attributes:
        machine: main's identity.
        tasks, models, keys, log, presence: main's.
    """

    machine: MainServer
    tasks: TaskFile
    models: Models
    keys: RoundKeys
    log: ChainedLog
    presence: Presence

    def propose(self, tx: Connection, kind: Kind) -> None:
        """Begin the next round. For one of changes no lots are drawn: whoever has some may answer.

        Who is in quarantine is not asked; then the cohort is named, if it would else be all.

        Raises:
            Conflict: the previous one is not over.
        """
        previous = round_table.latest(tx)
        key = self.keys.fresh()
        cohort, shards = self._cohort(tx, previous, kind)
        number = previous.number + 1 if previous else 1
        failed = previous is not None and previous.at is State.FAILED
        attempt = (previous.record.attempt if previous else 0) + (failed or notes.read(tx, notes.ATTEMPT_UP, 0))
        proposal = self._terms(tx, kind, number, attempt, cohort, key.public, shards)
        policy = self.tasks.task.policy
        rules = WaitingRules.of_policy(policy).as_notes()
        notes.keep_text(tx, notes.PROPOSED_BY, policy.model_dump_json())
        algorithm_memories.propose(tx, self.tasks.task.algorithm)
        notes.keep_all(tx, {notes.ATTEMPT_UP: 0, notes.SUPPORTERS: policy.supporters} | rules)
        step = self.machine.propose(previous.record if previous else None, proposal, cohort)
        # Before the row: a proposal without its key would be a dead round.
        self.keys.store(number, key)
        round_table.add(tx, step.record, kind, proposal.model)
        self.log.append(tx, step.entries)

    def candidates(self, tx: Connection) -> list[bytes]:
        """The members of which a cohort is drawn: those that are there, as far as is known so soon after a start.

        As in Bonawitz et al. 2019, section 2.2: of the devices that have checked in.
        """
        return sorted(filter(self.presence.may_be_present, quarantine.invited(tx, self.tasks.task.policy.k_min)))

    def is_current(self, tx: Connection, record: Record, now: float) -> bool:
        """Is what was proposed last, and not signed until ``now`` (unix seconds), what would be proposed today?

        Not if the policy has changed at all: any of its rules may say whether a round follows, and whom it asks.
        """
        terms, policy = record.terms, self.tasks.task.policy
        if notes.read_text(tx, notes.PROPOSED_BY) != policy.model_dump_json() or policy.rests_at(now):
            return False
        kind, key = Kind(terms.kind), terms.main_key
        same_algorithm = algorithm_memories.proposed(tx, self.tasks.task.algorithm) == self.tasks.task.algorithm
        same_kind = kind is Kind.MEASURE or kind is teaching.kind_of_next(tx, self.tasks.task)
        before = round_table.whole(tx, terms.round - 1) if terms.round > 1 else None
        cohort = record.cohort or members.confirmed(tx)
        shards = None if kind is Kind.CHANGES else shards_of_next(policy, before, len(cohort))
        same_terms = self._terms(tx, kind, terms.round, terms.attempt, record.cohort, key, shards) == terms
        return same_algorithm and same_kind and same_terms

    def adapt_clip(self, tx: Connection, terms: Proposal, totals: Totals) -> None:
        """Move the clip of the next rounds by what share of the devices was within this one's."""
        if totals.within_clip is not None:
            clip = clip_of(terms.layout) / 1e6
            notes.keep(tx, notes.CLIP_MICRO, round(next_clip(clip, totals.within_clip / totals.count) * 1e6))

    def _terms(
        self,
        tx: Connection,
        kind: Kind,
        number: int,
        attempt: int,
        cohort: Sequence[bytes],
        key: bytes,
        shards: int | None,
    ) -> Proposal:
        model = self.models.current(tx)
        task = self.tasks.task
        plan, policy = task.plan.of_kind(kind), task.policy
        clip_micro = notes.read(tx, notes.CLIP_MICRO, round(FIRST_CLIP * 1e6))
        with_counts = measurements.of_model(tx, model.sha256) is None
        layout = expected_layout(
            plan,
            policy.n_max,
            clip_micro,
            with_counts=with_counts,
            update_bits=policy.update_bits,
            most_pictures=policy.most_pictures,
        )
        return Proposal(
            fid=self.machine.trust.fid,
            suite=SUITE,
            task=task.name,
            round=number,
            attempt=attempt,
            kind=kind.value,
            model=model.sha256,
            plan=plan.hash,
            layout=layout,
            cohort=cohort_hash(cohort) if cohort else b"",
            n_max=policy.n_max,
            k_min=policy.k_min,
            r_max_percent=policy.r_max_percent,
            window_s=policy.window,
            demo=policy.demo,
            main_key=key,
            noise=0,
            shards=shards,
            collection=collected_sums.collection(tx) if kind is Kind.CHANGES else None,
        )

    def _cohort(self, tx: Connection, previous: Stored | None, kind: Kind) -> tuple[Sequence[bytes], int | None]:
        """The devices that a round names, none if it is for all; and its shards, which are drawn of those it names."""
        policy, everybody = self.tasks.task.policy, members.count_confirmed(tx)
        cohort = sorted(quarantine.invited(tx, policy.k_min))
        size = policy.sample_size if kind is not Kind.CHANGES else 0
        if size:
            present = self.candidates(tx)
            cohort = random.SystemRandom().sample(present, min(size, len(present)))
        shards = shards_of_next(policy, previous, len(cohort)) if kind is not Kind.CHANGES else None
        return (cohort if size or shards or len(cohort) < everybody else ()), shards
