"""Results deleted, exported and taken over from another machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from support import FAULTY, CommandLine, leftovers, results, statuses


@pytest.fixture
def trained(cli: CommandLine, small: Path) -> CommandLine:
    """Two trials of one workload that are done, and one that failed."""
    (cli.folder / "faulty.py").write_text(FAULTY, encoding="utf-8")
    words = ["--plugin", "faulty.py", "--with", "optimizer=faulty", "--only", "workload=small", "--only", "seed=0"]
    cli("run", "small.toml", *words, code=1)
    assert statuses(cli) == {"done": 2, "failed": 1}
    return cli


def names(cli: CommandLine) -> set[str]:
    return {path.name for path in results(cli).trials.iterdir()}


def test_failed_trials_are_deleted_after_a_question(trained: CommandLine) -> None:
    before = names(trained)
    error = trained("results", "delete", "--failed", code=2).stderr
    assert "1 trial would be deleted: give --yes" in error
    assert names(trained) == before
    trained("results", "delete", "--failed", "--yes")
    assert statuses(trained) == {"done": 2}
    assert leftovers(trained) == []
    trained("results", "verify")
    trained("results", "delete", "--failed", "--yes", code=3)


def test_trials_are_deleted_by_their_hashes(trained: CommandLine) -> None:
    first, *rest = sorted(names(trained))
    trained("results", "delete", first.rpartition("--")[2][:8], "--yes")
    assert names(trained) == set(rest)
    assert "has a hash that begins with 'zzz'" in trained("results", "delete", "zzz", "--yes", code=2).stderr
    assert "name the trials" in trained("results", "delete", "--yes", code=2).stderr


def test_curves_are_exported_with_their_trials(trained: CommandLine) -> None:
    (bad,) = (trial.path for trial in results(trained).scan()[0] if trial.document.status == "failed")
    (bad / "curve.parquet").write_bytes(b"damaged")
    for name, read in (("all.parquet", pd.read_parquet), ("all.csv", pd.read_csv)):
        trained("results", "export", name)
        table = read(trained.folder / name)
        assert set(table["benchmark"]) == {"small"}
        assert {row.hash for row in table.itertuples()} == {name.rpartition("--")[2] for name in names(trained)}
        failed = table[table["status"] == "failed"]
        assert len(failed) == 1
        assert failed["value"].isna().all()
        for trial in results(trained).scan()[0]:
            if trial.document.status == "done":
                curve = pd.read_parquet(trial.path / "curve.parquet")
                mine = table[table["hash"] == trial.document.hash]
                assert mine["value"].tolist() == pytest.approx(curve["value"].tolist(), rel=1e-15)
                assert set(mine["seed"]) == {0}
    assert not list(trained.folder.glob(".all*"))


def test_a_database_is_written_where_duckdb_is_installed(trained: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    told = trained("results", "export", "all.duckdb", code=2).stderr
    assert told.splitlines() == ["error: all.duckdb: a DuckDB file needs duckdb: pip install 'thalweg[export]'"]
    assert not (trained.folder / "all.duckdb").exists()


def test_a_database_holds_trials_curves_and_probes(trained: CommandLine) -> None:
    trained("results", "export", "all.duckdb", "small")
    trained("results", "export", "all.duckdb", "small")
    with duckdb.connect(str(trained.folder / "all.duckdb"), read_only=True) as connection:
        tables = {row[0] for row in connection.execute("SHOW TABLES").fetchall()}
        assert {"trials", "curves"} <= tables
        assert any(table.startswith("probe_") for table in tables)
        rows = connection.execute("SELECT status, count(*) FROM trials GROUP BY status").fetchall()
        assert dict(rows) == {"done": 2, "failed": 1}
        (best,) = connection.execute(
            "SELECT max(value) FROM curves JOIN trials USING (hash) WHERE split = 'train' AND metric = 'accuracy'"
        ).fetchone()  # type: ignore[misc]
        assert 0 <= best <= 1
        for table in tables - {"trials", "curves"}:
            (count,) = connection.execute(f'SELECT count(DISTINCT trial_hash) FROM "{table}"').fetchone()  # type: ignore[misc]
            assert count >= 1


def test_what_cannot_be_exported_is_told(trained: CommandLine, cli: CommandLine) -> None:
    assert "no format '.xlsx'" in cli("results", "export", "all.xlsx", code=2).stderr
    (cli.folder / "taken").write_text("", encoding="utf-8")
    assert "cannot be written" in cli("results", "export", "taken/all.csv", code=2).stderr
    cli("results", "export", "all.csv", "--results", "nothing", code=3)


def test_results_of_another_machine_are_taken_over(trained: CommandLine) -> None:
    there = trained.folder / "there"
    shutil.copytree(trained.folder / "results" / "local", there)
    everything = names(trained)
    done = sorted(trial.path.name for trial in results(trained).scan()[0] if trial.document.status == "done")
    trained("results", "delete", done[0].rpartition("--")[2], "--yes")
    report = trained.json("results", "import", "there")["benchmarks"]["small"]
    assert report["added"] == [done[0]]
    assert sorted(report["there"]) == sorted(everything - {done[0]})
    assert names(trained) == everything
    assert leftovers(trained) == []
    trained("results", "verify")
    trained("results", "import", "there", "--results", "new")
    assert (trained.folder / "new" / "small" / "benchmark.toml").is_file()
    assert trained.json("results", "verify", "--results", "new")["whole"] == 3


def test_conflicts_and_damage_are_named_and_nothing_is_lost(trained: CommandLine) -> None:
    there = trained.folder / "there"
    shutil.copytree(trained.folder / "results" / "local", there)
    first, second = (trial for trial in results(trained).scan()[0] if trial.document.status == "done")
    # other numbers here than there, in a result that is whole
    document = json.loads((first.path / "trial.json").read_text())
    curve = pd.read_parquet(first.path / "curve.parquet")
    curve["value"] += 1
    curve.to_parquet(first.path / "curve.parquet", index=False)
    (there / "small" / "trials" / second.path.name / "curve.parquet").write_bytes(b"damaged")
    before = (first.path / "curve.parquet").read_bytes()
    report = trained.json("results", "import", "there", code=1)["benchmarks"]["small"]
    assert report["conflicts"] == {first.path.name: "its curve has other numbers"}
    assert report["damaged"] == {second.path.name: "curve.parquet has changed since it was written"}
    assert (first.path / "curve.parquet").read_bytes() == before
    assert json.loads((first.path / "trial.json").read_text()) == document
    assert "holds no results" in trained("results", "import", "nowhere", code=2).stderr
    assert "name another folder" in trained("results", "import", "results/local", code=2).stderr


def test_what_failed_here_is_replaced_by_what_was_done_there(trained: CommandLine) -> None:
    there = trained.folder / "there"
    shutil.copytree(trained.folder / "results" / "local", there)
    done = next(trial for trial in results(trained).scan()[0] if trial.document.status == "done")
    document = done.document.model_copy(update={"status": "failed", "reason": "here"})
    (done.path / "trial.json").write_text(document.to_json(), encoding="utf-8")
    assert statuses(trained) == {"done": 1, "failed": 2}
    assert trained.json("results", "import", "there")["benchmarks"]["small"]["added"] == [done.path.name]
    assert statuses(trained) == {"done": 2, "failed": 1}
    trained("results", "verify")


def test_what_lies_beside_a_trials_files_stays_behind_and_the_trial_comes(trained: CommandLine) -> None:
    there = sorted(names(trained))
    stray = results(trained).trials / there[0] / ".DS_Store"
    stray.write_bytes(b"x")
    told = trained("results", "import", "results/local", "--results", "mine")
    assert f"{there[0]}/.DS_Store: not copied: does not belong to the trial" in told.stdout
    mine = trained.folder / "mine" / "small" / "trials"
    assert {path.name for path in mine.iterdir()} == set(there)
    assert not (mine / there[0] / ".DS_Store").exists()
