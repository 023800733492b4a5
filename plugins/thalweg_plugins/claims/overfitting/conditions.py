"""E3: the conditions under which adaptive methods predict the majority."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

SHARE = 0.6
N = 200


class Level(NamedTuple):
    """What differs from the base."""

    batch: int | None = None
    eps: float = 1e-10
    start: float = 0.0
    steps: int = 10_000


LEVELS = {
    "base": Level(),
    "batch 1": Level(batch=1, steps=40_000),
    "batch 20": Level(batch=20),
    "eps = 0.01": Level(eps=0.01),
    "eps = 1": Level(eps=1.0),
    "start s = 0.01": Level(start=0.01),
    "start s = 0.1": Level(start=0.1),
}


class E3(LectureClaim):
    """Accuracy on new examples beyond the majority's share, with one thing changed at a time."""

    name = "E3"
    summary = "when adaptive methods predict the majority: batch size, eps and start, one at a time"
    statement = "On this problem adaptive methods predict new examples no better than the majority does."
    source = "Wilson et al. 2017, section 3.3; the conditions are ours"
    method = (
        "The problem of E1 with p = 0.6. One thing differs from the base (full batches, eps = 1e-10, start at zero) "
        "in each level. 10,000 steps, and 40,000 with batch 1. First rates and schedules as in E2, with the decay "
        "spread over the run: lr d^(1000 t/T), d = 1 for AdaGrad, 0.99 for RMSProp, 0.995 for Adam. At a larger eps "
        "the rate grows by 1 + eps n/2, so that the first step of a unique feature keeps its length under AdaGrad and "
        "Adam; RMSProp's first root is a tenth of the gradient, so its first step is shorter. A seed draws the "
        "batches and the start. A new example is decided by the sign of w_1 y + w_2 + w_3, so w_1 against 2 w_2 "
        "decides from a start at zero. The features of an example move alike, so one number stands for each group; a "
        "test compares this with the registered problem and optimizers."
    )
    caveat = (
        "At the levels base and eps nothing is random, so that the seeds agree. Which level reverses the statement "
        "may depend on rates and on the number of steps, which were fixed before the run."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """All seeds train together."""
        return context.once("all seeds", lambda: self._all(context.seeds))[seed]

    def _all(self, seeds: tuple[int, ...]) -> dict[int, pandas.DataFrame]:
        from thalweg_plugins.claims.overfitting._reduced import Runs, labels, train
        from thalweg_plugins.claims.overfitting._wilson import SCHEDULE, majority

        y = labels(N, SHARE)
        rows = {seed: Measurements() for seed in seeds}
        for setting, level in LEVELS.items():
            for series, (lr, decay) in SCHEDULE.items():
                runs = Runs.drawn(seeds, y, level.start)
                first = lr * (1 + level.eps * N / 2)
                rates = [first * decay ** (1000 * (t + 1) / level.steps) for t in range(level.steps)]
                train(series, runs, y, seeds, level.batch, level.eps, rates)
                found = zip(seeds, runs.test_accuracy(y), runs.train_accuracy(y), runs.first, runs.shared, strict=True)
                for seed, test, training, one, two in found:
                    add = rows[seed].add
                    add("test accuracy minus majority share", test - majority(SHARE), setting=setting, series=series)
                    add("training accuracy", training, setting=setting, series=series)
                    add("w_1 - 2 w_2", one - two, setting=setting, series=series)
                    add("w_1 against 2 w_2", one, setting=setting, series=series, x=two)
        return {seed: found.table() for seed, found in rows.items()}

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """w_1 against 2 w_2 of all methods; above the diagonal from a start at zero every new example is right."""
        import altair as alt
        import pandas as pd

        from thalweg.present.charts.axes import legend_height, point_legend
        from thalweg.present.charts.palette import GREY, category_styles
        from thalweg_plugins.claims.pictures import HEIGHT, of

        points = of(table, "w_1 against 2 w_2", curve=True)
        names = list(LEVELS)
        styles = category_styles(names)
        scale = alt.Scale(domain=names, range=[styles[name].color for name in names])
        shapes = alt.Scale(domain=names, range=[styles[name].shape for name in names])
        marks = (
            alt.Chart(points)
            .mark_point(filled=True, size=60, opacity=0.8)
            .encode(
                x=alt.X("x:Q", title="w_2 + w_3, which is 2 w_2 from a start at zero"),
                y=alt.Y("value:Q", title="w_1"),
                color=alt.Color("setting:N", scale=scale, legend=point_legend()),
                shape=alt.Shape("setting:N", scale=shapes, legend=point_legend()),
                tooltip=["series:N", "setting:N", "seed:Q"],
            )
        )
        ends = [float(min(points["x"].min(), 0)), float(points["x"].max())]
        diagonal = alt.Chart(pd.DataFrame({"x": ends, "value": ends})).mark_line(color=GREY, strokeDash=[5, 4])
        height = HEIGHT + legend_height(len(names))
        title = "w_1 against 2 w_2 of adaptive methods"
        return alt.layer(diagonal.encode(x="x:Q", y="value:Q"), marks).properties(
            title=title, width="container", height=height
        )
