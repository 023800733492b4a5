"""Surfaces and Hessians of nngeom 0.2.0: exact in evaluation mode; in training mode, of two networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from look_peers import (
    SIDE,
    directions,
    distance,
    exact_hessian,
    exact_surface,
    examples,
    loss,
    network,
    peer,
    vector,
)


@pytest.fixture
def nngeom() -> Any:
    return peer("nngeom", "nngeom")


def product(model: Any, v: Tensor) -> Tensor:
    return torch.from_numpy(model.hvp(examples(), v.numpy()))


def test_evaluation_mode_agrees(nngeom: Any) -> None:
    lossland = peer("nngeom.lossland", "nngeom")
    module = network()
    expected = exact_surface(module, examples())
    model = nngeom.Model(module, loss_fn=loss)
    ends = [one.numpy() for one in directions(module)]
    found = lossland.plane_slice_2d(model, examples(), steps=SIDE, directions=ends).losses
    np.testing.assert_allclose(np.asarray(found).T, expected, rtol=1e-12)
    v = vector(module)
    assert distance(product(model, v), exact_hessian(module, examples()) @ v) < 1e-13


def test_the_loss_is_in_evaluation_mode_and_the_hessian_in_the_mode_of_the_network(nngeom: Any) -> None:
    module: Any = network(nn.BatchNorm1d(5))
    expected, expected_loss = exact_hessian(module, examples()), float(loss(module, examples()).detach())
    model, v = nngeom.Model(module.train(), loss_fn=loss), vector(module)
    assert model.loss(examples()) == pytest.approx(expected_loss, rel=1e-12)
    before = module[1].running_mean.clone()
    found = product(model, v)
    assert not torch.equal(module[1].running_mean, before)
    assert distance(found, expected @ v) == pytest.approx(0.814, abs=0.001)
    # the same call gives another loss now, because the Hessian's pass has moved the running statistics
    assert model.loss(examples()) / expected_loss - 1 == pytest.approx(-0.00059, abs=0.00005)


def test_dropout_is_drawn_anew_in_each_product(nngeom: Any) -> None:
    module, v = network(nn.Dropout(0.5)).train(), vector(network())
    expected = exact_hessian(module, examples()) @ v
    model = nngeom.Model(module, loss_fn=loss)
    torch.manual_seed(0)
    off = [distance(product(model, v), expected) for _ in range(20)]
    assert np.median(off) == pytest.approx(1.25, abs=0.02)
    assert max(off) > 1.1 * min(off)


def test_a_loss_leaves_frozen_batch_norm_in_training_mode(nngeom: Any) -> None:
    module = network(nn.BatchNorm1d(5)).train()
    module[1].eval()
    expected = exact_hessian(module, examples())
    model, v = nngeom.Model(module, loss_fn=loss), vector(module)
    assert distance(product(model, v), expected @ v) < 1e-13
    model.loss(examples())
    assert module[1].training
    assert distance(product(model, v), expected @ v) > 0.1


def test_its_filters_are_layers(nngeom: Any) -> None:
    """Li et al. 2018 give each filter of a direction the norm of the filter; ``look.surface`` does so."""
    probes = peer("nngeom.probes", "nngeom")
    module = network()
    exact_surface(module, examples())
    model = nngeom.Model(module, loss_fn=loss)
    found = torch.from_numpy(probes.filter_normalize(probes.random_direction(model, seed=0), model))
    own = directions(module)[0]
    first: Any = module[0]
    norms, theirs, ours = first.weight.norm(dim=1), *(one[:30].view(5, 6).norm(dim=1) for one in (found, own))
    norms = norms.detach()
    torch.testing.assert_close(ours, norms)
    assert theirs.norm() == pytest.approx(float(norms.norm()), rel=1e-9)
    ratios = theirs / norms
    assert (float(ratios.min()), float(ratios.max())) == pytest.approx((0.356, 2.162), abs=0.001)
