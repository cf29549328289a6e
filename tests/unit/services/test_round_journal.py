from __future__ import annotations

from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from fanlight.services.server.round_journal import RoundJournal
from tests.unit.http.support import Clock

MH, DEVICE = b"\xab" * 32, b"\xde" * 16


def registered(journal: RoundJournal) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(journal)
    return registry


def test_phases_are_measured_and_said() -> None:
    clock = Clock()
    journal = RoundJournal(clock)
    values = registered(journal)
    with capture_logs() as lines:
        journal.moved(7, MH, "proposed", "open", kind="train")
        clock.now += 4
        journal.moved(7, MH, "open", "judged", accepted=5)
        journal.moved(7, MH, "judged", "judged")  # a repeated request
    assert [(line["round"], line["state"], line["mh"]) for line in lines] == [
        (7, "open", "abababababab"),
        (7, "judged", "abababababab"),
    ]
    assert (lines[1]["seconds"], lines[1]["accepted"]) == (4.0, 5)
    assert values.get_sample_value("fanlight_round_phase_seconds_sum", {"phase": "open"}) == 4.0
    assert values.get_sample_value("fanlight_round_phase_seconds_count", {"phase": "proposed"}) is None
    assert values.get_sample_value("fanlight_round_phase_seconds_count", {"phase": "judged"}) is None


def test_a_phase_whose_beginning_was_not_seen_is_left_out() -> None:
    journal = RoundJournal(Clock())
    journal.moved(6, MH, "released", "complete")
    journal.moved(7, MH, "open", "judged")  # of another round than the one before
    assert registered(journal).get_sample_value("fanlight_round_phase_seconds_count", {"phase": "open"}) is None


def test_reports_and_rejections_are_counted_without_naming_devices() -> None:
    journal = RoundJournal(Clock())
    values = registered(journal)
    with capture_logs() as lines:
        for _ in range(2):
            journal.took("report taken", 7, MH, DEVICE, 500)
        journal.rejected(7, MH, DEVICE, "swapped-vector")
    assert [(line["event"], line["round"], line["device"]) for line in lines] == [
        ("report taken", 7, DEVICE.hex()),
        ("report taken", 7, DEVICE.hex()),
        ("report rejected", 7, DEVICE.hex()),
    ]
    assert values.get_sample_value("fanlight_reports_taken_total") == 2
    assert values.get_sample_value("fanlight_reports_taken_bytes_total") == 1000
    assert values.get_sample_value("fanlight_reports_rejected_total", {"reason": "swapped-vector"}) == 1
    assert not any(
        DEVICE.hex() in value
        for family in values.collect()
        for sample in family.samples
        for value in sample.labels.values()
    )
