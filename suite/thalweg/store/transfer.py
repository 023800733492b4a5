"""Takes trials away, and over from the results of another machine."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from thalweg.store.results import BenchmarkResults, StoredTrial
from thalweg.store.tables import read_table
from thalweg.store.verify import faults_of


def delete(results: BenchmarkResults, trial: StoredTrial) -> None:
    """Take a trial away; one that is being trained or measured is waited for."""
    with results.hold(trial.document.hash):
        away = results.working / f"{trial.document.hash}.old"
        trial.path.rename(away)
        # without it nothing would bring back what is left if this were cut off
        (away / "trial.json").unlink()
        shutil.rmtree(away)


@dataclass
class Imported:
    """What came of an import: trials by their directories' names."""

    added: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    """Present with the same numbers."""
    conflicts: dict[str, str] = field(default_factory=dict)
    """Present with other numbers, which stay; and why."""
    damaged: dict[str, str] = field(default_factory=dict)
    """Not whole where they come from; and why."""


def take_over(results: BenchmarkResults, source: BenchmarkResults) -> Imported:
    """Copy the trials of ``source`` that are not here, or only failed here."""
    done = Imported()
    stored, unreadable = source.scan()
    done.damaged |= {item.path.name: item.reason for item in unreadable}
    for theirs in stored:
        name = theirs.path.name
        faults = faults_of(theirs)
        if faults:
            done.damaged[name] = f"{faults[0].path.name} {faults[0].reason}"
            continue
        with results.hold(theirs.document.hash):
            mine = results.find(theirs.document.hash)
            if mine is None or (mine.document.status == "failed" != theirs.document.status):
                folder = results.working / theirs.document.hash
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(theirs.path, folder / "result")
                results.install(folder / "result", theirs.document)
                shutil.rmtree(folder, ignore_errors=True)
                done.added.append(name)
            elif reason := _differ(mine, theirs):
                done.conflicts[name] = reason
            else:
                done.there.append(name)
    if done.added and not (results.path / "benchmark.toml").exists() and (source.path / "benchmark.toml").is_file():
        shutil.copyfile(source.path / "benchmark.toml", results.path / "benchmark.toml")
    return done


def _differ(mine: StoredTrial, theirs: StoredTrial) -> str:
    """How two results of one trial differ beside their times; empty where they do not."""
    if mine.document.status != theirs.document.status:
        return f"{mine.document.status} here, {theirs.document.status} there"
    curves = [_numbers(trial.path) for trial in (mine, theirs)]
    return "" if curves[0] == curves[1] else "its curve has other numbers"


def _numbers(folder: Path) -> str:
    """A curve without its seconds, which differ each time."""
    curve = read_table(folder / "curve.parquet")
    return curve.drop(columns=["seconds"], errors="ignore").to_json(double_precision=15)
