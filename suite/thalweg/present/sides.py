"""The two sides of a comparison: a results folder, one benchmark in it, and perhaps one optimizer."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from thalweg import guard
from thalweg.benchmark_file import TUNING_SEED
from thalweg.errors import NothingThere, UserError, unknown
from thalweg.expand import Benchmark
from thalweg.kept import kept_benchmark
from thalweg.plan import pairs_of
from thalweg.present.expansion import best_expansion
from thalweg.present.sentences import unfinished
from thalweg.registry import Registry
from thalweg.scoring.measures import wanted_for
from thalweg.scoring.observations import Observations, observe
from thalweg.selection import Selection, parse_extra
from thalweg.store.index import read_stored
from thalweg.store.packed_format import SUFFIX, is_packed
from thalweg.store.results import BenchmarkResults
from thalweg.store.roots import benchmarks_in, require_benchmark
from thalweg.store.stored import Stored
from thalweg.store.timings import read_times
from thalweg.trial import Trial
from thalweg.tuning.plan import TunedPlan
from thalweg.versions import as_of_here

_TERMS = ("budget", "batch_size", "evaluate_every", "validation_fraction", "dtype", "precision")
"""The fields of a trial that are terms of a comparison."""


@dataclass
class Side:
    """One side of a comparison: its plan and its trials."""

    text: str
    """The argument that names the side."""
    optimizer: str | None
    root: Path
    """The folder or packed file of the results."""
    benchmark: Benchmark
    plan: TunedPlan
    seen: Observations
    others: int
    """How many trials were trained with other versions of the plugins than are here."""
    mixed: list[str]
    """Trials that are left out because they were trained alone and the others in stacks, or the reverse."""

    @property
    def stacked(self) -> dict[tuple[str, str], bool]:
        """Whether trials were trained in stacks, by workload and optimizer, for each pair that has trials."""
        trials = self.seen.trials
        there = set(zip(trials["workload"], trials["optimizer"], strict=True))
        pairs = {(one.workload, one.optimizer): one.trial.stack is not None for one in self.plan.trials}
        return {pair: stacked for pair, stacked in pairs.items() if pair in there}

    @property
    def missing(self) -> int:
        """How many trials are missing, of the pairs of workload and optimizer that have some trials."""
        trials = self.seen.trials
        there = set(zip(trials["workload"], trials["optimizer"], trials["seed"], strict=True))
        begun = {(workload, optimizer) for workload, optimizer, _ in there}
        planned = [(one.workload, one.optimizer, one.trial.seed) for one in self.plan.trials]
        wanted = [one for one in planned if one[:2] in begun and self.optimizer in (None, one[1])]
        return sum(one not in there for one in wanted)

    def terms(self, workload: str, optimizer: str) -> dict[str, object]:
        """What a benchmark fixes of an optimizer's training on a workload, besides its hyperparameters."""
        trial = self.trials.get((workload, optimizer))
        return {} if trial is None else {name: getattr(trial, name) for name in _TERMS}

    @cached_property
    def trials(self) -> dict[tuple[str, str], Trial]:
        """One trial for each workload and optimizer."""
        return pairs_of(self.plan.trials)

    def asked(self, workload: str) -> object:
        """The definition of a workload: its table in the file, and the content of the files that it names.

        Of imported curves it is the metric that ranks and where it is read.
        """
        if self.benchmark.spec.imported is not None:
            told = self.benchmark.spec.imported.workloads.get(workload)
            return None if told is None else (told.metric, told.split, told.metrics[told.metric].better)
        options = {str(one.trial.problem.options) for one in self.plan.trials if one.workload == workload}
        return self.benchmark.spec.workloads.get(workload), options


def read_side(
    text: str,
    which: str,
    benchmark: str | None,
    registry: Registry,
    metric: str | None,
    tell: Callable[[str], None],
    only: Collection[str] | None = None,
) -> Side:
    """Read FOLDER or FOLDER:OPTIMIZER; ``which`` names it in errors.

    ``tell`` gets a sentence on unfinished trials, and on each trial that cannot be read. ``only`` may give the hashes
    of the trials that count. Then trials of other versions of a plugin are not there.

    Raises:
        UserError: there is no such folder, benchmark or optimizer, or the benchmark cannot be expanded here.
        NothingThere: the folder holds no results.
    """
    folder, optimizer = parted(text, which)
    results = results_at(folder, which, benchmark)
    file = kept_benchmark(results)
    everything = read_stored(results)
    stored = everything.counted
    if left := len(everything.trials) - len(stored.trials):
        tell(f"{which} {text}: {unfinished(left, file.name)}")
    if only is not None:
        stored = stored.only(stored.trials["hash"].isin(list(only)))
    for item in stored.unreadable:
        tell(item.sentence)
    file = replace(file, files=stored.files)
    plan, mixed = _plan(file, registry, stored)
    others = 0
    there = set(stored.column("hash"))
    if any(one.trial.hash not in there for one in (*plan.trials, *plan.tuning)):
        stored, others = as_of_here(stored, registry)
        plan, mixed = _plan(file, registry, stored)
    seen = observe(plan, stored, read_times(results.files), wanted_for(plan.workloads, metric))
    root = results.path if results.packed else results.path.parent
    side = Side(text, None, root, file, plan, seen, others, mixed)
    return side if optimizer is None else of_optimizer(side, optimizer, text, which)


def of_optimizer(side: Side, optimizer: str, text: str, which: str) -> Side:
    """One optimizer of a side; ``text`` names it.

    Raises:
        UserError: the side has no such optimizer.
    """
    labels = {one.optimizer for one in side.plan.trials}
    if optimizer not in labels:
        raise UserError(f"{which} {text}: {unknown('optimizer', optimizer, labels)}")
    return replace(side, text=text, optimizer=optimizer)


def parted(text: str, which: str) -> tuple[Path, str | None]:
    """Folder and optimizer; both may hold colons, so the longest existing folder counts.

    Raises:
        UserError: there is no such folder or packed file.
    """
    places = [len(text), *(place for place in range(len(text) - 1, 0, -1) if text[place] == ":")]
    for place in places:
        if Path(text[:place]).is_dir() or is_packed(Path(text[:place])):
            return Path(text[:place]), text[place + 1 :] or None
    what = "is a file" if Path(text).is_file() else f"there is no folder {text}"
    raise UserError(f"{which} {text}: {what}; give a results folder, or FOLDER:OPTIMIZER")


def results_at(folder: Path, which: str, benchmark: str | None) -> BenchmarkResults:
    """The results in a folder of one benchmark, in a folder of several, or in a packed file.

    Raises:
        UserError: it is unclear which of several benchmarks is meant, or the folder does not hold it.
        NothingThere: the folder holds no results.
    """
    folder = folder.resolve()
    if is_packed(folder):
        results = require_benchmark(folder, folder.name.removesuffix(SUFFIX))
        if benchmark not in (None, results.name):
            raise UserError(f"--benchmark {benchmark}: {which} {folder} holds results of {results.name!r}")
        return results
    if guard.is_regular(folder / "benchmark.toml"):
        if benchmark not in (None, folder.name):
            raise UserError(f"--benchmark {benchmark}: {which} {folder} is the folder of {folder.name!r}")
        return BenchmarkResults(folder.parent, folder.name)
    there = [name for name in benchmarks_in(folder) if BenchmarkResults(folder, name).files.has("benchmark.toml")]
    if not there:
        raise NothingThere(
            f"{which} {folder}: holds no results; 'thalweg run BENCHMARK --results {folder}' puts some there"
        )
    if benchmark is not None and benchmark not in there:
        raise UserError(f"--benchmark: {which} {folder}: {unknown('benchmark', benchmark, there)}")
    if benchmark is None and len(there) > 1:
        raise UserError(f"{which} {folder}: holds results of {', '.join(there)}: choose one with --benchmark")
    return BenchmarkResults(folder, benchmark or there[0])


def _plan(benchmark: Benchmark, registry: Registry, stored: Stored) -> tuple[TunedPlan, list[str]]:
    """The plan with as many seeds as were run and the optimizers that ``--with`` added; notes on trials left out."""
    trials = stored.trials
    counted = trials if benchmark.spec.tuning is None else trials[trials["seed"] < TUNING_SEED]
    seeds = max(benchmark.spec.seeds, 1 + int(counted["seed"].max())) if len(counted) else None
    extra = []
    for label in sorted(set(trials["optimizer"]) - set(benchmark.spec.optimizers)):
        try:
            text = f"optimizer={label}"
            registry.entry("optimizers", parse_extra(text)[1].optimizer or label)
        except UserError:
            continue  # a label from an older version of the file
        extra.append(text)
    found = best_expansion(benchmark, registry, stored, Selection(seeds, tuple(extra)))
    return found.plan, found.way.notes
