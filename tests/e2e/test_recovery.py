"""What must not stop a federation: lost files, lost answers, surprises in the loops, silent devices, passed windows."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from structlog.testing import capture_logs

from fanlight.errors import MalformedMessage, NotPossibleNow, RemoteError, StorageError, Unreachable
from fanlight.protocol import signing
from fanlight.protocol.aggregator_round import State
from fanlight.protocol.exchange import Members
from fanlight.protocol.manifest import SignedManifest
from fanlight.protocol.report import RECEIPT, Receipt
from fanlight.services.aggregator.app import create_app
from fanlight.services.aggregator.round_table import Stored
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.device.deliveries import may_pass
from fanlight.services.main_server import members, signed_answers
from tests.services_world import World, running, wait


def collected(world: World, count: int = 2) -> list[Any]:
    devices = world.enrolled(count)
    for device in devices:
        device.report()
    return devices


@pytest.mark.parametrize("lost", ["sum", "damaged sum", "report"])
def test_a_released_round_is_released_again_whatever_file_is_lost(
    lost: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as world:
        collected(world)
        aggregator = world.aggregator.service
        world.owner("aggregator").step("/aggregate_models")
        signed, vector = aggregator.rounds.release()
        first = vector.copy()
        name = next(name for name in world.report_files() if name.endswith(".sum") == lost.endswith("sum"))
        if lost == "damaged sum":
            path = world.federation / "aggregator" / "reports" / name
            path.write_bytes(b"\x00" * path.stat().st_size)
        else:
            aggregator.files.delete(name)
        again, vector = aggregator.rounds.release()
        assert again == signed
        assert np.array_equal(vector, first)
        with suppress(NotPossibleNow):  # the aggregator's own loop may have been faster
            aggregator.release_round()
        assert wait(lambda: world.round(1, state="released"), "main has the sum")
        world.check_traces()


@pytest.mark.parametrize("heard", [False, True], ids=["before main has the sum", "after"])
def test_a_sum_that_is_lost_for_good_after_it_was_signed_ends_its_round(
    heard: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as world:
        devices = collected(world)
        aggregator, main = world.aggregator.service, world.main.service
        world.owner("aggregator").step("/aggregate_models")
        signed, vector = aggregator.rounds.release()
        if heard:
            main.rounds.release(signed, vector)
        for name in list(world.report_files()):
            aggregator.files.delete(name)
        with suppress(NotPossibleNow):  # the aggregator's own loop may have been faster
            aggregator.release_round()
        if heard:
            assert wait(lambda: world.round(1, state="released", participants=2), "main had it")
            world.owner("main").step("/send_model_clients")
        else:
            assert wait(lambda: world.round(1, state="failed", reason="sum-lost"), "main knows")
        assert wait(lambda: world.open_round() == 2, "the next round is open")
        for device in devices:
            device.report()
        world.check_traces()


def test_a_manifest_that_main_signed_unheard_is_handed_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as world:
        client = world.aggregator.service.main
        real, lost = client.manifest, list[SignedManifest]()

        def once_unheard(countersigned: bytes) -> SignedManifest:
            signed = real(countersigned)
            if not lost:
                lost.append(signed)
                raise Unreachable("The answer was lost.")
            return signed

        monkeypatch.setattr(client, "manifest", once_unheard)
        for device in world.enrolled(2):
            device.report()
        assert lost
        world.aggregate()
        assert world.round(1, state="complete", participants=2)


def a_report_file(world: World) -> Path:
    return world.federation / "aggregator" / "reports" / next(iter(world.report_files()))


@pytest.mark.parametrize("slug", ["report-lost", "report-damaged"])
def test_a_round_whose_report_is_lost_or_lacks_its_end_before_the_release_is_given_up(
    slug: str, tmp_path: Path
) -> None:
    with running(tmp_path) as world:
        collected(world)
        aggregator = world.aggregator.service
        world.owner("aggregator").step("/aggregate_models")
        file = a_report_file(world)
        if slug == "report-lost":
            file.unlink()
        else:
            os.truncate(file, file.stat().st_size - 1)
        with pytest.raises(StorageError) as caught:
            aggregator.release_round()
        assert caught.value.slug == slug
        assert wait(lambda: world.round(1, state="abandoned", reason=slug), "main knows")
        wait(lambda: world.open_round() == 2, "the next round is open")


def test_a_report_that_was_altered_on_the_disk_at_its_length_fails_the_round_at_main(tmp_path: Path) -> None:
    """It is not hashed again when it is summed (see ``masked_sums``)."""
    with running(tmp_path) as world:
        collected(world)
        world.owner("aggregator").step("/aggregate_models")
        file = a_report_file(world)
        data = bytearray(file.read_bytes())
        data[-1] ^= 0x80  # the highest bit of the last word, ``within_clip``: 2³¹ more than its sum may be
        file.write_bytes(data)
        world.aggregator.service.release_round()
        assert wait(lambda: world.round(1, state="failed", reason="within_clip-out-of-range"), "main says so")


def test_the_loops_survive_what_nobody_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as world:
        surprises = {"main": 2, "aggregator": 2}

        def once(role: str, real: Any) -> Any:
            def call(*arguments: Any) -> Any:
                if surprises[role]:
                    surprises[role] -= 1
                    raise ValueError("a surprise")
                return real(*arguments)

            return call

        aggregator, conductor = world.aggregator.service, world.main.conductor
        monkeypatch.setattr(aggregator, "follow", once("aggregator", aggregator.follow))
        monkeypatch.setattr(conductor, "advance", once("main", conductor.advance))
        world.enrolled(2)
        wait(lambda: world.open_round() == 1, "the round is open")
        assert surprises == {"main": 0, "aggregator": 0}


def test_who_is_confirmed_while_the_list_is_read_makes_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as world:
        service = world.main.service
        real = members.confirmed

        def slow(tx: Any) -> dict[bytes, bytes]:
            found = real(tx)
            service.news.tell(members=True)
            return found

        monkeypatch.setattr(members, "confirmed", slow)
        listed = Members.decode(signing.Signed.decode(signed_answers.member_list(service)).payload)
        assert listed.version < service.news.members_version


def test_a_receipt_can_be_had_again_after_the_close(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        first, second = world.enrolled(2)
        sent = first.commit()
        receipt = first.upload(sent)
        first.main.beacon(sent.record.mh, receipt)
        second.report()
        world.owner("aggregator").step("/aggregate_models")
        assert first.upload(sent) == receipt


def test_receipts_that_prove_something_against_the_aggregator_are_shown(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        first, _second, third = devices = world.enrolled(3)
        for device in devices[:2]:
            device.report()
        world.owner("aggregator").step("/aggregate_models")
        stored = world.aggregator.service.rounds.latest()
        assert stored is not None
        private = world.aggregator.service.identity.private
        for device, report in ((third, b"\x01" * 32), (first, b"\x02" * 32)):
            receipt = Receipt(mh=stored.record.mh, device=device.id, report_id=report, time=1)
            for _ in range(2):
                device.main.beacon(stored.record.mh, signing.sign(private, RECEIPT, receipt.encode()).encode())
        found = [entry["type"] for entry in world.owner("main").get("/api/v1/incidents")["incidents"]]
        assert found == ["second-receipt", "unlisted-receipt"]
        assert world.owner("main").status()["incidents"] == 2


def test_nobody_waits_for_a_device_that_has_declined(tmp_path: Path) -> None:
    with running(tmp_path, by_itself=True, wait_s=86_400, stands_still=True) as world:
        first, second, third = world.enrolled(3)
        mh = first.report().record.mh
        third.offer()  # it is there, and says nothing
        second.report()
        third.main.decline(mh, "below-floor")
        assert wait(lambda: world.round(1, state="complete", participants=2), "the round ends without it")


def test_main_counts_by_reason_who_does_not_take_part(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        first, second, third = devices = world.enrolled(3)
        mh = SignedManifest.decode(first.offer().manifest or b"").hash
        for device, reason in zip(devices, ("below-floor", "below-floor", "what only this owner knows"), strict=True):
            device.main.decline(mh, reason)
        assert world.owner("main").get("/api/v1/rounds/1/timeline")["declined"] == {"below-floor": 2, "other": 1}
        second.main.decline(mh, "paused")
        third.report()
        declined = world.owner("main").get("/api/v1/rounds/1/timeline")["declined"]
        assert declined == {"below-floor": 1, "paused": 1}, "who reports after all takes part"
        with pytest.raises(MalformedMessage):
            second.main.remote.send("POST", f"/protocol/v1/rounds/{mh.hex()}/decline", content=b"\x80")


def test_when_the_window_has_passed_what_is_here_is_summed(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        collected(world)
        world.clock.offset += 8 * 86_400
        world.main.service.news.tell(orders=True)  # who waits for an answer has one, and looks at the clocks
        wait(lambda: world.round(1, state="released", participants=2), "the aggregator finishes by itself")


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_a_round_ends_with_its_window_though_the_clock_was_set_back(restarted: bool, tmp_path: Path) -> None:
    with running(tmp_path, window_s=3600) as world:
        world.enrolled(2)[0].report()
        world.clock.offset -= 86_400
        if restarted:
            world.restart_aggregator()
        wait(lambda: world.aggregator.service._window._since, "the aggregator counts the seconds")
        world.clock.let_pass(3600)
        world.main.service.news.tell(orders=True)  # who waits for an answer has one, and looks at the clocks
        wait(lambda: world.round(1, state="abandoned", reason="window-passed"), "the window has passed all the same")


def main_is_away(world: World, monkeypatch: pytest.MonkeyPatch, retry_after_s: float | None) -> list[int]:
    """Main answers the aggregator's questions for orders no more; what is returned grows with each of them."""
    asked: list[int] = []

    def orders(*_: Any) -> Any:
        asked.append(1)
        raise Unreachable("Main is away.", retry_after_s=retry_after_s)

    monkeypatch.setattr(world.aggregator.service.main, "orders", orders)
    world.main.service.news.tell(members=True)  # who waits for an answer has one
    wait(lambda: asked, "main was asked")
    return asked


def is_abandoned(world: World) -> bool:
    stored = world.aggregator.service.rounds.latest()
    return stored is not None and stored.record.at is State.ABANDONED


def test_a_round_ends_with_its_window_however_long_main_says_to_stay_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, window_s=10) as world:
        world.enrolled(2)[0].report()
        asked = main_is_away(world, monkeypatch, retry_after_s=900)
        wait(lambda: is_abandoned(world), "the window has passed")
        assert len(asked) == 1


def test_a_surprise_while_main_is_away_does_not_end_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as world:
        world.enrolled(2)[0].report()
        rounds, surprises = world.aggregator.service.rounds, [2]
        real = rounds.count

        def count(mh: bytes) -> int:
            if surprises[0]:
                surprises[0] -= 1
                raise ValueError("a surprise")
            return real(mh)

        main_is_away(world, monkeypatch, retry_after_s=None)
        monkeypatch.setattr(rounds, "count", count)
        world.clock.offset += 8 * 86_400
        wait(lambda: is_abandoned(world), "the loop lives")
        assert surprises == [0]


def test_a_round_that_main_dismisses_is_no_trouble_with_its_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, r_max_percent=0) as world:
        devices = world.enrolled(3)
        sent = [device.report() for device in devices[:2]]
        mh, private = sent[0].record.mh, world.aggregator.service.identity.private
        receipt = Receipt(mh=mh, device=devices[2].id, report_id=b"\x01" * 32, time=1)
        devices[2].main.beacon(mh, signing.sign(private, RECEIPT, receipt.encode()).encode())  # it will not be listed
        with capture_logs() as lines:
            world.owner("main").start("/aggregate_models")
            wait(lambda: world.round(1, state="abandoned"), "main has dismissed it")
            wait(lambda: world.open_round() == 2, "the next round is open")
        assert not [line for line in lines if "could not be followed" in line["event"]]


def test_a_second_process_is_kept_off_a_state_folder(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        with pytest.raises(StorageError) as caught:
            create_app(AggregatorSettings(state=world.federation / "aggregator", port=1))
        assert caught.value.slug == "state-in-use"
        stored = world.aggregator.service.rounds.latest()
        assert stored is None or stored.record.at is State.COLLECTING


def test_a_device_whose_connection_broke_while_it_waited_is_away_at_once(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        world.clock.stand_still()  # so that nothing else makes it away
        device = world.enrolled(2)[0]
        version = device.offer().version
        assert world.owner("main").status()["devices"]["here"] == 1
        with pytest.raises(RemoteError):
            device.main.remote.send("GET", f"/protocol/v1/offer?after={version}&wait=2", timeout=httpx.Timeout(0.5))
        wait(lambda: world.owner("main").status()["devices"]["here"] == 0, "it is away")
        device.offer()
        assert world.owner("main").status()["devices"]["here"] == 1


def test_an_aggregator_that_has_not_heard_of_the_members_asks_devices_to_come_back(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        device, _ = world.enrolled(2)
        report = device.commit_to(SignedManifest.decode(device.offer().manifest or b""))
        world.stop_main()
        world.restart_aggregator()
        with pytest.raises(Unreachable) as caught:
            device.upload(report)
        assert (caught.value.slug, caught.value.retry_after_s) == ("members-unknown", 2)
        world.start_main()
        world.wait_members([device.device.device])
        device.upload(report)
        assert world.aggregator.service.reception.kept(report.record.mh, device.device.device) is not None


def broken_disk(_manifest: SignedManifest) -> None:
    raise StorageError("the disk failed")


def is_collecting(stored: Stored | None) -> bool:
    return stored is not None and stored.record.at is State.COLLECTING


def test_a_report_that_comes_before_the_aggregator_knows_of_the_opening_is_taken_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as world:
        rounds = world.aggregator.service.rounds
        with monkeypatch.context() as broken:
            broken.setattr(rounds, "open", broken_disk)  # main has opened the round, and we do not note it
            made = [world.protocol_device() for _ in range(2)]
            for device in made:
                device.enrol()
            world.wait_members([device.device.device for device in made])
            manifest = wait(lambda: made[0].offer().manifest, "main offers the round")
            report = device.commit_to(SignedManifest.decode(manifest))
            with pytest.raises(Unreachable) as caught:
                device.upload(report)
            assert (caught.value.slug, caught.value.retry_after_s) == ("round-not-open-yet", 1)
            assert may_pass(caught.value), "the device sends it again"
        wait(lambda: is_collecting(rounds.latest()), "the aggregator has tried again")
        device.upload(report)
        assert world.aggregator.service.reception.kept(report.record.mh, device.device.device) is not None
