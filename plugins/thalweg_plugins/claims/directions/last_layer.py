"""J1: cross-entropy is convex along directions in the last layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas

POINTS = 101
REACH = 0.5
DRAWS = 10
EPOCHS = 20


class J1(LectureClaim):
    """The share of negative second differences of the loss along directions in the last layer's weights."""

    name = "J1"
    summary = "cross-entropy has no negative second difference along directions in the last layer"
    statement = (
        "In the weights of the last layer alone the loss is convex, so that it looks smooth along every direction "
        "there."
    )
    source = (
        "Li, Tai, Singh & Michaud 2018 (unpublished); the logits are linear in these weights, and cross-entropy is "
        "convex in the logits"
    )
    method = (
        "digits-mlp (64, 64, ReLU; 1,077 training images) in float64, at initialization and after 20 epochs of SGD "
        "(lr = 0.1, batch 32). The training loss at 101 points within half of the norm of the last layer's weights, "
        "to both sides. 10 random directions, and the gradient of the full training batch. A second difference counts "
        "as negative below -1e-12 of the range."
    )
    caveat = (
        "Convexity along lines in one layer says nothing of the loss in all weights together. In float32, rounding "
        "alone makes negative second differences."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Both kinds of directions, before and after training."""
        import numpy as np
        import torch

        from thalweg.curvature import flat as joined
        from thalweg.landscape.evaluate import Span, flat, losses_at
        from thalweg.landscape.shape import roughness
        from thalweg_plugins.claims.digits_mlp import digits_mlp
        from thalweg_plugins.claims.stepping import Steps
        from thalweg_plugins.optimizers.first_order.sgd import SGD

        problem, module, draw = digits_mlp(seed)
        run = Steps(SGD(), problem, module, draw, lr=0.1)
        generator = torch.Generator().manual_seed(seed)
        layer = list(module.parameters())[-2]
        last = torch.cat([torch.full((p.numel(),), float(p is layer)).double() for p in module.parameters()])
        ticks = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
        rows = Measurements()
        for moment in ("initialization", "trained"):
            if moment == "trained":
                run.step(EPOCHS * problem.steps_per_epoch(draw.batch_size))
            center = flat(module)
            full = Steps(SGD(), problem, module)
            full.begin()
            gradient = joined(full.objective.gradient()[1])
            random = [torch.randn(len(center), generator=generator, dtype=torch.float64) for _ in range(DRAWS)]
            for kind, directions in (("random", random), ("gradient", [gradient])):
                shares = []
                for direction in directions:
                    masked = direction * last
                    along = masked / masked.norm() * (center * last).norm()
                    span = Span(torch.stack([center, along]), torch.stack([torch.ones_like(ticks), ticks], 1))
                    losses = losses_at(module, problem, span, "train", metrics=("loss",))["loss"].numpy()
                    shares.append(roughness(losses, 1.0).concave)
                setting = f"{kind}, {moment}"
                name = "share of second differences below -1e-12 of the range, last layer"
                rows.add(name, float(np.mean(shares)), setting=setting)
                if seed == 0:
                    rows.curve("loss", ticks.tolist(), losses, series=setting)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The loss along a random direction and along the gradient."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "loss", curve=True)
        title = "Training loss along directions in the last layer"
        return curves(rows, title, "distance / norm of the layer's weights", "loss (log scale)", log_y=True)
