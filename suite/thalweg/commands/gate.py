"""``thalweg gate``: adds seeds on both sides until every row of a comparison is decided."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from thalweg.commands.apart import command_apart
from thalweg.commands.compare import check_format, print_comparison
from thalweg.console import errors, tell
from thalweg.errors import UserError
from thalweg.exit_codes import ExitCode
from thalweg.expand import optimizers_of
from thalweg.kept import find_benchmark
from thalweg.present.comparison import Comparison, compare_sides
from thalweg.present.sides import Side, read_side
from thalweg.present.verdicts import ordered
from thalweg.registry import load_registry
from thalweg.runner.finding import find_out
from thalweg.runner.interrupts import interruptible
from thalweg.scoring.compare import NOTHING, Terms
from thalweg.scoring.judge import Levels
from thalweg.scoring.margins import parse_margins
from thalweg.scoring.measures import SECONDS
from thalweg.scoring.outcomes import compared_metrics
from thalweg.scoring.sequential import Look, plan_looks
from thalweg.selection import Selection

EQUAL_SEEDS = 5
"""Seeds of the look that tests nothing, and sees only whether curves are equal to the bit."""


@dataclass(frozen=True)
class GateOptions:
    """What ``thalweg gate`` is asked for."""

    baseline: Path
    """The results folder of the baseline; it may be new."""
    candidate: Path
    benchmark: str
    """A benchmark's name, or the path of a TOML file."""
    max_seeds: int = 40
    metric: str | None = None
    margins: tuple[str, ...] = ()
    allow_undecided: bool = False
    format: str = "table"
    plugins_baseline: tuple[Path, ...] = ()
    plugins_candidate: tuple[Path, ...] = ()
    python_baseline: str = ""
    """The Python of another environment, which trains the baseline."""
    jobs: str | None = None
    quiet: bool = False


@interruptible()
def gate_command(options: GateOptions) -> ExitCode:
    """Train both sides with as many seeds as decide, and print the comparison."""
    check_format(options.format)
    if options.metric == SECONDS.name:
        raise UserError(f"--metric {SECONDS.name}: 'thalweg time BASELINE CANDIDATE' compares seconds")
    terms = Terms(parse_margins(options.margins))
    if options.baseline.resolve() == options.candidate.resolve():
        raise UserError(f"{options.candidate}: is the folder of the baseline too; each side needs its own")
    if options.python_baseline and shutil.which(options.python_baseline) is None:
        raise UserError(f"--python-baseline {options.python_baseline}: there is no such program")
    registry = load_registry(options.plugins_candidate)
    registry_before = load_registry(options.plugins_baseline) if options.plugins_baseline else registry
    benchmark = find_benchmark(options.benchmark, registry, options.candidate)
    metrics = compared_metrics(benchmark.expand(registry, Selection()).workloads, options.metric)
    rows = sum(map(len, metrics.values())) * len(benchmark.spec.optimizers)
    looks = plan_looks(rows, options.max_seeds)
    looks = [Look(min(EQUAL_SEEDS, looks[0].seeds), Levels(0.0, 0.0)), *looks]

    for known in (registry,) if options.python_baseline else (registry_before, registry):
        # here, because each process that trains would start another one to find out
        find_out(optimizers_of(benchmark, Selection()), known, lambda text: errors().print(text, markup=False))
    old = _Trained(options, options.python_baseline, options.baseline, options.plugins_baseline)
    new = _Trained(options, "", options.candidate, options.plugins_candidate)

    def train(seeds: int, wanted: Sequence[str]) -> None:
        for side in (old, new):
            side.train(seeds, wanted)

    def compared(terms: Terms, seeds: int) -> Comparison:
        before, after = (
            _first(read_side(str(side.results), which, benchmark.name, known, options.metric, tell, side.hashes), seeds)
            for side, which, known in ((old, "BASELINE", registry_before), (new, "CANDIDATE", registry))
        )
        return compare_sides(before, after, registry, options.metric, terms)

    def say(text: str) -> None:
        if not options.quiet:
            errors().print(text, markup=False, highlight=False)

    found = until_decided(looks, rows, terms, train, compared, say)
    if options.allow_undecided and found.verdict == "undecided":
        found.notes.append("undecided counts as done here, since --allow-undecided is given")
    print_comparison(found, benchmark.name, options.format, options.allow_undecided)
    return found.code(options.allow_undecided)


def until_decided(
    looks: Sequence[Look],
    rows: int,
    terms: Terms,
    train: Callable[[int, Sequence[str]], None],
    compared: Callable[[Terms, int], Comparison],
    say: Callable[[str], None],
) -> Comparison:
    """The comparison of the first look that leaves no row undecided or finds a row worse, else of the last look.

    A row keeps the verdict and the numbers of the look that decided it.
    """
    decided: dict[tuple[str, str, str], dict[str, Any]] = {}
    wanted: list[str] = []
    done: list[int] = []
    while True:
        look = looks[len(done)]
        train(look.seeds, wanted)
        done.append(look.seeds)
        found = compared(replace(terms, levels=look.levels), look.seeds)
        open_rows = []
        for row in found.rows:
            key = _key(row)
            settled = row["verdict"] not in ("undecided", NOTHING) or (row["verdict"] == NOTHING and not row["seeds"])
            if key not in decided and settled:
                decided[key] = row
            elif key not in decided:
                open_rows.append(row)
        kept = [decided.get(_key(row), row) for row in found.rows]
        found.rows = ordered(kept)
        if not open_rows or found.verdict == "worse" or len(done) == len(looks):
            break
        left = looks[len(done)].seeds
        say(f"{done[-1]} seeds leave {len(open_rows)} of {len(kept)} rows undecided: {left} seeds are next")
        names = {f"workload={row['workload']}" for row in open_rows}
        wanted = sorted(names | {f"optimizer={row['optimizer']}" for row in open_rows})
    planned = ", ".join(str(look.seeds) for look in looks)
    told = "1 row" if rows == 1 else f"{rows} rows"
    found.notes.append(f"looks were planned at {planned} seeds for {told}; the last one was at {done[-1]}")
    return found


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["workload"], row["optimizer"], row["metric"]


def _first(side: Side, seeds: int) -> Side:
    """A side with its first seeds alone: a look must not see more than it was planned to."""
    side.seen.trials = side.seen.trials[side.seen.trials["seed"] < seeds].reset_index(drop=True)
    side.seen.curves = side.seen.curves[side.seen.curves["seed"] < seeds].reset_index(drop=True)
    # seeds that no open row needs were not trained
    there = set(side.seen.trials["hash"])
    side.plan = replace(side.plan, trials=[one for one in side.plan.trials if one.trial.hash in there])
    return side


class _Trained:
    """A side that is trained in processes of its own, since both sides may have plugins of one name."""

    def __init__(self, options: GateOptions, python: str, results: Path, plugins: Sequence[Path]) -> None:
        self.options, self.python, self.results, self.plugins = options, python, results, plugins
        self.hashes: set[str] = set()
        """The trials of the version that is trained here. The folder may hold trials of other versions."""

    def train(self, seeds: int, wanted: Sequence[str]) -> None:
        """Train the missing trials of so many seeds.

        Raises:
            UserError: the process could not train them.
        """
        words = ["run", self.options.benchmark, "--seeds", str(seeds), "--results", str(self.results)]
        words += ["--quiet", "--json", *(word for plugin in self.plugins for word in ("--plugin", str(plugin)))]
        words += [word for name in wanted for word in ("--only", name)]
        words += ["--jobs", self.options.jobs] if self.options.jobs else []
        code, said = self._run(words)
        if code not in (ExitCode.DONE, ExitCode.FAILED) or not said:
            told = "a mistake" if code == ExitCode.MISTAKE else f"its process ended with code {code}"
            raise UserError(f"{self.results}: its seeds were not trained ({told}); see above")
        self.hashes |= set(json.loads(said)["hashes"])

    def _run(self, words: Sequence[str]) -> tuple[int, bytes]:
        if not self.python:
            return command_apart(words)
        done = subprocess.run([self.python, "-m", "thalweg", *words], stdout=subprocess.PIPE, check=False)
        return done.returncode, done.stdout
