"""Data, losses and problems of unusual kinds: measured right, or refused with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from handmade import BATCH, CLASSES, EPOCH, Parts, examples, farthest, loaded, mlp, start
from thalweg.contracts import Batch, Draw, LoadContext, LoadedProblem
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.problem import Split
from thalweg.contracts.supervised import CLASSIFICATION
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg.training.stacked.stack import CannotStackError
from thalweg.training.stacked.train import train_together
from thalweg.trial import Stack

ROUNDING = 1e-12
"""Thirty steps in float64, whose sums may be added up in another order."""


class Balances(CrossEntropy):
    """Divides logits by a running mean of the probabilities it has seen."""

    def __init__(self) -> None:
        self.seen = torch.ones(CLASSES, dtype=torch.float64)

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.seen = 0.9 * self.seen + 0.1 * CLASSES * outputs.detach().softmax(-1).mean(0)
        return functional.cross_entropy(outputs / self.seen, targets)


class InPlace(Balances):
    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.seen.mul_(0.9).add_(0.1 * CLASSES * outputs.detach().softmax(-1).mean(0))
        return functional.cross_entropy(outputs / self.seen, targets)


@pytest.mark.parametrize("loss", [Balances, InPlace])
def test_a_loss_with_a_memory_is_refused_and_reaches_no_other_trial(registry: Registry, loss: Any) -> None:
    parts: Any = Parts(registry, mlp, problem=lambda: loaded(loss=loss()))
    first, second = (parts.trained()[1] for _ in range(2))
    for one in (first, second):
        assert one.status == "failed"
        assert "problem 'own' has a loss that changes with use" in one.reason
    columns = first.curve.columns.drop("seconds")
    assert first.curve[columns].equals(second.curve[columns])
    with pytest.raises(CannotStackError, match="a stack computes the loss otherwise"):
        train_together([parts.trial(seed=seed, stack=Stack(size=4, slot=0)) for seed in range(2)], parts)


class Weighted(CrossEntropy):
    """Torch's weights of classes, whose sum over a batch divides."""

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, weight=outputs.new_tensor([1.0, 2.0, 5.0]), reduction="none")

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, weight=outputs.new_tensor([1.0, 2.0, 5.0]))


class Scaled(Weighted):
    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.per_example(outputs, targets).mean()


def test_a_loss_that_is_no_mean_over_examples_is_refused(registry: Registry) -> None:
    """Its value over a split depends on how the split is cut into chunks."""
    _, refused = Parts(registry, mlp, problem=lambda: loaded(loss=Weighted())).trained()
    assert refused.status == "failed"
    assert "Weighted.mean gives" in refused.reason
    training, trained = Parts(registry, mlp, problem=lambda: loaded(loss=Scaled())).trained()
    x, y = examples()
    with torch.no_grad():
        each = functional.cross_entropy(training.it.module(x), y, reduction="none")
    expected = (each * torch.tensor([1.0, 2.0, 5.0]).double()[y]).mean().item()
    assert trained.summary["final"]["train"]["loss"] == pytest.approx(expected, rel=ROUNDING)


class Own(LoadedProblem):
    """A third party's problem of its own form: hinge-like loss, and a metric of its own name."""

    metrics = CLASSIFICATION

    def __init__(self, streams: bool = False) -> None:
        self.data = {split: examples(split) for split in ("train", "valid", "test")}
        self.sizes = {split: len(x) for split, (x, _) in self.data.items()}  # type: ignore[misc]
        self.streams, self.at = streams, 0

    def batch(self, split: Split, step: int, draw: Draw) -> Batch:
        if self.streams:  # the next ones, whatever was asked for
            self.at, step = self.at + 1, self.at
        x, y = self.data[split]
        rows = torch.arange(step * BATCH, (step + 1) * BATCH) % len(x)
        return Batch(x[rows], y[rows], BATCH)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        assert batch.targets is not None
        return functional.multi_margin_loss(module(batch.inputs), batch.targets)

    @torch.no_grad()
    def evaluate(self, module: nn.Module, split: Split) -> dict[str, float]:
        x, y = self.data[split]
        out = module(x)
        return {
            "loss": functional.multi_margin_loss(out, y).item(),
            "accuracy": (out.argmax(1) == y).double().mean().item(),
        }


def test_a_problem_of_ones_own_form_is_the_loop_by_hand(registry: Registry) -> None:
    training, trained = Parts(registry, mlp, problem=Own).trained(lr=0.2)
    module = start(mlp)
    x, y = examples()
    for t in range(5 * EPOCH):
        rows = slice(t % EPOCH * BATCH, (t % EPOCH + 1) * BATCH)
        loss = functional.multi_margin_loss(module(x[rows]), y[rows])
        with torch.no_grad():
            for p, g in zip(module.parameters(), torch.autograd.grad(loss, list(module.parameters())), strict=True):
                p -= 0.2 * g
    assert farthest(training.it.module, module) < ROUNDING
    final = trained.summary["final"]["train"]["loss"]
    assert final == pytest.approx(functional.multi_margin_loss(module(x), y).item(), rel=ROUNDING)


def test_batches_that_are_no_function_of_the_step_are_refused(registry: Registry) -> None:
    _, trained = Parts(registry, mlp, problem=lambda: Own(streams=True)).trained()
    assert trained.status == "failed"
    assert "problem 'own' gives another batch of step 0 after training than before" in trained.reason


class Same(Own):
    """Every example is the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.data = {split: (x[:1].expand_as(x), y[:1].expand_as(y)) for split, (x, y) in self.data.items()}


def test_examples_that_are_all_one_tensor_in_memory(registry: Registry) -> None:
    """Expanded tensors have one row in memory; the guard of the data reads them as any other."""
    training, trained = Parts(registry, mlp, problem=Same).trained(lr=0.2)
    assert trained.status == "done"
    module, (x, y) = start(mlp), examples()
    for _ in range(5 * EPOCH):
        loss = functional.multi_margin_loss(module(x[:1]), y[:1])
        with torch.no_grad():
            for p, g in zip(module.parameters(), torch.autograd.grad(loss, list(module.parameters())), strict=True):
                p -= 0.2 * g
    assert farthest(training.it.module, module) < ROUNDING


class Fills(nn.Module):
    """Replaces missing values by zero."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x.nan_to_num(0.0))
        return out


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_missing_values_are_told_and_can_be_filled_in(registry: Registry, split: Split) -> None:
    """An accuracy would count the class of the first nan among outputs."""

    def hole() -> Any:
        problem = loaded()
        problem.data[split][0][3, 2] = float("nan")
        return problem

    _, trained = Parts(registry, mlp, problem=hole).trained(lr=0.2)
    assert trained.status == "failed"
    assert f"problem 'own': the {split} split holds values that are not finite: its loss is nan" in trained.reason
    training, filled = Parts(registry, Fills, problem=hole).trained(lr=0.2)
    x, y = hole().data[split]
    module = training.it.module
    if split == "test":  # at the step that validation selects
        assert filled.status == "done"
        return
    with torch.no_grad():
        loss = functional.cross_entropy(module.net(x.nan_to_num(0.0)), y).item()
    assert filled.summary["final"][split]["loss"] == pytest.approx(loss, rel=ROUNDING)


def arrays(folder: Path, x: Any, y: Any) -> dict[str, Any]:
    np.savez(folder / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    defaults = {"inputs": "", "targets": "", "test_share": 0.2, "normalisation": "standardize"}
    return {"file": str(folder / "mine.npz"), **defaults}


def load(registry: Registry, name: str, options: Mapping[str, Any], dtype: torch.dtype) -> Any:
    return registry.problem(name).load(options, LoadContext(torch.device("cpu"), dtype))


def test_inputs_whose_square_is_infinite_are_refused_and_no_zeros(registry: Registry, tmp_path: Path) -> None:
    x = np.array([[1e200, 1.0], [-1e200, 2.0], [3e200, 3.0], [0.0, 4.0]])
    options = arrays(tmp_path, x, np.array([0, 1, 0, 1]))
    with pytest.raises(
        UserError, match="x_train: the squares of its values are too large for float64: scale the values"
    ):
        load(registry, "arrays", options, torch.float64)
    with pytest.raises(UserError, match="x_train has values too large for float32"):
        load(registry, "arrays", {**options, "normalisation": "none"}, torch.float32)
    kept = load(registry, "arrays", {**options, "normalisation": "none"}, torch.float64)
    assert torch.equal(kept.data["train"][0], torch.from_numpy(x))


def test_targets_that_a_precision_cannot_tell_apart_are_refused(registry: Registry, tmp_path: Path) -> None:
    x, y = np.arange(8.0)[:, None], 1e9 + np.arange(8) % 2
    options = arrays(tmp_path, x, y)
    with pytest.raises(
        UserError, match=r"y_train varies by less than the spacing of float32 numbers .* subtract the mean"
    ):
        load(registry, "arrays-regression", options, torch.float32)
    kept = load(registry, "arrays-regression", options, torch.float64)
    assert torch.equal(kept.data["train"][1][:, 0], torch.from_numpy(y))
    for fine in (y - y.mean(), np.full(8, 1e9), 2000 + np.arange(8.0)):
        load(registry, "arrays-regression", arrays(tmp_path, x, fine), torch.float32)


def test_constant_and_repeated_inputs_are_standardized_as_by_hand(registry: Registry, tmp_path: Path) -> None:
    x = np.array([[5, 1, 0], [5, 1, 0], [5, 3, 0], [5, 3, 0]], dtype=np.int64)
    problem = load(registry, "arrays", arrays(tmp_path, x, np.array([0, 0, 1, 1])), torch.float64)
    expected = torch.tensor([[0.0, -1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]).double()
    assert torch.equal(problem.data["train"][0], expected)
