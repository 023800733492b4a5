"""Whether imported runs of a workload can be compared: units and budgets."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.errors import UserError
from thalweg.foreign.keys import HIGHER
from thalweg.importing.mapping import Curve


def check_units(name: str, curves: Sequence[Curve], notes: list[str]) -> None:
    """UserError where some runs of a workload have per cent and others shares of one; a note on unequal lengths."""
    for metric in HIGHER & {str(one) for curve in curves for one in curve.rows["metric"].unique()}:
        most = {curve: curve.rows.loc[curve.rows["metric"] == metric, "value"].max() for curve in map(_Same, curves)}
        shares = [one for one, value in most.items() if value <= 1]
        percent = [one for one, value in most.items() if value > 1.5]
        if shares and percent:
            raise UserError(
                f"{percent[0].curve.run.source}: {metric} of {name} is in per cent in {len(percent)} runs and a share "
                f"of one in {len(shares)}, as in {shares[0].curve.run.source}: give all in one unit"
            )
    ends: dict[str, int] = {}
    for curve in curves:
        ends[curve.optimizer] = max(ends.get(curve.optimizer, 0), int(curve.rows["step"].max()))
    if len(set(ends.values())) > 1:
        told = ", ".join(f"{optimizer} {steps:,}" for optimizer, steps in ends.items())
        notes.append(f"{name}: budgets are not equal: the last steps are {told}")


class _Same:
    """A curve that is equal to itself alone."""

    def __init__(self, curve: Curve) -> None:
        self.curve = curve
        self.rows = curve.rows
