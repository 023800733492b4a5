"""Tuning: the settings that were tried, the best of them, and what more tries are worth."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from thalweg.app.data import Source
from thalweg.benchmark import Workload
from thalweg.contracts import Metric
from thalweg.present.charts.tuning import budget_chart, sensitivity_chart
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import plain
from thalweg.scoring.tuning import best_settings, remark, shown_setting
from thalweg.tuning.plan import TunedPlan


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    title = loaded.benchmark.spec.title if loaded.benchmark else ""
    st.title(plain(f"{title or loaded.name}: tuning"))
    plan = loaded.view.plan
    if plan is None or not plan.outcomes:
        st.info("This benchmark tunes nothing: its settings are those of its file. See the docs for `[tuning]`.")
        return
    if not plan.settled:
        st.info("Not all settings have been tried yet: run the benchmark again to go on.")
    best, tried = best_settings(plan), plan.tried
    for name, workload in plan.workloads.items():
        st.subheader(name, anchor=name)
        _workload(workload, plan, best[best["workload"] == name], tried[tried["workload"] == name], loaded)


def _workload(workload: Workload, plan: TunedPlan, best: pd.DataFrame, tried: pd.DataFrame, loaded: Loaded) -> None:
    metric, split = workload.metric, workload.target_split
    among = sorted(set(loaded.view.optimizers) | set(tried["optimizer"]))
    with_rates = tried[tried["lr"].notna() & (tried["status"] != "missing")]
    if len(with_rates):
        st.altair_chart(sensitivity_chart(with_rates, metric, split, among), width="stretch")
        st.caption(
            "Each point is one learning rate, large ones are the best for a budget; crosses at the bottom diverged or "
            "failed. A flat line forgives a rate that is wrong."
        )
    if workload.name in plan.extended:
        st.caption("An optimizer had its best at an end of its range here, so all ranges were extended, once.")
    st.dataframe(
        _table(best, metric),
        hide_index=True,
        width="stretch",
        height="content",
        placeholder="–",
        key=f"best-{workload.name}",
        column_config={
            "value": st.column_config.NumberColumn(
                f"{split} {metric.name}", format="%.1f%%" if metric.unit == "%" else "%.4g", width=130
            ),
            "optimizer": st.column_config.TextColumn("optimizer", pinned=True, width=130),
        },
    )
    boards = loaded.view.budgets
    mine = boards[(boards["workload"] == workload.name)] if len(boards) else boards
    if len({*mine["budget"]}) > 1:
        st.altair_chart(budget_chart(mine, metric, workload.split, among), width="stretch")
        st.caption(
            f"What tuning is worth: the {workload.split} {metric.name} of fresh seeds at the best of so many settings, "
            "with 95% t-intervals."
        )


def _table(best: pd.DataFrame, metric: Metric) -> pd.DataFrame:
    percent = 100 if metric.unit == "%" else 1
    return pd.DataFrame(
        {
            "optimizer": best["optimizer"],
            "best setting": [shown_setting(row) for row in best.to_dict("records")],
            "value": best["value"] * percent,
            "note": [remark(row) for row in best.to_dict("records")],
            "settings that finished": [f"{row.reached_end} of {row.tried}" for row in best.itertuples()],
            "gradient evaluations": best["gradient_evaluations"],
        }
    )
