"""A4: L-BFGS with exact line searches is conjugate gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

DIGITS = 60
MORE_DIGITS = 120
"""Of a second computation, which is reported: at kappa = 1000 rounding grows by more than 50 digits in 50 steps."""


def decimals(array: Any) -> Any:
    """The same numbers as Python's decimal numbers, in a NumPy array of objects."""
    from decimal import Decimal

    import numpy as np

    return np.vectorize(Decimal, otypes=[object])(array)


def norm(vector: Any) -> Any:
    """The Euclidean norm of an array of decimal numbers."""
    return (vector @ vector).sqrt()


def conjugate_gradients(h: Any, offset: Any, steps: int) -> list[Any]:
    """x_k - x* of conjugate gradients on 1/2 (x - x*)'H(x - x*), for k = 1, 2, ... (Fletcher and Reeves' form)."""
    x, g = offset, h @ offset
    d, found = -g, []
    for _ in range(steps):
        hd = h @ d
        x = x + (g @ g) / (d @ hd) * d
        new = h @ x
        d = -new + (new @ new) / (g @ g) * d
        g = new
        found.append(x)
    return found


def lbfgs(h: Any, offset: Any, memory: int, steps: int) -> list[Any]:
    """x_k - x* of L-BFGS with exact line searches, by the two loops of the registered optimizer ``lbfgs``."""
    from thalweg_plugins.optimizers.second_order._quasi_newton import two_loop

    x, g, found = offset, h @ offset, []
    pairs: list[tuple[Any, Any]] = []
    for _ in range(steps):
        d = -two_loop(g, pairs)
        s = -(g @ d) / (d @ (h @ d)) * d
        x = x + s
        new = h @ x
        pairs = [*pairs, (s, new - g)][-memory:]
        g = new
        found.append(x)
    return found


def compared(h: Any, offset: Any, memories: tuple[int, ...], digits: int) -> tuple[float, dict[int, list[float]]]:
    """The largest distance of L-BFGS from conjugate gradients in d steps, and ||g|| at each step, by memory.

    Both are relative to their values at the start.
    """
    from decimal import localcontext

    dim = len(offset)
    with localcontext(prec=digits):
        h, start = decimals(h), decimals(offset)
        reference = conjugate_gradients(h, start, dim)
        found = {memory: lbfgs(h, start, memory, dim) for memory in memories}
        apart = [norm(x - y) / norm(start) for xs in found.values() for x, y in zip(xs, reference, strict=True)]
        gradients = {memory: [float(norm(h @ x) / norm(h @ start)) for x in xs] for memory, xs in found.items()}
        return float(max(apart)), gradients


class A4(LectureClaim):
    """Iterates of L-BFGS and of conjugate gradients in 60 digits, and the steps beyond d in float64."""

    name = "A4"
    summary = "L-BFGS with exact line searches is conjugate gradients and ends in d steps, where digits suffice"
    statement = (
        "On a quadratic, with exact line searches, L-BFGS of any memory is the method of conjugate gradients, and "
        "ends in d steps."
    )
    source = "Kolda, O'Leary & Nazareth 1998; Nocedal & Wright 2006, section 7.2"
    method = (
        "The quadratics of A1. In 60 decimal digits both methods start at x0 and take d steps with exact line "
        "searches. The distance of their iterates is relative to ||x0 - x*||, the gradient to the first gradient. "
        "Memories are 1, 5 and d; the worst counts. In float64 the registered optimizer lbfgs takes steps until f <= "
        "1e-10 f0, with exact line searches and with the strong Wolfe conditions (c1 = 1e-4, c2 = 0.9): how many more "
        "than d? A second computation in 120 digits is reported."
    )
    fault = (
        "At d = 50 and kappa = 1000 rounding parts the two methods by a factor of about 1e55 in 50 steps. The 60 "
        "digits that the rule fixes leave no room for it. In 120 digits the theorem shows there too."
    )
    caveat = "Rounding is also why float64 needs more than d steps. The equivalence ends with inexact line searches."

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Compare in 60 digits, then count steps in float64."""
        from thalweg_plugins.claims.quadratics._quadratic import SIZES, TARGET, instance
        from thalweg_plugins.optimizers.second_order.lbfgs import LBFGS

        rows = Measurements()
        for setting, (dim, _) in SIZES.items():
            given = instance(setting, seed)
            memories = (1, 5, dim)
            distance, gradients = compared(given.h, given.offset, memories, DIGITS)
            rows.add("largest distance from the iterates of conjugate gradients, relative", distance, setting=setting)
            rows.add("relative gradient after d steps", max(v[-1] for v in gradients.values()), setting=setting)
            rows.curve("relative gradient", range(1, dim + 1), gradients[5], setting=setting, series="60 digits, exact")
            distance, gradients = compared(given.h, given.offset, memories, MORE_DIGITS)
            rows.add("largest distance, 120 digits", distance, setting=setting)
            rows.add(
                "relative gradient after d steps, 120 digits", max(v[-1] for v in gradients.values()), setting=setting
            )
            rows.curve(
                "relative gradient", range(1, dim + 1), gradients[5], setting=setting, series="120 digits, exact"
            )
            for search, quantity, series in (
                ("exact", "steps beyond d in float64", "float64, exact"),
                ("strong-wolfe", "steps beyond d in float64, strong Wolfe", "float64, strong Wolfe"),
            ):
                beyond: list[int | None] = []
                for memory in memories:
                    run = given.steps(LBFGS(), line_search=search, history_size=memory, max_iter=1)
                    gradient = given.problem.gradient
                    assert gradient is not None
                    first, norms = run.loss, [float(gradient(run.w).norm())]
                    while run.loss > TARGET * first and run.t < 20 * dim:
                        run.step()
                        norms.append(float(gradient(run.w).norm()))
                    beyond.append(run.t - dim if run.loss <= TARGET * first else None)
                    if memory == 5:
                        curve = [value / norms[0] for value in norms[1:]]
                        rows.curve("relative gradient", range(1, run.t + 1), curve, setting=setting, series=series)
                counted = [steps for steps in beyond if steps is not None]
                whole = len(counted) == len(beyond)
                note = "" if whole else f"a memory did not reach the target in {20 * dim} steps"
                rows.add(quantity, max(counted) if whole else None, setting=setting, note=note)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The gradient against the steps for memory 5, at the larger condition number."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "relative gradient", curve=True)
        rows = rows[rows["setting"] == "d = 50, kappa = 1000"]
        return curves(
            rows, "L-BFGS of memory 5, d = 50, kappa = 1000", "steps", "||g|| / ||g at the start||", log_y=True
        )
