"""L8: learning rates transfer over width under muP."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.claims.lecture import LectureClaim

if TYPE_CHECKING:
    import altair
    import pandas
    import torch
    from torch import nn

    from thalweg.contracts import LoadedProblem

WIDTHS = (32, 512)
RATES = tuple(2.0**power for power in range(-14, -1))
DEPTH = 3
Parametrization = Literal["standard", "muP"]


class Workload(NamedTuple):
    """What a tier trains."""

    problem: str
    epochs: int
    batch: int
    validation: float


WORKLOADS = {"quick": Workload("digits", 5, 64, 0.2), "full": Workload("mnist", 5, 128, 0.1)}


def network(inputs: int, outputs: int, width: int, kind: Parametrization, seed: int) -> nn.Sequential:
    """An MLP of three hidden layers with ReLU, variances 2/fan_in and zero biases.

    Under muP the standard deviation of the output weights is multiplied by sqrt(32 / width), so that their variance
    falls as 1/width^2. At width 32 both kinds are the same network.
    """
    import torch
    from torch import nn

    sizes = [inputs, *[width] * DEPTH, outputs]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Flatten()]
        for number, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            layer = nn.Linear(fan_in, fan_out)
            last = number == DEPTH
            shrink = math.sqrt(WIDTHS[0] / width) if last and kind == "muP" else 1.0
            nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_in) * shrink)
            nn.init.zeros_(layer.bias)
            layers += [layer] if last else [layer, nn.ReLU()]
    return nn.Sequential(*layers)


def optimizer_of(module: nn.Sequential, width: int, kind: Parametrization, lr: float) -> torch.optim.Adam:
    """Adam. Under muP weights whose fan-in is the width have the rate lr 32 / width; the others have lr."""
    import torch
    from torch import nn

    linears = [part for part in module if isinstance(part, nn.Linear)]
    wide = [layer.weight for layer in linears[1:]]
    rest = [linears[0].weight, *(layer.bias for layer in linears)]
    factor = WIDTHS[0] / width if kind == "muP" else 1.0
    return torch.optim.Adam([{"params": wide, "lr": lr * factor}, {"params": rest, "lr": lr}], fused=True)


def final_loss(
    problem: LoadedProblem, workload: Workload, width: int, kind: Parametrization, lr: float, seed: int, device: str
) -> float:
    """The loss on the training split after training; inf where it is not finite."""
    import torch

    from thalweg.contracts import Draw
    from thalweg.contracts.supervised import Supervised

    assert isinstance(problem, Supervised)
    inputs = math.prod(problem.data["train"][0].shape[1:])
    draw = Draw(seed, workload.batch)
    module = network(inputs, 10, width, kind, draw.seed_for("init")).to(device)
    optimizer = optimizer_of(module, width, kind, lr)
    for step in range(workload.epochs * problem.steps_per_epoch(workload.batch)):
        loss = problem.loss(module, problem.batch("train", step, draw))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        found = problem.evaluate(module, "train")["loss"]
    return found if math.isfinite(found) else math.inf


class L8(LectureClaim):
    """The shift of the best learning rate from width 32 to 512."""

    name = "L8"
    summary = "the best learning rate moves less with width under muP than under standard parametrization"
    statement = (
        "Under the maximal update parametrization the best learning rate of a narrow network is the best of a wide one."
    )
    source = "Yang et al. 2021, Tensor programs V, tables 3 and 8"
    method = (
        "MLPs of three hidden layers of width 32 and 512, ReLU, normal weights of variance 2/fan_in, zero biases; "
        "Adam at its defaults with 13 rates from 2^-14 to 2^-2. quick: digits (1,077 images, batch 64, 5 epochs); "
        "full: MNIST (batch 128, 5 epochs). muP for Adam with base width 32: hidden and output weights have the rate "
        "lr 32/n, and the output weights' variance falls as 1/n^2; at width 32 both are the same network. The best "
        "rate has the lowest final training loss; shift is |log2| of the ratio of best rates."
    )
    caveat = (
        "The grid has factors of 2, so a shift of 1 is one step of the grid. Each seed chooses its best rates by the "
        "losses that count, so chance in the choice adds to both shifts. Short trainings, one optimizer and one "
        "depth; the source transfers over larger widths and longer trainings."
    )
    tiers = ("quick", "full")

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """All rates at both widths, under both parametrizations."""
        import torch

        from thalweg_plugins.claims.stepping import loaded
        from thalweg_plugins.problems import PROBLEMS

        workload = WORKLOADS[context.tier]
        problem = next(cls for cls in PROBLEMS if cls.name == workload.problem)()
        data = loaded(problem, workload.validation, context.device, torch.float32)
        rows, best = Measurements(), {}
        cases: tuple[tuple[int, Parametrization], ...] = (
            (WIDTHS[0], "standard"),  # which is muP too
            (WIDTHS[1], "standard"),
            (WIDTHS[1], "muP"),
        )
        for width, kind in cases:
            losses = [final_loss(data, workload, width, kind, lr, seed, context.device) for lr in RATES]
            best[width, kind] = math.log2(RATES[losses.index(min(losses))])
            series = f"width {width}" if width == WIDTHS[0] else f"width {width}, {kind}"
            shown = [(lr, loss) for lr, loss in zip(RATES, losses, strict=True) if math.isfinite(loss)]
            rows.curve("final training loss", [lr for lr, _ in shown], [loss for _, loss in shown], series=series)
        for kind in ("standard", "muP"):
            shift = abs(best[WIDTHS[1], kind] - best[WIDTHS[0], "standard"])
            rows.add("shift of the best rate from width 32 to 512", shift, series=kind)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The final loss against the rate."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "final training loss", curve=True)
        title = "Final training loss by rate, Adam"
        return curves(rows, title, "learning rate", "final training loss", log_x=True, log_y=True)
