"""L3: Adam against gradient descent where few classes have most of the examples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import numpy as np
    import pandas
    import torch

    from thalweg.contracts.claim import ClaimContext

LARGEST = 120
"""Examples of the largest class; class k has 120 / (k + 1) of them, rounded."""
WIDTH = 64
STEPS = 300
TRIED = 3
"""Seeds of their own that choose the rates."""
GRID = {"momentum": (-3.0, 0.5), "adam": (-4.0, -0.5)}
"""The searched powers of ten of each method's rate, three and a half decades each."""
RATES = 8
HEAVY, EQUAL = "heavy-tailed classes", "equal classes"


def class_sizes(kind: str) -> list[int]:
    """How many examples each of the ten classes has.

    >>> class_sizes(HEAVY)
    [120, 60, 40, 30, 24, 20, 17, 15, 13, 12]
    >>> sum(class_sizes(HEAVY)) - sum(class_sizes(EQUAL))
    1
    """
    heavy = [round(LARGEST / (k + 1)) for k in range(10)]
    return heavy if kind == HEAVY else [sum(heavy) // 10] * 10


class Runs(NamedTuple):
    """Trainings of one method on one kind of data."""

    losses: np.ndarray[Any, Any]
    """Training loss by step and run, (STEPS + 1, R)."""
    rare: np.ndarray[Any, Any]
    """Final loss of the five rarest classes by run, (R,)."""


def examples(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The first digits of each class in the training split: inputs (N, 64), targets (N,)."""
    import torch

    from thalweg.contracts import LoadContext
    from thalweg_plugins.problems.digits import Digits

    problem = Digits().load({"layout": "vector", "components": 0}, LoadContext(torch.device("cpu"), torch.float32))
    inputs, targets = problem.data["train"]  # type: ignore[attr-defined]
    rows = [torch.nonzero(targets == k)[:size, 0] for k, size in enumerate(class_sizes(kind))]
    chosen = torch.cat(rows)
    return inputs[chosen], targets[chosen]


def train(kind: str, method: str, rates: list[float], seeds: list[int]) -> Runs:
    """Train 64-64-10 networks on the whole data, one for each rate and seed, all at once.

    Momentum: v <- 0.9 v + g, w <- w - lr v. Adam: Kingma & Ba's with 0.9, 0.999 and eps = 1e-8.
    """
    import numpy as np
    import torch
    from torch.nn import functional

    x, y = examples(kind)
    weights = [torch.stack(each) for each in zip(*(_initial(seed) for seed in seeds), strict=True)]
    lr = torch.tensor(rates, dtype=torch.float32)
    state = [[torch.zeros_like(w), torch.zeros_like(w)] for w in weights]
    kept = np.full((STEPS + 1, len(rates)), np.nan)
    rare = y >= 5

    def losses(parameters: list[torch.Tensor]) -> torch.Tensor:
        """The loss of each example, (R, N)."""
        w1, b1, w2, b2 = parameters
        hidden = functional.relu(torch.baddbmm(b1[:, None], x.expand(len(w1), -1, -1), w1))
        outputs = torch.baddbmm(b2[:, None], hidden, w2)
        return functional.cross_entropy(outputs.flatten(0, 1), y.repeat(len(w1)), reduction="none").view(len(w1), -1)

    for step in range(STEPS):
        parameters = [w.requires_grad_() for w in weights]
        each = losses(parameters).mean(1)
        kept[step] = each.detach().numpy()
        gradients = torch.autograd.grad(each.sum(), parameters)
        with torch.no_grad():
            for number, (w, g, (m, v)) in enumerate(zip(weights, gradients, state, strict=True)):
                rate = lr.view(-1, *[1] * (w.ndim - 1))
                if method == "momentum":
                    m.mul_(0.9).add_(g)
                    weights[number] = w - rate * m
                else:
                    m.mul_(0.9).add_(g, alpha=0.1)
                    v.mul_(0.999).addcmul_(g, g, value=0.001)
                    mean, square = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
                    weights[number] = w - rate * mean / (square.sqrt() + 1e-8)
    with torch.no_grad():
        last = losses(weights)
    kept[STEPS] = last.mean(1).numpy()
    return Runs(kept, last[:, rare].mean(1).numpy())


def _initial(seed: int) -> tuple[torch.Tensor, ...]:
    """He's initialization, zero biases."""
    import torch

    source = torch.Generator().manual_seed(seed)
    first = torch.randn(64, WIDTH, generator=source) * math.sqrt(2 / 64)
    second = torch.randn(WIDTH, 10, generator=source) * math.sqrt(2 / WIDTH)
    return first, torch.zeros(WIDTH), second, torch.zeros(10)


def best_rate(kind: str, method: str) -> float:
    """The rate of the grid with the least mean log loss over the seeds that choose; one that diverges is out."""
    import numpy as np

    grid = list(np.logspace(*GRID[method], RATES))
    tried = [(rate, 1000 + seed) for rate in grid for seed in range(TRIED)]
    runs = train(kind, method, [rate for rate, _ in tried], [seed for _, seed in tried])
    final = runs.losses[-1].reshape(RATES, TRIED)
    scores = np.where(np.isfinite(final).all(1), np.log(np.maximum(final, 1e-45)).mean(1), np.inf)
    return float(grid[int(scores.argmin())])


class AdamOnHeavyTails(LectureClaim):
    """L3."""

    name = "L3"
    summary = "Adam's advantage over gradient descent is larger where few classes have most of the examples"
    statement = (
        "Gradient descent makes slow progress on rare classes, and Adam does not. So Adam is ahead where the classes "
        "are heavy-tailed, even without noise of batches."
    )
    source = (
        "Kunstner, Yadav, Milligan, Schmidt & Bietti 2024, Heavy-tailed class imbalance and why Adam outperforms "
        "gradient descent on language models"
    )
    method = (
        "Ten classes of digits with 120 / (k + 1) examples in class k, against ten equal classes with as many "
        "examples (350). A dense network 64-64-10 with ReLU and He's initialization trains for 300 full-batch steps. "
        "Gradient descent with momentum 0.9 and Adam each try 8 rates over three and a half decades on three seeds of "
        "their own; five fresh seeds decide. The advantage is the logarithm of the ratio of final training losses. "
        "The rarer half are classes 5 to 9."
    )
    caveat = (
        "Kunstner et al. have thousands of classes, most of them with a handful of examples; ten classes are a mild "
        "tail. The network can fit all examples, so both losses end near zero, and a ratio of small losses is large. "
        "On separable data the loss falls with the rate until training diverges, so best rates may be the largest "
        "ones that were tried, of both methods. Then the ratio also depends on where the two ranges end."
    )

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """Final losses at the chosen rates."""
        from thalweg.contracts.claim import Measurements

        rows = Measurements()
        place = context.seeds.index(seed)
        for kind in (HEAVY, EQUAL):
            final: dict[str, float] = {}
            for method in GRID:
                rate, runs = context.once(f"{kind} {method}", lambda k=kind, m=method: _decided(k, m, context.seeds))  # type: ignore[misc]
                final[method] = float(runs.losses[-1, place])
                where: dict[str, Any] = {"series": method}
                rows.add("rate", rate, setting=kind, **where)
                rows.add("final training loss", final[method], setting=kind, **where)
                half = "final training loss of the rarer half of the classes, heavy-tailed classes"
                if kind == HEAVY:
                    rows.add(half, float(runs.rare[place]), **where)
                steps = sorted({round(s) for s in [*range(0, 20, 2), *range(20, STEPS + 1, 10)]})
                curve = runs.losses[steps, place]
                rows.curve("training loss", steps, curve, setting=kind, series=method)
            positive = all(0 < value < math.inf for value in final.values())
            advantage = math.log(final["momentum"] / final["adam"]) if positive else None
            note = "" if positive else "a final training loss is zero or not finite"
            rows.add("advantage of Adam", advantage, series=kind, note=note)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The training loss of both methods on both kinds of classes."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "training loss", curve=True)
        rows = rows.assign(series=rows["series"] + ", " + rows["setting"])
        return curves(rows, "Few or many examples of a class", "steps", "training loss (nats)", log_y=True)


def _decided(kind: str, method: str, seeds: tuple[int, ...]) -> tuple[float, Runs]:
    rate = best_rate(kind, method)
    return rate, train(kind, method, [rate] * len(seeds), list(seeds))
