"""Probes of packed trials: measured into a folder of the user's own, and laid over the packed ones where they fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from support import CommandLine
from thalweg.failure import Failure
from thalweg.present.notes import ignored
from thalweg.present.probes import probes_by_label
from thalweg.store.documents import ProbeDocument
from thalweg.store.index import read_stored
from thalweg.store.overlay import Laid, Overlay
from thalweg.store.results import BenchmarkResults
from thalweg.store.tables import read_table
from thalweg.store.trials import StoredTrial

BENCHMARK = """
seeds = 2

[workloads.bowl]
problem = { name = "quadratic", dim = 2 }
architecture = "point"
dtype = "float64"
budget = { steps = 4 }
evaluate_every = { steps = 2 }

[optimizers.sgd]
lr = 0.01

[probes.line]
points = 5
seeds = [0]
"""
PACKED = "packed/small.thalweg"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with weights, in ``folder`` and ``packed``; in ``without`` the same trials, packed without weights."""
    folder = tmp_path_factory.mktemp("overlay")
    cli = CommandLine(folder, own_process=False)
    (folder / "small.toml").write_text(BENCHMARK, encoding="utf-8")
    cli("run", "small.toml", "--quiet", "--keep", "weights", "--results", "folder")
    cli("results", "pack", "folder", "--out", "packed")
    cli("run", "small.toml", "--quiet", "--results", "bare")
    cli("results", "pack", "bare", "--out", "without")
    return folder


@pytest.fixture
def both(made: Path, cli: CommandLine) -> CommandLine:
    """The command line beside copies of these."""
    shutil.copytree(made, cli.folder, dirs_exist_ok=True)
    return cli


def trial_of(cli: CommandLine, seed: int = 0) -> StoredTrial:
    trials, _ = BenchmarkResults(cli.folder / "packed", "small").scan()
    return next(trial for trial in trials if trial.document.trial.seed == seed)


def probe(cli: CommandLine, *words: str, seed: int = 0, results: str = PACKED) -> dict[str, object]:
    """What ``thalweg probe`` says of a measurement on the trial of a seed."""
    hash_ = trial_of(cli, seed).document.hash
    return dict(cli.json("probe", hash_, "line", *words, "--results", results))


def laid(cli: CommandLine) -> Laid:
    return Overlay(cli.folder / "results" / "local", BenchmarkResults(cli.folder / "packed", "small")).read()


def document_at(cli: CommandLine) -> Path:
    (path,) = (cli.folder / "results" / "local" / "probes").glob("*/measured.json")
    return path


def test_a_new_probe_of_a_packed_trial_is_measured_once_and_the_packed_file_stays(both: CommandLine) -> None:
    before = (both.folder / PACKED).read_bytes()
    hash_ = trial_of(both).document.hash
    first = probe(both, "--set", "points=7")
    assert first["path"] == f"results/local/probes/small--{hash_}/probes/{first['key']}.parquet"
    assert (both.folder / PACKED).read_bytes() == before
    again = probe(both, "--set", "points=7")
    assert (first["measured_before"], again["measured_before"]) == (False, True)
    assert again["path"] == first["path"]
    # the numbers are those that a folder with these weights gets
    in_folder = probe(both, "--set", "points=7", results="folder")
    tables = [pd.read_parquet(both.folder / str(each["path"])) for each in (first, in_folder)]
    pd.testing.assert_frame_equal(*tables)


def test_the_packed_probe_is_found_and_not_measured_again(both: CommandLine) -> None:
    found = probe(both, "--set", "points=5")
    assert found["measured_before"]
    assert PACKED in str(found["path"])
    hash_ = trial_of(both).document.hash
    told = both("probe", hash_, "line", "--set", "points=5", "--fresh", "--results", "packed", code=2).stderr
    assert "has this probe" in told
    assert "only read" in told
    assert not (both.folder / "results").exists()


def test_readers_see_both_and_can_tell_them_apart(both: CommandLine) -> None:
    key = probe(both, "--set", "points=7")["key"]
    probe(both, "--set", "points=5", seed=1)
    hash_ = trial_of(both).document.hash
    shown = both.json("results", "show", hash_, "--results", "packed")
    assert list(shown["measured_here"]) == [key]
    assert key not in shown["probes"]
    stored = read_stored(BenchmarkResults(both.folder / "packed", "small"))
    trials = stored.trials[["workload", "optimizer", "seed", "hash"]]
    found = probes_by_label(trials, stored.by_hash, laid(both))
    seeds = [f"bowl · sgd · seed {seed}" for seed in (0, 1)]
    assert {label: (list(one.done), one.here) for label, one in found.items()} == {
        "line (points=5)": (seeds, {seeds[1]}),
        "line (points=7)": (seeds[:1], {seeds[0]}),
    }
    for one in found.values():
        for files in one.done.values():
            assert len(read_table(files, f"probes/{one.key}.parquet"))
    both("report", "small", "--results", "packed", "--out", "small.html")
    assert "measured here, and no part of the packed results" in (both.folder / "small.html").read_text()


def test_an_export_tells_apart_what_was_measured_here(both: CommandLine) -> None:
    duckdb = pytest.importorskip("duckdb")
    probe(both, "--set", "points=7")
    both("results", "export", "all.duckdb", "--results", "packed")
    with duckdb.connect(str(both.folder / "all.duckdb"), read_only=True) as connection:
        rows = connection.sql("SELECT measured_here, count(*) FROM probe_line GROUP BY 1 ORDER BY 1").fetchall()
    # a row a point, each on the training data alone
    assert rows == [(False, 5), (True, 7)]


def test_probes_of_other_weights_and_of_trials_that_are_gone_do_not_count(both: CommandLine) -> None:
    probe(both, "--set", "points=7")
    path = document_at(both)
    document = json.loads(path.read_text())
    document["weights"]["weights/final.safetensors"] = "0" * 64
    path.write_text(json.dumps(document), encoding="utf-8")
    found = laid(both)
    assert not found.probes
    assert [one.reason for one in found.ignored] == [f"trial {document['hash']} has other weights now"]
    hash_ = trial_of(both).document.hash
    assert "has other weights now" in both("results", "show", hash_, "--results", "packed").stderr
    told = both("probe", hash_, "line", "--set", "points=9", "--results", "packed", code=2).stderr
    assert "move the folder away to measure anew" in told
    path.parent.rename(path.parent.with_name("small--0123456789ab"))
    document["hash"] = "0123456789ab"
    (path.parent.with_name("small--0123456789ab") / path.name).write_text(json.dumps(document), encoding="utf-8")
    found = laid(both)
    assert not found.probes
    assert [one.reason for one in found.ignored] == ["small.thalweg has no trial 0123456789ab any more"]
    note = ignored(found)
    assert note is not None
    assert "no trial 0123456789ab" in note.items[0]
    assert ignored(found, hash_) is None


def test_where_both_have_a_table_the_packed_one_counts(both: CommandLine) -> None:
    key = str(probe(both, "--set", "points=5", seed=1)["key"])
    # as if the packed file had been replaced by one that has the probe
    trial, path = trial_of(both, seed=1), document_at(both)
    holder = Overlay(both.folder / "results" / "local", BenchmarkResults(both.folder / "packed", "small"))
    moved = trial_of(both, seed=0)
    mine = holder.read().probes[trial.document.hash][key]
    table = pd.read_parquet(path.parent / "probes" / f"{key}.parquet")
    holder.add_probe(moved, mine, table)
    found = holder.read()
    assert moved.document.probes[key].status == "done"
    assert found.probes[moved.document.hash] == {}
    assert [one.path.name for one in found.ignored] == [f"{key}.parquet"]
    assert "the packed one counts" in found.ignored[0].reason


def test_a_table_counts_where_the_packed_probe_failed_and_a_failure_does_not(both: CommandLine) -> None:
    results = BenchmarkResults(both.folder / "folder", "small")
    (trial,) = (one for one in results.scan()[0] if one.document.trial.seed == 0)
    (key,) = trial.document.probes
    document = json.loads((trial.path / "trial.json").read_text())
    document["probes"][key] |= {"status": "failed", "error": {"kind": "Torn", "message": "by hand"}}
    (trial.path / "trial.json").write_text(json.dumps(document), encoding="utf-8")
    both("results", "pack", "folder", "--out", "packed", "--force")
    stored = read_stored(BenchmarkResults(both.folder / "packed", "small"))
    trials = stored.trials[["workload", "optimizer", "seed", "hash"]]
    (one,) = probes_by_label(trials, stored.by_hash, laid(both)).values()
    assert (list(one.done), list(one.failed)) == ([], ["bowl · sgd · seed 0"])
    holder = Overlay(both.folder / "results" / "local", BenchmarkResults(both.folder / "packed", "small"))
    request = trial.document.probes[key].request
    failure = ProbeDocument(request=request, status="failed", error=Failure(kind="Torn", message="again"))
    holder.add_probe(trial_of(both), failure, None)
    assert not laid(both).probes[trial.document.hash]
    assert not probe(both, "--set", "points=5")["measured_before"]
    (one,) = probes_by_label(trials, stored.by_hash, laid(both)).values()
    assert (list(one.done), list(one.failed)) == (["bowl · sgd · seed 0"], [])


@pytest.mark.parametrize("damage", ["table", "document", "link", "key"])
def test_a_damaged_overlay_is_told(both: CommandLine, damage: str) -> None:
    found = probe(both, "--set", "points=7")
    hash_, path = str(found["trial"]), document_at(both)
    whole = both.json("results", "verify", "--results", "packed")
    assert (whole["laid_over"], whole["faults"]) == (1, [])
    if damage == "table":
        table = both.folder / str(found["path"])
        pd.read_parquet(table).assign(loss=0.0).to_parquet(table)
        with pytest.raises(OSError, match="has changed since it was measured"):
            read_table(laid(both).files[hash_], f"probes/{found['key']}.parquet")
        verified = both.json("results", "verify", "--results", "packed", code=1)
        assert [fault["reason"] for fault in verified["faults"]] == ["has changed since it was measured"]
        return
    if damage == "document":
        path.write_text("{", encoding="utf-8")
    elif damage == "key":
        path.write_text(path.read_text().replace(f'"{found["key"]}": {{', '"line--00000000": {'), encoding="utf-8")
    else:
        path.parent.rename(both.folder / "elsewhere")
        path.parent.symlink_to(both.folder / "elsewhere")
    assert not laid(both).probes
    assert len(laid(both).ignored) == 1
    verified = both.json("results", "verify", "--results", "packed", code=1)
    assert (verified["laid_over"], len(verified["faults"])) == (0, 1)


def test_a_packed_trial_without_weights_says_so(both: CommandLine) -> None:
    hash_ = trial_of(both).document.hash
    told = both("probe", hash_, "trajectory", "--results", "without", code=2).stderr
    assert "was saved without" in told
    assert "--keep" in told
    assert not (both.folder / "results").exists()


def test_a_folder_of_results_has_no_overlay(both: CommandLine) -> None:
    probe(both, "--set", "points=7")
    folder = BenchmarkResults(both.folder / "folder", "small")
    assert (
        both.json("results", "show", trial_of(both).document.hash, "--results", "folder").get("measured_here") is None
    )
    found = probe(both, "--set", "points=7", results="folder")
    assert not found["measured_before"]
    assert str(found["path"]).startswith(str(folder.path.relative_to(both.folder)))


def test_the_folder_is_where_the_user_keeps_results(both: CommandLine) -> None:
    both.environment["THALWEG_RESULTS"] = "packed"
    hash_ = trial_of(both).document.hash
    path = both.json("probe", hash_, "line", "--set", "points=7")["path"]
    assert path.startswith(f"packed/probes/small--{hash_}/")
    # a results root that is one packed file holds nothing else
    both.environment["THALWEG_RESULTS"] = PACKED
    assert both.json("probe", hash_, "line", "--set", "points=7")["path"].startswith("results/local/probes/")
    both.environment["THALWEG_LOCAL"] = "mine"
    assert both.json("probe", hash_, "line", "--set", "points=7")["path"].startswith("mine/probes/")
    both.environment["THALWEG_RESULTS"] = "packed"
    assert [one["hash"] for one in both.json("results", "list")["trials"]].count(hash_) == 1
