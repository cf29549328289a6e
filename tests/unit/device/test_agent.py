from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from fanlight.errors import Conflict, NotAuthentic, NotPossibleNow, Refused, Unreachable, disk_full
from fanlight.protocol.closing import Result
from fanlight.protocol.signing import raw_public_key
from fanlight.services.device import knocks, status
from fanlight.services.device.learned import Held, Prepared
from fanlight.services.device.learner import Learner
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.steps import KNOCK_S
from fanlight.services.http.jobs import Progress
from tests.unit.device.federation import FakeFederation, first_model
from tests.unit.device.joined import turn


def wait_until(condition: object) -> None:
    assert callable(condition)
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen")


def test_it_enrols_at_both_servers_once(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    turn(device)
    assert federation.seen.count("main POST enrolments") == federation.seen.count("aggregator POST enrolments") == 1
    assert federation.keys == dict.fromkeys(("main", "aggregator"), raw_public_key(device.identity.device.private))
    assert status.status(device)["enrolled"] == {"main": True, "aggregator": True}


@pytest.mark.parametrize(
    ("status_code", "slug", "kind"), [(403, "token-expired", Refused), (409, "token-used", Conflict)]
)
def test_a_refused_enrolment_is_an_error_that_says_why(
    federation: FakeFederation, device: DeviceRole, status_code: int, slug: str, kind: type[Exception]
) -> None:
    federation.refuse_enrolment = (status_code, slug)
    with pytest.raises(kind, match=f"It is {slug}"):
        turn(device)
    device.agent._note(Refused("no", slug=slug))
    assert status.status(device)["problem"]["slug"] == slug


def test_the_log_says_what_to_do_about_a_refused_enrolment(device: DeviceRole) -> None:
    with capture_logs() as lines:
        device.agent._note(Refused("This token has expired.", slug="token-expired", next="Get another one."))
    assert [(line["slug"], line["next"]) for line in lines] == [("token-expired", "Get another one.")]


def test_by_itself_it_trains_sends_and_goes_on(federation: FakeFederation, device: DeviceRole) -> None:
    federation.by_itself = True
    federation.open_round()
    turn(device)
    assert (len(federation.ready), len(federation.uploads), len(federation.beacons)) == (0, 1, 1), (
        "a report says it all"
    )
    turn(device)
    assert len(federation.uploads) == 1
    federation.end_round(Result.RELEASED)
    federation.publish(first_model(version=1, bias=0.1))
    federation.open_round()
    turn(device)
    assert len(federation.uploads) == 2
    assert [line.result for line in device.store.past.rounds()] == ["released", None]


def test_an_abandoned_round_is_answered_again_without_training(federation: FakeFederation, device: DeviceRole) -> None:
    federation.by_itself = True
    federation.open_round()
    turn(device)
    first = device.store.prepared
    federation.end_round(Result.ABANDONED)
    federation.open_round()
    turn(device)
    second = device.store.prepared
    assert first is not None
    assert second is not None
    assert (first.head, len(federation.uploads)) == (second.head, 2), "it had to know first how the other one ended"


def test_by_itself_a_failed_round_is_trained_for_again(
    federation: FakeFederation, device: DeviceRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []  # the heads may be equal: a few pictures are one batch, and their order is all that differs

    def train(learner: Learner, held: Held, progress: Progress, most_pictures: int) -> Prepared:
        trained.append(held.version)
        return really(learner, held, progress, most_pictures)

    really = Learner.train
    monkeypatch.setattr(Learner, "train", train)
    federation.by_itself = True
    federation.open_round()
    turn(device)
    federation.end_round(Result.FAILED)
    federation.open_round(attempt=1)
    turn(device)
    assert len(trained) == 2
    assert len(federation.uploads) == 2


def test_by_hand_it_does_nothing_by_itself(federation: FakeFederation, device: DeviceRole) -> None:
    federation.open_round()
    turn(device)
    assert (federation.ready, federation.uploads, device.store.prepared) == ([], [], None)


def test_a_device_without_training_pictures_leaves_training_rounds_out(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test").symlink_to(drawn)
    role = federation.device(tmp_path / "device-2", tmp_path / "data")
    federation.by_itself = True
    federation.open_round()
    turn(role)
    turn(role)
    assert federation.uploads == []
    role.stop()


def test_models_are_fetched_and_measured_once_and_main_is_told_with_the_next_question(
    federation: FakeFederation, device: DeviceRole
) -> None:
    turn(device)
    turn(device)
    held = device.store.held
    assert held is not None
    assert federation.acknowledged == [None, held.sha256.hex()]
    assert federation.seen.count("main GET models") == 1
    assert status.learning(device)["global"]["metrics"]["total"] == 2
    federation.publish(first_model(version=1, bias=1.0))
    turn(device)
    turn(device)
    newer = device.store.held
    assert newer is not None
    assert federation.acknowledged[2:] == [held.sha256.hex(), newer.sha256.hex()]
    assert newer != held


@pytest.mark.parametrize("along", [False, True])
@pytest.mark.parametrize(
    ("model", "altered", "kind", "slug"),
    [
        (first_model(), b"something else", NotAuthentic, "model-altered"),
        (b"no model", None, Refused, "model-refused"),
        (first_model(classes=("a", "b")), None, Refused, "model-refused"),
    ],
)
def test_a_model_that_is_not_what_it_should_be_is_not_taken(
    federation: FakeFederation,
    device: DeviceRole,
    model: bytes,
    altered: bytes | None,
    kind: type[Exception],
    slug: str,
    along: bool,
) -> None:
    turn(device)
    before = device.store.held
    federation.along = along
    federation.publish(first_model(version=1, bias=2.0) if altered else model)
    federation.altered_model = altered
    with pytest.raises(kind) as caught:
        turn(device)
    assert getattr(caught.value, "slug", "") == slug
    assert device.store.held == before
    federation.altered_model = None
    federation.publish(first_model())
    turn(device)
    assert before is not None
    assert federation.acknowledged[-1] == before.sha256.hex(), "main is told of no other"


def test_a_model_that_comes_with_the_offer_is_not_asked_for_and_does_not_come_again(
    federation: FakeFederation, device: DeviceRole
) -> None:
    federation.along = True
    federation.publish(first_model(version=1, bias=2.0))
    turn(device)
    turn(device)
    held = device.store.held
    assert held is not None
    assert device.store.global_file(held.sha256) == federation.model
    assert "main GET models" not in federation.seen
    federation.along = False
    federation.publish(first_model(version=2, bias=3.0))
    turn(device)
    assert "main GET models" in federation.seen, "or this test would see nothing"


def test_an_offer_of_somebody_else_is_not_taken(federation: FakeFederation, device: DeviceRole, tmp_path: Path) -> None:
    turn(device)
    other = FakeFederation(tmp_path / "other")
    federation.main = other.main
    federation.publish(first_model(version=1, bias=2.0))
    with pytest.raises(NotAuthentic):
        turn(device)


def test_a_device_that_a_round_waits_for_knocks_every_few_seconds_however_long_nobody_answers(
    federation: FakeFederation, device: DeviceRole
) -> None:
    """Half of the bounds: the jitter of these tests is .5."""

    def waits() -> list[float]:
        device.agent._failing.reset()
        return [device.agent._note(Unreachable("Nobody answers.")) for _ in range(60)]

    turn(device)
    assert max(waits()) == knocks.LONGEST_S / 2, "there is no round"
    federation.open_round()
    turn(device)
    assert max(waits()) == knocks.AWAITED_S / 2, "a round is open"
    federation.by_itself = True
    federation.open_round()
    turn(device)
    device.offers.current = None
    assert max(waits()) == knocks.AWAITED_S / 2, "it has a report, and was started again"
    full = disk_full("/reports")
    told_s = full.retry_after_s
    assert told_s is not None
    assert told_s <= device.agent._note(full) <= told_s + knocks.AWAITED_S, "a disk is not full for ever"
    device.agent._failing.reset()


def test_the_thread_survives_a_server_that_is_away(federation: FakeFederation, device: DeviceRole) -> None:
    federation.down.update({"main", "aggregator"})
    device.agent.start()
    wait_until(lambda: device.agent.trouble is not None)
    assert status.status(device)["problem"]["slug"] == "unreachable"
    federation.down.clear()
    wait_until(lambda: device.store.held is not None and device.agent.trouble is None)
    assert status.status(device)["problem"] is None


def test_whatever_happens_the_loop_goes_on(
    federation: FakeFederation, device: DeviceRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(device.membership.__class__, "resume_change", lambda _self: fail())
        device.agent.start()
        wait_until(lambda: device.agent.trouble is not None)
        assert device.agent.trouble is not None
        assert device.agent.trouble.slug == "unexpected-error"
        assert "a bug" not in device.agent.trouble.message
    wait_until(lambda: device.store.held is not None)


def test_it_comes_back_when_the_server_said_so(federation: FakeFederation, device: DeviceRole) -> None:
    assert device.agent._note(Unreachable("Too much to do.", retry_after_s=40)) == 40 + 20 * 0.5
    assert device.agent._note(Refused("Too many.", slug="too-many-requests", retry_after_s=6)) == 6 + 3 * 0.5
    assert device.agent._note(Unreachable("Gone.")) == KNOCK_S * 0.5, "the second failure of its kind"
    assert device.agent._note(Refused("No.")) == 1 * 0.5


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(federation: FakeFederation, device: DeviceRole) -> None:
    federation.busy["main"] = "1"
    device.agent.start()
    wait_until(lambda: device.agent.trouble is not None)
    problem = status.status(device)["problem"]
    assert problem["again_at"] >= problem["at"] + 1
    federation.busy.clear()
    wait_until(lambda: device.agent.trouble is None)


def test_a_device_that_has_nothing_to_do_pauses_as_main_asks(federation: FakeFederation, device: DeviceRole) -> None:
    federation.by_itself, federation.pause_s = True, 30
    assert device.agent._pause_s() == 0, "before the first offer"
    turn(device)
    assert device.agent._pause_s() == 15, "half the chances, half the time"
    federation.open_round()
    turn(device)
    assert device.agent._pause_s() == 0, "its report is in an open round"
    federation.end_round(Result.RELEASED)
    turn(device)
    assert device.agent._pause_s() == 15
    federation.pause_s = None
    turn(device)
    assert device.agent._pause_s() == 0


def test_the_owners_word_ends_a_pause(federation: FakeFederation, device: DeviceRole) -> None:
    def asked() -> int:
        return federation.seen.count("main GET offer")

    federation.pause_s = 3600
    device.agent.start()
    wait_until(lambda: asked() == 1)
    for number, paused in enumerate((True, False, True), start=2):
        device.rounds.wishes.pause(paused)
        wait_until(lambda number=number: asked() >= number)


def test_the_owners_word_does_not_shorten_what_a_server_has_told(device: DeviceRole) -> None:
    resting = threading.Thread(target=device.agent._rest, args=(7200.0, 3600.0), daemon=True)
    resting.start()
    device.rounds.wishes.pause(True)
    resting.join(0.2)
    assert resting.is_alive()
    device.agent.stop()
    resting.join()


def test_main_that_was_started_again_is_told_again_who_declines(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    role = federation.device(tmp_path / "device-2", drawn, accept_demo=False)
    signed = federation.open_round()
    role.agent.start()
    wait_until(lambda: federation.declined == [signed.hash.hex()])
    federation.down.add("main")
    wait_until(lambda: role.agent.trouble is not None)
    federation.down.clear()
    wait_until(lambda: len(federation.declined) == 2)
    role.stop()


@pytest.mark.parametrize("slow", ["_model", "_report"])
def test_main_is_asked_meanwhile_if_a_model_or_a_report_takes_long(
    slow: str, federation: FakeFederation, device: DeviceRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation.by_itself = True
    turn(device)
    federation.publish(first_model(version=1, bias=0.1))
    federation.open_round()
    reply, times = getattr(federation, slow), list[int]()

    def slowly(*arguments: object) -> object:
        before = len(federation.acknowledged)
        wait_until(lambda: len(federation.acknowledged) >= before + 2)
        times.append(before)
        return reply(*arguments)

    monkeypatch.setattr("fanlight.services.device.signs_of_life.EVERY_S", 0.05)
    monkeypatch.setattr(federation, slow, slowly)
    turn(device)
    assert (len(times), len(federation.uploads)) == (1, 1)


def test_main_is_asked_meanwhile_if_a_kept_report_takes_long(
    federation: FakeFederation, device: DeviceRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation.by_itself = True
    federation.open_round()
    federation.refuse_reports = (503, "busy")
    with pytest.raises(NotPossibleNow):
        turn(device)
    federation.refuse_reports = None
    reply = federation._report

    def slowly(request: httpx.Request, server: str, path: str) -> httpx.Response:
        before = len(federation.acknowledged)
        wait_until(lambda: len(federation.acknowledged) >= before + 2)
        return reply(request, server, path)

    monkeypatch.setattr("fanlight.services.device.signs_of_life.EVERY_S", 0.05)
    monkeypatch.setattr(federation, "_report", slowly)
    turn(device)
    assert len(federation.uploads) == 1
