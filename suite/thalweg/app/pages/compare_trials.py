"""Two trials: settings that differ, final values, and their curves over each other."""

from __future__ import annotations

import streamlit as st

from thalweg.app.data import Source, load
from thalweg.app.drawing import show_chart, show_table
from thalweg.app.links import link
from thalweg.app.places import Place, choose_place
from thalweg.app.sharing import Drawn, share
from thalweg.app.sidebar import select
from thalweg.present.charts.curves import curve_chart
from thalweg.present.curves import metrics_of
from thalweg.present.loaded import Loaded
from thalweg.present.pair import SIDES, Member, cautions, common_axes, common_metrics, final_values, overlaid, pointlike
from thalweg.present.sentences import SECONDS_CAPTION, plain
from thalweg.present.settings import differences, settings_of


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page's part."""
    found: list[Member | None] = []
    places = []
    for side, column in zip(SIDES, st.columns(2), strict=True):
        with column, st.container(border=True):
            st.markdown(f"**{side.capitalize()}**")
            place = choose_place(side, source, loaded.name)
            places.append(place)
            found.append(_member(side, place, found[0] if found else None) if place else None)
    one, other = found
    if one is None or other is None:
        return
    if one.document.hash == other.document.hash:
        st.info("Both sides are one trial: choose another one.")
    st.subheader(plain(f"{other.title} against {one.title}"))
    for side, member, place, column in zip(SIDES, (one, other), places, st.columns(2), strict=True):
        with column:
            _end(side, member, place)
    for sentence in cautions(one, other):
        st.warning(plain(sentence))
    finals = final_values(one, other)
    st.markdown("**Final values**")
    show_table(finals, "finals")
    charts = _curves(one, other)
    st.subheader("Settings that differ", anchor="settings")
    differing = differences(
        [("", settings_of(one.document, one.workload), settings_of(other.document, other.workload))]
    )
    if differing.rows:
        show_table(differing.table, "settings")
    st.caption(differing.sentence)
    tables = {"Final values": finals.frame(), "Settings that differ": differing.table.frame()}
    share("compare", charts, tables)


def _member(side: str, place: Place, beside: Member | None) -> Member | None:
    """The side's trial; its choices begin with a trial unlike the one ``beside``."""
    loaded = load(place.root, place.name)
    rows = loaded.view.seen.trials
    if rows.empty:
        st.info("No trial is there yet.")
        return None
    same = beside is not None and (rows["hash"] == beside.document.hash).any()
    for key in ("workload", "optimizer", "seed"):
        values = rows[key].astype(str)
        choices = list(dict.fromkeys(values))
        first = choices[0]
        if same and beside is not None and key == "workload":
            first = beside.document.workload
        elif same and beside is not None and key == "optimizer":
            first = next((label for label in choices if label != beside.label), choices[0])
        rows = rows[values == select(key, choices, f"{side}-{key}", first)]
    row = rows.iloc[0]
    stored = loaded.view.stored.get(str(row["hash"]))
    if stored is None:
        st.warning(plain(f"Trial {row['hash']} has gone or changed since the results were read: load the page again."))
        return None
    workload, label, seed = str(row["workload"]), str(row["optimizer"]), int(row["seed"])
    curves = loaded.view.curves_of(workload, label, seed)
    return Member(stored.document, label, loaded.view.workloads[workload], curves)


def _end(side: str, member: Member, place: Place | None) -> None:
    """How a trial ended, and why."""
    document = member.document
    told = plain(f"The {side} is {document.status}" + (f": {document.reason}" if document.reason else "."))
    if document.status == "done":
        st.success(told)
    else:
        (st.error if document.status == "failed" else st.warning)(told)
    if place is not None and place.source:
        link(
            f"Open the {side}",
            "trial",
            icon=":material/science:",
            source=place.source,
            benchmark=place.name,
            trial=document.hash,
        )


def _curves(one: Member, other: Member) -> dict[str, Drawn]:
    """Draw both curves; the charts by their titles."""
    st.subheader("Curves", anchor="curves")
    common = common_metrics(one, other)
    if not common:
        st.info("The trials have no curve of one metric on one split in common.")
        return {}
    metrics = {metric.name: metric for metric in metrics_of(one.curves, one.workload)}
    left, middle, right = st.columns(3)
    with left:
        name = select("metric", list(common), "metric", one.workload.metric.name)
    with middle:
        split = select("split", common[name], "split")
    means, log, of = overlaid(one, other, metrics[name], split)
    axes = common_axes(means)
    if not axes:
        st.info("No value of this metric is finite on both sides.")
        return {}
    with right:
        axis = axes[select("axis", list(axes), "axis")]
    target = one.workload.target if one.workload.target == other.workload.target else None
    target = target if split == one.workload.target_split == other.workload.target_split else None
    chart = curve_chart(means, metrics[name], split, axis, [], log_y=log, target=target, of=of)
    show_chart(chart, "pair-curves")
    if notes := [*pointlike(means), *([SECONDS_CAPTION] if axis == "seconds" else [])]:
        st.caption(plain(" ".join(notes)))
    return {f"{name} {split}": chart}
