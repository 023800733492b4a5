"""A problem: data, loss, metrics and a target to reach; or an analytic function."""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from thalweg.contracts.architecture import Shape
from thalweg.contracts.component import Component

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from thalweg.contracts.budget import Budget, Target
    from thalweg.contracts.costs import Costs
    from thalweg.contracts.losses import OutputLoss

Split = Literal["train", "valid", "test"]


@dataclass(frozen=True)
class Metric:
    """A number that a problem reports for a split.

    ``scale`` says on which scale means and intervals over seeds are taken and axes drawn; a log scale is for values of
    which none is below zero, and is given up where one is (``thalweg.scoring.scales``). ``unit`` is ``"%"`` for
    fractions that people read as percentages.
    """

    name: str
    better: Literal["higher", "lower"]
    scale: Literal["linear", "log"] = "linear"
    unit: str = ""


RESERVED = frozenset(
    {
        "final_validation",
        "training_loss",
        "area_under_curve",
        "stability",
        "steps_to_target",
        "gradient_evaluations_to_target",
        "curvature_products_to_target",
        "factor_inversions_to_target",
        "work_to_target",
        "seconds_to_target",
        "state_bytes",
    }
)
"""What leaderboards rank by besides a problem's metrics, none of which may have one of these names."""


@dataclass(frozen=True)
class LoadContext:
    """Where and how the data is wanted: device, dtype, and the share of the training examples kept for validation."""

    device: torch.device
    dtype: torch.dtype
    validation_fraction: float = 0.0


@dataclass
class Batch:
    """One batch: inputs and targets with the batch dimension first, and its number of examples."""

    inputs: Tensor | None
    targets: Tensor | None
    size: int


@dataclass
class Draw:
    """Where a trial's randomness comes from: everything is a function of the seed, a purpose and a position.

    So step t can be repeated without repeating the steps before it, and no two uses share a stream.
    """

    seed: int
    batch_size: int | None
    """None: the whole split."""
    _permutation: tuple[tuple[int, int], Tensor] | None = field(default=None, repr=False)

    def seed_for(self, purpose: str, *position: int) -> int:
        """A seed for ``purpose`` at ``position``: the first 63 bits of a SHA-256 of the three."""
        text = f"{self.seed}/{purpose}/{'/'.join(map(str, position))}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def generator(self, purpose: str, *position: int) -> torch.Generator:
        """A fresh generator on the CPU, so that every device sees the same draws."""
        import torch

        return torch.Generator().manual_seed(self.seed_for(purpose, *position))

    def permutation(self, epoch: int, n: int) -> Tensor:
        """The order of the n training examples in an epoch; the last one asked for is kept."""
        import torch

        if self._permutation is None or self._permutation[0] != (epoch, n):
            order = torch.randperm(n, generator=self.generator("order", epoch))
            self._permutation = ((epoch, n), order)
        return self._permutation[1]


def held_out(n: int, fraction: float) -> int:
    """The number of n training examples that are kept for validation: ceil(fraction n), corrected for rounding errors.

    >>> held_out(1347, 0.2), held_out(10, 0.3)
    (270, 3)
    """
    return math.ceil(round(fraction * n, 9))


class LoadedProblem(ABC):
    """A problem with its data on the device, for the training loop and the probes.

    ``Supervised`` and ``AnalyticFunction`` implement it for nearly every case.
    """

    online: bool = False
    """Whether each step has a different loss, in an order that the problem fixes whatever the batch size."""
    metrics: tuple[Metric, ...]
    """The primary metric first, ``loss`` among them."""
    sizes: Mapping[str, int]
    """Examples in each split that exists; an analytic function has one, ``train``, of size 1."""
    output_loss: OutputLoss | None = None
    """The loss as a function of the module's output, where it has that form (GGN and Fisher products need it)."""
    costs: Costs | None = None
    """What evaluations cost, where the problem declares it; None: what torch counts of the network and the loss."""

    @abstractmethod
    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """The batch of optimization step ``step``."""

    @abstractmethod
    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The mean loss per example of a batch: a differentiable scalar."""

    def outputs(self, module: nn.Module, batch: Batch) -> Tensor:
        """The module's outputs on a batch, where ``output_loss`` turns outputs and targets into the loss."""
        raise TypeError(f"{type(self).__name__} has no outputs apart from its loss")

    @abstractmethod
    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """Every metric on a whole split, without gradients. The caller has put the module into the mode it wants."""

    def reduced(
        self, split: Split = "train", examples: int | None = None, dtype: torch.dtype | None = None
    ) -> LoadedProblem:
        """A problem whose training split are the examples of one split, without augmentation. For probes.

        The base class returns the problem itself, for problems without examples.

        Args:
            split: the split that the examples are taken from.
            examples: the number of examples. They are drawn without replacement, and each call draws the same ones.
                None, or a number larger than the split, takes all.
            dtype: the precision of inputs and targets; None leaves it.

        Raises:
            ValueError: there is no such split.
        """
        if split not in self.sizes:
            raise ValueError(f"there is no split {split!r} here; there are: {', '.join(self.sizes)}")
        return self

    def steps_per_epoch(self, batch_size: int | None) -> int:
        """The full batches in the training split. An incomplete last batch is left out: all steps cost alike."""
        n = self.sizes["train"]
        return max(1, n // min(batch_size or n, n))

    def initialize(self, module: nn.Module, draw: Draw) -> None:  # noqa: B027 - most problems have nothing to do
        """Set the starting point where the problem fixes one (analytic functions); networks keep their own."""

    def online_metrics(self, steps: int, total: float, draw: Draw) -> dict[str, float]:
        """For an online problem, metrics of the whole run: ``total`` is the sum of the losses of the first steps."""
        return {}

    def project(self, parameters: Iterable[nn.Parameter]) -> None:  # noqa: B027 - most problems have no domain
        """Put the parameters back into the problem's domain, in place, after each step."""


class Problem(Component, ABC):
    """Describes data or a function, and loads it. A plugin subclasses this and registers the class.

    ``shape`` must not load data: whether an architecture fits is checked before anything is loaded or trained.
    """

    kind: ClassVar[str] = "problem"
    licence: str = ""
    normalisation: str = ""
    """How inputs are scaled, in a sentence."""
    metrics: tuple[Metric, ...] = (Metric("loss", "lower", "log"),)
    """The metrics, the primary one first. The loaded problem has an equal tuple."""
    splits: tuple[Split, ...] = ("train", "valid", "test")
    stacks: bool = False
    """Whether ``load`` gives a plain ``Supervised``, with its own ``loss`` and no domain: then seeds can be batched."""
    budget: Budget | None = None
    """How long to train where a benchmark does not say."""
    target: Target | None = None
    """What to reach where a benchmark does not say and the options are the defaults."""
    target_source: str = ""
    """Where the target comes from: baseline, seeds, rule."""

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """Examples of each split when none are kept for validation; empty where there are no examples."""
        return {}

    def memory(self, options: Mapping[str, Any]) -> int:
        """Bytes that the loaded problem takes at the least; asked before anything is loaded or fetched.

        More than ``thalweg.limits.BYTES`` are refused. Here: four for each number of an example's inputs, and of its
        targets; for a function a start and a minimum in float64. A problem that holds more overrides it, and so does
        one whose examples share what they hold.
        """
        shape = self.shape(options)
        if shape.task == "function":
            return 16 * math.prod(shape.output)
        targets = math.prod(shape.output) if shape.task == "regression" else 1
        # sequences of tokens may be windows of one text
        inputs = 1 if shape.task == "language" else math.prod(shape.input)
        return 4 * sum(self.sizes(options).values()) * (inputs + targets)

    def fetch(self, options: Mapping[str, Any]) -> None:
        """Make the data present on this machine; called once before anything trains, and ``load`` is offline then.

        Raises:
            UserError: it cannot be had, and what to do.
        """

    def small(self, folder: Path) -> dict[str, Any]:
        """Options of a small case for the conformance checks. Files that the case needs are written into ``folder``.

        A problem overrides this if its defaults are no small case, or if it needs a file of the user's.
        """
        return {}

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """A metric's value before anything is learned; None where it is not known, or differs much between starts.

        Scores over all workloads space the targets of a workload from here down to the workload's own target
        (``thalweg.scoring.targets``). The level should be no worse than most starts: the accuracy 1/C for C equal
        classes, the cross-entropy log C, the squared error of the mean as the answer, f(x0) for a function.

        Args:
            options: every option of the problem, as resolved.
            metric: the name of one of ``metrics``.
        """
        return None

    @abstractmethod
    def shape(self, options: Mapping[str, Any]) -> Shape:
        """Input and output shape and the task.

        Raises:
            UserError: the options do not go together, and why.
        """

    @abstractmethod
    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Load the data. Data libraries are imported here and not before."""

    def contract_violations(self) -> list[str]:
        """The faults of the declaration. A problem must have metrics, with ``loss`` among them."""
        wrong = super().contract_violations()
        if not self.metrics or "loss" not in [metric.name for metric in self.metrics]:
            wrong.append("metrics must name at least 'loss', the primary one first")
        if taken := RESERVED & {metric.name for metric in self.metrics}:
            wrong.append(f"metrics: leaderboards mean something else by {', '.join(sorted(taken))}")
        if self.target is not None and self.target.metric not in [metric.name for metric in self.metrics]:
            wrong.append(f"target names the metric {self.target.metric!r}, which is not among metrics")
        return wrong
