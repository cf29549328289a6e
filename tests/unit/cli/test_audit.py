"""``fanlight audit`` by its public contract: files and folders in, transcripts and findings out."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanlight.protocol.identities import Role
from fanlight.protocol.log import LogEntry
from fanlight.services.server.log_file import LogFile, LogWriter, entry_line
from tests.logged_world import Logged, chained
from tests.unit.main_server.past import server
from tests.unit.protocol.test_audit import resigned, where

Fanlight = Callable[..., Any]
MOST_BYTES = 200_000_000


@pytest.fixture(scope="module")
def logged() -> Logged:
    return Logged().run(2)


@pytest.fixture
def files(tmp_path: Path, logged: Logged) -> dict[Role, Path]:
    return {role: logged.file(tmp_path / f"{role}.jsonl", role) for role in Role}


def both(files: dict[Role, Path]) -> list[object]:
    return ["--main", files[Role.MAIN], "--aggregator", files[Role.AGGREGATOR]]


def root_file(folder: Path, logged: Logged) -> Path:
    path = folder / "root.pub"
    path.write_text(f"{logged.trust.root_key.hex()}\n")
    return path


def test_each_round_is_shown_and_nothing_found(
    fanlight: Fanlight, files: dict[Role, Path], tmp_path: Path, logged: Logged
) -> None:
    ran = fanlight("audit", *both(files), "--root", root_file(tmp_path, logged))
    assert (ran.code, ran.err) == (0, "")
    for said in (
        "Round 1, training of task t, a demonstration",
        "Round 2,",
        "received  3 reports",
        "device-0 (",
        "released  one sum over 3 devices",
        "(Merkle root)",
        "outcome   released; signed by both servers",
        "Rounds: 2 (2 released)",
        "Devices: 3",
        "Nothing is missing or altered.",
        logged.rounds[0].proposal.model.hex(),
    ):
        assert said in ran.out


def test_a_round_with_shards_is_shown_with_each_of_them(fanlight: Fanlight, tmp_path: Path) -> None:
    logged = Logged(7)
    round_ = logged.next_round(shards=3).begin(logged)
    round_.report()
    vector = round_.settle().masked_sum()
    vector[-vector.size // 3 :] = 1 << 31  # the third shard's
    round_.let_go(vector).end_well()
    files = {role: logged.file(tmp_path / f"{role}.jsonl", role) for role in Role}
    ran = fanlight("audit", *both(files))
    assert ran.code == 0
    assert "Nothing is missing or altered." in ran.out
    assert "released  3 sums, in shards drawn as 3" in ran.out
    assert ran.out.count("left out: ") == 2, "in the line of its shard, and in the summary"
    assert "Worth a look: 1 × shard-left-out" in ran.out
    (line, _) = [json.loads(line) for line in fanlight("audit", *both(files), "--json").out.splitlines()]
    assert (line["sum"], line["set_root"]) == (None, None)
    assert [(shard["shard"], shard["reason"] == "ok") for shard in line["shards"]] == [(1, True), (2, True), (3, False)]
    assert sum(shard["devices"] for shard in line["shards"]) == len(line["accepted"]) == 7


def test_without_a_root_it_is_said_whose_word_that_is(fanlight: Fanlight, files: dict[Role, Path]) -> None:
    ran = fanlight("audit", *both(files))
    assert ran.code == 0
    assert "as the logs say: compare it with root.pub" in ran.err


def test_json_is_a_line_a_round_and_one_with_the_end(fanlight: Fanlight, files: dict[Role, Path]) -> None:
    lines = [json.loads(line) for line in fanlight("audit", *both(files), "--json").out.splitlines()]
    assert [line["round"] for line in lines[:-1]] == [1, 2]
    assert (lines[0]["received"], len(lines[0]["accepted"]), lines[0]["rejected"]) == (3, 3, {})
    assert (lines[0]["result"], lines[0]["signed_by_both"], lines[0]["logs"]) == ("released", True, list(Role))
    end = lines[-1]
    assert (end["ok"], end["findings"], end["rounds"]) == (True, [], {"released": 2})
    assert end["logs"]["main"]["entries"] == 17


def test_one_round_is_shown_with_all_its_devices(fanlight: Fanlight, files: dict[Role, Path]) -> None:
    ran = fanlight("audit", *both(files), "--round", 2)
    assert (ran.code, "Round 1," in ran.out, "Round 2," in ran.out) == (0, False, True)
    ran = fanlight("audit", *both(files), "--round", 3)
    assert ran.code == 1
    assert "There is no round 3" in ran.err


@pytest.mark.parametrize("role", Role)
def test_with_one_log_it_is_said_what_is_not_checked(fanlight: Fanlight, files: dict[Role, Path], role: Role) -> None:
    ran = fanlight("audit", f"--{role}", files[role])
    assert ran.code == 0
    assert "Not checked: Whether the two servers tell the same story" in ran.out


def test_an_altered_entry_is_told_with_what_to_do(fanlight: Fanlight, files: dict[Role, Path], logged: Logged) -> None:
    path = files[Role.AGGREGATOR]
    lines = path.read_bytes().splitlines(keepends=True)
    entry = logged.aggregator.entries[6]
    lines[7] = entry_line(entry._replace(payload=entry.payload[:-1] + bytes([entry.payload[-1] ^ 1])))
    path.write_bytes(b"".join(lines))
    ran = fanlight("audit", *both(files))
    assert ran.code == 1
    assert "One finding:" in ran.out
    assert f"1. In the aggregator's log: Entry 7 ({entry.type}) was altered" in ran.out
    assert "It means:" in ran.out
    assert "What to do: Download the log from the aggregator again." in ran.out
    [finding] = json.loads(fanlight("audit", *both(files), "--json").out.splitlines()[-1])["findings"]
    assert (finding["flaw"], finding["entry"], finding["against"]) == ("entry-altered", 7, "aggregator")


def test_equivocation_is_told_as_proof_against_its_server(
    fanlight: Fanlight, files: dict[Role, Path], logged: Logged, tmp_path: Path
) -> None:
    written = list(logged.aggregator.written)
    at = where(written, "release", 1)
    head = chained(logged.trust.fid, Role.AGGREGATOR, written[:at])[-1].head
    written[at] = resigned(logged, written[at], Role.AGGREGATOR, sum_hash=bytes(32), log_head=head)
    logged.file(files[Role.AGGREGATOR], Role.AGGREGATOR, chained(logged.trust.fid, Role.AGGREGATOR, written))
    ran = fanlight("audit", *both(files))
    assert ran.code == 1
    assert "The release of round 2 differs: entry 15 of the main server's log, entry 12 of the aggregator's." in ran.out
    assert "It proves: The aggregator released two sums of one round." in ran.out


def test_a_file_that_ends_early_is_told(fanlight: Fanlight, files: dict[Role, Path]) -> None:
    path = files[Role.MAIN]
    data = path.read_bytes()
    for cut, said in ((data[:-1], "in the middle of line 18"), (data[: data.rindex(b"{")], "there were 17")):
        path.write_bytes(cut)
        ran = fanlight("audit", "--main", path)
        assert ran.code == 1
        assert said in ran.out


def test_wrong_files_are_named(fanlight: Fanlight, files: dict[Role, Path], tmp_path: Path, logged: Logged) -> None:
    other = Logged(name="other").run()
    foreign = other.file(tmp_path / "foreign", Role.AGGREGATOR)
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "empty").touch()
    main, aggregator = files[Role.MAIN], files[Role.AGGREGATOR]
    for arguments, code, said in (
        ((), 2, "nothing to audit"),
        (("--main", aggregator), 2, "is the aggregator's log, not the main server's"),
        (("--main", main, "--aggregator", foreign), 1, "is a log of another federation"),
        (("--main", main, "--root", "ab" * 32), 1, "is a log of another federation"),
        (("--main", main, "--root", tmp_path / "text"), 2, "holds no root's key"),
        (("--main", main, "--root", tmp_path / "nowhere"), 1, "There is no file"),
        (("--main", tmp_path / "nowhere"), 1, "There is no file"),
        (("--main", tmp_path / "text"), 1, "is no log of Fanlight's"),
        (("--main", tmp_path / "empty"), 1, "is no log of Fanlight's"),
        (("--main", tmp_path), 1, "is not the state folder"),
    ):
        ran = fanlight("audit", *arguments)
        assert (ran.code, ran.out) == (code, ""), arguments
        assert said in ran.err, arguments
        assert "What to do:" in ran.err, arguments


def test_a_header_that_another_root_or_server_signed_is_refused(
    fanlight: Fanlight, tmp_path: Path, logged: Logged
) -> None:
    other = Logged(name="other")
    lines = logged.file(tmp_path / "main", Role.MAIN).read_bytes().splitlines(keepends=True)
    header, theirs = (
        json.loads(lines[0]),
        json.loads(other.file(tmp_path / "o", Role.MAIN).read_bytes().split(b"\n")[0]),
    )
    for field in ("root_key", "main_certificate", "aggregator_certificate", "head"):
        forged = json.dumps(header | {field: theirs[field]}, separators=(",", ":")).encode() + b"\n"
        (tmp_path / "forged").write_bytes(forged + b"".join(lines[1:]))
        ran = fanlight("audit", "--main", tmp_path / "forged")
        assert (ran.code, ran.out) == (1, "")


@pytest.mark.parametrize("lines", [0, 1, 5])
def test_a_hostile_file_of_ten_gigabytes_takes_no_memory(
    fanlight: Fanlight, files: dict[Role, Path], lines: int
) -> None:
    path = files[Role.MAIN]
    data = b"".join(path.read_bytes().splitlines(keepends=True)[:lines])
    path.write_bytes(data)
    os.truncate(path, 10_000_000_000)  # holes: the disk holds none of it
    tracemalloc.start()
    ran = fanlight("audit", "--main", path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ran.code == 1
    assert ("is no log of Fanlight's" in ran.err) if not lines else ("longer than any entry" in ran.out)
    assert peak < MOST_BYTES


def test_names_in_a_log_cannot_play_with_the_terminal(fanlight: Fanlight, tmp_path: Path) -> None:
    logged = Logged()
    round_ = logged.next_round().begin(logged)
    round_.logged.aggregator.append(*round_.world.aggregator.abandon(round_.a, "\x1b[2Jgone").entries)
    ran = fanlight("audit", "--aggregator", logged.file(tmp_path / "a", Role.AGGREGATOR))
    assert "\x1b" not in ran.out
    assert "gone" in ran.out


# ---- state folders


def test_a_folder_is_read_where_it_lies(fanlight: Fanlight, tmp_path: Path) -> None:
    _app, parts = server(tmp_path / "federation")
    service = parts.service
    with service.database.transaction() as tx:
        service.log.append(tx, [LogEntry("policy", b"{}"), LogEntry("resumed", b"")])
    state = tmp_path / "federation" / "main"
    root = tmp_path / "federation" / "root"
    ran = fanlight("audit", "--main", state, "--root", root / "root.pub")
    assert ran.code == 0
    assert "The main server's log: 2 entries" in ran.out
    assert fanlight("audit", "--main", state, "--root", root / "federation.json").code == 0
    assert fanlight("audit", "--aggregator", state).code == 2
    file = tmp_path / "log.jsonl"
    file.write_bytes(b"".join(LogWriter(service.database, service.log, service.identity, lambda: 5.0).lines()))
    opened = LogFile.open(file)
    assert (opened.signed.entries, opened.signed.time, len(list(opened.entries()))) == (2, 5, 2)
    with service.database.transaction() as tx:
        tx.exec_driver_sql("UPDATE log SET payload = ? WHERE seq = 1", (b"[]",))
    ran = fanlight("audit", "--main", state)
    assert (ran.code, "Entry 1 (policy) was altered" in ran.out) == (1, True)
    with service.database.transaction() as tx:
        tx.exec_driver_sql("UPDATE log SET payload = zeroblob(20000000) WHERE seq = 1")
    assert "Entry 1 (policy, 20,000,000 bytes) is none." in fanlight("audit", "--main", state).out
