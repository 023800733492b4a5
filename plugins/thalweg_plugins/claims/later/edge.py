"""L1: full-batch gradient descent at the edge of stability."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg.contracts.claim import ClaimContext
    from thalweg.contracts.objective import Objective

RATES = (0.2, 0.5)
STEPS = 1500
EVERY = 30
"""Steps between two measurements of sharpness."""


def objective_of(seed: int) -> Objective:
    """A 64-64-64-10 network with tanh units on the training digits, with 1/2 ||f(x) - y||^2 for one-hot y."""
    import torch
    from torch.nn import functional

    from thalweg.contracts import LoadContext
    from thalweg.contracts.losses import SquaredError
    from thalweg.contracts.objective import Objective
    from thalweg.contracts.option import resolve
    from thalweg.contracts.problem import Draw, Metric
    from thalweg.contracts.supervised import Supervised
    from thalweg_plugins.architectures.mlp import MLP
    from thalweg_plugins.problems.digits import Digits

    digits = Digits()
    given = digits.load({"layout": "vector", "components": 0}, LoadContext(torch.device("cpu"), torch.float32, 0.2))
    inputs, labels = given.data["train"]  # type: ignore[attr-defined]
    targets = functional.one_hot(labels, 10).float()
    problem = Supervised({"train": (inputs, targets)}, SquaredError(), (Metric("loss", "lower", "log"),))
    mlp = MLP()
    options = resolve(mlp.options, {"activation": "tanh", "init": "torch"}, "mlp")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = mlp.build(options, digits.shape({"layout": "vector", "components": 0}))
    objective = Objective(module, problem, Draw(seed, None))
    objective.begin_step(problem.batch("train", 0, Draw(seed, None)), 0)
    return objective


def sharpness(objective: Objective, seed: int) -> float:
    """The largest eigenvalue of the Hessian, to a relative error bound of 1e-3."""
    import torch

    from thalweg.curvature import extreme_eigenpairs, flat, hessian

    matrix = hessian(objective)
    like = flat(matrix.parameters).detach()
    generator = torch.Generator().manual_seed(seed)
    top, _ = extreme_eigenpairs(matrix.__matmul__, like, 1, generator, smallest=False, tolerance=1e-3, max_steps=100)
    return float(top.eigenvalues[0])


def descend(objective: Objective, lr: float, seed: int) -> tuple[list[int], list[float], list[float]]:
    """Gradient descent: the steps at which it is measured, the losses there, and the sharpness there."""
    import torch

    at: list[int] = []
    losses: list[float] = []
    found: list[float] = []
    for step in range(STEPS + 1):
        value, gradient = objective.gradient()
        loss = float(value)
        if not math.isfinite(loss):
            break
        if step % EVERY == 0:
            at.append(step)
            losses.append(loss)
            found.append(sharpness(objective, seed))
        with torch.no_grad():
            for parameter, part in zip(objective.parameters, gradient, strict=True):
                parameter.sub_(lr * part)
    return at, losses, found


class EdgeOfStability(LectureClaim):
    """L1."""

    name = "L1"
    summary = "full-batch gradient descent sharpens until the sharpness hovers about 2 / lr"
    statement = (
        "Full-batch gradient descent trains at the edge of stability: the largest eigenvalue of the Hessian rises to "
        "2 / lr and stays there, while the loss goes on falling."
    )
    source = (
        "Cohen, Kaur, Li, Kolter & Talwalkar 2021, Gradient descent on neural networks typically occurs at the edge "
        "of stability"
    )
    method = (
        "The 1,077 training digits, a dense network with two hidden layers of 64 tanh units, torch's initialization, "
        "the squared loss 1/2 ||f(x) - y||^2 of one-hot targets, its mean over examples. Gradient descent with lr = "
        "0.2 and 0.5 takes 1,500 steps on the whole data. The sharpness is measured every 30 steps by Lanczos' method "
        "to a relative error bound of 1e-3. The last third of the measurements counts."
    )
    caveat = (
        "With cross-entropy the sharpness falls again once the examples are fitted, and mini-batches stay below 2 / "
        "lr (Cohen et al. 2021). At a rate whose 2 / lr is below the sharpness at initialization there is no rise to "
        "see, and at a small rate the rise may take longer than the run. Damian et al. 2023 explain the hovering by "
        "the third derivative."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Train at both rates, and follow the sharpness."""
        import numpy as np

        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        for lr in RATES:
            setting = f"lr = {lr:g}"
            objective = objective_of(seed)
            at, losses, found = descend(objective, lr, seed)
            note = "" if at[-1] == STEPS else f"diverged after step {at[-1]}"
            late = np.array(found)[np.array(at) > STEPS * 2 / 3]
            where: dict[str, Any] = {"setting": setting, "note": note}
            rise = float(np.log(late / found[0]).mean()) if len(late) and not note else None
            rows.add("ln of late sharpness over sharpness at initialization", rise, **where)
            level = float(late.mean()) * lr / 2 if len(late) and not note else None
            rows.add("mean late sharpness times lr / 2", level, **where)
            rows.add("final training loss", losses[-1], **where)
            rows.curve("sharpness times lr / 2", at, [value * lr / 2 for value in found], series=setting)
            rows.curve("training loss", at, losses, series=setting)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Sharpness in units of the threshold, through training."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "sharpness times lr / 2", curve=True)
        return curves(rows, "Sharpness in units of 2 / lr", "steps", "sharpness times lr / 2", level=1.0)
