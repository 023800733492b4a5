"""The outcome of tuning on one workload: a table of the best settings, and charts with their captions."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from thalweg.plan import Workload
from thalweg.present.numbers import COUNT, format_of
from thalweg.present.picture import Picture
from thalweg.present.table import Column, Table, table
from thalweg.present.view import View
from thalweg.scoring.tuning import remark, shown_setting
from thalweg.tuning.plan import TunedPlan


def best_table(best: pd.DataFrame, workload: Workload) -> Table:
    """The best setting of each optimizer; ``best`` is ``thalweg.scoring.tuning.best_settings`` of all workloads."""
    metric = workload.metric
    columns = [
        Column("optimizer", "optimizer", lambda row: row["optimizer"], kind="text", pinned=True),
        Column("setting", "best setting", shown_setting, kind="text"),
        Column(
            "value",
            f"{workload.target_split} {metric.name}",
            lambda row: row["value"],
            format_of(metric.unit),
            width=130,
        ),
        Column("note", "note", remark, kind="text", width=230),
        Column(
            "finished",
            "finished",
            lambda row: f"{row['reached_end']} of {row['tried']}",
            help="the settings whose trials neither diverged nor failed",
        ),
        Column("gradient_evaluations", "gradient evaluations", lambda row: row["gradient_evaluations"], COUNT),
    ]
    return table(columns, best[best["workload"] == workload.name])


def sensitivity_picture(view: View, plan: TunedPlan, workload: Workload) -> Picture | None:
    """The value of each learning rate that was tried; None where a benchmark does not tune the rate alone."""
    from thalweg.present.charts.tuning import sensitivity_chart

    tried = plan.tried[plan.tried["workload"] == workload.name]
    with_rates = tried[tried["lr"].notna() & (tried["status"] != "missing")]
    if with_rates.empty:
        return None
    names = [optimizer for name, optimizer in plan.extended if name == workload.name]
    extended = f" Ranges with the best rate at an end were extended there, once: {', '.join(names)}." if names else ""
    fixed = [
        f" The rate of {one.optimizer} is lr; {' and '.join(f'{k} stays {v:g}' for k, v in one.fixed_rates.items())}."
        for one in plan.outcomes
        if one.fixed_rates and one.workload.name == workload.name
    ]
    return Picture(
        sensitivity_chart(with_rates, workload.metric, workload.target_split, _among(view, tried)),
        "Tuning: each point is one learning rate. A large point is the best rate for a budget. A cross at the bottom "
        "is a rate whose training diverged or failed. Where a line is flat, the rate matters little."
        + "".join([extended, *fixed]),
    )


def budget_picture(view: View, plan: TunedPlan, workload: Workload) -> Picture | None:
    """The leaderboard's value for each tuning budget; None where there is only one budget."""
    from thalweg.present.charts.tuning import budget_chart

    boards = view.budgets
    mine = boards[boards["workload"] == workload.name] if len(boards) else boards
    if len({*mine["budget"]}) < 2:
        return None
    return Picture(
        budget_chart(mine, workload.metric, workload.split, _among(view, plan.tried)),
        f"What tuning is worth: each budget takes the best of that many settings. The points are the {workload.split} "
        f"{workload.metric.name} of that setting on fresh seeds, with 95% t-intervals.",
    )


def pictures(view: View, plan: TunedPlan, workload: Workload) -> Iterator[Picture]:
    """All charts of tuning on a workload."""
    for picture in (sensitivity_picture(view, plan, workload), budget_picture(view, plan, workload)):
        if picture is not None:
            yield picture


def _among(view: View, tried: pd.DataFrame) -> list[str]:
    return sorted({*view.optimizers, *tried["optimizer"]})
