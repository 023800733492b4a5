"""C6: diagonal scaling damps oscillation where the axes are the right ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

SHOWN = ("gradient descent", "momentum", "adam")
PATH = 60


class C6(LectureClaim):
    """Steps and sign changes on an ill-conditioned quadratic, along its axes and rotated."""

    name = "C6"
    figure = "figure-2-oscillating-dimensions"
    summary = (
        "diagonal scaling needs fewer steps than gradient descent along the axes, and more when the axes are rotated"
    )
    statement = "Adaptive methods damp the oscillation across a narrow valley, if the valley lies along the axes."
    source = "Goodfellow, Bengio & Courville 2016, sections 8.3 and 8.5; lecture figure 2"
    method = (
        "f = 1/2 (a^2 + 1000 b^2), with a and b the coordinates, or the coordinates rotated by 45 degrees. A seed "
        "draws the start from N(0, I) in a and b. Each method takes steps until 1e-6 of the first value, at most "
        "20,000, at the best of 25 rates from 1e-4 to 1e2 on a logarithmic grid; a method that does not arrive counts "
        "with 20,000, which understates its steps. Momentum is 0.9, RMSProp has rho = 0.99, Adam 0.9 and 0.999. Sign "
        "changes of b are counted up to the last step. A test compares the loop with the registered problem and "
        "optimizers."
    )
    caveat = (
        "On a quadratic along the axes the Hessian is diagonal, which is the best case for a diagonal scaling. The "
        "target is relative to the first value: from a start near the steep axis gradient descent at 1/L, a rate of "
        "the grid, is there after one step, which spreads the ratios. In two variables a rate may also land near the "
        "minimum by luck. RMSProp and Adam at a constant rate hover around the minimum, which holds their best rate "
        "down. The best rate of each start is chosen by the steps that count, for all methods alike. More steps leave "
        "room for more sign changes, so these are reported only."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """All methods in both planes."""
        import numpy as np

        from thalweg_plugins.claims.adaptive._planes import METHODS, QUARTER, best_of_rates, path

        start = np.random.default_rng([306, seed]).standard_normal(2)
        rows = Measurements()
        for plane, directions in (("axis-aligned", np.eye(2)), ("rotated", QUARTER)):
            for name in METHODS:
                series = f"{name}, {plane}"
                best = best_of_rates(name, start, directions)
                rows.add("steps", best.steps, series=series)
                rows.add("sign changes along the steep direction", best.sign_changes, series=series)
                rows.add("best rate", best.rate, series=series)
                rows.add("reached the target", float(best.reached), series=series)
                if name in SHOWN and seed == 0:
                    points = path(name, best.rate, start, directions, PATH)
                    for quantity, values in zip(("first coordinate", "second coordinate"), points.T, strict=True):
                        rows.curve(quantity, range(PATH + 1), values, setting=plane, series=name)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The paths of three methods in both planes, at their best rates."""
        import altair as alt

        from thalweg.present.charts.axes import line_legend
        from thalweg.present.charts.palette import category_styles
        from thalweg_plugins.claims.pictures import of

        points = of(table, "first coordinate", "second coordinate", curve=True)
        wide = points.pivot_table(index=["setting", "series", "x"], columns="quantity", values="value").reset_index()
        wide = wide.rename(columns={"first coordinate": "first", "second coordinate": "second"})
        styles = category_styles(SHOWN)
        color = alt.Color(
            "series:N",
            scale=alt.Scale(domain=list(SHOWN), range=[styles[name].color for name in SHOWN]),
            legend=line_legend(),
        )
        panels = [
            alt.Chart(wide[wide["setting"] == plane])
            .mark_line(strokeWidth=1.5, point=alt.OverlayMarkDef(size=12))
            .encode(
                x=alt.X("first:Q", title="first coordinate", axis=alt.Axis(tickCount=4)),
                y=alt.Y("second:Q", title="second coordinate", axis=alt.Axis(tickCount=5)),
                color=color,
                order="x:Q",
                tooltip=["series:N", alt.Tooltip("x:Q", title="step")],
            )
            .properties(width=300, height=200, title=f"Steps in a narrow valley, {plane}")
            for plane in ("axis-aligned", "rotated")
        ]
        return alt.vconcat(*panels)
