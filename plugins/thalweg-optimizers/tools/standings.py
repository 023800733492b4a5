"""Writes ``RESULTS.md``: what came out of the benchmark ``optimizers``, and its leaderboards, from ``results/``.

python tools/standings.py
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, spearmanr

from thalweg.expand import load_benchmark
from thalweg.registry import load_registry
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.observations import observe
from thalweg.scoring.tuning import best_settings
from thalweg.selection import Selection
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.tuning.plan import TunedPlan, plan_of
from thalweg_optimizers.sources import sources

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
PACK = RESULTS / "optimizers.thalweg"
HEAD = """# The benchmark `optimizers`

{there} of {all} optimizers are trained: four built-in ones, and the classes of {packages} packages. Each tried eight
learning rates on each workload, three decades more where the best is at an end, and trained five fresh seeds.
`python tools/standings.py` writes this page, of the file of results with SHA-256 `{digest}`.

To go on: `thalweg results unpack results/optimizers.thalweg --out FOLDER`, then `thalweg run optimizers --results
FOLDER`.

## What came out

<!-- story -->

{story}

<!-- end -->

## One method from several packages

The rows have the mean accuracies, each with its own 95% interval. Packages give one name to different defaults, such as
of weight decay, and at times to different methods. A star: the best rate is at an end of the range that was tried, so
that the optimizer may do better.

{methods}

## The leaderboards

{boards}
"""


def main() -> None:
    """Write the page."""
    registry = load_registry()
    stored = read_stored(BenchmarkResults(RESULTS, "optimizers"))
    benchmark = load_benchmark("optimizers", registry)
    plan = plan_of(benchmark, registry, Selection(stacks=stored.way()), stored)
    if not isinstance(plan, TunedPlan):
        raise TypeError("the benchmark does not tune")
    observed = observe(plan, stored)
    words = ["leaderboard", "optimizers", "--results", str(RESULTS), "--format", "markdown"]
    done = subprocess.run([sys.executable, "-m", "thalweg", *words], check=True, capture_output=True, text=True)
    boards = {
        workload: leaderboard(observed, {workload: plan.workloads[workload]}, None) for workload in plan.workloads
    }
    best = best_settings(plan)
    edges = {str(workload): set(part[part["at_edge"]]["optimizer"]) for workload, part in best.groupby("workload")}
    extended = Counter(workload for workload, _ in plan.extended)
    methods = methods_of(sorted(set(stored.trials["optimizer"])))
    page = HEAD.format(
        there=stored.trials["optimizer"].nunique(),
        all=len(benchmark.spec.optimizers),
        packages=len({package for packages in methods.values() for package in packages.values()} - {"thalweg"}),
        digest=hashlib.sha256(PACK.read_bytes()).hexdigest(),
        story=story(boards, methods, extended, edges),
        methods=method_table(boards, methods, edges),
        boards=done.stdout.strip(),
    )
    (ROOT / "RESULTS.md").write_text(page, encoding="utf-8")


def methods_of(optimizers: list[str]) -> dict[str, dict[str, str]]:
    """The optimizers of each method, which has the class's name, and the package of each."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    packages = {entry.name: source.package for source in sources() for entry in source.entries}
    for name in optimizers:
        package = packages.get(name, "thalweg")
        found[name.removeprefix(f"{package.replace('_', '-').lower()}-")][name] = package
    return found


def story(
    boards: Mapping[str, pd.DataFrame],
    methods: Mapping[str, Mapping[str, str]],
    extended: Mapping[str, int],
    edges: Mapping[str, set[str]],
) -> str:
    """A table of both workloads, and how far their means agree."""
    rows = [
        (
            "highest mean accuracy",
            [f"{board.iloc[0]['optimizer']}: {accuracy(board.iloc[0])}" for board in boards.values()],
        ),
        ("10th, 50th and 90th percentile of the means", [percentiles(board) for board in boards.values()]),
        ("places of SGD and of Adam by mean", [places(board, "sgd", "adam") for board in boards.values()]),
        ("pairs of which one is certainly better", [certain(board) for board in boards.values()]),
        ("optimizers that may be first", [str((board["rank_low"] == 1).sum()) for board in boards.values()]),
        (
            "reached the target with every seed",
            [str((board["reached"] == board["seeds"]).sum()) for board in boards.values()],
        ),
        ("diverged with a seed", [str((board["diverged"] > 0).sum()) for board in boards.values()]),
        ("ranges of rates extended", [str(extended[workload]) for workload in boards]),
        ("best rates at an end after that", [str(len(edges[workload])) for workload in boards]),
        (
            "means furthest apart of one method from two packages, neither at an end",
            [furthest(board, methods, edges[workload]) for workload, board in boards.items()],
        ),
    ]
    one, two = (board.set_index("optimizer")["value"].sort_index().to_numpy(float) for board in boards.values())
    agreed = bootstrap(
        (one, two),
        lambda a, b: float(spearmanr(a, b).statistic),
        paired=True,
        vectorized=False,
        rng=np.random.default_rng(0),
    ).confidence_interval
    rho = spearmanr(one, two).statistic
    told = f"Spearman's correlation between the means on both workloads is {rho:.2f} (95% interval {agreed.low:.2f} to"
    told = f"{told} {agreed.high:.2f}, bootstrap over optimizers)."
    return f"{table(['', *boards], [[what, *cells] for what, cells in rows])}\n\n{told}"


def accuracy(row: Any) -> str:
    """A mean accuracy with its interval."""
    return f"{100 * row['value']:.1f}% ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


def percentiles(board: pd.DataFrame) -> str:
    """Percentiles of the means of all optimizers."""
    return ", ".join(f"{100 * board['value'].quantile(q):.1f}%" for q in (0.1, 0.5, 0.9))


def places(board: pd.DataFrame, *names: str) -> str:
    """The places of optimizers by their means, which are no ranks."""
    ranks = dict(zip(board["optimizer"], board["rank"], strict=True))
    return " and ".join(str(ranks[name]) for name in names)


def certain(board: pd.DataFrame) -> str:
    """How many pairs the intervals of ranks tell apart, of all pairs."""
    pairs = len(board) * (len(board) - 1) // 2
    return f"{int((board['rank_low'] - 1).sum()):,} of {pairs:,}"


def furthest(board: pd.DataFrame, methods: Mapping[str, Mapping[str, str]], edges: set[str]) -> str:
    """The method whose means from several packages are furthest apart, and how far."""
    values = board.set_index("optimizer")["value"].drop(list(edges))
    there = {method: values[values.index.isin(list(names))] for method, names in methods.items()}
    apart = {method: part.max() - part.min() for method, part in there.items() if len(part) > 1}
    method = max(apart, key=lambda one: apart[one])
    return f"{method}: {100 * apart[method]:.1f} points"


def method_table(
    boards: dict[str, pd.DataFrame], methods: dict[str, dict[str, str]], edges: Mapping[str, set[str]]
) -> str:
    """The means of each method that several packages have."""
    rows = []
    for method, names in sorted(methods.items()):
        for name, package in sorted(names.items(), key=lambda pair: pair[1]) if len(names) > 1 else []:
            cells = [method, package]
            for workload, board in boards.items():
                row = board.set_index("optimizer").loc[name]
                mark = "*" if name in edges[workload] else ""
                cells.append(accuracy(row) + mark)
            rows.append(cells)
    return table(["method", "package", *boards], rows)


def table(heading: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heading, ["---"] * len(heading), *rows])


if __name__ == "__main__":
    main()
