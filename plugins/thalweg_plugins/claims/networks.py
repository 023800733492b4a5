"""The networks of an experiment's workloads at weights that a claim chooses. Imports torch: import it in functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from thalweg.contracts import LoadContext
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.problem import Draw, LoadedProblem
from thalweg.curvature import hessian
from thalweg.landscape.directions import filter_normalized, random_direction
from thalweg_plugins.architectures import ARCHITECTURES
from thalweg_plugins.problems import PROBLEMS

if TYPE_CHECKING:
    import pandas as pd

    from thalweg.contracts.claim import MeasuredTrial


def _named(kinds: Iterable[type], given: str | Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A component of a workload, and its options."""
    spec = {"name": given} if isinstance(given, str) else dict(given)
    name = spec.pop("name")
    component = next(kind for kind in kinds if kind.name == name)()  # type: ignore[attr-defined]
    return component, resolve(component.options, spec, name)


@dataclass
class Network:
    """A workload's module and problem. ``at`` puts weights into the module."""

    module: nn.Module
    problem: LoadedProblem

    @classmethod
    def of(cls, workload: Mapping[str, Any], dtype: torch.dtype = torch.float64, device: str = "cpu") -> Network:
        """The network of a workload's table, with any weights."""
        problem, options = _named(PROBLEMS, workload["problem"])
        architecture, layers = _named(ARCHITECTURES, workload["architecture"])
        context = LoadContext(torch.device(device), dtype, workload.get("validation_fraction", 0.0))
        module = architecture.build(layers, problem.shape(options)).to(context.device, dtype)
        return cls(module, problem.load(options, context))

    @torch.no_grad()
    def at(self, weights: Tensor) -> nn.Module:
        """The module with these weights (P,)."""
        offset = 0
        for parameter in self.module.parameters():
            count = parameter.numel()
            parameter.copy_(weights[offset : offset + count].view_as(parameter))
            offset += count
        return self.module

    def objective(self, weights: Tensor, examples: int | None = None) -> Objective:
        """The training loss at these weights, over all training examples or ``examples`` of them, in training mode."""
        problem = self.problem.reduced("train", examples)
        objective = Objective(self.at(weights).train(), problem, Draw(0, None), advances_buffers=False)
        objective.begin_step(problem.batch("train", 0, Draw(0, None)), 0)
        return objective

    def curvature(self, weights: Tensor, draws: int, seed: int, filters: bool) -> float:
        """The mean of d'Hd over random directions d: the curvature at 0 of the loss along d.

        Args:
            weights: the point (P,).
            draws: the number of directions, standard normal.
            seed: draws the directions, the same ones for every network of a size.
            filters: whether each filter of d is scaled to the norm of the filter of the weights, and parameters of one
                dimension stay (Li et al. 2018).
        """
        objective = self.objective(weights)
        matrix = hessian(objective)
        generator = torch.Generator().manual_seed(seed)
        found = []
        for _ in range(draws):
            d = random_direction(objective.module, generator)
            if filters:
                d = filter_normalized(objective.module, d)
            found.append(float(d @ (matrix @ d)))
        return float(np.mean(found))


def at_training_loss(trial: MeasuredTrial, level: float) -> tuple[int, Tensor] | None:
    """Step and weights (P,) in float64 at the first evaluation with a training loss of ``level`` or less."""
    from thalweg_plugins.claims.trained import series

    losses: pd.Series = series(trial, "train", "loss")
    below: Sequence[Any] = losses.index[losses <= level].tolist()
    if not below:
        return None
    steps, weights = trial.trajectory()
    rows = (steps == below[0]).nonzero()
    return int(below[0]), weights[int(rows[0, 0])].double()
