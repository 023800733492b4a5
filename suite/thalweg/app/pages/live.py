"""Live: what a run writes into the folder, while it writes."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import streamlit as st

from thalweg.app.data import Source, load_listed, registry, short, sources
from thalweg.app.drawing import show_chart
from thalweg.app.links import link
from thalweg.app.sharing import share
from thalweg.app.sidebar import select, warnings, welcome
from thalweg.errors import UserError
from thalweg.plan import Workload
from thalweg.present import notes
from thalweg.present.charts.curves import curve_chart
from thalweg.present.curves import has_log_axis, mean_curves, splits_of
from thalweg.present.live import Progress, Snapshot, Watch
from thalweg.present.loaded import Loaded
from thalweg.present.reproduce import Reproduction, run_command
from thalweg.present.sentences import band_caption, capital, count, plain
from thalweg.store.roots import benchmarks_in

EVERY = 2.0
"""Seconds between two looks."""
PATIENCE = 4.0
"""A look that takes long is followed by a pause of so many times its length."""
NEWEST, FAILURES = 8, 5
"""Trials that are listed, at most."""
_WATCH, _NEXT, _SHOWN, _OFFERED = "live-watch", "live-next", "live-shown", "live-offered"


def show(chosen: tuple[Source, Loaded] | None) -> None:
    """Draw the page; unlike other pages, it has a content where nothing is there yet."""
    if chosen is None:
        warnings(None)
        st.title("Live")
        welcome()
        st.caption("The page keeps looking, and shows the first trial as soon as it is there.")
        st.fragment(_wait, run_every=EVERY)(_source())
        return
    source, loaded = chosen
    # what is wrong with the benchmark's results changes, and stands below
    warnings(None)
    st.title("Live")
    workloads = loaded.view.workloads
    name = select("workload", list(workloads), "workload") if workloads else ""
    watch = st.session_state.get(_WATCH)
    if not isinstance(watch, Watch) or (watch.root, watch.name) != (source.path, loaded.name):
        st.session_state[_WATCH] = Watch(source.path, loaded.name, load_listed)
        st.session_state.pop(_NEXT, None)
        st.session_state.pop(_SHOWN, None)
    st.fragment(_follow, run_every=EVERY)(source, loaded.name, name, tuple(workloads))
    share("live", command=_command(source, loaded)[0] or "")


def _source() -> Source:
    """The source that is chosen in the sidebar."""
    there = sources()
    return next((one for one in there if one.key == st.session_state.get("source")), there[0])


def _wait(source: Source) -> None:
    """Draw the whole page anew once the source has results."""
    if benchmarks_in(source.path):
        st.rerun()


def _follow(source: Source, name: str, workload: str, known: tuple[str, ...]) -> None:
    """Look at the folder, and draw what is there."""
    snapshot = _look(name)
    if snapshot is None:
        return
    there = tuple(snapshot.loaded.view.workloads)
    if there not in (known, st.session_state.get(_OFFERED)):
        # the choice of workloads stands outside of this part; only once, since the page may know more than this look
        st.session_state[_OFFERED] = there
        st.rerun()
    _state(source, snapshot)
    _numbers(snapshot)
    _problems(snapshot)
    if workload in there:
        _curves(snapshot, snapshot.loaded.view.workloads[workload])
    _newest(snapshot)


def _look(name: str) -> Snapshot | None:
    """What is there now; what the last look found, while a folder that takes long is left in peace."""
    watch: Watch = st.session_state[_WATCH]
    last: Snapshot | None = st.session_state.get(_SHOWN)
    start = time.perf_counter()
    if last is not None and start < st.session_state.get(_NEXT, 0.0):
        return last
    try:
        found = watch.look(time.time())
    except (UserError, OSError) as error:
        st.warning(plain(f"The results of {name} cannot be read at this moment, and the page looks again: {error}"))
        return None
    if found is None:
        st.warning(plain(f"The results of {name} are gone: {watch.root / name} is not there any more."))
    end = time.perf_counter()
    st.session_state[_NEXT] = end + PATIENCE * (end - start)
    st.session_state[_SHOWN] = found
    return found


def _state(source: Source, snapshot: Snapshot) -> None:
    """Whether a run is at work, and the command that starts one."""
    progress = snapshot.progress
    if snapshot.at_work:
        now = f"{count(len(snapshot.training), 'trial')} in training" if snapshot.training else "between two trials"
        st.badge(f"A run is at work: {now}", color="green", icon=":material/play_circle:")
        return
    st.badge("No run is at work", color="gray", icon=":material/pause_circle:")
    if progress is not None and not progress.to_train:
        st.markdown("Every trial of the benchmark is there.")
        return
    loaded = snapshot.loaded
    command, note = _command(source, loaded)
    if command is not None:
        st.markdown("This command trains all that the benchmark lacks:")
        st.code(command, language="bash", wrap_lines=True)
    if note:
        st.caption(plain(note))


def _command(source: Source, loaded: Loaded) -> Reproduction:
    """The command that trains what is missing, into the source's folder."""
    if loaded.benchmark is None:
        return Reproduction(None)
    stored = loaded.view.everything
    return run_command(
        loaded.benchmark, registry(), Path(short(source.path)), stored.devices if len(stored.trials) else ()
    )


def _numbers(snapshot: Snapshot) -> None:
    """The progress bar and the counts."""
    progress = snapshot.run or snapshot.progress
    if progress is None:
        st.info("The benchmark's file cannot be used here, so nobody knows which trials are missing.")
    elif snapshot.run is not None:
        _bar(progress, "this stage" if snapshot.stage else "this run", snapshot.left)
        if snapshot.progress is not None:
            st.caption(f"Of the benchmark: {_ended(snapshot.progress)}.")
    else:
        _bar(progress, "the benchmark", snapshot.left if snapshot.at_work else "")
    with st.container(horizontal=True):
        for status, number in (progress.counts if progress else {}).items():
            st.metric(status, f"{number:,}", width=110)
        rate = snapshot.per_minute
        st.metric(
            "trials a minute",
            "–" if rate is None else f"{rate:.3g}",
            width=130,
            help="trials of the run that ended during the last five minutes, counted from the first of them on",
        )


def _bar(progress: Progress, what: str, left: str) -> None:
    share_done = progress.ended / progress.total if progress.total else 0.0
    words = [f"{_ended(progress, what)}", *([left] if left else [])]
    st.progress(share_done, text="; ".join(words))
    told = []
    if progress.later:
        told.append(f"Tuning has yet to decide up to {count(progress.later, 'further trial')}.")
    if progress.beside:
        told.append(f"{capital(count(progress.beside, 'trial'))} beside the benchmark's plan, and not counted here.")
    if told:
        st.caption(" ".join(told))


def _ended(progress: Progress, what: str = "") -> str:
    return f"{progress.ended:,} of {progress.total:,} trials{f' of {what}' if what else ''} ended"


def _problems(snapshot: Snapshot) -> None:
    """Failed trials, the newest first, and faults of the results."""
    failed = [one for one in snapshot.newest if one.status == "failed"]
    if failed:
        lines = [f"- {plain(f'{one.title}: {one.reason}')}" for one in failed[:FAILURES]]
        more = [f"- and {len(failed) - FAILURES:,} more"] if len(failed) > FAILURES else []
        st.error("\n".join([f"{count(len(failed), 'trial')} failed:", "", *lines, *more]))
    for note in notes.warnings(snapshot.loaded):
        st.warning("\n\n".join([plain(note.text), "\n".join(f"- {plain(item)}" for item in note.items)]))


def _curves(snapshot: Snapshot, workload: Workload) -> None:
    """The mean curves of the workload's metric, of the trials that are there."""
    loaded, progress = snapshot.loaded, snapshot.progress
    curves = loaded.view.curves(workload.name)
    splits = splits_of(curves, workload.metric.name)
    st.subheader(plain(f"{workload.name}: mean curves so far"), anchor="curves")
    if not splits:
        st.info("No trial of this workload has a curve yet.")
        return
    metric, split = workload.metric, splits[0]
    log = has_log_axis(curves, metric, split)
    means = mean_curves(curves, metric.name, split, log)
    if means.empty:
        st.info("No value of this metric is finite yet.")
        return
    target = workload.target if split == workload.target_split else None
    show_chart(
        curve_chart(means, metric, split, "step", loaded.view.optimizers, log_y=log, target=target), "live-curves"
    )
    fewer = " Optimizers may have different numbers of seeds so far." if progress and progress.to_train else ""
    st.caption(f"{band_caption(log)}{fewer}")


def _newest(snapshot: Snapshot) -> None:
    """The trials that ended last, with links to their pages."""
    # the trials of a packed file have no times
    timed = any(one.time for one in snapshot.newest)
    st.subheader("Newest trials" if timed or not snapshot.newest else "Some of the trials", anchor="newest")
    if not snapshot.newest:
        st.info("No trial has ended yet.")
    for one in snapshot.newest[:NEWEST]:
        when = datetime.fromtimestamp(one.time).astimezone().strftime(", %Y-%m-%d %H:%M:%S") if one.time else ""
        link(plain(f"{one.title}: {one.status}{when}"), "trial", trial=one.hash)
