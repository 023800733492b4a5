from __future__ import annotations

import numpy as np
import torch

from thalweg.contracts import Draw, LoadContext
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import Supervised
from thalweg.registry import Registry
from thalweg_plugins.problems.quadratic import Quadratic

CPU = torch.device("cpu")


def test_digits_have_the_declared_split_and_scaling(registry: Registry) -> None:
    loaded = registry.problem("digits").load({}, LoadContext(CPU, torch.float64, 0.2))
    assert isinstance(loaded, Supervised)
    assert loaded.sizes == {"train": 1077, "valid": 270, "test": 450}
    train = loaded.data["train"][0]
    assert float(train.mean(0).abs().max()) < 1e-12
    assert float(train.max() - train.min()) <= 2
    pixels = torch.cat([inputs for inputs, _ in loaded.data.values()]) - train[0]
    # 1,797 different images (one pair of the set is equal), so no example is in two splits
    assert len({tuple(row) for row in pixels.round(decimals=9).tolist()}) >= 1796
    assert torch.bincount(loaded.data["test"][1]).min() >= 43


def test_the_quadratic_has_the_declared_spectrum_gradient_and_minimum(registry: Registry) -> None:
    problem = Quadratic()
    options = resolve(problem.options, {"dim": 12, "kappa": 50.0}, "x")
    hessian, minimum = problem.hessian_and_minimum(options)
    eigenvalues = torch.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(eigenvalues.numpy(), np.geomspace(1, 50, 12), rtol=1e-10)
    loaded = problem.load(options, LoadContext(CPU, torch.float64))
    module = registry.architecture("point").build({}, problem.shape(options)).double()
    loaded.initialize(module, Draw(3, None))
    (point,) = module.parameters()
    objective = Objective(module, loaded, Draw(3, None))
    objective.begin_step(loaded.batch("train", 0, Draw(3, None)), 0)
    loss, (gradient,) = objective.gradient()
    offset = point.detach() - minimum
    torch.testing.assert_close(gradient, hessian @ offset, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss, 0.5 * offset @ hessian @ offset, rtol=1e-12, atol=0)
    (product,) = objective.hessian_product([torch.ones(12).double()])
    torch.testing.assert_close(product, hessian.sum(1), rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        point.copy_(minimum)
    assert loaded.evaluate(module, "train")["loss"] == 0.0
