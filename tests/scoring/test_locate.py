"""Planned trials are found on disk by configuration and seed exactly as by their hashes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.many_trials import write_many
from thalweg.kept import kept_benchmark
from thalweg.plan import Plan, PlannedTrials, pairs_of
from thalweg.registry import Registry
from thalweg.scoring.locate import locate
from thalweg.scoring.observations import observe
from thalweg.selection import Selection
from thalweg.store.index import read_stored
from thalweg.store.stored import Stored
from thalweg.store.writing import ResultsFolder


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> ResultsFolder:
    """40 trials of 2 seeds, without four of them."""
    folder = tmp_path_factory.mktemp("many")
    write_many(folder, 40, workloads=4, optimizers=5)
    there = ResultsFolder(folder / "results", "many")
    names = sorted(there.trials.iterdir())
    for path in names[3:7]:
        shutil.rmtree(path)
    return there


def twice(stored: Stored) -> Stored:
    """The trials, the first three of them a second time under further numbers."""
    more = stored.trials.head(3)
    more.index = more.index + 1000
    stored.trials = pd.concat([stored.trials, more])
    return stored


@pytest.mark.parametrize("seeds", [1, 2, 3])
@pytest.mark.parametrize("copied", [False, True])
def test_groups_are_found_like_their_trials(
    results: ResultsFolder, registry: Registry, seeds: int, copied: bool
) -> None:
    plan = kept_benchmark(results).expand(registry, Selection(seeds=seeds))
    stored = read_stored(results)
    if copied:
        stored = twice(stored)
    assert isinstance(plan.trials, PlannedTrials)
    groups, single = locate(plan.trials, stored), locate(list(plan.trials), stored)
    assert groups.numbers.tolist() == single.numbers.tolist()
    assert groups.inside.tolist() == single.inside.tolist()
    assert (groups.numbers >= 0).sum() == sum(hash_ in set(stored.column("hash")) for hash_ in hashes(plan))


def test_observations_of_groups_and_of_single_trials_are_equal(results: ResultsFolder, registry: Registry) -> None:
    stored = read_stored(results)
    # of two seeds, the second is left out
    plan = kept_benchmark(results).expand(registry, Selection(seeds=1))
    single = Plan(plan.benchmark, plan.workloads, list(plan.trials))
    one, other = observe(plan, stored), observe(single, stored)
    pd.testing.assert_frame_equal(one.trials, other.trials)
    pd.testing.assert_frame_equal(one.curves, other.curves)
    assert (one.missing, one.beside) == (other.missing, other.beside)
    assert one.missing == 40 // 2 - len(one.trials)
    assert one.beside == len(stored.trials) - len(one.trials)


def test_a_part_of_the_curves_has_the_rows_of_the_whole(results: ResultsFolder, registry: Registry) -> None:
    seen = observe(kept_benchmark(results).expand(registry), read_stored(results))
    assert seen.source is not None
    part = seen.source.read(workload="digits-01", optimizer="adam-01", seed=1)
    whole = seen.curves
    mask = (whole["workload"] == "digits-01") & (whole["optimizer"] == "adam-01") & (whole["seed"] == 1)
    assert len(part)
    pd.testing.assert_frame_equal(
        part.astype({"workload": str, "optimizer": str}),
        whole[mask].reset_index(drop=True).astype({"workload": str, "optimizer": str}),
        check_categorical=False,
    )


def test_planned_trials_are_a_sequence(results: ResultsFolder, registry: Registry) -> None:
    trials = kept_benchmark(results).expand(registry).trials
    listed = list(trials)
    assert len(trials) == len(listed) == 40
    assert trials == listed
    assert trials != listed[1:]
    assert trials[0] == listed[0]
    assert trials[-3:] == listed[-3:]
    assert PlannedTrials([]) == []
    assert list(pairs_of(trials)) == list(pairs_of(listed))
    configurations = [{key: one.model_copy(update={"seed": 0}).hash for key, one in pairs_of(each).items()}
                      for each in (trials, listed)]  # fmt: skip
    assert configurations[0] == configurations[1]


def test_nothing_is_found_among_no_trials(results: ResultsFolder, registry: Registry, tmp_path: Path) -> None:
    plan = kept_benchmark(results).expand(registry)
    empty = read_stored(ResultsFolder(tmp_path, "many"))
    found = locate(plan.trials, empty)
    assert found.numbers.tolist() == [-1] * 40
    assert np.array_equal(found.inside, np.zeros(0, dtype=bool))


def hashes(plan: Plan) -> list[str]:
    return [planned.trial.hash for planned in plan.trials]
