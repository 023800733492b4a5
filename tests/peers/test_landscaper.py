"""Surfaces and Hessians of landscaper 1.3.1: exact losses at coordinates other than their labels; an exact Hessian."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from look_peers import (
    batches,
    directions,
    distance,
    exact_hessian,
    exact_surface,
    examples,
    grid,
    like,
    loss,
    network,
    peer,
    surface,
    vector,
    weights,
)

DISTANCE = 0.5


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def own_scale(module: nn.Module, direction: Tensor) -> Tensor:
    """A tensor of n numbers gets the norm sqrt(n), in float32, and then the whole the norm of the weights."""
    roots = [float(torch.tensor(float(one.numel())).sqrt()) for one in module.parameters()]
    pieces = zip(like(module, direction), roots, strict=True)
    scaled: Tensor = torch.cat([one.flatten() * (root / (one.norm() + 1e-10)) for one, root in pieces])
    scaled *= weights(module).norm() / scaled.norm()
    return scaled


@pytest.mark.parametrize(
    ("steps", "lowest", "highest", "off"),
    [(41, -40 / 41, 40 / 41, 0.0043), (11, -10 / 11, 10 / 11, 0.0157), (10, -1.0, 0.8, 0.0321)],
)
def test_labels_are_of_points_that_were_not_evaluated(steps: int, lowest: float, highest: float, off: float) -> None:
    """A step is 2 distance / steps long, and the labels lie 2 distance / (steps - 1) apart."""
    compute = peer("landscaper.compute", "landscaper")
    module = network()
    exact_surface(module, examples())
    ends = directions(module)
    np.random.seed(0)  # noqa: NPY002 - landscaper adds noise of this generator to the highest loss
    found, labels = compute.compute_loss_landscape(
        module, examples(), [like(module, end) for end in ends], lambda module, batch: loss(module, batch).item(),
        steps, DISTANCE, dim=2, device="cpu",
    )  # fmt: skip
    evaluated = DISTANCE * np.linspace(lowest, highest, steps)
    first, second = (own_scale(module, end) for end in ends)
    at_evaluated, at_labels = (
        surface(module, examples(), grid(weights(module), first, second, ticks, ticks))
        for ticks in (evaluated, labels[0])
    )
    noisy = at_evaluated == at_evaluated.max()
    assert noisy.sum() == 1
    np.testing.assert_allclose(found[~noisy], at_evaluated[~noisy], rtol=1e-12)
    assert found[noisy] != pytest.approx(at_evaluated[noisy], rel=1e-5)
    assert labels[0][[0, -1]].tolist() == [-DISTANCE, DISTANCE]
    assert abs(found / at_labels - 1).max() == pytest.approx(off, abs=0.0002)


def test_unequal_batches_agree() -> None:
    hessian = peer("landscaper.hessian", "landscaper")
    module, data = network(), batches(8, 8, 4)
    expected, v = exact_hessian(module, data), vector(module)
    _, found = hessian.PyHessian(module, nn.CrossEntropyLoss(), data, "cpu").hv_product(like(module, v))
    assert distance(torch.cat([one.flatten() for one in found]), expected @ v) < 1e-13


def test_a_density_comes_with_weights_of_each_pair_and_not_of_each_eigenvalue() -> None:
    """Lanczos' quadrature takes the first component of each eigenvector, and landscaper gives all of them, squared."""
    hessian = peer("landscaper.hessian", "landscaper")
    module, data = network(), batches(20)
    exact_hessian(module, data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, squares = hessian.PyHessian(module, nn.CrossEntropyLoss(), data, "cpu").density(10, 1)
    assert np.shape(values) == (1, 10)
    assert np.shape(squares) == (1, 10, 10)
    assert np.sum(squares).real == pytest.approx(10, rel=1e-4)
