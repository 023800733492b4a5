"""Wilson et al.'s least squares, each feature rebuilt from the paper's one-based formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from thalweg.contracts import Draw, LoadContext
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.registry import Registry
from thalweg_plugins.problems.wrs17 import WRS17


def load(registry: Registry, given: dict[str, Any]) -> Supervised:
    problem = registry.problem("wrs17")
    loaded = problem.load(resolve(problem.options, given, "x"), LoadContext(torch.device("cpu"), torch.float64))
    assert isinstance(loaded, Supervised)
    return loaded


@pytest.mark.parametrize(("share", "positive"), [(0.6, 120), (0.9, 180)])
@pytest.mark.parametrize(("unique", "counts"), [("paper", {1: 1, -1: 5}), ("literal", {1: 1, -1: 3})])
def test_sizes_and_features_are_those_of_the_paper(
    registry: Registry, share: float, positive: int, unique: str, counts: dict[int, int]
) -> None:
    loaded = load(registry, {"examples": 200, "share": share, "unique": unique})
    (x, y), (x_test, y_test) = loaded.data["train"], loaded.data["test"]
    d = 3 + 5 * (200 + 200)
    assert x.shape == x_test.shape == (200, d)
    assert int((y == 1).sum()) == int((y_test == 1).sum()) == positive
    labels = [int(v) for v in torch.cat([y, y_test]).flatten()]
    for i, (row, label) in enumerate(zip(torch.cat([x, x_test]), labels, strict=True), start=1):
        ones = {2, 3}  # counting from 1, as the paper does
        last = 4 + 5 * (i - 1) + (2 * (1 - label) if unique == "paper" else (1 - label))
        ones |= set(range(4 + 5 * (i - 1), last + 1))
        expected = np.zeros(d)
        expected[[j - 1 for j in ones]] = 1
        expected[0] = label
        np.testing.assert_array_equal(row.numpy(), expected)
        assert len(ones) - 2 == counts[label]
    # no test example shares a feature of its own with a training example
    assert not bool(((x[:, 3:] != 0).any(0) & (x_test[:, 3:] != 0).any(0)).any())


def test_the_loss_is_the_mean_of_squares_and_accuracy_that_of_signs(registry: Registry) -> None:
    loaded = load(registry, {"examples": 20, "test_examples": 10})
    architecture = registry.architecture("linear")
    shape = WRS17().shape({"examples": 20, "test_examples": 10})
    module = architecture.build(resolve(architecture.options, {"bias": False, "init": "zero"}, "x"), shape).double()
    # at zero the loss is the mean of y^2 = 1 and its gradient -2/n X'y
    assert loaded.evaluate(module, "train") == {"accuracy": 0.0, "loss": 1.0}
    x, y = loaded.data["train"]
    batch = loaded.batch("train", 0, Draw(0, None))
    (gradient,) = torch.autograd.grad(loaded.loss(module, batch), list(module.parameters()))
    torch.testing.assert_close(gradient, -2 / 20 * (x.T @ y).T, rtol=1e-12, atol=1e-14)
    with torch.no_grad():
        next(module.parameters()).zero_()[0, 0] = 3.0
    assert loaded.evaluate(module, "test") == {"accuracy": 1.0, "loss": 4.0}


def test_gradient_descent_reaches_the_least_squares_solution_of_minimum_norm(registry: Registry) -> None:
    """The theorem that the claim rests on, on a small case: 1e-10 relative, and test accuracy 1."""
    loaded = load(registry, {"examples": 20, "test_examples": 20})
    x, y = loaded.data["train"]
    w = torch.zeros(x.shape[1], 1, dtype=torch.float64)
    step = 1 / float(torch.linalg.matrix_norm(x, 2) ** 2)
    for _ in range(3000):
        w -= step * x.T @ (x @ w - y)
    minimum_norm = x.T @ torch.linalg.solve(x @ x.T, y)
    assert float((w - minimum_norm).norm() / minimum_norm.norm()) < 1e-10
    x_test, y_test = loaded.data["test"]
    assert torch.equal((x_test @ w).sign(), y_test)
    # and the solution that adaptive methods reach says the majority's label everywhere
    adaptive = (x.T @ y).sign()
    assert torch.equal((x_test @ adaptive).sign(), torch.ones_like(y_test))
