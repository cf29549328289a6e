from __future__ import annotations

import stat
from pathlib import Path

import pytest

from fanlight.errors import NotAuthentic, NotFound, NotPossibleNow, Unreachable
from fanlight.protocol.closing import Result
from fanlight.protocol.device_round import Delivery, Preparation
from fanlight.protocol.plan import Kind
from fanlight.services.device import small_files, status
from fanlight.services.device.role import DeviceRole
from fanlight.storage.database import DATABASE_FILE
from tests.unit.device.federation import FakeFederation, first_model
from tests.unit.device.joined import announced, done, failed, kept_y, turn

pytestmark = pytest.mark.usefixtures("where")


def opened(federation: FakeFederation, device: DeviceRole) -> bytes:
    announced(device)
    mh = federation.open_round().hash
    turn(device)
    return mh


def y_file(role: DeviceRole, mh: bytes) -> Path:
    return role.settings.state / "reports" / f"{mh.hex()}.y"


def test_a_report_is_kept_for_its_owner_only_before_it_is_sent(
    federation: FakeFederation, device: DeviceRole, where: str
) -> None:
    mh = opened(federation, device)
    federation.down.add("aggregator")
    assert failed(device, device.steps.send()) == "unreachable"
    assert federation.uploads == []
    record = device.store.report(mh)
    assert record is not None
    assert record.at == Delivery.COMMITTED
    assert len(kept_y(device.store, mh) or b"") == 4 * record.length
    assert y_file(device, mh).exists() == (where == "files")
    file = y_file(device, mh) if where == "files" else device.store.folder / DATABASE_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_restarted_device_sends_the_same_bytes(
    federation: FakeFederation, device: DeviceRole, tmp_path: Path, drawn: Path
) -> None:
    mh = opened(federation, device)
    federation.lose_answers_to.add("rounds")
    failed(device, device.steps.send())
    stored = kept_y(device.store, mh)
    assert stored
    device.stop()
    federation.lose_answers_to.clear()
    again = federation.device(tmp_path / "device-1", drawn)
    turn(again)
    assert len(federation.uploads) > 2
    assert len(set(federation.uploads)) == 1
    assert federation.uploads[0].endswith(stored)
    assert federation.uploads[0][:4] == b"FLR1"
    record = again.store.report(mh)
    assert record is not None
    assert record.at == Delivery.CONFIRMED
    assert status.sent(again)["sent"][0]["bytes"] == len(federation.uploads[0])
    again.stop()


def test_a_receipt_is_shown_to_main_until_main_has_taken_it(federation: FakeFederation, device: DeviceRole) -> None:
    mh = opened(federation, device)
    federation.down.add("main")
    assert failed(device, device.steps.send()) == "unreachable"
    record = device.store.report(mh)
    assert record is not None
    assert (record.at, len(federation.uploads)) == (Delivery.RECEIPTED, 1)
    federation.down.clear()
    turn(device)
    assert len(federation.uploads) == 1
    assert federation.beacons == [record.receipt]


def test_the_send_button_sends_a_kept_report_again(federation: FakeFederation, device: DeviceRole) -> None:
    opened(federation, device)
    federation.down.add("aggregator")
    failed(device, device.steps.send())
    federation.down.clear()
    assert done(device, device.steps.send()).result["state"] == "confirmed"
    assert len(federation.uploads) == 1


@pytest.mark.parametrize("along", [False, True])
@pytest.mark.parametrize(("result", "included"), [(Result.RELEASED, True), (Result.FAILED, False)])
def test_the_end_of_a_round_is_kept_and_y_deleted(
    federation: FakeFederation, device: DeviceRole, result: Result, included: bool, along: bool
) -> None:
    federation.along = along
    mh = opened(federation, device)
    done(device, device.steps.send())
    federation.end_round(result)
    turn(device)
    line = device.store.past.rounds()[0]
    assert (line.result, line.included) == (result.value, included)
    assert ("main GET rounds" in federation.seen) != along, "what came with the offer is not asked for"
    assert kept_y(device.store, mh) is None
    assert device.offers.preparation == Preparation.IDLE


@pytest.mark.parametrize("along", [False, True])
def test_main_cannot_leave_a_report_out_and_say_it_was_summed(
    federation: FakeFederation, device: DeviceRole, along: bool
) -> None:
    federation.along = along
    mh = opened(federation, device)
    done(device, device.steps.send())
    federation.end_round(Result.RELEASED)
    proof = federation.outcomes[mh.hex()].proof
    assert proof is not None
    federation.outcomes[mh.hex()] = federation.outcomes[mh.hex()].with_(proof=proof.with_(path=(bytes(32),)))
    with pytest.raises(NotAuthentic) as caught:
        turn(device)
    assert caught.value.slug == "bad-inclusion-proof"
    assert len(device.store.unfinished()) == 1


def test_an_unfinished_round_is_asked_for_until_it_is_over(federation: FakeFederation, device: DeviceRole) -> None:
    opened(federation, device)
    done(device, device.steps.send())
    manifest, federation.manifest = federation.manifest, None
    turn(device)
    assert federation.seen[-1] == "main GET rounds"
    assert len(device.store.unfinished()) == 1
    federation.manifest = manifest
    federation.end_round(Result.RELEASED)
    turn(device)
    assert device.store.unfinished() == []


def test_a_busy_aggregator_says_when_the_device_comes_back(federation: FakeFederation, device: DeviceRole) -> None:
    opened(federation, device)
    federation.busy["aggregator"] = "2"
    failed(device, device.steps.send())
    assert federation.slept == pytest.approx([2.5, 2.5, 2.5, 2.5, 2.5, 2.5, 2.6, 3.2, 4.4])
    federation.busy["aggregator"] = "60"
    failed(device, device.steps.send())
    assert len(federation.slept) == 9, "for longer than a moment the step does not wait; the agent does"
    with pytest.raises(Unreachable) as caught:
        turn(device)
    assert caught.value.retry_after_s == 60.0
    federation.busy.clear()
    turn(device)
    assert device.rounds.undelivered() == []


@pytest.mark.parametrize("refusal", [(409, "round-closed"), (409, "report-late"), (403, "not-invited")])
def test_a_report_that_is_refused_for_good_is_not_sent_again_and_again(
    federation: FakeFederation, device: DeviceRole, refusal: tuple[int, str]
) -> None:
    opened(federation, device)
    federation.refuse_reports = refusal
    assert failed(device, device.steps.send()) == refusal[1]
    assert federation.slept == []


def test_a_device_that_came_too_late_goes_on_with_the_next_round(
    federation: FakeFederation, device: DeviceRole
) -> None:
    federation.by_itself = True
    mh = federation.open_round().hash
    federation.refuse_reports = (409, "round-closed")
    with pytest.raises(NotPossibleNow):
        turn(device)
    turn(device)
    puts = federation.seen.count("aggregator PUT rounds")
    turn(device)
    assert federation.seen.count("aggregator PUT rounds") == puts, "it waits until the round is over"
    federation.end_round(Result.RELEASED, included=False)
    federation.refuse_reports = None
    federation.publish(first_model(version=1, bias=0.1))
    federation.open_round()
    turn(device)
    assert len(federation.uploads) == 1
    ended = device.store.report(mh)
    assert ended is not None
    assert ended.at == Delivery.ENDED


def test_a_damaged_stored_report_is_never_sent(federation: FakeFederation, device: DeviceRole, where: str) -> None:
    mh = opened(federation, device)
    federation.down.add("aggregator")
    failed(device, device.steps.send())
    if where == "files":
        y_file(device, mh).write_bytes(b"cut off")
    else:
        with device.store.database.transaction() as tx:
            small_files.put(tx, y_file(device, mh).name, b"cut off")
    federation.down.clear()
    assert failed(device, device.steps.send()) == "damaged-report"
    assert federation.uploads == []


def test_a_receipt_for_another_report_is_no_receipt(federation: FakeFederation, device: DeviceRole) -> None:
    mh = opened(federation, device)
    federation.down.add("aggregator")
    failed(device, device.steps.send())
    federation.down.clear()
    assert federation.member is not None
    federation.member = federation.member.__class__(bytes(16), b"", b"", "another")
    with pytest.raises(NotAuthentic) as caught:
        device.rounds.deliver(mh)
    assert caught.value.slug == "foreign-receipt"


def test_there_is_nothing_to_deliver_for_a_round_without_report(device: DeviceRole) -> None:
    with pytest.raises(NotFound):
        device.rounds.deliver(bytes(32))


def test_a_measurement_is_kept_and_sent_later_too(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    mh = federation.open_round(Kind.MEASURE).hash
    federation.down.add("aggregator")
    with pytest.raises(NotPossibleNow, match="does not answer"):
        turn(device)
    federation.down.clear()
    turn(device)
    record = device.store.report(mh)
    assert record is not None
    assert record.at == Delivery.CONFIRMED


def test_the_waits_grow_and_are_bounded(federation: FakeFederation, tmp_path: Path, drawn: Path) -> None:
    role = federation.device(tmp_path / "device-2", drawn)
    opened(federation, role)
    federation.down.add("aggregator")
    failed(role, role.steps.send())
    assert federation.slept == pytest.approx([0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.6, 1.2, 2.4])
    role.stop()
