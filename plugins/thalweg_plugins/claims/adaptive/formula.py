"""C1: every first-order optimizer computes its formula."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

STEPS = 100
SIZE = 6


ADAM = (
    "g &larr; gradient of the loss at w",
    "m &larr; &beta;<sub>1</sub> m + (1 - &beta;<sub>1</sub>) g",
    "v &larr; &beta;<sub>2</sub> v + (1 - &beta;<sub>2</sub>) g<sup>2</sup>",
    "m&#770; = m / (1 - &beta;<sub>1</sub><sup>t</sup>), v&#770; = v / (1 - &beta;<sub>2</sub><sup>t</sup>)",
    "w &larr; w - lr m&#770; / (&radic;v&#770; + &epsilon;)",
)
"""Kingma & Ba 2015, algorithm 1: a line for each line of the loop."""


def adam_beside_its_code(table: pandas.DataFrame) -> str:
    """A page of HTML: each line of Adam's algorithm beside its line of code, and the measured difference."""
    import inspect
    from html import escape

    from thalweg_plugins.claims.adaptive.loops import adam
    from thalweg_plugins.claims.pictures import of

    lines = [line.strip() for line in inspect.getsource(adam).splitlines()]
    code = lines[lines.index("g = gradient(w)") : lines.index("yield w")]
    rows = of(table, "largest relative difference from the formula")
    largest = rows[rows["setting"] == "adam"]["value"].max()
    cells = "\n".join(
        f"<tr><td>{formula}</td><td><code>{escape(line)}</code></td></tr>"
        for formula, line in zip(ADAM, code, strict=True)
    )
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Adam beside its code</title>\n'
        "<style>body { font-family: sans-serif; margin: 2em } td { padding: 0.3em 1.5em 0.3em 0 }</style>\n"
        "<h1>Adam (Kingma &amp; Ba 2015, algorithm 1) beside its code</h1>\n"
        f"<p>m and v are zero at first, and t = 1, 2, ...</p>\n<table>\n{cells}\n</table>\n"
        f"<p>The registered optimizer adam differs from this loop by at most {largest:.1e} of the weights in {STEPS} "
        "steps.</p>\n</html>\n"
    )


class C1(LectureClaim):
    """The largest difference of a registered optimizer from a plain loop of its formula, over 100 steps."""

    name = "C1"
    summary = "every first-order optimizer equals a plain loop of its formula"
    statement = "The adaptive rules are the formulas that the lecture and the papers write down."
    source = (
        "Polyak 1964; Duchi et al. 2011; Tieleman & Hinton 2012; Kingma & Ba 2015; Dozat 2016; Reddi et al. 2018; "
        "Loshchilov & Hutter 2019; Chen et al. 2023"
    )
    method = (
        "Each registered optimizer takes 100 steps at its defaults with lr = 0.02, and a loop of a few lines of NumPy "
        "in float64 takes the same steps. A seed draws a quadratic of 6 variables, with H = A A'/6, and the start. "
        "The difference is max |w - w'| over max |w'|, the largest of all steps."
    )
    caveat = (
        "It says that the code is the formula, not that the formula is good. torch keeps NAdam's product of decay "
        "rates in single precision; the loop does the same."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Compare step by step."""
        import numpy as np
        import torch

        from thalweg.contracts.analytic import AnalyticFunction
        from thalweg_plugins.claims.adaptive.loops import LOOPS
        from thalweg_plugins.claims.stepping import Steps, point
        from thalweg_plugins.optimizers import FIRST_ORDER

        rng = np.random.default_rng([301, seed])
        a, b, start = rng.standard_normal((SIZE, SIZE)), rng.standard_normal(SIZE), rng.standard_normal(SIZE)
        hessian = a @ a.T / SIZE
        h, c = torch.from_numpy(hessian), torch.from_numpy(b)
        problem = AnalyticFunction(lambda x: 0.5 * x @ h @ x - c @ x, lambda _: torch.from_numpy(start))
        registered = {cls.name: cls for cls in FIRST_ORDER}
        rows = Measurements()
        for name, loop in LOOPS.items():
            module = point(SIZE)
            run = Steps(registered[name](), problem, module, lr=0.02)
            problem.initialize(module, run.draw)
            path = loop(start, lambda w: hessian @ w - b, run.hyperparameters)
            differences = []
            for _, expected in zip(range(STEPS), path, strict=False):
                run.step()
                differences.append(float(np.abs(run.w.numpy() - expected).max() / np.abs(expected).max()))
            rows.add("largest relative difference from the formula", max(differences), setting=name)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The difference of each optimizer and seed."""
        from thalweg_plugins.claims.pictures import dots, of

        rows = of(table, "largest relative difference from the formula")
        # a difference of zero has no place on a logarithmic axis
        rows = rows.assign(value=rows["value"].clip(lower=1e-17))
        return dots(rows, "Optimizers against their formulas", "relative difference", log=True, bounds=[1e-12])

    def figures(self, table: pandas.DataFrame) -> Mapping[str, altair.TopLevelMixin | str]:
        """The lecture's figure 5: Adam's algorithm beside its code."""
        return {"figure-5-adam": adam_beside_its_code(table)}
