"""D2 and D3: the synthetic experiments of Reddi, Kale and Kumar, online and stochastic."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.grids import log_grid
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import numpy as np
    import pandas
    from numpy.typing import NDArray

STEPS = 2_000_000
ALPHA = 0.5
BETA1 = 0.9
BETA2 = (0.99, 0.999, 0.9999)


class LongGame(LectureClaim):
    """Adam and AMSGrad for two million steps on linear functions."""

    number: int
    """The first number of the random stream of the starts."""

    @abstractmethod
    def slopes(self, seed: int, steps: int) -> NDArray[np.float64]:
        """The slopes c_t of the registered problem ``rkk18``, t = 1, ..., steps."""

    def start(self, seed: int) -> float:
        """The first point, from U(-1, 1)."""
        import numpy as np

        return float(np.random.default_rng([self.number, seed]).uniform(-1, 1))

    def paths(
        self, slopes: NDArray[np.float64], starts: NDArray[np.float64], beta2: float
    ) -> dict[str, NDArray[np.float64]]:
        """The points that Adam and AMSGrad play from each start, (starts, steps)."""
        from thalweg_plugins.claims.adam_fails._clipped import adam_steps, clipped_walk

        steps = adam_steps(slopes, ALPHA, BETA1, beta2)
        return {series: clipped_walk(taken, starts) for series, taken in steps.items()}

    def add(self, rows: Measurements, beta2: float, series: str, path: NDArray[np.float64]) -> None:
        """The rows of one path (steps,)."""
        setting = f"beta2 = {beta2:g}"
        count = len(path)
        rows.add("mean of x over the last 10%", path[-count // 10 :].mean(), setting=setting, series=series)
        rows.add("average pseudo-regret 0.2 (x + 1)", 0.2 * (path.mean() + 1), setting=setting, series=series)
        grid = log_grid(count, 100)
        rows.curve("x", grid, path[[t - 1 for t in grid]], setting=setting, series=series)

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The point that is played at each step, for the paper's beta2 and the largest one."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "x", curve=True)
        rows = rows[rows["setting"] != "beta2 = 0.999"]
        rows = rows.assign(series=rows["series"] + ", " + rows["setting"].str.removeprefix("beta2 = "))
        title = "x by method and beta2, best point -1"
        return curves(rows, title, "step t", "x", log_x=True)


class D2(LongGame):
    """The online version: slope 1010 at every 101st step, else -10."""

    name = "D2"
    number = 402
    summary = "on the online game of Reddi et al. Adam ends above zero, AMSGrad below"
    statement = (
        "Adam goes to the wrong end of an interval where a rare large gradient points the right way, and AMSGrad does "
        "not."
    )
    source = "Reddi, Kale & Kumar 2018, synthetic experiments (online)"
    method = (
        "At step t the loss is 1010 x where t mod 101 = 1, and -10 x elsewhere, for x in [-1, 1]; the best point is "
        "-1. Two million steps in the paper's form: alpha/sqrt(t), no bias correction, beta1 = 0.9, alpha = 0.5. "
        "beta2 is 0.99 as in the paper, and 0.999 and 0.9999 for the other side of the condition. A seed draws the "
        "start from U(-1, 1). The moments are linear filters of the slopes, and the clipped sum is computed by "
        "blocks; a test compares it with the registered problem and optimizers for 3,000 steps."
    )
    caveat = (
        "The paper's counterexample chooses the problem after the betas. With a beta2 near enough to 1 Adam goes to "
        "the better end of this problem, as the condition measures (compare Zhang et al. 2022). Only alpha = 0.5 and "
        "two million steps were measured. Nothing but the start is random, and the game forgets it: the seeds agree, "
        "and their interval has hardly a width."
    )

    def slopes(self, seed: int, steps: int) -> NDArray[np.float64]:
        """The same slopes for every seed."""
        from thalweg_plugins.claims.adam_fails._slopes import online

        return online(steps)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """The tables of all seeds are made together, because the slopes and the steps are the same."""
        return context.once("all seeds", lambda: self._all(context.seeds))[seed]

    def _all(self, seeds: tuple[int, ...]) -> dict[int, pandas.DataFrame]:
        import numpy as np

        slopes = self.slopes(0, STEPS)
        starts = np.array([self.start(seed) for seed in seeds])
        rows = {seed: Measurements() for seed in seeds}
        for beta2 in BETA2:
            for series, path in self.paths(slopes, starts, beta2).items():
                for seed, one in zip(seeds, path, strict=True):
                    self.add(rows[seed], beta2, series, one)
        return {seed: found.table() for seed, found in rows.items()}


class D3(LongGame):
    """The stochastic version: slope 1010 with probability 0.01, else -10."""

    name = "D3"
    number = 403
    summary = "on the stochastic game of Reddi et al. Adam ends above zero, AMSGrad below"
    statement = "Adam goes to the wrong end also where the rare large gradient comes at random."
    source = "Reddi, Kale & Kumar 2018, synthetic experiments (stochastic)"
    method = (
        "As D2, but the loss is 1010 x with probability 0.01, and -10 x otherwise, with mean 0.2 x. A seed draws the "
        "slopes (the registered problem's stream) and the start; all methods see the same slopes. The pseudo-regret "
        "0.2 (x + 1) is averaged over all steps and reported."
    )
    caveat = (
        "As D2, but the slopes are random too. The pseudo-regret uses the mean slope, so that chance in the slopes "
        "does not enter."
    )

    def slopes(self, seed: int, steps: int) -> NDArray[np.float64]:
        """The registered problem's slopes of a trial with this seed."""
        from thalweg_plugins.claims.adam_fails._slopes import stochastic

        return stochastic(seed, steps)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """One stream of slopes for both methods and all beta2."""
        import numpy as np

        rows = Measurements()
        slopes, start = self.slopes(seed, STEPS), np.array([self.start(seed)])
        for beta2 in BETA2:
            for series, path in self.paths(slopes, start, beta2).items():
                self.add(rows, beta2, series, path[0])
        return rows.table()
