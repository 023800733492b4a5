"""Hessians of hessian-eigenthings 1.0.0a5: exact in equal batches; in unequal ones, of a mean of the batches' means."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from look_peers import batches, distance, exact_hessian, hessian, loss, network, peer, vector

WEIGHTED = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))


@pytest.fixture
def operators() -> Any:
    return peer("hessian_eigenthings.operators", "hessian-eigenthings")


def matrix(operator: Any) -> Tensor:
    return torch.stack([operator.matvec(one) for one in torch.eye(operator.size, dtype=torch.float64)])


@pytest.mark.parametrize("sizes", [(20,), (10, 10), (4,) * 5])
def test_equal_batches_agree(operators: Any, sizes: tuple[int, ...]) -> None:
    module, data = network(), batches(*sizes)
    expected = exact_hessian(module, data)
    assert distance(matrix(operators.HessianOperator(module, data, loss)), expected) < 1e-13


def test_batches_of_8_8_and_4_examples_weigh_alike(operators: Any) -> None:
    module, data = network(), batches(8, 8, 4)
    expected = exact_hessian(module, data)
    operator = operators.HessianOperator(module, data, loss)
    found = matrix(operator)
    # each of the last 4 examples counts twice as much as each of the others
    alike = torch.stack([hessian(module, batch) for batch in data]).mean(0)
    assert distance(found, alike) < 1e-13
    v = vector(module)
    measured = {
        "product": distance(operator.matvec(v), expected @ v),
        "trace": float(found.trace() / expected.trace()) - 1,
        "largest": float(torch.linalg.eigvalsh(found)[-1] / torch.linalg.eigvalsh(expected)[-1]) - 1,
    }
    assert measured == pytest.approx({"product": 0.271, "trace": 0.277, "largest": 0.105}, abs=0.001)


def test_class_weights_are_counted_in_each_batch_alone(operators: Any) -> None:
    """Even equal batches hold unequal sums of class weights, which torch divides by."""
    module, data = network(), batches(10, 10)
    expected = exact_hessian(module, data, WEIGHTED)
    operator = operators.HessianOperator(module, data, lambda module, batch: WEIGHTED(module(batch[0]), batch[1]))
    assert distance(matrix(operator), expected) == pytest.approx(0.091, abs=0.001)
