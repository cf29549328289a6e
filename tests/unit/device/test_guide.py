"""What the start page tells the owner to do now, from an empty device to a better model."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import Unreachable
from fanlight.learning.folders import UNLABELLED
from fanlight.protocol.closing import Result
from fanlight.protocol.device_round import Preparation
from fanlight.services.device import guide, status
from fanlight.services.device.arrival import how_good
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.supply import STRIP, Supply, supply
from fanlight.services.http.jobs import Point
from fanlight.services.http.steps import Now, StepView
from tests.unit.device.federation import PLAN, FakeFederation, first_model
from tests.unit.device.joined import announced, done, turn


def now(role: DeviceRole) -> Now:
    return guide.now(role, supply(role, STRIP))[0]


def steps(role: DeviceRole) -> list[StepView]:
    return guide.now(role, supply(role))[1]


def places(thing: Now) -> str:
    """One letter for each stage."""
    return "".join(stage.place[0] for stage in thing.stages)


def test_the_whole_way(federation: FakeFederation, tmp_path: Path, drawn: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    role = federation.device(tmp_path / "device-1", data)
    assert (now(role).name, now(role).href) == ("join", "/pictures")
    turn(role)
    assert (now(role).name, places(now(role))) == ("pictures", "nllllll")
    (data / UNLABELLED).mkdir()
    shutil.copy(drawn / "bright" / "0.png", data / UNLABELLED / "x.png")
    assert (now(role).name, now(role).href, places(now(role))) == ("label", "/pictures?state=unlabelled", "dnlllll")
    assert [picture.label for picture in supply(role, 8).strip] == [None]
    shutil.copytree(drawn, data, dirs_exist_ok=True)
    turn(role)
    assert (now(role).name, now(role).step, places(now(role))) == ("train", "/modeltrain", "ddnllll")
    assert supply(role).few == ("bright", "dark")
    done(role, role.steps.train())
    assert (now(role).name, now(role).step, places(now(role))) == ("announce", "/sendstatus", "dddnlll")
    done(role, role.steps.announce())
    thing = now(role)
    assert (thing.name, thing.step, places(thing)) == ("send", "", "ddddnll")
    assert "No round is open" in thing.text, "it cannot be sent yet, and says why"
    federation.open_round()
    turn(role)
    assert now(role).step == "/sendmodel"
    done(role, role.steps.send())
    assert (now(role).name, places(now(role))) == ("wait", "dddddnl")
    federation.end_round(Result.RELEASED)
    turn(role)
    turn(role)
    thing = now(role)
    assert (thing.name, thing.title, places(thing)) == ("wait", "Added up. Now wait for the new model.", "dddddnl")
    federation.publish(first_model(version=1, bias=0.5))
    turn(role)
    turn(role)
    thing = now(role)
    assert (thing.name, thing.step, thing.again, places(thing)) == ("better", "", "/modeltrain", "ddddddn")
    assert thing.title == f"Version {version(role)} is here: 50.0 % on your 2 test pictures, as before."
    role.stop()


def test_a_version_that_came_is_compared_with_the_one_before(federation: FakeFederation, device: DeviceRole) -> None:
    federation.plan = PLAN.with_(epochs=40, patience=40)  # long enough to be right whatever the order of the pictures
    turn(device)
    done(device, device.steps.train())
    prepared = device.store.prepared
    assert prepared is not None
    trained = device.store.local_file(prepared.head)
    learned_once(federation, device, trained)
    before, after = (line["metrics"]["accuracy"] for line in status.learning(device)["versions"])
    assert before < after == 1.0
    thing = now(device)
    assert thing.title == f"Version {version(device)} is here: from 50.0 % to 100.0 % on your 2 test pictures."
    assert "It is better than version 0." in thing.text
    learned_once(federation, device, first_model(version=2))
    thing = now(device)
    assert thing.title == f"Version {version(device)} is here: from 100.0 % to 50.0 % on your 2 test pictures."
    assert "worse" in thing.text
    assert "the main server's operator can go back" in thing.text


def test_how_good_the_model_is_stands_in_a_sentence(federation: FakeFederation, device: DeviceRole) -> None:
    assert how_good(device) == "Waiting for the first model."
    turn(device)
    done(device, device.steps.train())
    assert re.fullmatch(
        r"Version 0 names 50\.0 % of your 2 test pictures rightly; this device's own model, \d+\.0 %\.",
        how_good(device),
    )
    learned_once(federation, device, first_model(version=1, bias=0.5))
    assert how_good(device) == f"Version {version(device)} is here: 50.0 % on your 2 test pictures, as before."
    federation.by_itself = True
    turn(device)
    assert now(device).title == "You need do nothing.", "what to do and how good it is are two things"


def test_it_is_said_when_the_operator_went_back(federation: FakeFederation, device: DeviceRole) -> None:
    first = federation.model
    turn(device)
    federation.publish(first_model(version=1, bias=0.5))
    turn(device)
    later = version(device)
    federation.publish(first)
    federation.version = 0
    turn(device)
    thing = now(device)
    assert (thing.name, thing.step) == ("went-back", "/modeltrain")
    assert thing.title == "The operator went back to version 0."
    assert f"Version 0 names 50.0 % of your test pictures rightly, version {later} named 50.0 %." in thing.text
    done(device, device.steps.train())
    assert now(device).name == "announce"


def test_the_steps_say_where_the_owner_is_in_them(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    assert [(view.now, view.done) for view in steps(device)] == [(True, False), (False, False), (False, False)]
    done(device, device.steps.train())
    train, announce, _send = steps(device)
    assert (train.now, train.done, train.button) == (False, True, "Train again")
    assert train.job
    assert announce.now
    learned_once(federation, device, first_model(version=1, bias=0.5))
    assert not any(view.now or view.done or view.job for view in steps(device)), "a new round: nothing of the last one"


def test_a_report_that_no_server_takes_is_said_to_be_here_still(federation: FakeFederation, device: DeviceRole) -> None:
    announced(device)
    federation.open_round()
    turn(device)
    federation.down.add("aggregator")
    device.jobs.wait(device.steps.send().id, 60)
    thing = now(device)
    assert (thing.name, thing.title, thing.step) == ("undelivered", "Not delivered yet.", "/sendmodel")
    assert "tries again by itself." in thing.text
    device.agent._note(Unreachable("The secure aggregator does not answer."))
    assert "The secure aggregator does not answer. Your report is kept here" in now(device).text
    assert "next try" in now(device).text
    sent = steps(device)[2]
    assert (sent.now, sent.done, sent.job) == (True, False, None)
    assert ("This device", "has a report that is not delivered yet") in sent.facts
    federation.down.clear()
    turn(device)
    assert now(device).name == "wait"
    assert steps(device)[2].done


def version(role: DeviceRole) -> int:
    assert role.store.held is not None
    return role.store.held.version


def learned_once(federation: FakeFederation, role: DeviceRole, model: bytes) -> None:
    """A round with this device in it, and the model that came of it."""
    done(role, role.steps.train())
    done(role, role.steps.announce())
    federation.open_round()
    turn(role)
    done(role, role.steps.send())
    federation.end_round(Result.RELEASED)
    federation.publish(model)
    turn(role)
    turn(role)


def test_by_itself_nothing_is_asked_of_the_owner_but_labels(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    federation.by_itself = True
    data = Path(shutil.copytree(drawn, tmp_path / "data"))
    device = federation.device(tmp_path / "device-2", data)
    turn(device)
    thing = now(device)
    assert (thing.title, thing.step, thing.href) == ("You need do nothing.", "", "/learning")
    assert "by themselves" in thing.text
    done(device, device.steps.train())
    done(device, device.steps.announce())
    federation.open_round()
    turn(device)
    if device.offers.preparation is not Preparation.SENT:
        done(device, device.steps.send())
    thing = now(device)
    assert (thing.name, thing.title) == ("wait", "You need do nothing."), (
        "the headline stands still while a round goes on"
    )
    (data / UNLABELLED).mkdir()
    (data / "bright" / "0.png").rename(data / UNLABELLED / "0.png")
    thing = now(device)
    assert (thing.title, thing.href) == ("Say what your pictures show.", "/pictures?state=unlabelled")
    assert "nothing" not in thing.text
    device.stop()


@pytest.mark.parametrize("wish", ["pause", "leave"])
def test_who_has_paused_or_left_is_told_so_first(federation: FakeFederation, device: DeviceRole, wish: str) -> None:
    turn(device)
    getattr(device.rounds.wishes, wish)(True)
    thing = now(device)
    assert (thing.name, thing.step) == {"pause": ("paused", "/privacy/pause"), "leave": ("left", "")}[wish]
    assert thing.stages == (), "the way is not what this device is on"


@pytest.mark.parametrize("by_itself", [False, True])
def test_who_does_not_take_part_in_the_open_round_is_told_why(
    federation: FakeFederation, tmp_path: Path, drawn: Path, *, by_itself: bool
) -> None:
    role = federation.device(tmp_path / "device-2", drawn, accept_demo=False)
    federation.by_itself = by_itself
    turn(role)
    assert now(role).name == "train"
    federation.open_round()
    turn(role)
    thing = now(role)
    assert (thing.name, thing.step, thing.href) == ("declines", "", "/privacy#floors")
    assert thing.title == "This device does not take part in round 1."
    assert "marked as a demonstration" in thing.text
    assert "on the page Privacy" in thing.text
    assert places(thing) == "ddnllll", "the way is as it was"
    role.rounds.wishes.set_floors(k_min=5, accept_demo=True, answers_per_day=4, r_max_percent=34)
    assert now(role).name == "train", "asked anew, not looked up"
    done(role, role.steps.train())
    done(role, role.steps.announce())
    role.rounds.wishes.set_floors(k_min=5, accept_demo=False, answers_per_day=4, r_max_percent=34)
    assert (now(role).name, places(now(role))) == ("declines", "ddddnll")
    role.rounds.wishes.set_floors(k_min=5, accept_demo=True, answers_per_day=4, r_max_percent=34)
    done(role, role.steps.send())
    role.rounds.wishes.set_floors(k_min=5, accept_demo=False, answers_per_day=4, r_max_percent=34)
    assert now(role).name == "wait", "it has taken part"
    role.stop()


def test_what_a_pause_means_for_the_open_round(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    assert "No round is open now" in guide.effect_on_round(device)
    done(device, device.steps.train())
    done(device, device.steps.announce())
    federation.open_round()
    turn(device)
    assert guide.effect_on_round(device) == "Round 1 goes on without this device."
    federation.down.add("aggregator")
    device.jobs.wait(device.steps.send().id, 60)
    assert "has not arrived yet" in guide.effect_on_round(device)
    federation.down.clear()
    turn(device)
    assert "counts in that round" in guide.effect_on_round(device)


def test_a_folder_that_is_gone_is_no_reason_to_ask_for_pictures(federation: FakeFederation, tmp_path: Path) -> None:
    role = federation.device(tmp_path / "device-1", tmp_path / "nowhere")
    assert supply(role, 8) == Supply(0, 0, (), ())
    role.stop()


def test_features_that_are_kept_are_no_part_of_the_way(federation: FakeFederation, device: DeviceRole) -> None:
    federation.plan = PLAN.with_(epochs=40, patience=40)
    turn(device)
    held = device.store.held
    assert held is not None
    said: list[list[tuple[float, str]]] = [[], []]
    for told in said:

        def progress(fraction: float, text: str = "", point: Point | None = None, to: list[Any] = told) -> None:
            to.append((fraction, text))

        device.rounds.learner.train(held, progress)
    first, again = (next(share for share, text in told if text.startswith("pass ")) for told in said)
    assert first > 0.5 > 1 / 40 == again, "most of a first training's time goes into features"
    assert any("new pictures" in text for _share, text in said[0])
    assert not any("new pictures" in text for _share, text in said[1])
    for told in said:
        assert [share for share, _text in told] == sorted(share for share, _text in told)


def test_how_the_last_training_went_is_kept(
    federation: FakeFederation, device: DeviceRole, tmp_path: Path, drawn: Path
) -> None:
    turn(device)
    job = done(device, device.steps.train())
    course = status.learning(device)["course"]
    assert [point["epoch"] for point in course] == [point["epoch"] for point in job.points]
    for kept, said in zip(course, job.points, strict=True):
        assert kept == pytest.approx(dict(said), abs=1e-6)
    device.stop()
    again = federation.device(tmp_path / "device-1", drawn)
    assert status.learning(again)["course"] == course
    again.stop()


def test_each_version_s_accuracy_here_is_remembered(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    done(device, device.steps.train())
    done(device, device.steps.announce())
    federation.open_round()
    turn(device)
    done(device, device.steps.send())
    federation.end_round(Result.RELEASED)
    better = first_model(version=1, bias=0.5)
    federation.publish(better)
    turn(device)
    turn(device)
    held = device.store.held
    assert held is not None
    assert held.sha256 == hashlib.sha256(better).digest()
    found = status.learning(device)["versions"]
    assert [line["version"] for line in found] == [0, held.version]
    assert all(0 <= line["metrics"]["accuracy"] <= 1 for line in found)
