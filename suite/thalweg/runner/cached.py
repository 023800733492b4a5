"""Which of a plan's trials are on disk with all that is wanted of them, told from the index's columns."""

from __future__ import annotations

from collections.abc import Iterable

from thalweg.plan import PlannedTrial
from thalweg.store.columns import SEPARATOR
from thalweg.store.stored import Stored


def left_to_do(wanted: Iterable[PlannedTrial], stored: Stored, fresh: bool) -> list[PlannedTrial]:
    """Those that are not on disk with all that is wanted of them (see ``work.is_done``)."""
    usable = stored.only((stored.trials["curve_error"] == "") & (stored.trials["status"] != "failed"))
    columns = [usable.column(name) for name in ("status", "weights", "probes_done", "probes_failed")]
    there = dict(zip(usable.column("hash"), zip(*columns, strict=True), strict=True))

    def done(planned: PlannedTrial) -> bool:
        found = there.get(planned.trial.hash)
        if found is None:
            return False
        if not planned.probes and not planned.keep:
            return True
        status, weights, measured, failed = found
        if status == "diverged":
            # it has no tables of probes at the end, and training it again would give none
            have = _names(measured) | _names(failed)
            return all(request.key in have for request in planned.probes)
        kept = _KEPT[planned.keep] if planned.keep else set()
        return kept <= _names(weights) and {request.key for request in planned.probes} <= _names(measured)

    return [planned for planned in wanted if fresh or not done(planned)]


_KEPT = {"weights": {"initial", "final"}, "trajectory": {"initial", "final", "trajectory"}}


def _names(joined: str) -> set[str]:
    return set(joined.split(SEPARATOR)[:-1])
