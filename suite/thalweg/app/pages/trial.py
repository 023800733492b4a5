"""One trial: its settings, the command that trains it again, and its outcome."""

from __future__ import annotations

import shlex

import altair as alt
import pandas as pd
import streamlit as st

from thalweg import guard
from thalweg.app.data import Source, registry
from thalweg.app.drawing import show_chart, show_frame, show_table
from thalweg.app.pages import measure
from thalweg.app.sharing import share
from thalweg.app.sidebar import select_one, tell_ignored
from thalweg.failure import Failure
from thalweg.plan import Workload
from thalweg.present.charts.trial import trial_chart
from thalweg.present.curves import metrics_of
from thalweg.present.fates import bound_sentence, rate_sentence, settings_of, settings_table
from thalweg.present.loaded import Loaded
from thalweg.present.numbers import number
from thalweg.present.probes import probes_of
from thalweg.present.reproduce import reproduce
from thalweg.present.sentences import capital, plain, title
from thalweg.present.tables import asked, facts
from thalweg.present.view import View
from thalweg.printed import LOG
from thalweg.shown import shown_lines
from thalweg.store.documents import ENDED, TrialDocument
from thalweg.store.overlay import laid_over
from thalweg.store.packed_format import is_packed
from thalweg.store.trials import StoredTrial

Given = tuple[dict[str, alt.TopLevelMixin], dict[str, pd.DataFrame]]
"""Charts and tables by their titles."""

_BADGES = {
    "done": ("green", ":material/check:"),
    "diverged": ("orange", ":material/trending_up:"),
    "failed": ("red", ":material/error:"),
    "unfinished": ("grey", ":material/pending:"),
}


def show(source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    view = loaded.view
    if not len(view.stored):
        st.title("Trial")
        st.info("No trial is on disk yet.")
        return
    hash_, label = _choose(view)
    stored = view.stored.get(hash_)
    if stored is None:
        st.title("Trial")
        st.warning(f"Trial {hash_} has gone or changed since the results were read: load the page again.")
        return
    document = stored.document
    workload = view.workload_of(document.workload)
    st.title(plain(title(document, label)))
    color, icon = _BADGES[document.status]
    with st.container(horizontal=True):
        st.badge(document.status, color=color, icon=icon)  # type: ignore[arg-type]
        st.caption(f"trial {document.hash}")
    if document.reason:
        (st.error if document.status == "failed" else st.warning)(plain(_why(document)))
    if document.error is not None:
        _traceback(document.error)
    given: Given = ({}, {})
    if document.status in ENDED:
        _summary(document, workload)
        given = _curve(stored, workload, document)
    if document.status == "diverged":
        _fates(view, workload, document)
    if document.imported is None:
        _command(loaded, document)
        measure.show(source, loaded.name, is_packed(loaded.path), stored)
    st.subheader("Settings")
    show_frame(asked(document))
    laid = laid_over(view.everything.results)
    here = laid.probes.get(document.hash, {})
    tell_ignored(laid, document.hash)
    if document.probes or here:
        st.subheader("Probes")
        show_frame(probes_of(document, here))
    ran = document.imported is None
    st.subheader("Where it ran" if ran else "Where it was imported from")
    show_frame(
        facts(document.environment if document.imported is None else document.imported.model_dump()),
        column_config={"value": st.column_config.TextColumn(width="large")},
    )
    if LOG in document.files:
        _output(stored)
    command = shlex.join(["thalweg", "results", "show", document.hash, "--results", str(source.path)])
    share(f"trial-{document.hash}", *given, command)
    st.caption(plain(f"Kept in {stored.path}"))


def _choose(view: View) -> tuple[str, str]:
    """Hash and label of the chosen trial: by its workload, optimizer and seed, or by ``?trial=`` in the address."""
    trials = view.seen.trials
    asked_for = st.query_params.get("trial", "")
    linked = trials[trials["hash"].str.startswith(asked_for)] if asked_for else trials.iloc[:0]
    beside = _beside(view, asked_for) if asked_for and linked.empty else None
    if beside is not None:
        return beside
    missing = bool(asked_for) and linked.empty and asked_for != st.session_state.get("trial-shown")
    if len(linked) and st.session_state.get("trial-shown") != linked.iloc[0]["hash"]:
        for key in ("workload", "optimizer", "seed"):
            st.session_state[f"trial-{key}"] = linked.iloc[0][key]
    rows = trials
    with st.container(horizontal=True):
        for key in ("workload", "optimizer", "seed"):
            choices = rows[key].drop_duplicates().tolist()
            if st.session_state.get(f"trial-{key}") not in (None, *choices):
                del st.session_state[f"trial-{key}"]
            value = st.selectbox(key, choices, key=f"trial-{key}", persist_state="session")
            rows = rows[rows[key] == value]
    hash_ = st.session_state["trial-shown"] = st.query_params["trial"] = str(rows["hash"].iloc[0])
    if missing:
        # else another benchmark was chosen, or the trial has gone, and the address is the page's own
        st.warning(plain(f"No trial of this benchmark has the hash {asked_for!r}: the page shows {hash_}."))
        tell_ignored(laid_over(view.everything.results), asked_for)
    return hash_, str(rows["optimizer"].iloc[0])


def _beside(view: View, asked_for: str) -> tuple[str, str] | None:
    """Hash and label of a trial that ranks nowhere, such as one of a setting that tuning tried; None without one."""
    found = view.everything.trials
    found = found[found["hash"].str.startswith(asked_for)]
    if found.empty:
        return None
    row = found.iloc[0]
    what = "Tuning tried its setting" if view.is_tuning(str(row["hash"])) else "It belongs to no leaderboard"
    st.caption(f"This trial ranks nowhere. {what}.")
    if len(view.seen.trials):
        st.button("Choose among the trials that rank", type="tertiary", on_click=_forget)
    return str(row["hash"]), str(row["optimizer"])


def _forget() -> None:
    st.query_params.pop("trial", None)


def _why(document: TrialDocument) -> str:
    """The recorded reason; of a trial that diverged, with the bound that its loss passed, and its rate."""
    if document.status != "diverged":
        return document.reason
    return " ".join(
        filter(None, (f"{capital(document.reason)}.", bound_sentence(), rate_sentence(document, registry())))
    )


def _fates(view: View, workload: Workload, document: TrialDocument) -> None:
    rows = settings_of(view.everything, document)
    if rows.empty:
        return
    st.subheader("The same optimizer at its other settings")
    show_table(settings_table(rows, workload), "fates")


_SHOWN = 20_000
"""Characters of a trial's output that are shown."""


def _output(stored: StoredTrial) -> None:
    """What foreign code printed while the trial trained."""
    try:
        text = stored.files.read(LOG, guard.TEXT).decode("utf-8", "replace")
    except OSError as error:
        st.warning(plain(f"{LOG} cannot be read: {error.strerror}"))
        return
    with st.expander("What it printed"):
        st.code(shown_lines(text[:_SHOWN]), language=None)
        if len(text) > _SHOWN:
            st.caption(plain(f"The rest is in {stored.path / LOG}"))


def _traceback(error: Failure) -> None:
    if error.traceback:
        with st.expander("Traceback"):
            st.code(error.traceback, language="python")


_COUNTS = {
    "selected_step": "selected step",
    "step": "steps",
    "gradient_evaluations": "gradients",
    "curvature_products": "curvature products",
    "factor_inversions": "factor inversions",
    "work": "work",
    "parameters": "parameters",
    "state_bytes": "bytes of state",
}
"""The counts of a trial's summary that are shown, with their labels."""


def _summary(document: TrialDocument, workload: Workload) -> None:
    units = {metric.name: metric.unit for metric in workload.metrics}
    summary = document.summary
    with st.container(horizontal=True):
        for split in ("test", "train"):
            for metric, value in summary.get("final", {}).get(split, {}).items():
                st.metric(f"{split} {metric}", number(value, units.get(metric, ""), 3), width=165)
        for key, label in _COUNTS.items():
            # a count of zero is shown only for steps: most optimizers invert no factors
            if summary.get(key) is not None and (summary[key] or key in ("selected_step", "step")):
                st.metric(label, f"{round(summary[key]):,}", width=165)
        if summary.get("seconds") is not None:
            st.metric(
                "seconds", number(summary["seconds"], digits=3), width=165, help="training alone; not a timed run"
            )


def _curve(stored: StoredTrial, workload: Workload, document: TrialDocument) -> Given:
    """Draw a metric's curve; the chart and the table by their titles."""
    try:
        curves = stored.curve()
    except (OSError, ValueError) as error:
        st.warning(plain(f"The curve cannot be read: {error}"))
        return {}, {}
    metrics = {metric.name: metric for metric in metrics_of(curves, workload)}
    if not metrics:
        return {}, {}
    chosen = select_one("metric", list(metrics), "metric")
    selected = document.summary.get("selected_step")
    chart = trial_chart(curves, metrics[chosen], selected)
    show_chart(chart, "curve")
    if document.status == "diverged" and len(curves):
        at, end = int(curves["step"].max()), document.summary.get("step")
        told = f"; it diverged at step {round(end):,}" if end is not None else ""
        st.caption(f"Losses and metrics are those until the last evaluation of the trial, at step {at:,}{told}.")
    return {chosen: chart}, {"learning curve": curves}


def _command(loaded: Loaded, document: TrialDocument) -> None:
    st.subheader("How to train it again")
    if loaded.benchmark is None:
        st.info("The benchmark's file cannot be used, so no command can be given.")
        return
    plan = loaded.view.plan if loaded.benchmark.spec.tuning else None
    command, note = reproduce(loaded.benchmark, registry(), document, plan)
    if command is None:
        st.info(plain(note))
        return
    if note:
        st.write(plain(note))
    st.code(command, language="bash", wrap_lines=True)
    st.caption("A trial that is done is not trained again; add --fresh to train it again.")
