"""A probe measures something of a model during or after training, as a table, and draws that table."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from thalweg.contracts.component import Component

if TYPE_CHECKING:
    import altair
    import pandas
    import torch
    from torch import Tensor, nn

    Table = pandas.DataFrame | Mapping[str, Any]

    from thalweg.contracts.modes import BatchStatistics
    from thalweg.contracts.objective import Objective
    from thalweg.contracts.optimizer import Optimizer, Stepper
    from thalweg.contracts.problem import LoadedProblem, Split

When = Literal["start", "step", "epoch", "end", "pair"]
Weights = Literal["initial", "final", "trajectory"]


@dataclass(frozen=True)
class Column:
    """A column of a probe's table, with its unit (empty for a pure number)."""

    name: str
    unit: str = ""
    summary: str = ""


@dataclass
class SavedWeights:
    """The weights that a probe asked for: state dicts, and the parameters along the way as rows of a (T, P) tensor.

    The rows and the final weights are the weights that are evaluated (``Stepper.evaluation_weights``).
    """

    initial: dict[str, Tensor] | None = None
    final: dict[str, Tensor] | None = None
    trajectory: Tensor | None = None
    trajectory_steps: tuple[int, ...] = ()


def _ignored(done: int, total: int) -> None:
    """Ignore the progress, because nobody follows it."""


def _no_stepper() -> Stepper | None:
    """On saved weights."""
    return None


@dataclass
class ProbeContext:
    """Everything that a probe may look at.

    Module and stepper are copies. The data is shared and must not be changed. A trial gives a probe the same module
    object each time, brought up to date in parameters, buffers and modes. ``objective`` is on the current batch, in
    training mode. It has counts of its own, which are saved as the cost of the measurement.
    """

    options: Mapping[str, Any]
    module: nn.Module
    problem: LoadedProblem
    objective: Objective
    step: int
    epoch: float
    generator: torch.Generator
    weights: SavedWeights
    other: SavedWeights | None = None
    """For ``pair`` probes: the other trial's weights."""
    optimizer: Optimizer | None = None
    """What trains, or trained, the module."""
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    """The optimizer's, all of them."""
    lr: float | None = None
    """The learning rate at this step; None where it is not known, as on saved weights with a schedule."""
    batch_size: int | None = None
    """Examples in a batch of training; None: the whole training split."""
    copy_stepper: Callable[[], Stepper | None] = _no_stepper
    scratch: Path | None = None
    """A folder where a long measurement may keep what it has, to go on from there when it is asked for again."""
    progress: Callable[[int, int], None] = _ignored
    """To be called with how much is done of how much."""

    @functools.cached_property
    def stepper(self) -> Stepper | None:
        """A copy of the optimizer at work, on ``module``; None on saved weights, or where it cannot be copied."""
        return self.copy_stepper()

    @property
    def on_saved_weights(self) -> bool:
        """Whether the probe measures saved weights, without an optimizer."""
        return self.copy_stepper is _no_stepper

    def objective_on(
        self,
        split: Split = "train",
        examples: int | None = None,
        dtype: torch.dtype | None = None,
        batch_norm: BatchStatistics = "running",
        fresh: bool = True,
    ) -> Objective:
        """The loss on a split, or on some of its examples, as one batch, for gradients and curvature.

        The objective is on a copy of the module in evaluation mode, so that nothing is random. Its evaluations count as
        those of ``objective``.

        Args:
            split: which examples.
            examples: how many; see ``LoadedProblem.reduced``.
            dtype: the precision of module and data, as they are where None.
            batch_norm: the statistics that batch norm uses.
            fresh: whether to copy ``module``, which takes as long as a training step if ``module`` is small. Otherwise
                ``module`` itself goes into evaluation mode, and the probe puts it back.
        """
        from thalweg.contracts.copies import copied
        from thalweg.contracts.modes import set_evaluating
        from thalweg.contracts.objective import Objective
        from thalweg.contracts.precision import move
        from thalweg.contracts.problem import Draw

        module = copied(self.module) if fresh else self.module
        move(module, dtype=dtype)
        set_evaluating(module, batch_norm)
        problem, draw = self.problem.reduced(split, examples, dtype), Draw(self.generator.initial_seed(), None)
        watching = Objective(module, problem, draw, advances_buffers=False, counts=self.objective.counts)
        watching.begin_step(problem.batch("train", 0, draw), 0)
        return watching


class Probe(Component, ABC):
    """Declares when it runs, the weights it needs and its columns; measures a table and draws it.

    ``measure`` is called at each time in ``when``; the rows of all calls make one table. ``step`` is after every
    optimization step, ``epoch`` after every epoch, ``start`` before the first step and ``end`` after the last.
    """

    kind: ClassVar[str] = "probe"
    weights_suffice: bool = False
    """Whether weights are all that it needs: it looks at the start and the end alone, and not at the optimizer.

    Then its trials can be batched.
    """
    looks_at_optimizer: bool = True
    """Whether it looks at the optimizer, its learning rate or its stepper. Trials whose probes do not can be batched,
    where the probes look while the trials train."""
    when: tuple[When, ...] = ("end",)
    needs: tuple[Weights, ...] = ()
    columns: tuple[Column, ...] = ()
    thins: bool = False
    """Whether its pictures take tables of any length: of a long one they leave points out, and say so in the picture.

    Other probes are given every n-th row of a long table by the app.
    """

    @property
    def measured_on(self) -> set[str]:
        """The names of the weights on which it is measured: initial, final, trajectory."""
        return {*self.needs, "final", *(["initial"] if "start" in self.when else [])}

    def misfit(self, options: Mapping[str, Any]) -> str | None:
        """Why it cannot run with these options, as the end of a sentence; None when it can. Asked before training."""
        return None

    def points(self, options: Mapping[str, Any]) -> int:
        """How many evaluations, gradients, products or rows of a table a measurement asks for, as far as options say.

        Asked before training, and refused where it is more than ``thalweg.limits.POINTS``.
        """
        return 0

    def vectors(self, options: Mapping[str, Any]) -> int:
        """How many vectors as long as all weights a measurement holds at once, as far as options say.

        Asked before training, and refused where they take more bytes than ``thalweg.limits.PROBE_BYTES``.
        """
        return 0

    def due(self, options: Mapping[str, Any], step: int) -> bool:
        """Whether to measure after that many steps: asked before anything is copied for it."""
        return True

    @abstractmethod
    def measure(self, context: ProbeContext) -> Table:
        """Measure now: a DataFrame, or its columns, lists or one value for all rows, by name.

        The table has exactly the declared columns. Columns take less time than a DataFrame, which for a probe that
        measures after every step can be more than what it measures.
        """

    @abstractmethod
    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """Draw a table. It may have a column ``trial`` besides: then several trials are drawn on shared scales."""

    def views(self) -> Mapping[str, Callable[[pandas.DataFrame], object]]:
        """Further pictures of the table, by name: functions that give an Altair chart or a Plotly figure."""
        return {}

    def contract_violations(self) -> list[str]:
        """The faults of the declaration. A probe must declare its columns and when it measures."""
        wrong = super().contract_violations()
        if not self.columns:
            wrong.append("columns must name the table's columns, with units")
        times = {"start", "step", "epoch", "end", "pair"}
        if not self.when or not set(self.when) <= times:
            wrong.append(f"when = {self.when!r} must be among {', '.join(sorted(times))}")
        if not set(self.needs) <= {"initial", "final", "trajectory"}:
            wrong.append(f"needs = {self.needs!r} must be among initial, final, trajectory")
        if self.weights_suffice and {"step", "epoch"} & set(self.when):
            wrong.append(f"weights_suffice is of probes at the start and the end, and when = {self.when!r}")
        return wrong
