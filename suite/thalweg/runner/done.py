"""Decides whether a trial is done, by comparing its results on disk with the probes and weights wanted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from thalweg.benchmark_file import Keep
from thalweg.plan import PlannedTrial
from thalweg.store.columns import SEPARATOR, has_curve
from thalweg.store.documents import ENDED
from thalweg.store.stored import Stored
from thalweg.store.trials import StoredTrial
from thalweg.store.weights import KEPT, has_weights
from thalweg.trial import ProbeRequest

_WEIGHTS = {"weights": {"initial", "final"}, "trajectory": {"initial", "final", "trajectory"}}
"""The weights that each way to keep them asks for."""


@dataclass(frozen=True, slots=True)
class Have:
    """The results on disk of a trial that ended and has a curve."""

    diverged: bool
    weights: Collection[str]
    """Names of the weights that were kept."""
    measured: Collection[str]
    """Keys of the probes that have a table."""
    failed: Collection[str]
    """Keys of the probes that failed."""


def is_done(have: Have | None, requests: Sequence[ProbeRequest], keep: Keep | None) -> bool:
    """Whether nothing is left to do for a trial: it has the probes and the weights that are wanted.

    A diverged trial has no weights, and no tables of probes at the end; training it again would give none.
    """
    if have is None:
        return False
    if have.diverged:
        return all(request.key in have.measured or request.key in have.failed for request in requests)
    kept = keep is None or _WEIGHTS[keep] <= set(have.weights)
    return kept and all(request.key in have.measured for request in requests)


def have_of(trial: StoredTrial) -> Have | None:
    """The results on disk of a trial, read from its files; None where it did not end or its curve cannot be read."""
    document = trial.document
    if document.status not in ENDED or not has_curve(trial):
        return None
    done = {key: probe.status == "done" for key, probe in document.probes.items()}
    return Have(
        document.status == "diverged",
        [name for name in KEPT if has_weights(trial.files, name)],
        [key for key, measured in done.items() if measured],
        [key for key, measured in done.items() if not measured],
    )


def left_to_do(wanted: Iterable[PlannedTrial], stored: Stored, fresh: bool) -> list[PlannedTrial]:
    """The trials that are not done; all of them if ``fresh``. Read from the columns of the index, and no folder."""
    if fresh:
        return list(wanted)
    usable = stored.only((stored.trials["curve_error"] == "") & stored.trials["status"].isin(ENDED))
    columns = [usable.column(name) for name in ("status", "weights", "probes_done", "probes_failed")]
    rows = dict(zip(usable.column("hash"), zip(*columns, strict=True), strict=True))

    def done(planned: PlannedTrial) -> bool:
        row = rows.get(planned.trial.hash)
        if row is None or not (planned.probes or planned.keep):
            return row is not None
        have = Have(row[0] == "diverged", _names(row[1]), _names(row[2]), _names(row[3]))
        return is_done(have, planned.probes, planned.keep)

    return [planned for planned in wanted if not done(planned)]


def _names(joined: str) -> list[str]:
    return joined.split(SEPARATOR)[:-1]
