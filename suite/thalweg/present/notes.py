"""Warnings and remarks beside the numbers, for pages and reports."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from thalweg.present.loaded import Loaded
from thalweg.present.sentences import count, few, not_known, several_gradients, unfinished
from thalweg.present.view import IN_BENCHMARK, View
from thalweg.scoring.step_costs import dear_steps
from thalweg.scoring.tuning import effectless
from thalweg.store.overlay import Laid
from thalweg.store.roots import refused_in

MOST_DAMAGED = 200
"""Damaged trials that a warning names, at most: a reader must learn of each one, until they are a flood."""


class Note(NamedTuple):
    """A sentence, and a list of the things that it is about."""

    text: str
    items: list[str] = []  # noqa: RUF012


def warnings(loaded: Loaded) -> list[Note]:
    """Faults of the results, and of the benchmark's file or plugins here."""
    notes = []
    if loaded.reason:
        notes.append(Note(f"The benchmark's file cannot be used, so every trial on disk is shown: {loaded.reason}"))
    if loaded.view.problems:
        text = (
            "The plugins here cannot expand the whole benchmark. The trials of the parts that they can expand are "
            "ranked as usual; other trials are shown under the names they were saved with."
        )
        notes.append(Note(text, few(loaded.view.problems, 3)))
    notes += [Note(text) for text in loaded.view.mixed]
    plan = loaded.view.plan
    if plan and plan.outcomes and not plan.settled:
        text = "Tuning is not finished, so the best settings are not known yet: run the benchmark again to go on."
        notes.append(Note(text))
    if loaded.unfinished:
        notes.append(Note(unfinished(loaded.unfinished, loaded.name)))
    if loaded.view.guessed:
        names = ", ".join(loaded.view.guessed)
        why = (
            "the plugin that knows metric and target is not here"
            if loaded.benchmark
            else "no file names metric and target"
        )
        notes.append(Note(f"Ranked by loss, because {why}: {names}"))
    if loaded.unreadable:
        damaged = count(len(loaded.unreadable), "directory", "directories")
        lines = [f"{item.path.name}: {item.reason}" for item in loaded.unreadable]
        notes.append(Note(f"{damaged} among the trials cannot be read:", few(lines, MOST_DAMAGED)))
    return notes


def refused(root: Path) -> Note | None:
    """The packed files and folders under a results root that are not read, with the reasons; None if all are read."""
    found = refused_in(root)
    lines = [f"{item.path.name}: {item.reason}" for item in found]
    return Note(f"Results in {root} that are not read:", few(lines)) if found else None


def ignored(laid: Laid, hash_: str = "") -> Note | None:
    """What was measured here of packed trials and does not count, with the reasons; None if everything counts.

    With ``hash_`` only what is about that trial.
    """
    lines = [f"{one.path}: {one.reason}" for one in laid.ignored if hash_ in ("", one.hash)]
    return Note("Probes that were measured here and are not shown:", few(lines)) if lines else None


def remarks(view: View) -> list[Note]:
    """Remarks on where the numbers come from."""
    trials = view.seen.trials
    notes = []
    added = sorted(set(trials.loc[trials["in_benchmark"] != IN_BENCHMARK, "optimizer"]))
    if added:
        text = (
            f"Trials that are not in the benchmark's grid: {', '.join(added)}. A hash in brackets tells apart trials "
            "of one name with different settings."
        )
        notes.append(Note(text))
    if any(workload.known is not None for workload in view.workloads.values()):
        notes.append(Note(f"These runs were imported, and not trained here: {not_known()}."))
    effects = effectless(view.plan) if view.plan else []
    notes += [Note(f"{sentence}.") for sentence in (*view.rescaled, *effects)]
    if dear := dear_steps(view.seen.trials, view.everything):
        notes.append(Note(several_gradients(dear)))
    if view.seen.timed_on:
        notes.append(Note(f"Seconds to the target were timed on this machine: {view.seen.timed_on}."))
    if view.seen.mixture:
        ran_on = "; ".join(view.seen.mixture)
        notes.append(Note(f"The trials ran on different machines or versions, so numbers may differ: {ran_on}."))
    if view.elsewhere:
        notes.append(
            Note(f"Not shown: {count(view.elsewhere, 'trial')} of workloads that the benchmark does not have.")
        )
    return notes


def missing(view: View) -> list[Note]:
    """The trials that are still to be trained; no note where all are there."""
    return [Note(f"{count(len(view.missing), 'trial')} missing", view.missing)] if view.missing else []


def failed(view: View) -> list[Note]:
    """The trials that failed, with their reasons; no note where none failed."""
    rows = view.seen.trials[view.seen.trials["status"] == "failed"].to_dict("records")
    told = [f"{row['workload']} · {row['optimizer']} · seed {row['seed']}: {row['reason']}" for row in rows]
    return [Note(f"{count(len(told), 'trial')} failed:", told)] if told else []
