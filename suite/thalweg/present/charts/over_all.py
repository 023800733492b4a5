"""Charts over all workloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import altair as alt
import pandas as pd

from thalweg.present.charts.curves import GREY, Layers, legend_height, line_legend, style
from thalweg.present.sentences import capital, count, interquartile_means, told
from thalweg.present.view import IN_BENCHMARK, View
from thalweg.scoring.critical import CriticalDifference
from thalweg.scoring.over_all import OverAll
from thalweg.scoring.pooled import too_few


class Picture(NamedTuple):
    """A chart with what is to be said below it."""

    chart: alt.TopLevelMixin
    caption: str


def pictures(found: OverAll, among: Sequence[str]) -> list[Picture]:
    """All that there is to draw of a ranking over workloads."""
    shown = [
        Picture(
            ecdf_chart(found.curve, among),
            "The share of targets (each workload's own and easier ones) that are reached within a share of the budget.",
        ),
        Picture(
            profile_chart(found.profiles, among),
            "Performance profiles (*): on how many workloads an optimizer reaches the target for at most so many times "
            "what the fastest of those here does, counted in examples evaluated. The profile score is the area below, "
            "as AlgoPerf has it for time, so it depends on who else is there.",
        ),
    ]
    means = found.pooled.means
    if len(means) > 1:
        chart = improvement_chart(found.pooled.improvement, means["optimizer"].tolist())
        caption = (
            f"Areas of single trials, pooled; in the order of interquartile means: {interquartile_means(means)}. "
            "In bold: the 95% interval leaves out one half. Intervals are of a stratified bootstrap over seeds."
        )
        shown.append(Picture(chart, caption))
    if found.critical is not None:
        shown.append(Picture(critical_chart(found.critical, among), told(found.critical)))
    return shown


def left_out(found: OverAll, view: View) -> str:
    """What is not shown, and why; empty where everything is."""
    lines = [f"not ranked: {name}, for want of trials on {', '.join(some)}" for name, some in found.incomplete.items()]
    if found.partial:
        lines.append(f"{count(found.partial, 'seed')} that lack a workload do not count")
    trials = view.seen.trials
    inside = trials["in_benchmark"] == IN_BENCHMARK
    if added := sorted({*trials.loc[~inside, "optimizer"]} - {*trials.loc[inside, "optimizer"]}):
        lines.append(f"added to the benchmark, and ranked on single workloads only: {', '.join(added)}")
    if len(found.table):
        lines += [*too_few(found.pooled), *([found.no_critical] if found.no_critical else [])]
    return " ".join(f"{capital(line)}." for line in lines)


def ecdf_chart(curve: pd.DataFrame, among: Sequence[str]) -> alt.Chart:
    """A step line for each optimizer; ``curve`` has the columns optimizer, share, reached."""
    x = alt.X(
        "share:Q",
        scale=alt.Scale(type="log", nice=False),
        title="share of the budget that is spent (log scale)",
        axis=alt.Axis(format="~%", values=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0], grid=False),
    )
    tooltip = [alt.Tooltip("share:Q", format=".2~%"), alt.Tooltip("reached:Q", format=".1%")]
    return _steps(curve, x, "reached", "share of targets reached", tooltip, among)


def profile_chart(curve: pd.DataFrame, among: Sequence[str]) -> alt.Chart:
    """The same of performance profiles; ``curve`` has the columns optimizer, tau, within."""
    x = alt.X("tau:Q", scale=alt.Scale(nice=False), title="examples evaluated, over those of the fastest",
              axis=alt.Axis(format="~g", tickCount=7, grid=False))  # fmt: skip
    tooltip = [alt.Tooltip("tau:Q", format=".2f"), alt.Tooltip("within:Q", format=".1%")]
    return _steps(curve, x, "within", "share of workloads", tooltip, among)


def _steps(
    curve: pd.DataFrame, x: alt.X, y: str, title: str, tooltip: list[alt.Tooltip], among: Sequence[str]
) -> alt.Chart:
    domain, colors, dashes, _ = style(sorted(curve["optimizer"].unique()), among)
    legend = line_legend()
    chart: alt.Chart = (
        alt.Chart(curve)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            x=x,
            y=alt.Y(f"{y}:Q", scale=alt.Scale(domain=[0, 1]), title=title, axis=alt.Axis(format="~%", tickCount=6)),
            color=alt.Color("optimizer:N", scale=alt.Scale(domain=domain, range=colors), legend=legend),
            strokeDash=alt.StrokeDash("optimizer:N", scale=alt.Scale(domain=domain, range=dashes), legend=legend),
            tooltip=[alt.Tooltip("optimizer:N"), *tooltip],
        )
        .properties(width="container", height=320 + legend_height(len(domain)))
    )
    return chart


def improvement_chart(pairs: pd.DataFrame, order: Sequence[str]) -> Layers:
    """How probably a trial of the row's optimizer is better than one of the column's, in the order given.

    ``pairs`` has the columns optimizer, over, probability, low, high (see ``thalweg.scoring.pooled``). A probability in
    bold type is one whose interval leaves out one half.
    """
    rows = pairs.assign(certain=(pairs["low"] > 0.5) | (pairs["high"] < 0.5))
    tooltip = [
        alt.Tooltip("optimizer:N"),
        alt.Tooltip("over:N", title="better than"),
        alt.Tooltip("probability:Q", format=".2f"),
        alt.Tooltip("low:Q", title="95% interval from", format=".2f"),
        alt.Tooltip("high:Q", title="to", format=".2f"),
    ]
    base = alt.Chart(rows).encode(
        x=alt.X(
            "over:N", sort=list(order), title="is better than one of",
            axis=alt.Axis(orient="top", labelAngle=-40, labelLimit=140, labelOverlap=False),
        ),
        y=alt.Y("optimizer:N", sort=list(order), title="a trial of", axis=alt.Axis(labelLimit=140, labelOverlap=False)),
        tooltip=tooltip,
    )  # fmt: skip
    cells = base.mark_rect().encode(
        color=alt.Color(
            "probability:Q",
            scale=alt.Scale(scheme="purpleorange", domain=[0, 1], reverse=True),
            legend=alt.Legend(
                title="probability", orient="bottom", gradientLength=160, format=".1f", values=[0, 0.5, 1]
            ),
        )
    )
    dark = "abs(datum.probability - 0.5) > 0.32"
    labels = base.mark_text(fontSize=11).encode(
        text=alt.Text("probability:Q", format=".2f"),
        color=alt.condition(dark, alt.value("white"), alt.value("black")),
    )
    sure = alt.datum.certain
    return alt.layer(
        cells,
        labels.transform_filter(~sure),
        labels.mark_text(fontSize=11, fontWeight="bold").transform_filter(sure),
    ).properties(width=alt.Step(46), height=alt.Step(26))


def critical_chart(found: CriticalDifference, among: Sequence[str]) -> Layers:
    """The critical-difference diagram (Demšar 2006): mean ranks, and below them bars over those not told apart."""
    names = [str(name) for name in found.ranks.index]
    ranks = pd.DataFrame({"optimizer": names, "rank": found.ranks.to_numpy()})
    domain, colors, _, shapes = style(names, among)
    rows = [("critical difference", 1.0, 1.0 + found.difference)]
    for number, group in enumerate(found.groups, 1):
        of = found.ranks[list(group)]
        more = f" ({number})" if len(found.groups) > 1 else ""
        rows.append((f"not told apart{more}", float(of.min()), float(of.max())))
    bars = pd.DataFrame(rows, columns=["optimizer", "low", "high"])
    x = alt.Scale(domain=[1, max(len(names), 1 + found.difference)], nice=False, padding=12)
    axis = alt.Axis(orient="top", tickMinStep=1, format="~g")
    y = alt.Y(
        "optimizer:N", sort=[*names, *bars["optimizer"]], title=None, axis=alt.Axis(labelLimit=150, labelOverlap=False)
    )
    spans = (
        alt.Chart(bars)
        .mark_bar(height=5, color=GREY)
        .encode(
            x=alt.X("low:Q", scale=x, axis=axis, title="mean rank (1 is the best)"),
            x2="high:Q",
            y=y,
            tooltip=[alt.Tooltip("optimizer:N", title="bar"), alt.Tooltip("low:Q", format=".2f"),
                     alt.Tooltip("high:Q", format=".2f")],
        )
    )  # fmt: skip
    points = (
        alt.Chart(ranks)
        .mark_point(filled=True, size=110, opacity=1)
        .encode(
            x=alt.X("rank:Q", scale=x, axis=axis, title="mean rank (1 is the best)"),
            y=y,
            color=alt.Color("optimizer:N", scale=alt.Scale(domain=domain, range=colors), legend=None),
            shape=alt.Shape("optimizer:N", scale=alt.Scale(domain=domain, range=shapes), legend=None),
            tooltip=[alt.Tooltip("optimizer:N"), alt.Tooltip("rank:Q", title="mean rank", format=".2f")],
        )
    )
    return alt.layer(spans, points).properties(width="container", height=80 + 28 * (len(names) + len(bars)))
