"""K1: filter-normalised curves do not see the scale of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import numpy as np
    import pandas
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from thalweg.contracts.supervised import Supervised
    from thalweg.landscape.evaluate import BatchNorm

POINTS = 51
SHOWN = "pairs of ReLU layers"


def curve(module: nn.Module, problem: Supervised, direction: Tensor, statistics: BatchNorm) -> NDArray[np.float64]:
    """The training loss at w + x d for x from -1 to 1, (51,)."""
    import torch

    from thalweg.landscape.evaluate import Span, flat, losses_at

    x = torch.linspace(-1, 1, POINTS, dtype=torch.float64)
    span = Span(torch.stack([flat(module), direction]), torch.stack([torch.ones_like(x), x], 1))
    found: NDArray[np.float64] = losses_at(module, problem, span, "train", statistics, metrics=("loss",))[
        "loss"
    ].numpy()
    return found


class K1(LectureClaim):
    """The change of the loss along a direction when the weights are rescaled and the function stays."""

    name = "K1"
    summary = "rescaling that keeps the function leaves filter-normalised curves, and changes raw ones"
    statement = (
        "Filter normalisation takes the scale of the weights out of pictures of the loss, which plain random "
        "directions show as sharpness."
    )
    source = "Li et al. 2018, section 4; Dinh et al. 2017"
    method = (
        "The registered mlp with hidden layers of 32 and 32 units on digits (1,347 training images), float64, after "
        "50 steps of SGD (lr = 0.1, batch 64). The weights are rescaled so that the outputs stay: in front of batch "
        "norm by 10 (eps 1e-30; running mean by 10 and variance by 100); a pair of ReLU layers by 10 (bias too) and "
        "1/10; and single filters in front of batch norm by factors between 1/10 and 10. The training loss at w + x d "
        "for 51 values x in [-1, 1], before and after, with the same normal draw of d: raw, normalised by filter (d "
        "<- d/||d|| ||w||, one-dimensional parameters zero) and by layer. Change is the largest difference over the "
        "range of the first curve."
    )
    caveat = (
        "It removes these symmetries and no others. Rescaling single ReLU units with their outgoing weights changes "
        "the norms of the next layer's filters, so that filter-normalised curves change too. It does not say that "
        "flat curves generalize (K3)."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """The curves of all settings."""
        import numpy as np
        import torch

        from thalweg.landscape.directions import filter_normalized, layer_normalized, random_direction
        from thalweg_plugins.claims.filters._rescaled import pairs

        problem, found = pairs(seed)
        rows = Measurements()
        for setting, pair in found.items():
            raw = random_direction(pair.before, torch.Generator().manual_seed(seed))
            for kind, normalised in (
                ("filter-normalised", filter_normalized),
                ("raw", None),
                ("layer-normalised", layer_normalized),
            ):
                curves = [
                    curve(module, problem, normalised(module, raw) if normalised else raw, pair.statistics)
                    for module in (pair.before, pair.after)
                ]
                change = np.abs(curves[1] - curves[0]).max() / np.ptp(curves[0])
                rows.add(f"change of the {kind} curve", change, setting=setting)
                if seed == 0 and setting == SHOWN and kind != "layer-normalised":
                    x = np.linspace(-1, 1, POINTS)
                    for series, losses in zip(("before", "after"), curves, strict=True):
                        rows.curve("loss", x, losses, setting=kind, series=f"{kind}, {series}")
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The curves before and after rescaling a pair of ReLU layers."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "loss", curve=True)
        title = "The same function, two ReLU layers rescaled"
        return curves(rows, title, "x", "training loss (log scale)", log_y=True)
