"""Writes the tables of docs/results.md and docs/tracks.md from results/reference.

``python docs/results_tables.py`` rewrites every block. tests/test_results_page.py compares each with its page.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from thalweg.expand import load_benchmark
from thalweg.present.ladders import matrix
from thalweg.present.loaded import read_loaded
from thalweg.present.numbers import number
from thalweg.present.track import board as track_board
from thalweg.present.track import entries_of, ranked
from thalweg.registry import Registry, load_registry
from thalweg.scoring.compare import Pair, Terms, compare
from thalweg.scoring.ladders import climb
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.observations import Observations, observe
from thalweg.scoring.outcomes import compared_metrics, outcomes
from thalweg.scoring.over_all import OverAll, over_all
from thalweg.scoring.stability import stability
from thalweg.scoring.tuning import best_settings, by_budget
from thalweg.selection import Selection
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.store.stored import Stored
from thalweg.tuning.plan import TunedPlan, plan_of

PAGE = Path(__file__).parent / "results.md"
TRACKS = Path(__file__).parent / "tracks.md"
STANDINGS = Path(__file__).parents[1] / "plugins" / "thalweg-optimizers" / "RESULTS.md"
REFERENCE = Path(__file__).parents[1] / "results" / "reference"


@cache
def registry() -> Registry:
    """The built-in components."""
    return load_registry(())


@cache
def loaded(name: str) -> tuple[TunedPlan, Stored, Observations]:
    """A benchmark's plan, trials and observations."""
    stored = read_stored(BenchmarkResults(REFERENCE, name))
    plan = plan_of(load_benchmark(name, registry()), registry(), Selection(stacks=stored.way()), stored)
    return plan, stored, observe(plan, stored)


def board(name: str, workload: str, metric: str | None = None) -> pd.DataFrame:
    """The leaderboard of a workload, in the order of ranks."""
    plan, _, seen = loaded(name)
    return leaderboard(seen, {workload: plan.workloads[workload]}, metric)


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heading, ["---"] * len(heading), *rows])


def interval(row: Any, unit: str) -> str:
    """A value with its interval."""
    if math.isnan(row["value"]):
        return "–"
    if math.isnan(row["low"]):
        return number(row["value"], unit)
    return f"{number(row['value'], unit)} ({number(row['low'], unit)} to {number(row['high'], unit)})"


def ranks(row: Any) -> str:
    """A rank interval."""
    return str(row["rank_low"]) if row["rank_low"] == row["rank_high"] else f"{row['rank_low']}–{row['rank_high']}"


def lost(row: Any) -> str:
    """The seeds that did not finish."""
    return ", ".join(f"{row[key]} {key}" for key in ("diverged", "failed") if row[key]) or "–"


def accuracy_table(name: str, workload: str) -> str:
    """Test values and ranks, and what the target costs where there is one."""
    plan, _, _ = loaded(name)
    unit, target = plan.workloads[workload].metric.unit, plan.workloads[workload].target
    costs = [board(name, workload, one).set_index("optimizer") for one in COSTS] if target else []
    rows = []
    for row in board(name, workload).to_dict("records"):
        cells = [str(row["optimizer"]), interval(row, unit), ranks(row)]
        if target:
            cells.append(f"{row['reached']} of {row['seeds']}")
            cells += [cell for cost in costs for cell in cost_cells(cost.loc[row["optimizer"]])]
        rows.append([*cells, lost(row)])
    more = ["reached the target", "steps to it", "ranks", "work to it", "ranks"] if target else []
    return table(["optimizer", "test value", "ranks", *more, "lost seeds"], rows)


COSTS = ("steps_to_target", "work_to_target")


def cost_cells(row: Any) -> list[str]:
    """A cost with its interval, and its ranks; dashes where not every seed reached the target."""
    if math.isnan(row["value"]):
        return ["–", "–"]
    return [f"{row['value']:,.0f} ({row['low']:,.0f} to {row['high']:,.0f})", ranks(row)]


def certain_pairs(name: str) -> str:
    """How many pairs of optimizers ``compare`` and the leaderboard tell apart."""
    plan, _, seen = loaded(name)
    found = outcomes(seen, plan.workloads, compared_metrics(plan.workloads))
    names = sorted({one.optimizer for one in plan.trials})
    rows = []
    for workload, metrics in compared_metrics(plan.workloads).items():
        for metric in metrics:
            pairs = [Pair(a, b) for a in names for b in names if a < b]
            rows_of = compare(found, found, {workload: [metric]}, pairs, Terms())
            counts = rows_of["verdict"].value_counts()
            shown = board(name, workload, None if metric.name == plan.workloads[workload].metric.name else metric.name)
            told = int(sum(len(shown) - high for high in shown["rank_high"]))
            rows.append([
                workload,
                metric.name,
                str(len(rows_of)),
                str(int(counts.get("worse", 0) + counts.get("better", 0))),
                str(int(counts.get("same", 0))),
                str(int(counts.get("undecided", 0))),
                str(int(counts.get("nothing compared", 0))),
                str(told),
            ])  # fmt: skip
    verdicts = ["better or worse", "same", "undecided", "not compared"]
    heading = ["workload", "metric", "pairs", *verdicts, "certain on the leaderboard"]
    return table(heading, rows)


def tuning_table(name: str) -> str:
    """The best setting of each optimizer, what it took to find it, and its flags."""
    plan, _, _ = loaded(name)
    best = best_settings(plan)
    rows = []
    for row in best.to_dict("records"):
        unit = plan.workloads[row["workload"]].metric.unit
        optimizer = registry().optimizer(str(row["optimizer"]))
        search = next((option.search for option in optimizer.options if option.name == "lr"), None)
        budgets = plan.extended.get((row["workload"], row["optimizer"]), ())
        rows.append([
            str(row["workload"]),
            str(row["optimizer"]),
            row["setting"] or "any",
            f"{search.low:g} to {search.high:g}" if search else "–",
            number(row["value"], unit),
            f"{row['reached_end']} of {row['tried']}",
            " and ".join(map(str, budgets)) or "–",
            "yes" if row["at_edge"] else "no",
        ])  # fmt: skip
    heading = [
        "workload", "optimizer", "best setting", "declared range of lr", "validation", "settings that finished",
        "budgets extended", "best at an end",
    ]  # fmt: skip
    return table(heading, rows)


def budget_table(name: str) -> str:
    """The leaderboard's value for each tuning budget."""
    plan, stored, _ = loaded(name)
    found = by_budget(plan, stored)
    budgets = sorted(found["budget"].unique())
    rows = []
    for (workload, optimizer), group in found.groupby(["workload", "optimizer"], sort=False):
        unit = plan.workloads[str(workload)].metric.unit
        by = group.set_index("budget")
        rows.append([str(workload), str(optimizer), *(interval(by.loc[budget], unit) for budget in budgets)])
    heading = [f"{budget} settings before an extension" for budget in budgets]
    return table(["workload", "optimizer", *heading], sorted(rows))


WITHIN = 0.02


def sensitivity_table(name: str, workload: str) -> str:
    """How far around its best learning rate an optimizer stays within two points of its best validation value."""
    plan, stored, _ = loaded(name)
    stable = stability(plan, stored)[0].set_index(["workload", "optimizer"])
    rows = []
    for outcome in plan.outcomes:
        if outcome.workload.name != workload:
            continue
        tried = sorted((one.setting["lr"], one.score) for one in outcome.counted)
        best = max(range(len(tried)), key=lambda place: tried[place][1])
        first = last = best
        while first > 0 and tried[first - 1][1] >= tried[best][1] - WITHIN:
            first -= 1
        while last + 1 < len(tried) and tried[last + 1][1] >= tried[best][1] - WITHIN:
            last += 1
        good = [lr for lr, _ in tried[first : last + 1]]
        share = stable.loc[(workload, outcome.optimizer)]
        rows.append([
            outcome.optimizer,
            f"{math.log10(max(good) / min(good)):.1f}",
            f"{good[0]:g} to {good[-1]:g}",
            f"{math.log10(tried[-1][0] / tried[0][0]):.1f}",
            f"{share['reached']} of {share['seeds']}",
            ", ".join(f"{key}={value:g}" for key, value in outcome.fixed_rates.items()) or "–",
        ])  # fmt: skip
    heading = [
        "optimizer", "decades within two points", "learning rates", "decades tried", "trials that reach the target",
        "rates that stay",
    ]  # fmt: skip
    return table(heading, sorted(rows))


def loss_table(name: str) -> str:
    """Training loss, test loss and test accuracy."""
    plan, _, _ = loaded(name)
    rows = []
    for workload in plan.workloads:
        boards = {metric: board(name, workload, metric).set_index("optimizer") for metric in ("training_loss", "loss")}
        for row in board(name, workload).to_dict("records"):
            label = row["optimizer"]
            rows.append([
                workload,
                str(label),
                interval(boards["training_loss"].loc[label], ""),
                interval(boards["loss"].loc[label], ""),
                ranks(row),
            ])  # fmt: skip
    return table(["workload", "optimizer", "training loss", "test loss", "ranks by test accuracy"], rows)


@cache
def whole(name: str) -> OverAll:
    """The ranking over all workloads."""
    plan, _, seen = loaded(name)
    return over_all(plan, seen)


def edges_table(name: str) -> str:
    """How often each optimizer's range was extended, and how often its best rate is at an end after that."""
    plan, _, _ = loaded(name)
    best = best_settings(plan)
    rows = []
    for optimizer, group in best.groupby("optimizer", sort=False):
        extended = sum((workload, optimizer) in plan.extended for workload in group["workload"])
        edges = group[group["at_edge"]]["workload"].tolist()
        rows.append([str(optimizer), str(len(group)), str(extended), str(len(edges)), ", ".join(edges) or "–"])
    return table(["optimizer", "workloads", "ranges extended", "best rates at an end after that", "on"], rows)


def over_all_table(name: str) -> str:
    """Areas, profile scores and mean ranks over all workloads."""
    found = whole(name)
    critical = found.critical
    rows = []
    for row in found.table.to_dict("records"):
        rank = "–" if critical is None else f"{critical.ranks[row['optimizer']]:.2f}"
        area = f"{row['ecdf']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
        profile = "–" if row["profile"] is None or math.isnan(row["profile"]) else f"{row['profile']:.3f}"
        rows.append([str(row["optimizer"]), str(row["seeds"]), area, ranks(row), profile, rank])
    return table(["optimizer", "seeds", "area under the ECDF", "ranks", "profile score", "mean rank"], rows)


def critical_table(name: str) -> str:
    """The critical difference and the groups that it does not tell apart."""
    critical = whole(name).critical
    if critical is None:
        return whole(name).no_critical
    groups = "; ".join(", ".join(group) for group in critical.groups) or "none"
    rows = [
        ["workloads", str(critical.workloads)],
        ["p of Friedman's test", f"{critical.p:.2g}"],
        ["critical difference of mean ranks", f"{critical.difference:.2f}"],
        ["groups that are not told apart", groups],
    ]
    return table(["Friedman and Nemenyi", ""], rows)


def ladder_table() -> str:
    """The levels that each optimizer passes of each task, with the tries."""
    plan, stored, _ = loaded("ladders")
    return matrix(climb(plan, stored, load_benchmark("ladders", registry()).spec.ladders)).markdown()


def edges_of_ladders() -> str:
    """For each task the levels that all, some and none of the optimizers pass."""
    plan, stored, _ = loaded("ladders")
    scores = climb(plan, stored, load_benchmark("ladders", registry()).spec.ladders)
    rows = []
    for task, mine in scores.groupby("task", sort=False):
        levels = mine["level"]
        best = ", ".join(mine.loc[levels == levels.max(), "optimizer"])
        near = int(((mine["next_reached"] > 0) & (mine["next"] != "")).sum())
        rows.append([str(task), str(levels.min()), str(levels.max()), best, str(near)])
    heads = ["task", "least", "most", "by", "optimizers with some seeds at their next level"]
    return table(heads, rows)


def track_table() -> str:
    """The standings of the language track."""
    benchmark = load_benchmark("language-track", registry())
    track = benchmark.spec.track
    assert track is not None
    found = read_loaded(BenchmarkResults(REFERENCE, benchmark.name), registry(), benchmark=benchmark)
    return track_board(ranked(entries_of(found), None), track.margin).markdown()


def landscapes_table() -> str:
    """Each network's accuracy, and the loss at the weights and on the rim of a random filter-normalised plane."""
    _, stored, _ = loaded("landscapes")
    trials = stored.trials
    rows = []
    for (workload, optimizer), part in trials.groupby(["workload", "optimizer"], sort=False):
        finals = [json.loads(text) for text in part["final"] if text]
        accuracies = sorted(final["test"]["accuracy"] for final in finals if "test" in final)
        diverged = int((part["status"] == "diverged").sum())
        told = " and ".join(f"{100 * value:.1f}%" for value in accuracies)
        told += f" ({diverged} diverged)" if diverged else ""
        rows.append([str(workload), str(optimizer), told, *_on_the_plane(stored, part)])
    order = list(loaded("landscapes")[0].workloads)
    rows.sort(key=lambda row: order.index(row[0]))
    heads = ["network", "optimizer", "test accuracy of two seeds", "loss at the weights", "median loss on the rim"]
    return table(heads, rows)


def _on_the_plane(stored: Stored, part: pd.DataFrame) -> list[str]:
    """The loss in the middle of the random plane of seed 0, and the median loss on its rim; dashes without a plane."""
    first = part.loc[part["seed"] == 0, "hash"]
    trial = stored.by_hash.get(first.iloc[0]) if len(first) else None
    for key, probe in trial.document.probes.items() if trial else ():
        asked = probe.request.probe
        if asked.name == "surface" and "directions" not in asked.options and probe.status == "done" and trial:
            grid = trial.table(key).query("kind == 'grid'")
            rim = grid[(grid["x"].abs() == 1) | (grid["y"].abs() == 1)]
            middle = grid[(grid["x"] == 0) & (grid["y"] == 0)]
            return [number(float(middle["loss"].iloc[0]), digits=3), number(float(rim["loss"].median()), digits=3)]
    return ["–", "–"]


def optimizers_story() -> str:
    """What ``tools/standings.py`` of thalweg-optimizers found, where all its packages are installed."""
    page = STANDINGS.read_text(encoding="utf-8")
    return page.partition("<!-- story -->\n\n")[2].partition("\n\n<!-- end -->")[0]


BLOCKS: dict[str, Callable[[], str]] = {
    "tuned digits": lambda: accuracy_table("tuned", "digits-mlp"),
    "tuned mnist1d": lambda: accuracy_table("tuned", "mnist1d-mlp"),
    "tuned pairs": lambda: certain_pairs("tuned"),
    "tuned settings": lambda: tuning_table("tuned"),
    "tuned budgets": lambda: budget_table("tuned"),
    "tuned sensitivity": lambda: sensitivity_table("tuned", "digits-mlp"),
    "tuned losses": lambda: loss_table("tuned"),
    "convnet": lambda: accuracy_table("tuned-convnet", "digits-convnet"),
    "convnet settings": lambda: tuning_table("tuned-convnet"),
    "broad": lambda: over_all_table("broad"),
    "broad rates": lambda: edges_table("broad"),
    "broad critical": lambda: critical_table("broad"),
    "landscapes": landscapes_table,
    "optimizers": optimizers_story,
    "ladders": ladder_table,
    "ladders edges": edges_of_ladders,
    "language track": track_table,
}

PAGES = dict.fromkeys(("ladders", "ladders edges", "language track"), TRACKS)
"""The pages of blocks that do not stand in results.md."""


def _found(name: str) -> re.Match[str]:
    page = PAGES.get(name, PAGE).read_text(encoding="utf-8")
    found = re.search(rf"(?<=<!-- {name}: docs/results_tables.py -->\n\n)(.*?)(?=\n\n<!-- end -->)", page, re.DOTALL)
    if found is None:
        raise ValueError(f"{PAGES.get(name, PAGE).name} has no block {name!r}")
    return found


def block(name: str) -> str:
    """A block as it stands in the page.

    Raises:
        ValueError: the page has no such block.
    """
    return _found(name)[1]


def main(names: Sequence[str]) -> None:
    """Rewrite the named blocks, by default every block."""
    for name in names or BLOCKS:
        made, found = BLOCKS[name](), _found(name)
        PAGES.get(name, PAGE).write_text(
            found.string[: found.start()] + made + found.string[found.end() :], encoding="utf-8"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
