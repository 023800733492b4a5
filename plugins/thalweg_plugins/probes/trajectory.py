"""The optimizer's path through weight space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thalweg import Column, Probe
from thalweg.present.charts.palette import GREY, SEQUENTIAL
from thalweg_plugins.probes._charts import by_trial, color_and_dash, finite, lonely, number_format, said

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.probe import ProbeContext

COMPONENTS = 3


class Trajectory(Probe):
    """The path of the weights w_k at the evaluated steps: distances, turns and principal components.

    ``turn`` is the angle between w_k - w_{k-1} and w_{k+1} - w_k. The principal components are taken around the mean of
    the w_k; ``explained`` is each component's share of the variance. Both are missing where a weight is not finite.
    """

    name = "trajectory"
    summary = "distance from the start, turns and principal components of the optimizer's path"
    equation = "||w_k - w_0||,  ||w_k - w_{k-1}||,  angle(w_k - w_{k-1}, w_{k+1} - w_k),  PCA of the w_k"
    source = "Lorch 2016; Li et al. 2018, section 7; Antognini & Sohl-Dickstein 2018"
    when = ("end",)
    weights_suffice = True
    needs = ("trajectory",)
    columns = (
        Column("step", "steps", "optimization steps done"),
        Column("distance", "weights", "||w_k - w_0||"),
        Column("remaining", "weights", "||w_k - w_T||, to where it ends"),
        Column("moved", "weights", "||w_k - w_{k-1}||; missing at the start"),
        Column("turn", "degrees", "angle between the moves before and after; missing at both ends"),
        *(Column(f"pc{i}", "weights", f"along principal component {i}") for i in range(1, COMPONENTS + 1)),
        *(Column(f"explained{i}", "", f"share of the variance in component {i}") for i in range(1, COMPONENTS + 1)),
    )

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """Compute everything from the saved points, without evaluations."""
        import numpy as np
        import pandas as pd
        import torch

        path = context.weights.trajectory
        assert path is not None
        points = path.double()
        moves = points.diff(dim=0)
        lengths = moves.norm(dim=1)
        cosines = (moves[:-1] * moves[1:]).sum(1) / (lengths[:-1] * lengths[1:])
        turns = torch.rad2deg(torch.arccos(cosines.clamp(-1, 1)))
        centred = points - points.mean(0)
        if bool(centred.isfinite().all()):
            _, values, components = torch.linalg.svd(centred, full_matrices=False)
        else:  # without components the values are missing
            values = torch.full((COMPONENTS,), torch.nan).double()
            components = values[:, None].expand(COMPONENTS, points.shape[1])
        shares = values.square() / values.square().sum()
        missing = np.full(1, np.nan)
        columns: dict[str, Any] = {
            "step": [float(step) for step in context.weights.trajectory_steps],
            "distance": (points - points[0]).norm(dim=1).numpy(),
            "remaining": (points - points[-1]).norm(dim=1).numpy(),
            "moved": np.concatenate([missing, lengths.numpy()]),
            "turn": np.concatenate([missing, turns.numpy(), missing])[: len(points)],
        }
        for i in range(COMPONENTS):
            there = i < len(components)
            component = components[i] if there else torch.zeros_like(points[0])
            # the sign of a component is arbitrary; here the path ends at a positive value
            sign = -1.0 if float((points[-1] - points[0]) @ component) < 0 else 1.0
            columns[f"pc{i + 1}"] = ((points - points.mean(0)) @ (sign * component)).numpy()
        for i in range(COMPONENTS):
            columns[f"explained{i + 1}"] = float(shares[i]) if i < len(components) else 0.0
        return pd.DataFrame(columns)

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The distances from the start and to the end, and the length of each move, against the step."""
        import altair as alt

        names = {"distance": "from the start", "remaining": "to the end", "moved": "since the look before"}
        keys = ["trial", "step"] if "trial" in table else ["step"]
        rows = table.melt(keys, list(names), "which", "length")
        rows["which"] = rows["which"].map(names)
        title = "Distances on the optimizer's path"
        rows["length"] = finite(rows["length"])
        rows = rows.dropna()
        if rows.empty:
            return said(title, "no distance is finite" if len(table) else "no point of the path was saved")
        chart = (
            alt.Chart(rows)
            .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=15) if lonely(rows, ["trial", "which"]) else False)
            .encode(
                x=alt.X("step:Q", title="steps", axis=alt.Axis(format="~s")),
                y=alt.Y(
                    "length:Q", title="distance in weight space", axis=alt.Axis(format=number_format(rows["length"]))
                ),
                tooltip=["which:N", "step:Q", alt.Tooltip("length:Q", format=".4g")],
                **color_and_dash("which", "distance", list(names.values())),
            )
        )
        turns = table["turn"].dropna()
        turned = f"median turn {turns.median():.0f} degrees between looks"
        wrong = int(finite(table["distance"]).isna().sum())
        lost = f"{wrong} of {len(table)} points of the path are not finite, and left out" if wrong else ""
        return by_trial(chart, table, title, [turned if len(turns) and "trial" not in table else "", lost])

    def views(self) -> dict[str, Any]:
        """The path in the plane of its two leading components."""
        return {"principal components": _components}


def _components(table: pandas.DataFrame) -> altair.TopLevelMixin:
    import altair as alt

    title = "The optimizer's path in its principal components"
    table = table.assign(pc1=finite(table["pc1"]), pc2=finite(table["pc2"]))
    if not (table["pc1"].notna() & table["pc2"].notna()).any():
        return said(
            title,
            "the path has no components: not all its points are finite"
            if len(table)
            else "no point of the path was saved",
        )

    def axis(i: int) -> alt.Axis:
        return alt.Axis(format=number_format(table[f"pc{i}"]))

    def name(i: int) -> str | list[str]:
        if "trial" in table:
            return f"principal component {i}"
        return [f"principal component {i}", f"({table[f'explained{i}'].iloc[0]:.0%} of the variance)"]

    base = alt.Chart(table).encode(
        x=alt.X("pc1:Q", title=name(1), scale=alt.Scale(zero=False), axis=axis(1)),
        y=alt.Y("pc2:Q", title=name(2), scale=alt.Scale(zero=False), axis=axis(2)),
        order="step:Q",
    )
    line = base.mark_line(color=GREY, strokeWidth=1.5)
    points = base.mark_point(filled=True, size=50, opacity=1).encode(
        color=alt.Color("step:Q", title="steps", scale=alt.Scale(scheme=SEQUENTIAL)),
        tooltip=["step:Q", alt.Tooltip("pc1:Q", format=".3g"), alt.Tooltip("pc2:Q", format=".3g")],
    )
    return by_trial(alt.layer(line, points), table, title)
