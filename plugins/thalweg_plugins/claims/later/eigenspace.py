"""L10: how much of the gradient lies in the top eigenspace of the Hessian."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from thalweg.contracts.claim import Experiment
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas
    from torch import Tensor

    from thalweg.contracts.claim import ClaimContext

LEADING = 10
"""The dimension of the top eigenspace: the number of classes."""
EPOCHS = (1, 5, 10)
WORKLOAD: dict[str, Any] = {
    "problem": "digits",
    "architecture": "mlp",
    "budget": {"epochs": 10},
    "batch_size": 32,
    "validation_fraction": 0.2,
}


def experiment() -> Experiment:
    """SGD on the digits, with the weights of each epoch."""
    return Experiment(
        "claims-eigenspace",
        {
            "seeds": 5,
            "keep": "trajectory",
            "workloads": {"digits-mlp": WORKLOAD},
            "optimizers": {"sgd": {"lr": 0.1}},
        },
    )


def share(vectors: Tensor, gradient: Tensor) -> float:
    """||Q g||^2 / ||g||^2 for orthonormal rows Q (k, P) and g (P,).

    >>> import torch
    >>> share(torch.eye(3)[:2], torch.tensor([3.0, 4.0, 0.0])), share(torch.eye(3)[:1], torch.tensor([3.0, 4.0, 0.0]))
    (1.0, 0.36000001430511475)
    """
    return float((vectors @ gradient).square().sum() / gradient.square().sum())


def overlap(one: Tensor, other: Tensor) -> float:
    """tr(P P') / k of the projections on the row spaces of two (k, P) with orthonormal rows: 1 where they are equal.

    >>> import torch
    >>> overlap(torch.eye(4)[:2], torch.eye(4)[1:3])
    0.5
    """
    return float((one @ other.T).square().sum()) / len(one)


class TopEigenspace(LectureClaim):
    """L10."""

    name = "L10"
    summary = "most of the gradient lies in the space of the ten leading eigenvectors of the Hessian"
    statement = (
        "After a short time gradient descent happens in a tiny subspace, which leading eigenvectors of the Hessian "
        "span."
    )
    source = "Gur-Ari, Roberts & Dyer 2018, Gradient descent happens in a tiny subspace"
    method = (
        "A dense network on the digits, SGD at lr = 0.1, batches of 32. After epochs 1, 5 and 10 the ten leading "
        "eigenvectors of the Hessian of the training loss (as many as there are classes), by Lanczos' method in "
        "float64, and the gradient of the whole training loss. The overlap of two eigenspaces is the mean squared "
        "cosine of their principal angles."
    )
    caveat = (
        "A large share of the gradient does not mean that learning happens there: Song, Ahn & Yun 2025 project "
        "updates on the top eigenspace and find that the loss stops falling, and without it the loss falls as before. "
        "A random subspace of ten dimensions would have a share of 0.1%."
    )

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        """The trials with their weights."""
        return (experiment(),)

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Eigenvectors and gradients at three epochs."""
        import torch

        from thalweg.contracts.claim import Measurements
        from thalweg.curvature import extreme_eigenpairs, hessian
        from thalweg_plugins.claims.networks import Network

        rows = Measurements()
        (trial,) = context.trials("claims-eigenspace", seed)
        found: dict[int, Tensor] = {}
        if not trial.lost:
            network = Network.of(WORKLOAD)
            curve = trial.curve()
            at = {round(float(epoch)): int(step) for epoch, step in zip(curve["epoch"], curve["step"], strict=True)}
            steps, weights = trial.trajectory()
            place = {int(step): number for number, step in enumerate(steps.tolist())}
        for epoch in EPOCHS:
            quantity, setting = "share of ||g||^2 in the top eigenspace", f"epoch {epoch}"
            if trial.lost:
                rows.add(quantity, None, setting=setting, note=trial.lost)
                continue
            matrix = hessian(network.objective(weights[place[at[epoch]]].double()))
            generator = torch.Generator().manual_seed(seed)
            top, _ = extreme_eigenpairs(
                matrix.__matmul__, matrix.gradient, LEADING, generator, smallest=False, tolerance=1e-5
            )
            found[epoch] = top.vectors
            rows.add(quantity, share(top.vectors, matrix.gradient), setting=setting)
            ranks = range(1, LEADING + 1)
            rows.curve("eigenvalue", ranks, top.eigenvalues.tolist(), series=setting)
            shares = [share(top.vectors[:k], matrix.gradient) for k in ranks]
            rows.curve("share by number of eigenvectors", ranks, shares, series=setting)
        both = overlap(found[5], found[10]) if len(found) == len(EPOCHS) else None
        rows.add("overlap of the top eigenspaces of epochs 5 and 10", both, note=trial.lost)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The share of the gradient against the number of eigenvectors."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "share by number of eigenvectors", curve=True)
        return curves(
            rows, "The gradient in the top eigenspace", "leading eigenvectors", "share of the squared gradient"
        )
