"""A task's policy is checked as a whole, whoever changes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fanlight.cli.demo_policy import write_policy
from fanlight.cli.fine_tune_option import fine_tune_fields
from fanlight.cli.task_options import (
    Choices,
    Pictures,
    algorithm_fields,
    augmentation_fields,
    class_weights_fields,
    make_task,
    policy_fields,
)
from fanlight.errors import SettingsError, UsageError
from fanlight.protocol.codec import DEFAULT_LIMIT
from fanlight.protocol.exchange import Order, Orders
from fanlight.protocol.main_round import Record
from fanlight.services.federation import TASK_FILE
from fanlight.services.main_server.round_table import Stored
from fanlight.services.main_server.sharding import shards_of_next
from fanlight.services.main_server.task import Task
from tests.protocol_world import World, plan_of

TASK = Task.default(classes=("a", "b"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"k_min": 2000}, "n_max: at least as many as the fewest devices in a sum: 2,000"),
        ({"cohort_size": 3}, "cohort_size: 0, or at least as many as the fewest devices in a sum: 5"),
        ({"cohort_size": 1001}, "cohort_size: at most as many as a sum may have: 1,000"),
        ({"k_min": 1}, "k_min: Input should be greater than or equal to 2"),
        ({"rounds": -1}, "rounds: "),
        ({"by_itself": "yes"}, "by_itself: "),
        ({"k_mim": 5}, "k_mim: "),
        ({"expected_percent": 0}, "expected_percent: "),
        ({"patience_rounds": True}, "patience_rounds: "),
        ({"stop_on_drop_points": 101}, "stop_on_drop_points: "),
        (
            {"update_bits": 9},
            "update_bits: an update cannot be packed in 9 bits for 1000 devices. Set its width to 10 to",
        ),
        ({"update_bits": 24}, "update_bits: "),
        (
            {"update_bits": 16, "n_max": 40_000},
            "need 32 bits, as many as without packing. Set the largest cohort to at",
        ),
        ({"most_pictures": 0}, "most_pictures: "),
        ({"most_pictures": 10_001}, "most_pictures: "),
        ({"shards": "sometimes"}, "shards: Input should be 'never', 'after-failure' or 'always'"),
        ({"most_shards": 17}, "most_shards: "),
        ({"quiet_hours": "22-6"}, "'22-6' are no hours of a day"),
        ({"timezone": "Mars"}, "'Mars' is no time zone"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as caught:
        TASK.with_policy(**changes)
    assert named in caught.value.message


def test_a_changed_policy_is_one_that_can_be_loaded(tmp_path: Path) -> None:
    task = make_task(Pictures(("a", "b"), 64), demo=True, by_itself=True, rounds=3, k_min=4)
    (tmp_path / TASK_FILE).write_bytes(task.to_json())
    assert Task.load(tmp_path / TASK_FILE) == task
    assert (task.policy.demo, task.policy.k_min, task.policy.rounds, task.picture_size) == (True, 4, 3, 64)


@pytest.mark.parametrize(("size", "more", "sampled"), [(0, 30, 0), (10, 0, 10), (10, 30, 13), (5, 30, 7)])
def test_over_selection_draws_more_and_rounds_up(size: int, more: int, sampled: int) -> None:
    assert TASK.with_policy(cohort_size=size, over_selection_percent=more).policy.sample_size == sampled


@pytest.mark.parametrize(("update_bits", "n_max", "bits"), [(0, 1000, 32), (16, 1000, 26), (10, 1000, 20), (10, 5, 13)])
def test_the_width_in_which_an_update_travels_follows_from_the_cohort(update_bits: int, n_max: int, bits: int) -> None:
    assert TASK.with_policy(update_bits=update_bits, n_max=n_max).policy.ring_bits == bits


def test_a_list_of_the_most_devices_that_shards_are_drawn_of_fits_into_one_message() -> None:
    cohort = tuple(number.to_bytes(16, "big") for number in range(50_000))
    empty = Orders(fid=bytes(32), version=1, members_version=1, order=Order.NONE.value, mh=bytes(32), cohort=())
    orders = empty.with_(proposal=bytes(10_000), cohort=cohort)
    assert len(orders.encode()) < DEFAULT_LIMIT - 1000


def test_a_task_from_before_there_were_widths_is_not_packed(tmp_path: Path) -> None:
    fields = json.loads(TASK.to_json())
    del fields["policy"]["update_bits"], fields["policy"]["most_pictures"]
    (tmp_path / TASK_FILE).write_text(json.dumps(fields))
    assert Task.load(tmp_path / TASK_FILE) == TASK


def test_rules_are_given_by_name_to_the_command() -> None:
    given = ("patience_rounds=3", "quiet_hours=22:00-06:00", "timezone=Europe/Berlin", "paused=true")
    policy = make_task(Pictures(("a", "b"), 64), policy=policy_fields(given)).policy
    assert (policy.patience_rounds, policy.quiet_hours, policy.paused) == (3, "22:00-06:00", True)
    with pytest.raises(UsageError, match="--policy patience has no value"):
        policy_fields(("patience",))
    with pytest.raises(SettingsError, match="patient: "):
        make_task(Pictures(("a", "b"), 64), policy=policy_fields(("patient=3",)))


def test_a_demo_cannot_be_told_to_run_more_rounds_than_a_task_can_have(tmp_path: Path) -> None:
    before = make_task(Pictures(("a", "b"), 64), demo=True).to_json()
    (tmp_path / TASK_FILE).write_bytes(before)
    (tmp_path / TASK_FILE).chmod(0o600)
    with pytest.raises(SettingsError, match="rounds: "):
        write_policy(tmp_path, 100_001)
    assert (tmp_path / TASK_FILE).read_bytes() == before
    assert write_policy(tmp_path, 2) == 0
    assert Task.load(tmp_path / TASK_FILE).policy.rounds == 2


def past(state: str, reason: str = "ok", shards: int | None = None) -> Stored:
    """The round before: how it ended, and into how many shards it was drawn."""
    world = World(1, "past")
    proposal = world.proposal(plan_of(), [world.owners[0].id], shards=shards).encode()
    record = Record(state=state, number=1, attempt=0, kind="train", proposal=proposal)
    return Stored(1, "train", b"", state, b"", Order.NONE, 6, reason, 1.0, 2.0, None, None, None, record)


@pytest.mark.parametrize(
    ("rule", "before", "cohort", "shards"),
    [
        ("after-failure", None, 100, None),
        ("after-failure", past("complete"), 100, None),
        ("after-failure", past("failed", "update-norm-too-large"), 100, 4),
        ("after-failure", past("failed", "update-norm-too-large"), 14, 2),
        ("after-failure", past("failed", "update-norm-too-large"), 9, None),
        ("after-failure", past("failed", "too-few-good-shards", 4), 100, 4),
        ("after-failure", past("failed", "round-key-lost"), 100, None),
        ("after-failure", past("failed", "sum-lost"), 100, None),
        ("after-failure", past("complete", "shard-left-out", 4), 100, 4),
        ("after-failure", past("complete", "ok", 4), 100, None),
        ("after-failure", past("abandoned", "window-passed", 4), 100, 4),
        ("after-failure", past("abandoned", "window-passed"), 100, None),
        ("always", None, 100, 4),
        ("always", past("complete"), 9, None),
        ("always", None, 50_000, 4),
        ("always", None, 50_001, None),
        ("never", past("failed", "update-norm-too-large"), 100, None),
    ],
)
def test_when_rounds_have_shards(rule: str, before: Stored | None, cohort: int, shards: int | None) -> None:
    assert shards_of_next(TASK.with_policy(shards=rule).policy, before, cohort) == shards


def test_a_task_from_before_there_were_shards_has_them_after_a_failure(tmp_path: Path) -> None:
    fields = json.loads(TASK.to_json())
    del fields["policy"]["shards"], fields["policy"]["most_shards"]
    (tmp_path / TASK_FILE).write_text(json.dumps(fields))
    assert Task.load(tmp_path / TASK_FILE) == TASK
    assert (TASK.policy.shards, TASK.policy.most_shards) == ("after-failure", 4)


def test_an_algorithm_is_given_with_its_parameters_and_how_shards_become_one() -> None:
    chosen = make_task(
        Pictures(("a", "b"), 64),
        policy={"shards": "always"},
        algorithm=algorithm_fields("fedprox: mu=0.5 , combine = median"),
    ).algorithm
    assert (chosen.name, chosen.parameters, chosen.combine) == ("fedprox", {"mu": 0.5}, "median")
    assert algorithm_fields(None) is None
    with pytest.raises(SettingsError, match="--algorithm: 'mu=much' is not of the form"):
        algorithm_fields("fedprox:mu=much")
    for wrong in ("fedprox:combine=most", "fedprox:combine", "fedmagic", "fedprox:beta=1"):
        with pytest.raises(SettingsError):
            make_task(Pictures(("a", "b"), 64), algorithm=algorithm_fields(wrong))


@pytest.mark.parametrize(
    ("combine", "policy", "lacks"),
    [
        ("median", {}, "shards=always;"),
        ("krum", {}, "shards=always and most_shards=5 or more;"),
        ("krum", {"shards": "always"}, "must say most_shards=5 or more;"),
        ("trimmed-mean", {"shards": "never", "most_shards": 2}, "shards=always and most_shards=3 or more;"),
        ("geometric-median", {"shards": "always", "cohort_size": 14}, "must say cohort_size=15 or more;"),
    ],
)
def test_shards_are_combined_where_every_round_has_enough_of_them(
    combine: str, policy: dict[str, object], lacks: str
) -> None:
    choice, pictures = {"name": "fedavg", "combine": combine}, Pictures(("a", "b"), 64)
    with pytest.raises(SettingsError, match=f"the task's algorithm: combine={combine} stands .*{lacks} else choose"):
        make_task(pictures, policy=policy, algorithm=choice)
    enough = make_task(pictures, policy={"shards": "always", "most_shards": 5, "cohort_size": 25}, algorithm=choice)
    with pytest.raises(SettingsError, match=f"the task's policy: combine={combine} stands .*{lacks} else choose"):
        enough.with_policy(**{"shards": "after-failure", "most_shards": 4, "cohort_size": 0, **policy})
    assert enough.with_algorithm({"name": "fedavg"}).with_policy(**policy).algorithm.combine == "mean"
    assert Task.model_validate_json(enough.to_json()) == enough
    assert not enough.flaw


@pytest.mark.parametrize(
    ("combine", "policy"), [("median", {"shards": "after-failure"}), ("krum", {"shards": "always", "most_shards": 4})]
)
def test_a_task_from_before_shards_had_to_be_enough_goes_on_and_can_be_corrected(
    combine: str, policy: dict[str, object], tmp_path: Path
) -> None:
    """The last release made such files, for federations and for demos; nobody is to be stuck with one."""
    path, fields = tmp_path / TASK_FILE, json.loads(Task.default(classes=("a", "b"), demo=True).to_json())
    fields["algorithm"]["combine"] = combine
    fields["policy"] |= policy
    old = json.dumps(fields)
    path.write_text(old)
    path.chmod(0o600)
    task = Task.load(path)
    assert task.flaw.startswith(f"combine={combine} stands a bad shard only of ")
    paused = task.with_policy(paused=True)
    assert (paused.policy.paused, paused.flaw) == (True, task.flaw)
    with pytest.raises(SettingsError, match=f"combine={combine} stands"):
        task.with_algorithm({"name": "fedprox", "combine": combine})
    assert not task.with_algorithm({"name": "fedavg"}).flaw
    assert not task.with_policy(shards="always", most_shards=5).flaw
    for given in (None, "fedavg", "fedavg:combine=median", "fedavg:combine=krum"):
        path.write_text(old)
        write_policy(tmp_path, 1, Choices(algorithm_fields(given)))
        after = Task.load(path)
        assert after.policy.rounds == 1
        assert after.flaw == (task.flaw if given is None else "")


def test_all_of_a_head_cannot_stay_at_home() -> None:
    pictures = Pictures(("a", "b"), 64)
    for fits in ("fedper", "fedrep:personal=0", "fedavg"):
        make_task(pictures, algorithm=algorithm_fields(fits)).check_at_home()
    for wrong in ("fedper:personal=2", "fedrep:personal=1000"):
        with pytest.raises(SettingsError, match="leave nothing to share"):
            make_task(pictures, algorithm=algorithm_fields(wrong)).check_at_home()


def test_an_augmentation_is_written_on_the_command_line() -> None:
    pictures = Pictures(("a", "b"), 64)
    task = make_task(pictures, augmentation=augmentation_fields("4: flip=no , zoom = 10", flip=True))
    assert task.augmentation.model_dump() == {"variants": 4, "flip": False, "zoom_percent": 10, "light_percent": 20}
    assert make_task(pictures, augmentation=augmentation_fields("2", flip=False)).augmentation.flip is False
    assert augmentation_fields(None) is None
    assert Task.model_validate_json(task.to_json()) == task
    for wrong in ("four", "4:zoom", "4:zoom=wide", "-1", "4:zoom=yes", "4:flip=maybe", "4:flip=1", "4:zoom=1,zoom=2"):
        with pytest.raises((UsageError, SettingsError), match="--augment"):
            augmentation_fields(wrong)
    for wrong in ("17", "4:zoom=51", "4:colour=3", "4:flip=no,zoom=0,light=0"):
        with pytest.raises(SettingsError, match="augmentation"):
            make_task(pictures, augmentation=augmentation_fields(wrong))


def test_an_analytic_head_wants_more_devices_in_a_sum() -> None:
    lite, changed = TASK.backbone, TASK.with_line("analytic", TASK.backbone)
    assert (TASK.policy.k_min, changed.policy.k_min) == (5, 10)
    assert changed == Task.default(classes=TASK.classes, head="analytic")
    assert TASK.with_policy(k_min=7).with_line("analytic", lite).policy.k_min == 7, "somebody chose it"
    assert TASK.with_line("prototypes", lite).policy == TASK.policy
    chosen = changed.with_policy(k_min=5)
    assert chosen.with_line("analytic", "efficientnet-lite0-levels").policy.k_min == 5, "it was analytic before"
    demo = Task.default(classes=TASK.classes, demo=True).with_policy(k_min=5)
    assert demo.with_line("analytic", lite).policy.k_min == 5
    with pytest.raises(SettingsError, match="n_max: at least as many as the fewest devices in a sum: 10"):
        TASK.with_policy(n_max=8).with_line("analytic", lite)


def test_what_is_said_twice_or_is_neither_yes_nor_no_is_told() -> None:
    with pytest.raises(UsageError, match="flip is yes or no, not 'maybe'"):
        augmentation_fields("4:flip=maybe")
    for twice in ("feddyn:alpha=0.5,alpha=2", "fedavg:combine=mean,combine=krum"):
        with pytest.raises(SettingsError, match="twice"):
            algorithm_fields(twice)
    with pytest.raises(SettingsError, match="has 'batch_norm' twice"):
        fine_tune_fields("1:batch_norm=local,batch_norm=frozen")


def test_class_weights_are_written_on_the_command_line() -> None:
    pictures = Pictures(("a", "b"), 64)
    counted = make_task(pictures, class_weights=class_weights_fields("500, 20"))
    assert (counted.plan.class_weights, counted.plan.class_counts) == (True, (500, 20))
    assert Task.model_validate_json(counted.to_json()) == counted
    plain = make_task(pictures, class_weights=class_weights_fields("off"))
    assert (plain.plan.class_weights, plain.plan.class_counts) == (False, None)
    assert make_task(pictures, class_weights=class_weights_fields("own")) == make_task(pictures)
    assert class_weights_fields(None) is None
    for wrong in ("", "federation", "500,", "500;20", "-1,2"):
        with pytest.raises(UsageError, match="--class-weights"):
            class_weights_fields(wrong)
    with pytest.raises(SettingsError, match="class_counts has 3 numbers for 2 classes"):
        make_task(pictures, class_weights=class_weights_fields("1,2,3"))


def test_counts_of_classes_are_one_for_each_class_and_go_into_the_plan() -> None:
    fields = TASK.model_dump() | {"training": {"class_counts": [5, 1]}}
    assert Task.model_validate(fields).plan.class_counts == (5, 1)
    assert TASK.plan.class_counts is None
    with pytest.raises(ValueError, match="class_counts has 1 numbers for 2 classes"):
        Task.model_validate(fields | {"training": {"class_counts": [5]}})
