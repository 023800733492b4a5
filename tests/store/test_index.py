"""The index gives the answers of the directories, whatever happens to the index or the directories."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.many_trials import write_many
from support import CommandLine
from thalweg.commands.results.find import find_trial
from thalweg.kept import kept_benchmark
from thalweg.registry import Registry
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.measures import to_target, wanted_for
from thalweg.scoring.observations import observe
from thalweg.store import index, listing
from thalweg.store.documents import ProbeDocument
from thalweg.store.index import read_stored
from thalweg.store.listing import index_folder, look
from thalweg.store.stored import Stored
from thalweg.store.tables import read_table, write_table
from thalweg.store.transfer import delete
from thalweg.store.trials import StoredTrial
from thalweg.store.writing import ResultsFolder
from thalweg.trial import ComponentRef, ProbeRequest

TRIALS = 40


def age(path: Path, seconds: float = 60.0) -> None:
    """Make files and folders older than what may still change without a later time."""
    for each in [path, *path.rglob("*")]:
        then = each.stat().st_mtime - seconds
        os.utime(each, (then, then))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    write_many(folder, TRIALS, workloads=4, optimizers=5)
    age(folder)
    return folder


@pytest.fixture
def results(made: Path, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> ResultsFolder:
    """40 trials with an index, in the folder of ``cli``."""
    monkeypatch.setattr(index, "WORTH", 12)
    shutil.copytree(made, cli.folder, dirs_exist_ok=True)
    there = ResultsFolder(cli.folder / "results", "many")
    assert read_stored(there).read == TRIALS
    assert read_stored(there).read == 0
    return there


def answers(cli: CommandLine, root: Path) -> Any:
    where = ("--results", str(root))
    listed = cli.json("results", "list", *where)
    board = json.loads(cli("leaderboard", "many.toml", "--format", "json", *where).stdout)
    dry = cli.json("run", "many.toml", "--dry-run", "--no-batching", "--device", "cpu", *where)
    unreadable = [Path(path).name for path in listed["unreadable"]]
    return listed["trials"], unreadable, board["rows"], [row["cached"] for row in dry["trials"]]


def bare_copy(cli: CommandLine, results: ResultsFolder) -> ResultsFolder:
    """The directories without the index."""
    shutil.copytree(results.path, cli.folder / "bare" / "many")
    return ResultsFolder(cli.folder / "bare", "many")


def told(stored: Stored) -> tuple[list[Any], list[tuple[str, str]]]:
    """The trials, and the unreadable names with their reasons."""
    trials = stored.trials.drop(columns="json_ns").astype(object)
    rows = trials.where(trials.notna(), None).to_numpy().tolist()
    return rows, [(item.path.name, item.reason) for item in stored.unreadable]


def one(results: ResultsFolder, number: int = 7) -> Path:
    return sorted(results.trials.iterdir())[number]


def trial_at(results: ResultsFolder, path: Path) -> StoredTrial:
    found = results.find(path.name.rpartition("--")[2])
    assert found is not None
    return found


def remove(results: ResultsFolder) -> None:
    delete(results, trial_at(results, one(results)))


def train_again(results: ResultsFolder) -> None:
    old = trial_at(results, one(results))
    document = old.document.model_copy(update={"status": "failed", "reason": "worse"})
    with results.claim(document) as folder:
        results.write(folder, document, old.curve().assign(value=0.0), {}, {}, older=old)


def train_to_other_numbers(results: ResultsFolder) -> None:
    for path in sorted(results.trials.iterdir()):
        old = trial_at(results, path)
        if old.document.workload == "digits-03":
            with results.claim(old.document) as folder:
                results.write(folder, old.document, old.curve().assign(value=0.95), {}, {}, older=old)


def measure(results: ResultsFolder) -> None:
    trial = trial_at(results, one(results))
    request = ProbeRequest(label="line", probe=ComponentRef(name="line", provider="p"))
    with results.hold(trial.document.hash):
        results.add_probe(trial, ProbeDocument(request=request, status="done"), pd.DataFrame({"t": [0.0]}))


def lose_a_probe(results: ResultsFolder) -> None:
    measure(results)
    age(one(results))
    next((one(results) / "probes").iterdir()).unlink()


def strange_summary(results: ResultsFolder) -> None:
    path = one(results) / "trial.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["summary"] = {"seconds": "many", "state_bytes": None, "final": [1]}
    path.write_text(json.dumps(document), encoding="utf-8")


CHANGES: list[Callable[[ResultsFolder], object]] = [
    remove,
    train_again,
    train_to_other_numbers,
    measure,
    lose_a_probe,
    lambda results: one(results).rename(results.path / "away"),
    lambda results: (one(results) / "trial.json").write_text("{", encoding="utf-8"),
    lambda results: (one(results) / "trial.json").unlink(),
    lambda results: (one(results) / "curve.parquet").write_bytes(b"PAR1"),
    lambda results: (one(results) / "curve.parquet").unlink(),
    lambda results: (results.trials / "nothing--like--a-trial").mkdir(),
    lambda results: Path(os.fsdecode(os.fsencode(results.trials) + b"/no\xff--text--here")).mkdir(),
    strange_summary,
    lambda results: (results.trials / "notes.txt").write_text("hello", encoding="utf-8"),
    lambda results: one(results).rename(results.trials / "digits-00--adam--000000000000"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_the_answers_are_those_of_the_directories(
    change: Callable[[ResultsFolder], object],
    cli: CommandLine,
    results: ResultsFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = read_stored(results)
    change(results)
    (stored, bare) = (read_stored(results), read_stored(bare_copy(cli, results)))
    assert stored.read <= TRIALS // 4, "only what has changed is read"
    assert bare.read >= TRIALS - 1
    pd.testing.assert_frame_equal(stored.trials.drop(columns="json_ns"), bare.trials.drop(columns="json_ns"))
    pd.testing.assert_frame_equal(stored.curves(), bare.curves(), check_categorical=False)
    assert told(stored) == told(bare)
    same = stored.trials["curve_error"].eq("").all() and before.curves().equals(stored.curves())
    assert change is measure or told(before) != told(stored) or not same
    assert told(read_stored(results)) == told(bare)


@pytest.mark.parametrize("change", [train_again, measure, lose_a_probe])
def test_every_command_answers_from_the_index_as_from_the_directories(
    change: Callable[[ResultsFolder], object],
    cli: CommandLine,
    results: ResultsFolder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change(results)
    found = answers(cli, cli.folder / "results")
    monkeypatch.setattr(index, "WORTH", 10**9)
    assert answers(cli, bare_copy(cli, results).path.parent) == found
    listed, unreadable, _, cached = found
    assert (len(listed), len(unreadable)) == ((TRIALS - 1, 1) if change is lose_a_probe else (TRIALS, 0))
    assert cached.count(False) == (0 if change is measure else 1)


def test_a_trial_that_comes_back_is_there_again(results: ResultsFolder) -> None:
    path = one(results)
    path.rename(results.path / "away")
    assert len(read_stored(results).trials) == TRIALS - 1
    (results.path / "away").rename(path)
    stored = read_stored(results)
    assert (len(stored.trials), stored.read) == (TRIALS, 0)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(bytes(content))


def only(results: ResultsFolder, suffix: str) -> Path:
    (path,) = (path for path in index_folder(results).iterdir() if path.suffix == suffix)
    return path


def other_version(results: ResultsFolder) -> None:
    path = only(results, ".trials")
    table = pq.ParquetFile(path).read()
    number = table.column_names.index("status")
    table = table.set_column(number, "status", pa.array(["failed"] * TRIALS))
    pq.write_table(table.replace_schema_metadata({"thalweg-index": "0"}), path)


def replaced_by_a_file(results: ResultsFolder) -> None:
    shutil.rmtree(index_folder(results))
    index_folder(results).write_text("mine", encoding="utf-8")


DAMAGE: list[Callable[[ResultsFolder], object]] = [
    lambda results: cut(only(results, ".trials")),
    lambda results: cut(only(results, ".curves")),
    lambda results: flip(only(results, ".trials")),
    lambda results: flip(only(results, ".curves")),
    lambda results: only(results, ".curves").unlink(),
    lambda results: only(results, ".trials").unlink(),
    lambda results: write_table(pd.DataFrame({"name": ["x"]}), index_folder(results) / "0.trials"),
    lambda results: (index_folder(results) / "0.trials.partial").write_bytes(b"half"),
    lambda results: (index_folder(results) / "0.trials").mkdir(),
    other_version,
    replaced_by_a_file,
    lambda results: shutil.rmtree(index_folder(results)),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_is_not_believed(
    damage: Callable[[ResultsFolder], object], results: ResultsFolder, registry: Registry
) -> None:
    benchmark = kept_benchmark(results)
    plan = benchmark.expand(registry)

    def found() -> tuple[pd.DataFrame, pd.DataFrame]:
        seen = observe(plan, read_stored(results))
        return seen.trials, seen.curves

    trials, curves = found()
    damage(results)
    for _ in range(2):
        again = found()
        pd.testing.assert_frame_equal(again[0], trials)
        pd.testing.assert_frame_equal(again[1], curves)
    if damage is not replaced_by_a_file:
        assert read_stored(results).read == 0, "built anew"


def test_the_index_holds_the_curves_that_are_on_disk(results: ResultsFolder) -> None:
    stored = read_stored(results)
    curves = stored.curves()
    for number in (0, 17, TRIALS - 1):
        own = curves[curves["trial"] == number].drop(columns="trial").reset_index(drop=True)
        disk = read_table(stored.files_at(number), "curve.parquet")
        pd.testing.assert_frame_equal(own, disk, check_dtype=False, check_categorical=False)
    some = stored.curves(["value"], stored.trials.index[5:7], {})
    pd.testing.assert_series_equal(
        some["value"], curves.loc[curves["trial"].isin([5, 6]), "value"].reset_index(drop=True)
    )


def test_a_leaderboard_of_columns_is_that_of_single_curves(results: ResultsFolder, registry: Registry) -> None:
    plan = kept_benchmark(results).expand(registry)
    seen = observe(plan, read_stored(results), wanted=wanted_for(plan.workloads))
    table = leaderboard(seen, plan.workloads).set_index(["workload", "optimizer"])
    single: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for planned in plan.trials:
        curve = results.find(planned.trial.hash).curve()  # type: ignore[union-attr]
        final = curve[(curve["split"] == "test") & (curve["metric"] == "accuracy")]["value"].iloc[-1]
        found = to_target(curve.assign(optimizer="", seed=0), plan.workloads[planned.workload])
        steps = found.get("", {}).get(0, np.inf)
        single.setdefault((planned.workload, planned.optimizer), []).append((steps, final))
    for pair, values in single.items():
        steps, finals = np.array(values).T
        reached = steps[np.isfinite(steps)]
        row = table.loc[pair]
        assert row["reached"] == len(reached)
        assert row["value"] == pytest.approx(finals.mean(), rel=1e-12)
        if len(reached) == len(steps):
            assert row["steps_to_target"] == pytest.approx(np.exp(np.log(steps).mean()), rel=1e-12)


@pytest.mark.parametrize("fault", ["read-only", "full"])
def test_where_no_index_can_be_written_it_does_without(
    fault: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    there = ResultsFolder(tmp_path / "results", "many")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30 if fault == "read-only" else 28, "no")

    if fault == "read-only":
        monkeypatch.setattr(Path, "mkdir", refuse)
    else:
        monkeypatch.setattr(pq, "write_table", refuse)
    for _ in range(2):
        stored = read_stored(there)
        assert (len(stored.trials), stored.read, len(stored.curves())) == (TRIALS, TRIALS, TRIALS * 46)
    assert not list((index_folder(there)).glob("*"))


def test_a_trial_that_was_written_just_now_is_read_again(results: ResultsFolder) -> None:
    """Its files could change once more within the same tick of the file system's clock."""
    for path in results.trials.iterdir():
        os.utime(path / "trial.json")
    assert read_stored(results).read == TRIALS
    assert read_stored(results).read == TRIALS
    age(results.trials)
    assert read_stored(results).read == TRIALS
    assert read_stored(results).read == 0


@pytest.mark.parametrize("part", [".", "trial.json", "curve.parquet", "probes"])
def test_a_link_with_the_times_of_what_was_read_is_none_of_it(results: ResultsFolder, part: str) -> None:
    """A copy elsewhere keeps times and sizes; without the index the link is refused, so with it too."""
    measure(results)
    path = next(trial.path for trial in results.scan()[0] if trial.document.probes)
    age(results.trials)
    read_stored(results)
    before = read_stored(results)
    assert (before.read, before.unreadable) == (0, [])
    place = path / part if part != "." else path
    elsewhere = results.path.parent / "elsewhere"
    place.rename(elsewhere)
    place.symlink_to(elsewhere, target_is_directory=elsewhere.is_dir())
    after = read_stored(results)
    assert [item.path.name for item in after.unreadable] == [path.name]
    assert path.name not in after.column("name")


def test_many_small_segments_become_one(results: ResultsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "WORTH", 1)
    monkeypatch.setattr(index, "SEGMENTS", 3)
    counts = []
    for number, path in enumerate(sorted(results.trials.iterdir())[:6]):
        age(path, 100.0 + number)
        stored = read_stored(results)
        assert (stored.read, len(stored.trials), len(stored.curves())) == (1, TRIALS, TRIALS * 46)
        counts.append(len(list(index_folder(results).glob("*.trials"))))
    assert counts == [2, 3, 1, 2, 3, 1]
    stored = read_stored(results)
    assert stored.read == 0
    assert stored.curves()["trial"].is_monotonic_increasing


READ = """
import sys
from pathlib import Path
from thalweg.store import index, listing
from thalweg.store.writing import ResultsFolder
index.WORTH = 12
stored = index.read_stored(ResultsFolder(Path(sys.argv[1]), "many"))
print(len(stored.trials), len(stored.curves()))
"""


def test_two_processes_at_once_get_the_same(results: ResultsFolder) -> None:
    shutil.rmtree(index_folder(results))
    command = [sys.executable, "-c", READ, str(results.path.parent)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert {process.communicate(timeout=60)[0].strip() for process in both} == {f"{TRIALS} {TRIALS * 46}"}
    stored = read_stored(results)
    assert (stored.read, len(stored.trials), len(stored.curves())) == (0, TRIALS, TRIALS * 46)


def test_a_segment_that_another_process_removes_is_done_without(results: ResultsFolder) -> None:
    stored = read_stored(results)
    expected = stored.curves()
    shutil.rmtree(index_folder(results))
    one(results).rename(results.path / "away")
    found = stored.curves()
    rest = expected[expected["trial"] != 7].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, rest)


def test_a_look_at_many_trials_is_remembered_until_something_changes(
    results: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LARGE", 10)
    looks = []
    stamps = listing._stamps
    monkeypatch.setattr(listing, "_stamps", lambda *given: looks.append(1) or stamps(*given))
    first = look(results)
    assert look(results).digest == first.digest
    assert len(looks) == 2, "two halves, once"
    measure(results)
    assert look(results).digest != first.digest
    age(results.trials)
    look(results)
    for change in (lambda: remove(results), lambda: one(results).rename(results.path / "away")):
        before = look(results)
        change()
        assert look(results).names != before.names
    age(results.trials)
    before = look(results)
    (one(results) / "trial.json").write_text("{", encoding="utf-8")
    seen = index_folder(results) / "seen"
    os.utime(seen, (time.time() - listing.RECENT - 1,) * 2)
    assert look(results).digest != before.digest


def test_a_folder_that_changed_just_now_is_looked_at_again(
    results: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LARGE", 10)
    os.utime(results.trials)
    look(results)
    assert not (index_folder(results) / "seen").exists()


def test_single_trials_are_found_and_deleted(cli: CommandLine, results: ResultsFolder) -> None:
    path = one(results)
    assert find_trial(path.name.rpartition("--")[2][:9], results.path.parent)[1].path == path
    train_again(results)
    cli("results", "delete", "--failed", "--yes", "--results", "results")
    assert path.name not in {each.name for each in results.trials.iterdir()}
    assert len(cli.json("results", "list", "--results", "results")["trials"]) == TRIALS - 1


def test_more_trials_than_anyone_reads_are_counted(
    cli: CommandLine, results: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thalweg.commands.results.listing.MOST_LISTED", TRIALS - 1)
    train_again(results)
    found = cli("results", "list", "--results", "results")
    lines = [line.split() for line in found.stdout.splitlines()]
    assert lines[1] == ["benchmark", "workload", "optimizer", "seeds", "done", "diverged", "failed"]
    assert len(lines) == 2 + TRIALS // 2
    assert ["many", "digits-03", "adam-01", "2", "2", "0", "0"] in lines
    assert sum(line[4:] == ["1", "0", "1"] for line in lines) == 1
    assert "trial by trial: --json" in found.stderr


def test_compact_builds_the_index_and_removes_what_nobody_needs(cli: CommandLine, results: ResultsFolder) -> None:
    there, gone = one(results).name.rpartition("--")[2], "0123456789ab"
    measure(results)
    age(results.trials)
    shutil.rmtree(index_folder(results))
    index_folder(results).mkdir()
    (index_folder(results) / "junk").write_bytes(b"x")
    for name in (f"{gone}--surface--1", f"{there}--surface--1", f"{gone}--training.pt", f"{there}--training.pt"):
        path = results.path / ".partial" / name
        path.mkdir(parents=True)
        (path / "values").write_bytes(b"12345")
    (results.working / "held.lock").touch()
    before = answers(cli, cli.folder / "results")
    with filelock.FileLock(results.working / "held.lock"):
        (done,) = cli.json("results", "compact", "many", "--results", "results")["benchmarks"].values()
    assert done["trials"] == TRIALS
    assert (done["unreadable"], done["swept"], done["scratch"], done["freed"]) == (0, 0, 2, 10)
    assert sorted(path.name for path in (results.path / ".partial").iterdir()) == sorted(
        [f"{there}--surface--1", f"{gone}--training.pt"]
    )
    assert [path.name for path in results.working.iterdir()] == ["held.lock"]
    assert sorted(path.suffix for path in index_folder(results).iterdir()) == ["", ".curves", ".trials"]
    assert read_stored(results).read == 0
    assert answers(cli, cli.folder / "results") == before
    assert f"{TRIALS} trials in the index" in cli("results", "compact", "--results", "results").stdout
    assert "no results" in cli("results", "compact", "--results", "none", code=3).stderr


def test_whoever_waits_for_a_lock_that_is_removed_does_not_hold_it_with_another(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    holder, second, waiter = (filelock.FileLock(path) for _ in range(3))
    got = threading.Event()

    def wait() -> None:
        with waiter:
            got.set()

    with holder:
        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        path.unlink()
        second.acquire(timeout=10)
    assert not got.wait(0.3)
    second.release()
    assert got.wait(10)
    thread.join()
