"""Trials: every trial on disk, those of tuning too, by workload, optimizer, status, reason and hyperparameters."""

from __future__ import annotations

from contextlib import suppress

import pandas as pd
import streamlit as st

from thalweg.app.data import Source
from thalweg.app.sharing import share
from thalweg.app.sidebar import select, words
from thalweg.errors import UserError
from thalweg.present.conditions import conditions, kept
from thalweg.present.loaded import Loaded
from thalweg.present.sentences import count, plain
from thalweg.present.tables import trial_list

MOST = 1000
"""The most rows that the page shows: a browser takes seconds for more."""
ANY = "any"
STATUSES = ("done", "diverged", "failed", "unfinished")


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    st.title(plain(f"{loaded.name}: trials"))
    trials = listed(loaded)
    if trials.empty:
        st.info("No trial is on disk yet.")
        return
    shown = trials
    for box, key in zip(st.columns(4), ("workload", "optimizer", "status", "ranks"), strict=True):
        with box:
            there = STATUSES if key == "status" else sorted(trials[key].unique())
            value = select(key, [ANY, *there], key, ANY)
        shown = shown if value == ANY else shown[shown[key] == value]
    left, right = st.columns(2)
    with left:
        reason = words("reason", "reason", "a word of the reason").lower()
    with right:
        settings = words("hyperparameters", "where", "lr>=0.01 momentum=0.9")
    if reason:
        shown = shown[shown["reason"].str.lower().str.contains(reason, regex=False)]
    if settings and len(shown):
        try:
            shown = shown[kept(conditions(settings), loaded.view.hyperparameters(shown["hash"]))]
        except UserError as error:
            st.warning(plain(f"hyperparameters: {error}"))
    more = f"; the first {MOST:,} are listed" if len(shown) > MOST else ""
    st.caption(f"{count(len(shown), 'trial')} of {len(trials):,}{more}.")
    place = {"source": source.key, "benchmark": loaded.name}
    column = st.column_config
    first = shown.head(MOST)
    rates = [_rate(one.get("lr")) for one in loaded.view.hyperparameters(first["hash"])]
    st.dataframe(
        trial_list(first, rates, place),
        hide_index=True,
        width="stretch",
        column_config={
            "seed": column.NumberColumn(width=60),
            "lr": column.NumberColumn(width=90, format="%.3g"),
            "page": column.LinkColumn("page", display_text="open", width=60),
            "reason": column.TextColumn("reason", width="large"),
        },
    )
    share("trials", tables={"the trials": shown.drop(columns="page", errors="ignore")})


def _rate(value: object) -> float | None:
    with suppress(OverflowError):
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return None


def listed(loaded: Loaded) -> pd.DataFrame:
    """All trials on disk. ``ranks`` says how each counts: in the benchmark, added, tuning, or in no leaderboard."""
    view = loaded.view
    columns = ["workload", "optimizer", "seed", "status", "hash", "reason"]
    seen = view.seen.trials[[*columns, "in_benchmark"]].rename(columns={"in_benchmark": "ranks"})
    others = view.everything.trials
    others = others.loc[~others["hash"].isin(seen["hash"]), columns]
    tuning = {planned.trial.hash for planned in view.plan.tuning} if view.plan else set()
    others = others.assign(ranks=["tuning" if hash_ in tuning else "no" for hash_ in others["hash"]])
    return pd.concat([part for part in (seen, others) if len(part)] or [seen], ignore_index=True)
