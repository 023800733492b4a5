from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.contracts import Draw
from thalweg.contracts.losses import CrossEntropy, SquaredError
from thalweg.contracts.objective import Objective, kept_buffers
from thalweg.testing.small import network, problem, same


def make(module: nn.Module, draws_in_forward: bool = False, dtype: torch.dtype = torch.float64) -> Objective:
    data = problem(dtype)
    draw = Draw(0, 16)
    objective = Objective(module, data, draw, draws_in_forward)
    objective.begin_step(data.batch("train", 0, draw), 0)
    return objective


def buffers(module: nn.Module) -> list[Tensor]:
    return [buffer.clone() for buffer in module.buffers()]


def test_batch_norm_advances_once_a_step_however_often_the_loss_is_evaluated() -> None:
    once, often = network(torch.float64), network(torch.float64)
    start = buffers(once)
    make(once).backward()
    objective = make(often)
    for _ in range(4):
        objective.backward()
    assert not same(start, buffers(once))
    assert same(buffers(once), buffers(often))


def test_the_graph_of_an_earlier_evaluation_survives_a_later_one() -> None:
    objective = make(network(torch.float64))
    first = objective.loss()
    objective.loss()
    torch.autograd.grad(first, objective.parameters)


def test_an_observer_is_uncounted_and_leaves_the_buffers() -> None:
    module = network(torch.float64)
    objective = make(module)
    start = buffers(module)
    loss, gradient = objective.observer().gradient()
    assert torch.equal(loss, objective.loss().detach())
    assert objective.counts.gradient_evaluations == 0
    assert len(gradient) == len(objective.parameters)
    fresh = network(torch.float64)
    make(fresh).observer().loss()
    assert same(start, buffers(fresh))


def test_counts_what_is_asked() -> None:
    objective = make(network(torch.float64))
    objective.backward()
    objective.gradient()
    objective.loss()
    objective.hessian_product([torch.ones_like(parameter) for parameter in objective.parameters])
    assert objective.counts.gradient_evaluations == 2
    assert objective.counts.curvature_products == 1
    assert objective.counts.examples == 4 * 16


def test_dropout_repeats_its_draws_within_a_step_and_changes_them_between_steps() -> None:
    module = nn.Sequential(nn.Linear(6, 32), nn.Dropout(0.5), nn.Linear(32, 3)).double()
    objective = make(module, draws_in_forward=True)
    first, second = objective.loss(), objective.loss()
    assert torch.equal(first, second)
    objective.begin_step(objective.batch, 1)
    assert not torch.equal(first, objective.loss())


def test_the_gradient_agrees_with_finite_differences() -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    objective = make(module)
    _, gradient = objective.gradient()
    h = 1e-6
    weight = module[0].weight
    assert isinstance(weight, Tensor)
    for index in ((0, 0), (4, 5), (2, 3)):
        with torch.no_grad():
            weight[index] += h
            up = float(objective.loss())
            weight[index] -= 2 * h
            down = float(objective.loss())
            weight[index] += h
        # central differences: error h^2 plus rounding 1e-16 / h
        assert abs((up - down) / (2 * h) - float(gradient[0][index])) < 1e-8


def test_hessian_products_agree_with_the_dense_hessian() -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double()
    objective = make(module)
    names = [name for name, _ in module.named_parameters()]
    shapes = [parameter.shape for parameter in objective.parameters]
    sizes = [parameter.numel() for parameter in objective.parameters]

    def loss(flat: Tensor) -> Tensor:
        pieces = [piece.view(shape) for piece, shape in zip(flat.split(sizes), shapes, strict=True)]
        outputs = torch.func.functional_call(module, dict(zip(names, pieces, strict=True)), (objective.batch.inputs,))
        return nn.functional.cross_entropy(outputs, objective.batch.targets)

    flat = torch.cat([parameter.detach().reshape(-1) for parameter in objective.parameters])
    dense = torch.autograd.functional.hessian(loss, flat)
    v = torch.randn(len(flat), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pieces = [piece.view(shape) for piece, shape in zip(v.split(sizes), shapes, strict=True)]
    product = torch.cat([piece.reshape(-1) for piece in objective.hessian_product(pieces)])
    torch.testing.assert_close(product, dense @ v, rtol=1e-10, atol=1e-12)


def test_buffers_come_back_after_an_exception() -> None:
    module = network()
    before = list(module.buffers())
    try:
        with kept_buffers(module):
            module(torch.randn(8, 6))
            raise ValueError
    except ValueError:
        pass
    assert all(a is b for a, b in zip(before, module.buffers(), strict=True))
    assert same(buffers(network()), buffers(module))


def test_sampled_labels_follow_the_model() -> None:
    z = torch.tensor([[0.0, 1.0, 2.0]]).double().expand(20_000, 3)
    labels = CrossEntropy().sample(z, torch.Generator().manual_seed(0))
    shares = torch.bincount(labels, minlength=3) / len(labels)
    # standard error of a share is at most 0.5 / sqrt(20000) = 0.0035
    torch.testing.assert_close(shares.double(), z[0].softmax(-1), atol=0.015, rtol=0)
    values = SquaredError().sample(torch.full((20_000, 1), 3.0), torch.Generator().manual_seed(0))
    assert abs(float(values.mean()) - 3) < 0.03
    assert abs(float(values.std()) - 1) < 0.03
