"""What a run at work says that it trains: exact while the run is at work, and nothing once it is gone."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support import CommandLine
from thalweg.expand import read_benchmark
from thalweg.plan import Plan, PlannedTrial
from thalweg.present.live import progress_of
from thalweg.registry import Registry
from thalweg.store.announced import Announcement, RunAtWork, runs_at_work
from thalweg.store.results import BenchmarkResults
from thalweg.store.writing import ResultsFolder

BENCHMARK = """
seeds = 3

[workloads.bowl]
problem = { name = "quadratic", dim = 4 }
architecture = "point"
budget = { steps = 4 }

[optimizers.sgd]
lr = 0.01

[optimizers.adam]
"""

GATE = '''
"""Each seed waits at its gate until a file opens it."""

import time
from pathlib import Path

from thalweg import hookimpl


@hookimpl
def thalweg_trial_started(trial):
    while not (Path(__file__).parent / f"open-{trial.seed}").exists():
        time.sleep(0.02)
'''


@pytest.fixture
def gated(process_cli: CommandLine) -> CommandLine:
    """The command line beside a benchmark of six trials, whose seeds wait for a file each."""
    (process_cli.folder / "slow.toml").write_text(BENCHMARK, encoding="utf-8")
    (process_cli.folder / "gate.py").write_text(GATE, encoding="utf-8")
    return process_cli


@pytest.fixture
def start(gated: CommandLine) -> Iterator[Callable[..., object]]:
    """Start a run; what is still at work at the end of the test is killed."""
    started = []

    def begin(*words: str) -> object:
        words = ("run", "slow.toml", "--results", "r", "--plugin", "gate.py", "--quiet", "--executor", "serial", *words)
        started.append(gated.start(*words, "--no-batching"))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def until(folder: Path, true: Callable[[list[RunAtWork]], bool]) -> list[RunAtWork]:
    """What is announced, once the condition holds."""
    end = time.monotonic() + 120
    while not true(found := runs_at_work(BenchmarkResults(folder / "r", "slow"))):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def counts(runs: list[RunAtWork]) -> tuple[int, int] | None:
    progress = progress_of(runs)
    return None if progress is None else (progress.ended, progress.total)


def test_a_run_of_a_part_announces_that_part_and_each_end(gated: CommandLine, start: Callable[..., object]) -> None:
    start("--only", "optimizer=sgd", "--only", "seed=0,1")
    assert counts(until(gated.folder, bool)) == (0, 2)
    (gated.folder / "open-0").touch()
    (run,) = until(gated.folder, lambda runs: counts(runs) == (1, 2))
    assert set(run.trials.values()) == {("bowl", "sgd")}
    assert list(run.ended.values()) == ["done"]
    (gated.folder / "open-1").touch()
    assert until(gated.folder, lambda runs: not runs) == []
    assert not list((gated.folder / "r" / "slow" / ".working").glob("run-*"))


def test_added_optimizers_and_fresh_trials_count(gated: CommandLine, start: Callable[..., object]) -> None:
    for seed in range(3):
        (gated.folder / f"open-{seed}").touch()
    gated("run", "slow.toml", "--results", "r", "--quiet", "--only", "optimizer=sgd")
    (gated.folder / "open-0").unlink()
    start("--with", "optimizer=adam:lr=0.5", "--only", "optimizer=sgd", "--only", "optimizer=adam:lr=0.5", "--fresh")
    # all six are trained, although three are on disk; the three others are not of the benchmark's file
    runs = until(gated.folder, bool)
    assert counts(runs) == (0, 6)
    (gated.folder / "open-0").touch()
    until(gated.folder, lambda runs: not runs)


def test_a_killed_run_announces_nothing_and_the_next_run_removes_its_file(
    gated: CommandLine, start: Callable[..., object]
) -> None:
    process = start("--only", "seed=0")
    until(gated.folder, bool)
    process.send_signal(signal.SIGKILL)  # type: ignore[attr-defined]
    until(gated.folder, lambda runs: not runs)
    working = gated.folder / "r" / "slow" / ".working"
    assert len(list(working.glob("run-*.jsonl"))) == 1
    gated("run", "slow.toml", "--results", "r", "--quiet", "--no-batching")
    assert not list(working.glob("run-*"))


@pytest.fixture
def folder(tmp_path: Path) -> ResultsFolder:
    return ResultsFolder(tmp_path / "r", "slow")


def planned(plan: Plan, optimizer: str, seed: int) -> PlannedTrial:
    return next(one for one in plan.trials if (one.optimizer, one.trial.seed) == (optimizer, seed))


@pytest.fixture(scope="module")
def plan(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The six trials."""
    path = tmp_path_factory.mktemp("slow") / "slow.toml"
    path.write_text(BENCHMARK, encoding="utf-8")
    return read_benchmark(path).expand(registry)


def file_of(folder: ResultsFolder) -> Path:
    (path,) = folder.working.glob("run-*.jsonl")
    return path


def test_two_runs_at_once_count_together(folder: ResultsFolder, plan: Plan) -> None:
    one, other = Announcement(folder), Announcement(folder)
    one.begin([planned(plan, "sgd", seed) for seed in range(3)], stage=False, later=0)
    other.begin([planned(plan, name, 0) for name in ("sgd", "adam")], stage=False, later=0)
    assert counts(runs_at_work(folder)) == (0, 4)
    both = planned(plan, "sgd", 0).trial.hash
    for each in (one, other):
        each.end(both, "done")
    assert counts(runs_at_work(folder)) == (1, 4)
    one.close()
    assert counts(runs_at_work(folder)) == (1, 2)
    other.close()
    assert list(folder.working.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"trials": {"x": ["a", "b"]}}\n', b'{"trials": {}}\n{"hash": 3}\n'])
def test_a_file_that_says_nothing_sound_counts_for_nobody(folder: ResultsFolder, plan: Plan, content: bytes) -> None:
    announcement = Announcement(folder)
    announcement.begin([planned(plan, "sgd", 0)], stage=False, later=0)
    assert len(runs_at_work(folder)) == 1
    file_of(folder).write_bytes(content)
    assert runs_at_work(folder) == []
    announcement.close()


def test_a_line_that_is_being_written_does_not_count_yet(folder: ResultsFolder, plan: Plan) -> None:
    announcement = Announcement(folder)
    announcement.begin([planned(plan, "sgd", seed) for seed in range(2)], stage=False, later=0)
    with file_of(folder).open("ab") as file:
        file.write(b'{"hash": "' + planned(plan, "sgd", 0).trial.hash.encode())
    assert counts(runs_at_work(folder)) == (0, 2)
    with file_of(folder).open("ab") as file:
        file.write(b'", "status": "failed"}\n{"hash": "0123456789ab", "status": "done"}\n')
    # a trial that the run did not announce is none of its trials
    assert counts(runs_at_work(folder)) == (1, 2)
    announcement.close()


def test_a_file_whose_end_cannot_be_written_is_taken_back(folder: ResultsFolder, plan: Plan) -> None:
    announcement = Announcement(folder)
    announcement.begin([planned(plan, "sgd", 0)], stage=False, later=0)
    path = file_of(folder)
    path.unlink()
    path.mkdir()  # nothing can be appended to a folder
    announcement.end(planned(plan, "sgd", 0).trial.hash, "done")
    assert runs_at_work(folder) == []
    path.rmdir()
    announcement.end(planned(plan, "sgd", 0).trial.hash, "done")
    assert not list(folder.working.glob("run-*"))


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / "r").mkdir()
    folder = ResultsFolder(tmp_path / "r", "slow")
    (tmp_path / "r" / "slow").write_text("a file", encoding="utf-8")
    announcement = Announcement(folder)
    announcement.begin([planned(plan, "sgd", 0)], stage=False, later=0)
    announcement.end(planned(plan, "sgd", 0).trial.hash, "done")
    announcement.close()
    assert runs_at_work(folder) == []
