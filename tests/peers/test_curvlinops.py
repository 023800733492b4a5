"""Hessians of curvlinops 3.0.1: exact in any batches; it refuses a loader that shuffles, of which ``look`` is right."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from look_peers import batches, distance, exact_hessian, examples, network, peer, vector

WEIGHTED = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))


@pytest.fixture
def curvlinops() -> Any:
    return peer("curvlinops", "curvlinops-for-pytorch")


def shuffled(size: int) -> DataLoader[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(0)
    return DataLoader(TensorDataset(*examples()), size, shuffle=True, generator=generator)


def operator(curvlinops: Any, module: nn.Module, data: Any, criterion: nn.Module | None = None, **more: Any) -> Any:
    criterion = criterion or nn.CrossEntropyLoss()
    return curvlinops.HessianLinearOperator(module, criterion, list(module.parameters()), data, **more)


@pytest.mark.parametrize("sizes", [(20,), (10, 10), (8, 8, 4)])
def test_equal_and_unequal_batches_agree(curvlinops: Any, sizes: tuple[int, ...]) -> None:
    module, data = network(), batches(*sizes)
    v = vector(module)
    assert distance(operator(curvlinops, module, data) @ v, exact_hessian(module, data) @ v) < 1e-13


@pytest.mark.parametrize("size", [8, 10])
def test_a_loader_that_shuffles_is_refused(curvlinops: Any, size: int) -> None:
    """The check named after the total loss compares the losses of the last batch; the total loss is the same."""
    module = network()
    v = vector(module)
    expected = exact_hessian(module, shuffled(size)) @ v
    with pytest.raises(RuntimeError, match="deterministic total loss"):
        operator(curvlinops, module, shuffled(size))
    unchecked = operator(curvlinops, module, shuffled(size), check_deterministic=False)
    losses = [sum(float(one) for _, _, one, _ in unchecked.data_prediction_loss_gradient()) for _ in range(2)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    assert distance(unchecked @ v, expected) < 1e-13


def test_class_weights_are_counted_in_each_batch_alone(curvlinops: Any) -> None:
    module, data = network(), batches(10, 10)
    v = vector(module)
    expected = exact_hessian(module, data, WEIGHTED) @ v
    assert distance(operator(curvlinops, module, batches(20), WEIGHTED) @ v, expected) < 1e-13
    assert distance(operator(curvlinops, module, data, WEIGHTED) @ v, expected) == pytest.approx(0.088, abs=0.001)
