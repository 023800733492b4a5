"""What has to be said beside the numbers, for pages and reports."""

from __future__ import annotations

from typing import NamedTuple

from thalweg.present.loaded import Loaded
from thalweg.present.sentences import count
from thalweg.present.view import IN_BENCHMARK, View
from thalweg.scoring.tuning import effectless


class Note(NamedTuple):
    """A sentence, and what it is about, a line each."""

    text: str
    items: list[str] = []  # noqa: RUF012


def warnings(loaded: Loaded) -> list[Note]:
    """What is wrong with the results or with the benchmark here."""
    notes = []
    if loaded.reason:
        notes.append(Note(f"The benchmark's file cannot be used, so everything on disk is shown: {loaded.reason}"))
    if loaded.view.problems:
        text = (
            "The benchmark cannot be expanded as a whole with the plugins that are here. What can be is ranked as "
            "usual; other trials are shown under the names they were saved with."
        )
        notes.append(Note(text, loaded.view.problems))
    notes += [Note(text) for text in loaded.view.mixed]
    plan = loaded.view.plan
    if plan and plan.outcomes and not plan.settled:
        text = "Tuning is not finished, so the seeds that count are not known yet: run the benchmark again to go on."
        notes.append(Note(text))
    if loaded.view.guessed:
        names = ", ".join(loaded.view.guessed)
        notes.append(Note(f"Ranked by loss, since metrics and target are not known here: {names}"))
    if loaded.unreadable:
        damaged = count(len(loaded.unreadable), "directory", "directories")
        lines = [f"{item.path.name}: {item.reason}" for item in loaded.unreadable]
        notes.append(Note(f"{damaged} among the trials cannot be read:", lines))
    return notes


def remarks(view: View) -> list[Note]:
    """What the numbers are of."""
    trials = view.seen.trials
    notes = []
    added = sorted(set(trials.loc[trials["in_benchmark"] != IN_BENCHMARK, "optimizer"]))
    if added:
        text = (
            f"Trials that the benchmark's own grid does not hold: {', '.join(added)}. A hash in brackets tells apart "
            "trials of one name with different settings."
        )
        notes.append(Note(text))
    effects = effectless(view.plan) if view.plan else []
    notes += [Note(f"{sentence}.") for sentence in (*view.rescaled, *effects)]
    if view.seen.timed_on:
        notes.append(Note(f"Seconds to the target are those of this machine: {view.seen.timed_on}."))
    if view.seen.mixture:
        ran_on = "; ".join(view.seen.mixture)
        notes.append(Note(f"The trials ran on different machines or versions, so numbers may differ: {ran_on}."))
    if view.elsewhere:
        notes.append(
            Note(f"{count(view.elsewhere, 'trial')} of workloads that the benchmark does not have: not shown.")
        )
    return notes


def missing(view: View) -> list[Note]:
    """The trials that are still to be trained, where there are any."""
    return [Note(f"{count(len(view.missing), 'trial')} missing", view.missing)] if view.missing else []


def failed(view: View) -> list[Note]:
    """The trials that failed, with their reasons, where there are any."""
    rows = view.seen.trials[view.seen.trials["status"] == "failed"].to_dict("records")
    told = [f"{row['workload']} · {row['optimizer']} · seed {row['seed']}: {row['reason']}" for row in rows]
    return [Note(f"{count(len(told), 'trial')} failed:", told)] if told else []
