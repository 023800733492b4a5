"""The standings of an optimization track: the entries, the table, the picture, and the sentences about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from thalweg.benchmark_file import TrackSpec
from thalweg.plan import Workload
from thalweg.present.loaded import Loaded
from thalweg.present.numbers import WHOLE, decimals, significant
from thalweg.present.picture import Picture
from thalweg.present.table import Column, Table, table
from thalweg.scoring.records import Record
from thalweg.scoring.track import Entry, entries, standings

if TYPE_CHECKING:
    import altair as alt

_LOSS, _STATISTIC = decimals(4), significant(3)


def entries_of(loaded: Loaded) -> list[Entry]:
    """The entries of a benchmark with a track; none for another benchmark, or without results."""
    track = loaded.benchmark.spec.track if loaded.benchmark else None
    workload = loaded.view.workloads.get(track.workload) if track else None
    if track is None or workload is None or workload.target is None:
        return []
    trials = loaded.view.seen.trials
    mine = trials[trials["workload"] == workload.name]
    return entries(mine, loaded.view.curves(workload.name), workload, track) if len(mine) else []


def introduction(track: TrackSpec, workload: Workload, record: Record | None) -> str:
    """What the score is, and what entries are compared with."""
    target = workload.target
    assert target is not None
    if record is None:
        against = "No record is listed yet, so entries are compared with the best one."
    else:
        who = f"{record.optimizer} of {record.date} by {record.by}"
        against = f"Entries are compared with the record, {who} with {record.steps:,} steps."
    more = workload.target_metric is not None and workload.target_metric.better == "higher"
    lead = f"(mean - {target.value:g})" if more else f"({target.value:g} - mean)"
    return (
        f"The score is the number of steps to a {workload.target_split} {target.metric} of {target.value:g}: the first "
        f"step at which {lead} √n is at least {track.margin:g}, with the mean over n runs. "
        f"{against} An entry beats another if the difference of their means at its own steps, divided by "
        f"√(1/n + 1/m), is at least {track.margin:g}."
    )


def ranked(found: Sequence[Entry], record: Record | None) -> pd.DataFrame:
    """The standings against the record."""
    return standings(found, record.as_means if record else None, "the record" if record else "")


def board(rows: pd.DataFrame, margin: float) -> Table:
    """The standings as a table."""
    columns = [
        Column("optimizer", "optimizer", lambda row: row["optimizer"], kind="text", pinned=True),
        Column("steps", "steps", lambda row: row["steps"], WHOLE),
        Column("mean", "mean there", lambda row: row["mean"], _LOSS),
        Column("statistic", "lead √n", lambda row: row["statistic"], _STATISTIC),
        Column("seeds", "runs", lambda row: row["seeds"]),
        Column("lost", "lost", lambda row: row["lost"], when=bool(rows["lost"].any())),
        Column("gradients", "gradients a step", lambda row: row["gradients"], _STATISTIC),
        Column("against", "against", lambda row: row["against"], kind="text"),
        Column("difference", "difference", lambda row: row["difference"], _STATISTIC),
        Column("beats", "", lambda row: "beats it" if row["difference"] >= margin else "", kind="text"),
    ]
    return table(columns, rows)


def picture(found: Sequence[Entry], workload: Workload, among: Sequence[str]) -> Picture:
    """The mean validation loss of each entry by step, with the target."""
    from thalweg.present.charts.track import track_chart

    target = workload.target
    assert target is not None
    chart: alt.TopLevelMixin = track_chart(found, f"{workload.target_split} {target.metric}", target.value, among)
    return Picture(chart, "Mean over the runs of each entry. A point marks the first step that passes the rule.")
