"""L2: trainings that share their beginning end in one valley."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from thalweg.contracts.claim import ClaimContext, Measurements
from thalweg_plugins.architectures.convnet import ConvNet
from thalweg_plugins.architectures.resnet import ResNet
from thalweg_plugins.claims.lecture import LectureClaim
from thalweg_plugins.problems.cifar import Cifar10
from thalweg_plugins.problems.mnist1d import MNIST1D

if TYPE_CHECKING:
    import altair
    import pandas

    from thalweg import Architecture, Problem
    from thalweg.contracts import LoadedProblem
    from thalweg_plugins.claims.stepping import Steps


@dataclass(frozen=True)
class Workload:
    """What a tier trains."""

    problem: type[Problem]
    architecture: type[Architecture]
    epochs: int
    batch: int
    lr: float
    validation: float
    problem_options: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


WORKLOADS = {
    "quick": Workload(
        MNIST1D,
        ConvNet,
        epochs=10,
        batch=64,
        lr=0.05,
        validation=0.2,
        problem_options={"layout": "sequence"},
        options={"channels": (8, 16, 16), "widths": (32,), "padding": "same", "norm": "batch"},
    ),
    "full": Workload(Cifar10, ResNet, epochs=100, batch=128, lr=0.1, validation=0.1, options={"depth": 20}),
}
SHARES = {"k = 0": 0.0, "k = 20%": 0.2}
POINTS = 25


def first_steps(workload: Workload, seed: int, device: str) -> Steps:
    """The parent at its first weights, as a trial with this seed has them."""
    import torch

    from thalweg.contracts import Draw
    from thalweg.contracts.option import resolve
    from thalweg_plugins.claims.stepping import Steps, loaded
    from thalweg_plugins.optimizers.first_order.momentum import Momentum

    problem, architecture = workload.problem(), workload.architecture()
    data = loaded(problem, workload.validation, device, torch.float32, **workload.problem_options)
    draw = Draw(seed, workload.batch)
    with torch.random.fork_rng():
        torch.manual_seed(draw.seed_for("init"))
        shape = problem.shape(resolve(problem.options, workload.problem_options, problem.name))
        module = architecture.build(resolve(architecture.options, workload.options, architecture.name), shape)
    return Steps(Momentum(), data, module.to(device), draw, lr=workload.lr)


def child(parent: Steps, seed: int, steps: int) -> Steps:
    """A copy of the parent that continues with the batches of another seed, up to step ``steps``."""
    import copy

    from thalweg.contracts import Draw
    from thalweg_plugins.claims.stepping import Steps
    from thalweg_plugins.optimizers.first_order.momentum import Momentum

    module = copy.deepcopy(parent.module)
    draw = Draw(seed, parent.draw.batch_size)
    made = Steps(Momentum(), parent.problem, module, draw, lr=parent.stepper.lr)
    made.stepper.load_state_dict(copy.deepcopy(parent.stepper.state_dict()))
    made.t = parent.t
    made.step(steps - made.t)
    return made


def errors_between(one: Steps, other: Steps, problem: LoadedProblem) -> list[float]:
    """The training error at evenly spaced points from one end to the other."""
    import numpy as np

    from thalweg.landscape.evaluate import Line, flat, losses_at

    line = Line(flat(one.module), flat(other.module), np.linspace(0, 1, POINTS).tolist())
    found = losses_at(one.module, problem, line, "train", "re-estimated", metrics=("accuracy",))["accuracy"]
    return [1 - accuracy for accuracy in found.tolist()]


def rise(errors: list[float]) -> float:
    """The largest error above the mean of the two ends.

    >>> rise([0.0, 0.5, 0.2])
    0.4
    """
    return max(errors) - (errors[0] + errors[-1]) / 2


class L2(LectureClaim):
    """The barrier between two trainings that share their first k steps."""

    name = "L2"
    summary = "two trainings have a barrier between them if they part at the start, and none if they part after 20%"
    statement = "After an early phase the order of the batches no longer decides which valley a training ends in."
    source = "Frankle et al. 2020, Linear mode connectivity and the lottery ticket hypothesis"
    method = (
        "Momentum 0.9. quick: a small convnet with batch norm on MNIST-1D (3,200 training sequences, lr = 0.05, batch "
        "64, 10 epochs). full: ResNet-20 on CIFAR-10 (lr = 0.1, batch 128, 100 epochs), without the paper's "
        "augmentation and schedule. Two children share the first k steps of a parent, state included, and then draw "
        "their batches from seeds of their own. The training error at 25 points of the line between the ends, with "
        "batch norm's statistics estimated anew at each point. The barrier is the largest error above the mean of the "
        "ends."
    )
    caveat = (
        "In the paper a LeNet on MNIST has no barrier even at k = 0. Larger networks have one at k = 0 and none after "
        "an early part of the training, whose length depends on the network. One network and one k decide here. "
        "Permutations of units are not undone (Entezari et al. 2022)."
    )
    tiers = ("quick", "full")

    def measure(self, context: ClaimContext, seed: int) -> pandas.DataFrame:
        """A parent and two children for each k."""
        import numpy as np

        workload = WORKLOADS[context.tier]
        parent = first_steps(workload, seed, context.device)
        steps = workload.epochs * parent.problem.steps_per_epoch(workload.batch)
        rows = Measurements()
        for series, share in SHARES.items():
            parent.step(round(share * steps) - parent.t)
            ends = [child(parent, 10_000 + 2 * seed + number, steps) for number in range(2)]
            errors = errors_between(ends[0], ends[1], parent.problem)
            rows.add("barrier of the training error", rise(errors), series=series)
            rows.add("mean training error of the ends", (errors[0] + errors[-1]) / 2, series=series)
            rows.curve("training error", np.linspace(0, 1, POINTS), errors, series=series)
        return rows.table()

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The training error on the line between the children."""
        from thalweg_plugins.claims.pictures import curves, of

        rows = of(table, "training error", curve=True)
        title = "Training error between two trainings"
        return curves(rows, title, "position on the line between the ends", "training error")
