"""Two optimizers, or two benchmarks' results: verdicts with intervals, settings that differ, and mean curves."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd
import streamlit as st

from thalweg.app.data import Source, plugin_files, registry, stamp
from thalweg.app.data import Stamp as Content
from thalweg.app.drawing import show_chart, show_table
from thalweg.app.places import Place, choose_place
from thalweg.app.sharing import Drawn, share
from thalweg.app.sidebar import select
from thalweg.errors import NothingThere, UserError
from thalweg.present import compared_sides as present
from thalweg.present.asked_comparison import Question, compare_as_asked
from thalweg.present.charts.curves import curve_chart
from thalweg.present.comparison import Comparison
from thalweg.present.curves import has_log_axis, metrics_of, splits_of
from thalweg.present.loaded import Loaded
from thalweg.present.pair import SIDES, common_axes, pointlike
from thalweg.present.sentences import SECONDS_CAPTION, band_caption, count, plain
from thalweg.present.sides import Side, of_optimizer, read_side
from thalweg.scoring.measures import MEASURES, SECONDS, STABILITY
from thalweg.store.results import BenchmarkResults

OWN = "the workload's metric, and steps to the target"
_COLORS = {"worse": "red", "undecided": "gray", "better": "green", "same": "blue"}


class Chosen(NamedTuple):
    """A side that was chosen."""

    which: str
    """BASELINE or CANDIDATE."""
    text: str
    """The results, as the command is given them."""
    optimizer: str | None
    content: Content
    side: Side
    told: tuple[str, ...]
    """What the reading told."""

    def read_for(self, metric: str | None) -> Side:
        """The side with the curves that a comparison by this metric needs."""
        side, _ = _side(self.text, self.which, metric, self.content, plugin_files())
        return side if self.optimizer is None else _part(side, self.optimizer, self.which)


def show(source: Source, loaded: Loaded, optimizers: bool) -> None:
    """Draw the page's part: of two optimizers, or of all optimizers of two results."""
    chosen: list[Chosen | None] = []
    for side, column in zip(SIDES, st.columns(2), strict=True):
        with column, st.container(border=True):
            st.markdown(f"**{side.capitalize()}**")
            place = choose_place(side, source, loaded.name)
            chosen.append(_choose(side, place, optimizers, chosen[0] if chosen else None) if place else None)
    one, other = chosen
    if one is None or other is None:
        return
    try:
        question = _question(one.side, other.side)
        question.check()
        before, after = one.read_for(question.metric), other.read_for(question.metric)
        contents = (one.content, other.content)
        found = _compared((before.text, after.text), question, contents, plugin_files(), before, after)
    except UserError as error:
        st.error(plain(str(error)))
        return
    if before.text == after.text:
        st.info("Both sides are the same results: choose others on one side.")
    command = present.command(before.text, after.text, question, plugin_files())
    charts, table = _verdicts(found, [*one.told, *other.told])
    st.code(command, language="bash", wrap_lines=True)
    st.subheader("Settings that differ", anchor="settings")
    differing = present.differing(before, after)
    if differing.rows:
        show_table(differing.table, "settings")
    if differing.pairs:
        st.caption(
            f"{differing.sentence} Compared are the first trials of each optimizer and workload, without the seed."
        )
    else:
        st.info("No workload has trials on both sides.")
    charts |= _curves(before, after, found)
    share("compare", charts, {"Verdicts": table, "Settings that differ": differing.table.frame()}, command)


def _choose(side: str, place: Place, optimizers: bool, beside: Chosen | None) -> Chosen | None:
    """A side's results, and its optimizer where optimizers are compared; None, with the reason told, without any."""
    which, optimizer = side.upper(), None
    try:
        content = stamp(BenchmarkResults(place.root, place.name))
        found, told = _side(place.text, which, None, content, plugin_files())
        if optimizers:
            labels = sorted(found.seen.trials["optimizer"].unique())
            if not labels:
                st.info("No trial counts yet.")
                return None
            others = [label for label in labels if beside is None or label != beside.optimizer]
            optimizer = select("optimizer", labels, f"{side}-optimizer", (others or labels)[0])
            found = _part(found, optimizer, which)
    except NothingThere as error:
        st.info(plain(str(error)))
    except UserError as error:
        st.error(plain(str(error)))
    else:
        return Chosen(which, place.text, optimizer, content, found, told)
    return None


def _part(side: Side, optimizer: str, which: str) -> Side:
    return of_optimizer(side, optimizer, f"{side.text}:{optimizer}", which)


@st.cache_resource(show_spinner="Reading results", max_entries=8)
def _side(
    text: str, which: str, metric: str | None, content: Content, files: tuple[str, ...]
) -> tuple[Side, tuple[str, ...]]:
    told: list[str] = []
    side = read_side(text, which, None, registry(), metric, told.append)
    return side, tuple(told)


@st.cache_resource(show_spinner="Comparing", max_entries=16)
def _compared(
    texts: tuple[str, str],
    question: Question,
    contents: tuple[Content, Content],
    files: tuple[str, ...],
    _before: Side,
    _after: Side,
) -> Comparison:
    return compare_as_asked(_before, _after, registry(), question)


def _question(before: Side, after: Side) -> Question:
    """Metric, margins and whether seeds are pairs."""
    names = [metric.name for side in (before, after) for one in side.plan.workloads.values() for metric in one.metrics]
    measures = [name for name in MEASURES if name not in (SECONDS.name, STABILITY.name)]
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    with left:
        metric = select("metric", list(dict.fromkeys([OWN, *names, *measures])), "by", OWN)
    margins = middle.text_input(
        "margins",
        key="margins",
        bind="query-params",
        placeholder="1pp 10%",
        help="Differences up to this are none: 1pp or 50%error for accuracies, 10% for others, with spaces between.",
    )
    paired = right.toggle("equal seeds are pairs", value=True, key="paired", bind="query-params")
    return Question(None if metric == OWN else metric, tuple((margins or "").split()), paired)


def _verdicts(found: Comparison, told: list[str]) -> tuple[dict[str, Drawn], pd.DataFrame]:
    """Draw the verdicts; the charts by their titles, and the table."""
    color = _COLORS.get(found.verdict, "gray")
    st.subheader(f"Verdict :{color}-badge[{found.verdict}]", anchor="verdict")
    st.markdown(plain(found.title))
    compared, left_out = present.verdicts(found), present.not_compared(found)
    if compared.rows:
        show_table(compared, "verdicts")
    else:
        st.info("Nothing was compared; the reasons are below.")
    if left_out.rows:
        with st.expander(f"{count(len(left_out.rows), 'row is', 'rows are')} not compared"):
            show_table(left_out, "not-compared")
    shown = present.charts(found)
    for number, chart in enumerate(shown.values()):
        show_chart(chart, f"differences-{number}")
    if shown:
        st.caption(present.CAPTION)
    for note in (*told, *found.notes):
        st.caption(plain(f"{note[:1].upper()}{note[1:]}."))
    return {f"differences {metric}": chart for metric, chart in shown.items()}, compared.frame()


def _curves(before: Side, after: Side, found: Comparison) -> dict[str, Drawn]:
    """Draw the mean curves of one workload; the chart by its title."""
    there = present.common(before, after)
    if not there:
        return {}
    st.subheader("Mean curves", anchor="curves")
    columns = iter(st.columns(5 if before.optimizer is None else 4))
    with next(columns):
        name = select("workload", list(there), "workload")
    pairs = {pair.candidate: pair for pair in there[name]}
    if before.optimizer is None:
        with next(columns):
            pair = pairs[select("optimizer", list(pairs), "optimizer")]
    else:
        (pair,) = pairs.values()
    if reason := present.left_out(found, name, pair):
        st.warning(plain(f"The curves are not compared: {reason}."))
    labels = [f"baseline: {pair.baseline}", f"candidate: {pair.candidate}"]
    parts = [present.curves(before, name, pair.baseline), present.curves(after, name, pair.candidate)]
    workload = after.plan.workloads[name]
    there_too = {metric.name for metric in metrics_of(parts[0], before.plan.workloads[name])}
    splits = {
        metric: [split for split in splits_of(parts[1], metric.name) if split in splits_of(parts[0], metric.name)]
        for metric in metrics_of(parts[1], workload)
        if metric.name in there_too
    }
    metrics = {metric.name: metric for metric, both in splits.items() if both}
    if not metrics:
        st.info("The sides have no curve of one metric on one split in common.")
        return {}
    with next(columns):
        metric = metrics[select("metric", list(metrics), "metric", workload.metric.name)]
    with next(columns):
        split = select("split", splits[metric], "split")
    log = all(has_log_axis(part, metric, split) for part in parts)
    means = present.both_means(list(zip(labels, parts, strict=True)), metric.name, split, log)
    axes = common_axes(means)
    if not axes:
        st.info("No value of this metric is finite on both sides.")
        return {}
    with next(columns):
        axis = axes[select("axis", list(axes), "axis")]
    target = workload.target if workload.target == before.plan.workloads[name].target else None
    target = target if split == workload.target_split else None
    of = dict(zip(labels, pair, strict=True))
    chart = curve_chart(means, metric, split, axis, [], log_y=log, target=target, of=of)
    show_chart(chart, "side-curves")
    notes = [band_caption(log), *pointlike(means), *([SECONDS_CAPTION] if axis == "seconds" else [])]
    st.caption(plain(" ".join(notes)))
    return {f"{name} {metric.name} {split}": chart}
