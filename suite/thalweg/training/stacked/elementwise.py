"""Trains K small networks at once and one at a time, and compares their weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from thalweg.contracts import Batch, BuildContext, Draw, LoadedProblem, Metric, Optimizer, StackedStepper, Stepper
from thalweg.contracts.objective import Objective
from thalweg.contracts.optimizer import alike
from thalweg.contracts.problem import Split
from thalweg.training.direct.common import BLOCK

_SHAPES = {"w1": (6, 8), "b1": (8,), "w2": (8, 3), "b2": (3,)}
_EXAMPLES, _BATCH = 64, 16


def rows_of(parts: Sequence[Tensor], settings: int) -> Tensor:
    """Parts (K, ...) as rows of all members (D, K/D, P), as in a ``StackedModule``: with zeros after each part."""
    k = len(parts[0])
    padded = [functional.pad(part.reshape(k, -1), (0, -part[0].numel() % BLOCK)) for part in parts]
    return torch.cat(padded, 1).view(settings, k // settings, -1)


def parts_of(rows: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """The parts (K, ...) of rows (D, K/D, P)."""
    flat = rows.flatten(0, 1)
    lengths = [shape.numel() for shape in shapes]
    wide = torch.split(flat, [-(-length // BLOCK) * BLOCK for length in lengths], 1)
    return [part[:, :length].view(-1, *shape) for part, length, shape in zip(wide, lengths, shapes, strict=True)]


class Members(nn.Module):
    """K networks of 6, 8 and 3 units with tanh, whose weights are rows of one parameter (D, K/D, P)."""

    def __init__(self, weights: Mapping[str, Tensor], settings: int) -> None:
        super().__init__()
        self._shapes = [tensor.shape[1:] for tensor in weights.values()]
        self.rows = nn.Parameter(rows_of(list(weights.values()), settings))

    def forward(self, x: Tensor) -> Tensor:
        """(K, n, 6) to (K, n, 3)."""
        return _outputs(parts_of(self.rows, self._shapes), x)

    def parts(self, rows: Tensor) -> list[Tensor]:
        """Rows as parts (K, ...)."""
        return parts_of(rows, self._shapes)


def _outputs(weights: Iterable[Tensor], x: Tensor) -> Tensor:
    w1, b1, w2, b2 = weights
    outputs: Tensor = torch.tanh(x @ w1 + b1.unsqueeze(-2)) @ w2 + b2.unsqueeze(-2)
    return outputs


class Network(nn.Module):
    """A network of 6, 8 and 3 units with tanh."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in weights.items():
            self.register_parameter(name, nn.Parameter(tensor.clone()))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to (n, 3)."""
        return _outputs(self.parameters(), x)


class Regression(LoadedProblem):
    """Squared error on inputs (n, 6) and targets (n, 3). With K members in front, the sum of the members' losses."""

    metrics = (Metric("loss", "lower", "log"),)

    def __init__(self, inputs: Tensor, targets: Tensor) -> None:
        self.inputs, self.targets = inputs, targets
        self.sizes = {"train": inputs.shape[-2]}

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """Consecutive examples."""
        rows = (torch.arange(_BATCH) + step * _BATCH) % self.sizes["train"]
        return Batch(self.inputs[..., rows, :], self.targets[..., rows, :], _BATCH)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """A scalar."""
        loss: Tensor = (module(batch.inputs) - batch.targets).square().mean((-2, -1)).sum()
        return loss

    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """On all examples."""
        return {"loss": float(self.loss(module, Batch(self.inputs, self.targets, self.sizes["train"])))}


def compare(optimizer: Optimizer, members: Sequence[Mapping[str, Any]], steps: int, dtype: torch.dtype) -> float:
    """The largest difference of a weight between K members trained at once and the same members trained alone.

    Each member has its own start and data. Half-way every learning rate is halved, and a new stepper that loads the
    state replaces the stepper. The weights at the end are compared, and the weights to be evaluated.

    Args:
        optimizer: the optimizer.
        members: the hyperparameters of each member.
        steps: the number of steps, on batches of 16.
        dtype: the precision of weights and data.

    Raises:
        NotImplementedError: the optimizer has no form for these members.
    """
    k = len(members)
    generator = torch.Generator().manual_seed(0)
    starts = {name: torch.randn(k, *shape, generator=generator).to(dtype) / 2 for name, shape in _SHAPES.items()}
    inputs = torch.randn(k, _EXAMPLES, 6, generator=generator).to(dtype)
    targets = torch.randn(k, _EXAMPLES, 3, generator=generator).to(dtype)
    context = BuildContext(0, _EXAMPLES, _BATCH)
    shared = members[:1] if alike(members) else members

    stacked = Members(starts, len(shared))
    rows = _train(
        stacked, Regression(inputs, targets), steps, lambda: optimizer.build_stacked(stacked, shared, context)
    )
    at_once = [part for one in rows for part in stacked.parts(one)]
    differences = []
    for index, member in enumerate(members):
        network = Network({name: start[index] for name, start in starts.items()})
        problem = Regression(inputs[index], targets[index])
        alone = _train(network, problem, steps, lambda: optimizer.build(network, member, context))  # noqa: B023
        differences += [(a[index] - b).abs().max() for a, b in zip(at_once, alone, strict=True)]
    return float(torch.stack(differences).max())


class Bowls(LoadedProblem):
    """The sum of c/2 (w - cos(t) m)^2 over all weights w at step t. Each weight's gradient depends on that weight
    alone.

    Args:
        curvatures: c, a tensor of its shape for each parameter.
        minima: m, likewise.
    """

    metrics = (Metric("loss", "lower", "log"),)

    def __init__(self, curvatures: Sequence[Tensor], minima: Sequence[Tensor]) -> None:
        self.curvatures, self.minima = curvatures, minima
        self.sizes = {"train": _BATCH}

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        """cos(t)."""
        return Batch(torch.tensor(float(step)).cos(), None, _BATCH)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """A scalar."""
        at = 0.0 if batch.inputs is None else float(batch.inputs)
        triples = zip(module.parameters(), self.curvatures, self.minima, strict=True)
        return torch.stack([(c / 2 * (w - at * m).square()).sum() for w, c, m in triples]).sum()

    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        """The loss of step 0."""
        return {"loss": float(self.loss(module, self.batch("train", 0, Draw(0, None))))}


def compare_shapes(
    optimizer: Optimizer, members: Sequence[Mapping[str, Any]], shapes: Sequence[torch.Size], steps: int
) -> float:
    """``compare`` in float64 for weights of given shapes, because an optimizer may treat shapes or sizes differently.

    Args:
        optimizer: the optimizer.
        members: the hyperparameters of each of the K members.
        shapes: the shapes of a member's trained parameters.
        steps: the number of steps.
    """
    k = len(members)
    generator = torch.Generator().manual_seed(0)
    context = BuildContext(0, _BATCH, _BATCH)
    shared = members[:1] if alike(members) else members
    d = len(shared)
    starts, curvatures, minima = (
        [torch.randn(k, *shape, generator=generator, dtype=torch.float64) for shape in shapes] for _ in range(3)
    )
    curvatures = [c.abs() for c in curvatures]

    def train(at: Any, build: Any) -> list[Tensor]:
        own = [[at(tensor) for tensor in tensors] for tensors in (starts, curvatures, minima)]
        module = nn.ParameterList([start.clone() for start in own[0]])
        return _train(module, Bowls(own[1], own[2]), steps, lambda: build(module))

    whole = nn.ParameterList([nn.Parameter(rows_of(starts, d))])
    problem = Bowls([rows_of(curvatures, d)], [rows_of(minima, d)])
    rows = _train(whole, problem, steps, lambda: optimizer.build_stacked(whole, shared, context))
    at_once = [part for one in rows for part in parts_of(one, shapes)]
    differences = []
    for index in {0, k - 1}:
        alone = train(
            lambda stack: stack[index],  # noqa: B023
            lambda module: optimizer.build(module, members[index], context),  # noqa: B023
        )
        differences += [(a[index] - b).abs().max() for a, b in zip(at_once, alone, strict=True)]
    return float(torch.stack(differences).max())


def _train(module: nn.Module, problem: LoadedProblem, steps: int, build: Any) -> list[Tensor]:
    """The weights after some steps, and the weights to be evaluated."""
    stepper: Stepper = build()
    draw = Draw(0, _BATCH)
    objective = Objective(module, problem, draw)
    for step in range(steps):
        if step == steps // 2:
            stepper, state = build(), copy.deepcopy(stepper.state_dict())
            stepper.load_state_dict(state)
            if isinstance(stepper, StackedStepper):
                stepper.lrs = [lr / 2 for lr in stepper.lrs]
            else:
                stepper.lr = stepper.lr / 2
        objective.begin_step(problem.batch("train", step, draw), step)
        stepper.step(objective)
    weights = [parameter.detach().clone() for parameter in module.parameters()]
    with stepper.evaluation_weights():
        weights += [parameter.detach().clone() for parameter in module.parameters()]
    return weights
