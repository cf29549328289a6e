"""Studies as processes: they come to the numbers of a terminal, one at a time, and go on after whatever ends them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fanlight.errors import NotFound, NotPossibleNow
from fanlight.services.lifeline import END_WITH_STDIN
from fanlight.services.main_server.studies import studies as module
from fanlight.services.main_server.studies.folder import StudyFolder
from fanlight.services.main_server.studies.permitted import permitted
from fanlight.services.main_server.studies.process import NICENESS, PASSED_ON, command, environment
from fanlight.services.main_server.studies.studies import Studies
from fanlight.simulation import Study, simulate
from fanlight.storage.folder_lock import LOCK_FILE
from tests.study_runs import LIMIT_S, LONG, SMALL, begun, ended, studies_in, until

pytestmark = pytest.mark.timeout(3 * LIMIT_S)
SECRET = "FANLIGHT_SERVER_TOKEN_OF_THIS_TEST"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def studies(tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studies]:
    monkeypatch.chdir(tmp_path)  # as with the servers' default state, the folder is relative to where they run
    made = studies_in(Path("studies"), shared)
    yield made
    made.close()


def processes_of(run: StudyFolder) -> list[int]:
    """Ids of all processes that work in a run's folder, by the system's own list."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cwd").readlink() == run.path:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_study_comes_to_the_numbers_of_a_terminal(studies: Studies, shared: Path) -> None:
    run = ended(studies.start(permitted(SMALL)))
    assert run.course.state == "finished", run.course.error
    result = run.result
    assert result is not None
    assert result["model_sha256"] == simulate(Study.of(SMALL), state=shared, engine="inline").model_sha256
    told = run.as_json()
    assert (told["rounds_done"], told["accuracy"]) == (3, result["rounds"][-1]["accuracy"])
    assert told["bytes"] > 10_000
    assert Study.read(run.path / "study.toml") == Study.of(SMALL), "what is handed on is what was run"


def test_one_runs_and_the_others_wait_for_their_turn(studies: Studies) -> None:
    first, second, third = (studies.start(permitted(LONG | {"seed": seed})) for seed in (1, 2, 3))
    begun(first)
    assert [run.course.state for run in (second, third)] == ["queued", "queued"]
    studies.stop(third.number)
    studies.stop(first.number)
    begun(second)
    assert (first.course.state, third.course.state) == ("stopped", "stopped")
    assert [run.number for run in studies.all()] == [3, 2, 1]


def test_what_was_stopped_goes_on_to_the_same_model(studies: Studies) -> None:
    run = begun(studies.start(permitted(SMALL | {"rounds": 250})))
    studies.stop(run.number)
    assert run.course.state == "stopped"
    until(lambda: not processes_of(run), "its processes have ended")
    done = run.as_json()["rounds_done"]
    assert 0 < done < 250
    studies.go_on(run.number)
    afresh = studies.start(permitted(SMALL | {"rounds": 250}))
    results = [ended(each).result for each in (run, afresh)]
    assert results[0] is not None
    assert results[1] is not None
    assert results[0]["model_sha256"] == results[1]["model_sha256"]
    assert len(results[0]["rounds"]) == 250
    with pytest.raises(NotPossibleNow, match="finished"):
        studies.go_on(run.number)


def test_a_server_that_ends_interrupts_it_and_the_next_one_lets_it_go_on(tmp_path: Path, shared: Path) -> None:
    before = studies_in(tmp_path / "studies", shared)
    run = begun(before.start(permitted(LONG)))
    waiting = before.start(permitted(SMALL))
    before.close()
    assert (run.course.state, waiting.course.state) == ("interrupted", "queued")
    until(lambda: not processes_of(run), "its processes have ended")
    after = studies_in(tmp_path / "studies", shared)
    try:
        after.open()
        assert ended(waiting).course.state == "finished", "what waits is worked on by itself"
        assert run.course.state == "interrupted"
        done = len(run.lines)
        after.go_on(run.number)
        begun(run, done + 1)
    finally:
        after.close()


def test_a_server_that_was_killed_has_left_it_running(tmp_path: Path, shared: Path) -> None:
    """As its last words on the disk are; the process itself ends with the server (see the tests of real processes)."""
    studies = studies_in(tmp_path / "studies", shared)
    run = ended(studies.start(permitted(SMALL)))
    run.turn("running")
    studies.open()
    assert run.course.state == "interrupted"
    studies.go_on(run.number)
    assert ended(run).course.state == "finished"


def test_one_that_fails_says_why(studies: Studies) -> None:
    run = ended(studies.start(permitted(SMALL | {"partition": "key:folder"})))
    assert run.course.state == "failed"
    assert run.course.error.startswith("partition: the data set has no column 'folder'. It has none")


def test_one_that_was_killed_says_so(studies: Studies) -> None:
    run = begun(studies.start(permitted(LONG)))
    processes = processes_of(run)
    for number in (signal.SIGSTOP, signal.SIGKILL):  # none sees another one end
        for process in processes:
            os.kill(process, number)
    assert ended(run).course.state == "failed"
    assert "SIGKILL" in run.course.error


def test_a_running_one_is_not_removed_and_a_removed_one_is_gone(studies: Studies) -> None:
    run = begun(studies.start(permitted(LONG)))
    with pytest.raises(NotPossibleNow, match="running"):
        studies.remove(run.number)
    studies.stop(run.number)
    studies.remove(run.number)
    assert studies.all() == []
    assert [path.name for path in run.path.parent.iterdir()] == ["shared"]
    with pytest.raises(NotFound):
        studies.one(run.number)


def test_no_more_wait_or_are_kept_than_there_is_room_for(studies: Studies, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_QUEUED", 1)
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    begun(studies.start(permitted(LONG)))
    studies.start(permitted(LONG))
    with pytest.raises(NotPossibleNow, match="wait"):
        studies.start(permitted(LONG))
    studies.stop(2)
    studies.start(permitted(LONG))
    with pytest.raises(NotPossibleNow, match="kept"):
        studies.start(permitted(LONG))
    assert len(studies.all()) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_its_process_knows_no_secret_and_stands_behind_all_others(
    studies: Studies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET, "hush")
    run = begun(studies.start(permitted(LONG)))
    processes = processes_of(run)
    assert len(processes) > 1, "it has workers"
    for process in processes:
        there = Path(f"/proc/{process}")
        assert SECRET.encode() not in (there / "environ").read_bytes()
        assert os.getpriority(os.PRIO_PROCESS, process) >= NICENESS
        assert (there / "oom_score_adj").read_text().strip() == "1000"
        others = opened_by(there) - {str(run.path / LOCK_FILE)}  # that of its own folder is its own
        assert not {path for path in others if path.endswith((".sqlite3", LOCK_FILE, ".key"))}


def opened_by(process: Path) -> set[str]:
    """The files that a process, which works on meanwhile, has open."""
    found = set()
    for link in (process / "fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(link.readlink()))
    return found


def test_only_named_variables_are_passed_on() -> None:
    ours = dict.fromkeys(PASSED_ON, "x") | {
        SECRET: "hush",
        "AWS_SECRET_ACCESS_KEY": "hush",
        "FANLIGHT_SERVER_STATE": "x",
    }
    assert set(environment(ours)) == {*PASSED_ON, "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", END_WITH_STDIN}


def test_its_command_imports_nothing_from_its_folder(tmp_path: Path) -> None:
    words = command(tmp_path, tmp_path)
    assert words[words.index(sys.executable) + 1] == "-P"
