"""The largest curvature during training, next to the largest curvature at which the optimizer's steps are stable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg.present.charts.palette import BLUE, VERMILION
from thalweg_plugins.probes._charts import by_trial, finite, said, stroke_legend
from thalweg_plugins.probes._objective import DTYPE, chosen_objective

if TYPE_CHECKING:
    import altair
    import pandas
    from torch import Tensor

    from thalweg.contracts.probe import ProbeContext
    from thalweg.curvature import Operator

PLAIN, PRECONDITIONED = "Hessian", "preconditioned Hessian"


class EdgeOfStability(Probe):
    """lambda_max of the Hessian of the training loss, against the threshold limit / lr of the optimizer.

    On a quadratic, full-batch steps are stable up to lambda_max = 2 / lr for gradient descent, (2 + 2 beta) / lr with
    heavy-ball momentum. For Adam the limit (2 + 2 beta1) / ((1 - beta1) lr) holds for the preconditioned matrix
    P^-1/2 H P^-1/2, where P is the divisor of the last step: see ``Optimizer.stability_limit``. For an adaptive method
    the table has both matrices; the threshold belongs to the preconditioned one, which exists from the first step on.

    The threshold is missing for minibatch runs, whose steps are not steps on this loss, and where the optimizer does
    not know it. The loss is the problem's, without any penalty, in evaluation mode. The threshold ignores weight decay
    and gradient clipping of a recipe. Lanczos' method runs until the error bound ||A v - lambda v|| is within
    ``tolerance`` of lambda; ``low`` and ``high`` are lambda -+ the bound.
    """

    name = "edge-of-stability"
    summary = "largest eigenvalue of the Hessian against the optimizer's stability threshold, through training"
    equation = "lambda_max(H) against 2/lr, (2 + 2 beta)/lr, or (2 + 2 beta1)/((1 - beta1) lr) after preconditioning"
    source = "Cohen et al. 2021, sections 2 and 3; Cohen et al. 2022, section 3"
    revision = 5
    when = ("start", "epoch")
    options = (
        Option("tolerance", 1e-3, "(0, 1)", "of the eigenvalue's error bound, relative"),
        Option("iterations", 200, "[1, inf)", "products at most"),
        Option("examples", 0, "[0, inf)", "how many training examples, the same ones each time; 0: all"),
        Option("batch_norm", "batch", ("batch", "running"), "batch norm's statistics: the batch's, as in training"),
        DTYPE,
    )
    columns = (
        Column("step", "steps", "optimization steps done"),
        Column("epoch", "epochs", "epochs done"),
        Column("matrix", "", "Hessian, or preconditioned Hessian"),
        Column("value", "see unit", "largest eigenvalue"),
        Column("low", "see unit", "value less its error bound"),
        Column("high", "see unit", "value and its error bound"),
        Column("threshold", "see unit", "limit / lr; missing where there is none"),
        Column("lr", "", "learning rate at this step"),
        Column("unit", "", "of value, low, high and threshold"),
    )

    def points(self, options: Mapping[str, Any]) -> int:
        """Products with the Hessian, plain and preconditioned."""
        return int(2 * options["iterations"])

    def vectors(self, options: Mapping[str, Any]) -> int:
        """The basis of Lanczos' method."""
        return int(options["iterations"])

    def measure(self, context: ProbeContext) -> pandas.DataFrame:
        """One or two runs of Lanczos' method."""
        import pandas as pd

        from thalweg.curvature import hessian

        matrix = hessian(chosen_objective(context))
        optimizer, stepper = context.optimizer, context.stepper
        adaptive = optimizer is not None and optimizer.preconditioned
        rows = [(PLAIN, *_largest(matrix, None, context), None if adaptive else _threshold(context))]
        diagonal = stepper.preconditioner() if adaptive and stepper is not None else None
        if diagonal is not None:
            rows.append((PRECONDITIONED, *_largest(matrix, diagonal, context), _threshold(context)))
        table = pd.DataFrame(rows, columns=["matrix", "value", "low", "high", "threshold"])
        table["unit"] = table["matrix"].map({PLAIN: "loss per squared unit of weight", PRECONDITIONED: "1/lr"})
        lr = float("nan") if context.lr is None else context.lr
        table = table.assign(step=context.step, epoch=context.epoch, lr=lr)[[column.name for column in self.columns]]
        return table.astype({"threshold": float})

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Eigenvalues as lines with points, thresholds dashed, on a log scale."""
        import altair as alt

        name = "Edge of stability"
        keys = ["epoch", "matrix", *(["trial"] if "trial" in table else [])]
        long = table.rename(columns={"value": "eigenvalue"}).melt(keys, ["eigenvalue", "threshold"], "what", "value")
        long["value"] = finite(long["value"])
        shown = long[long["value"] > 0].dropna()
        if shown.empty:
            return said(name, "no eigenvalue is finite and positive" if len(table) else "nothing was measured")
        matrices, whats = [PLAIN, PRECONDITIONED], ["eigenvalue", "threshold"]
        color = alt.Color(
            "matrix:N",
            title="matrix",
            scale=alt.Scale(domain=matrices, range=[BLUE, VERMILION]),
            legend=alt.Legend(orient="bottom", labelLimit=0),
        )
        dash = alt.StrokeDash(
            "what:N",
            title="line",
            scale=alt.Scale(domain=whats, range=[[1, 0], [6, 4]]),
            legend=stroke_legend(symbolStrokeColor="black"),
        )
        base = alt.Chart(shown).encode(
            x=alt.X("epoch:Q", title="epoch"),
            y=alt.Y(
                "value:Q",
                title="largest eigenvalue (log scale)",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format="~g"),
            ),
            color=color,
        )
        points = base.mark_point(filled=True, size=40, opacity=1).encode(
            shape=alt.Shape("matrix:N", title="matrix", scale=alt.Scale(domain=matrices)),
            tooltip=["matrix:N", "what:N", "epoch:Q", alt.Tooltip("value:Q", format=".4g")],
        )
        chart = alt.layer(base.mark_line().encode(strokeDash=dash), points)
        known = bool(table["threshold"].notna().any())
        about = "dashed: stability threshold of full-batch steps" if known else "no threshold is known for these steps"
        wrong = len(table) - int((shown["what"] == "eigenvalue").sum())
        lost = f"{wrong} of {len(table)} eigenvalues are not finite and positive, and left out" if wrong else ""
        return by_trial(chart, table, name, [about, lost])


def _threshold(context: ProbeContext) -> float | None:
    if context.optimizer is None or context.batch_size is not None or not context.lr:
        return None
    limit = context.optimizer.stability_limit({**context.hyperparameters, "lr": context.lr})
    return None if limit is None else limit / context.lr


def _largest(hessian: Operator, diagonal: list[Tensor] | None, context: ProbeContext) -> tuple[float, float, float]:
    """The largest eigenvalue of P^-1/2 H P^-1/2, with a lower and an upper bound."""
    import torch

    from thalweg.curvature import extreme_eigenpairs, flat

    like = flat(hessian.parameters).detach()
    scale = torch.ones_like(like) if diagonal is None else flat(diagonal).to(like).rsqrt()
    top, _ = extreme_eigenpairs(
        lambda v: scale * (hessian @ (scale * v)),
        like,
        1,
        context.generator,
        smallest=False,
        tolerance=context.options["tolerance"],
        max_steps=context.options["iterations"],
    )
    value, bound = float(top.eigenvalues[0]), float(top.bounds[0])
    return value, value - bound, value + bound
