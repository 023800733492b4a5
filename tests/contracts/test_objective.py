from __future__ import annotations

import pytest
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
    outputs = objective.outputs()
    objective.gradient(outputs)
    assert objective.counts.gradient_evaluations == 3
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


def test_the_gradient_from_outputs_is_that_of_the_loss() -> None:
    objective = make(network(torch.float64))
    loss, gradient = objective.gradient()
    outputs = objective.outputs()
    for _ in range(2):  # the graph is kept
        again, from_outputs = objective.gradient(outputs)
        torch.testing.assert_close(again, loss, rtol=1e-14, atol=0)
        torch.testing.assert_close(from_outputs, gradient, rtol=1e-12, atol=1e-14)


def test_the_penalty_is_in_loss_and_gradient_and_not_in_what_is_watched() -> None:
    module = network(torch.float64)
    plain, penalised = make(module), make(module)
    penalised.l2 = 0.3
    loss, gradient = plain.gradient()
    with_penalty, its_gradient = penalised.gradient()
    weights = [parameter.detach() for parameter in plain.parameters]
    norm = sum(float(weight.square().sum()) for weight in weights)
    assert float(with_penalty - loss) == pytest.approx(0.15 * norm, rel=1e-12)
    for g, h, w in zip(gradient, its_gradient, weights, strict=True):
        torch.testing.assert_close(h, g + 0.3 * w, rtol=1e-12, atol=1e-14)
    assert penalised.step_loss is not None
    torch.testing.assert_close(penalised.step_loss, loss)
    torch.testing.assert_close(penalised.observer().loss().detach(), loss)


@pytest.mark.parametrize("bound", [0.01, 1e3])
def test_clipping_scales_a_gradient_down_to_its_bound_and_leaves_a_smaller_one(bound: float) -> None:
    module = network(torch.float64)
    plain, clipped = make(module), make(module)
    clipped.clip_norm = bound
    _, gradient = plain.gradient()
    norm = float(torch.cat([g.flatten() for g in gradient]).norm())
    _, scaled = clipped.gradient()
    clipped.backward()
    for g, h, parameter in zip(gradient, scaled, clipped.parameters, strict=True):
        expected = g * min(1.0, bound / (norm + 1e-6))
        torch.testing.assert_close(h, expected, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-12, atol=1e-15)


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


def test_a_parameter_that_the_loss_does_not_see_has_gradient_zero_either_way() -> None:
    module = nn.Sequential(nn.Linear(6, 3)).double()
    module.register_parameter("unused", nn.Parameter(torch.ones(2).double()))
    objective = make(module)
    objective.backward()
    _, gradients = objective.gradient()
    for parameter, gradient in zip(objective.parameters, gradients, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)
    assert not bool(module.unused.grad.any())
