"""Products against dense matrices that are computed in another way."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from thalweg.contracts import Draw
from thalweg.contracts.losses import CrossEntropy, OutputLoss, SigmoidCrossEntropy, SquaredError
from thalweg.contracts.objective import Objective
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.curvature import GGN, EmpiricalFisher, Fisher, Hessian, MCFisher, Operator, flat, pieces
from thalweg.testing.small import network, same

N = 16


def objective(loss: OutputLoss, module: nn.Module | None = None, l2: float = 0.0) -> Objective:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 6, generator=generator, dtype=torch.float64)
    targets = {
        CrossEntropy: torch.randint(3, (N,), generator=generator),
        SigmoidCrossEntropy: torch.rand(N, 3, generator=generator, dtype=torch.float64),
        SquaredError: torch.randn(N, 3, generator=generator, dtype=torch.float64),
    }[type(loss)]
    data = Supervised({"train": (x, targets)}, loss, (LOSS,))
    draw = Draw(0, None)
    made = Objective(module or network(torch.float64), data, draw, l2=l2)
    made.begin_step(data.batch("train", 0, draw), 0)
    return made


def function(it: Objective) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The outputs as a function of one vector of all parameters, and that vector."""
    names = [name for name, _ in it.module.named_parameters()]
    # batch norm writes to its buffers in place, which functional transforms refuse: none are tracked here
    for layer in it.module.modules():
        if isinstance(layer, nn.BatchNorm1d):
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None

    def outputs(vector: Tensor) -> Tensor:
        weights = dict(zip(names, pieces(vector, it.parameters), strict=True))
        return torch.func.functional_call(it.module, weights, (it.batch.inputs,))

    return outputs, flat(it.parameters).detach()


LOSSES = [CrossEntropy(), SigmoidCrossEntropy(), SquaredError(), SquaredError(1.7)]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=["cross-entropy", "sigmoid", "squares", "more squares"])


@every_loss
def test_the_hessian_is_the_second_derivative_of_the_loss(loss: OutputLoss) -> None:
    it = objective(loss, l2=0.2)
    operator = Hessian(it)
    outputs, at = function(it)
    expected = torch.autograd.functional.hessian(lambda w: loss.mean(outputs(w), it.targets) + 0.1 * w @ w, at)
    torch.testing.assert_close(operator.dense(), expected, rtol=1e-9, atol=1e-11)
    gradient = torch.autograd.functional.jacobian(lambda w: loss.mean(outputs(w), it.targets) + 0.1 * w @ w, at)
    torch.testing.assert_close(operator.gradient, gradient, rtol=1e-10, atol=1e-12)


@every_loss
def test_the_ggn_is_the_jacobian_around_the_hessian_in_the_outputs(loss: OutputLoss) -> None:
    it = objective(loss, l2=0.2)
    ggn, fisher = GGN(it), Fisher(it)
    outputs, at = function(it)
    jacobian = torch.func.jacrev(outputs)(at)
    z = outputs(at)
    middle = torch.stack(
        [torch.autograd.functional.hessian(lambda v, i=i: loss.per_example(v[None], it.targets[i : i + 1]).sum(), z[i])
         for i in range(N)]
    )  # fmt: skip
    expected = torch.einsum("nap,nab,nbq->pq", jacobian, middle, jacobian) / N
    torch.testing.assert_close(fisher.dense(), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        ggn.dense(), expected + 0.2 * torch.eye(len(at), dtype=torch.float64), rtol=1e-9, atol=1e-12
    )


def test_the_empirical_fisher_is_the_mean_outer_product_of_the_examples_gradients() -> None:
    loss = CrossEntropy()
    it = objective(loss, nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double())
    outputs, at = function(it)
    gradients = torch.func.jacrev(lambda w: loss.per_example(outputs(w), it.targets))(at)
    torch.testing.assert_close(EmpiricalFisher(it).dense(), gradients.T @ gradients / N, rtol=1e-9, atol=1e-12)


@every_loss
def test_the_sampled_fisher_converges_to_the_exact_one_as_the_root_of_its_samples(loss: OutputLoss) -> None:
    it = objective(loss, nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3)).double())
    exact = Fisher(it).dense()
    counts = [4, 16, 64, 256, 1024]
    errors = []
    for samples in counts:
        total = 0.0
        for repeat in range(4):
            it.begin_step(it.batch, repeat * 10_000 + samples)  # other draws
            total += float((MCFisher(it, samples).dense() - exact).norm() ** 2)
        errors.append((total / 4) ** 0.5)
    slope = torch.linalg.lstsq(
        torch.stack([torch.log(torch.tensor(counts).double()), torch.ones(len(counts)).double()], 1),
        torch.log(torch.tensor(errors).double())[:, None],
    ).solution[0]
    # over 20 samples of the error the slope scatters by about 0.05
    assert abs(float(slope) + 0.5) < 0.15


def test_products_are_counted_and_reuse_one_forward_pass() -> None:
    it = objective(CrossEntropy())
    for make, gradients in ((Hessian, 1), (GGN, 0)):
        it.counts = type(it.counts)()
        operator: Operator = make(it)
        v = torch.randn(operator.size, dtype=torch.float64)
        for _ in range(3):
            operator @ v
        torch.testing.assert_close(operator.products(torch.stack([v, 2 * v]))[1], 2 * (operator @ v))
        assert it.counts.curvature_products == 6
        assert it.counts.gradient_evaluations == gradients
        assert it.counts.examples == N


def test_batch_norms_buffers_advance_once_and_the_products_survive_later_evaluations() -> None:
    module, once = network(torch.float64), network(torch.float64)
    it, other = objective(CrossEntropy(), module), objective(CrossEntropy(), once)
    other.backward()
    operators = [Hessian(it), GGN(it), EmpiricalFisher(it)]
    it.loss()
    for operator in operators:
        operator @ torch.ones(operator.size, dtype=torch.float64)
    assert same(list(once.buffers()), list(module.buffers()))


def test_a_vector_of_another_size_is_refused() -> None:
    operator = GGN(objective(CrossEntropy()))
    with pytest.raises(ValueError, match=r"expected \(99,\), got \(98,\)"):
        operator @ torch.ones(98, dtype=torch.float64)


def test_a_parameter_that_the_loss_does_not_see_has_zero_curvature() -> None:
    module = nn.Sequential(nn.Linear(6, 3)).double()
    module.register_parameter("unused", nn.Parameter(torch.ones(2).double()))
    it = objective(CrossEntropy(), module)
    for operator in (Hessian(it), GGN(it)):
        dense = operator.dense()
        assert float(dense[:2].abs().max()) == 0 or float(dense[-2:].abs().max()) == 0
        torch.testing.assert_close(dense, dense.T)


def test_the_sampled_fisher_of_sequences_has_the_exact_ones_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(8, 5, 6, generator=generator, dtype=torch.float64)
    y = torch.randint(3, (8, 5), generator=generator)
    data, draw = Supervised({"train": (x, y)}, CrossEntropy(), (LOSS,)), Draw(0, None)
    it = Objective(nn.Linear(6, 3).double(), data, draw)
    it.begin_step(data.batch("train", 0, draw), 0)
    exact, sampled = Fisher(it).dense(), MCFisher(it, 4000).dense()
    # 4000 draws of 40 positions: relative error about 1/sqrt(4000)
    assert float((sampled - exact).norm() / exact.norm()) < 0.05


def test_the_empirical_fisher_of_sequences_whose_labels_the_model_drew_has_the_exact_ones_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 5, 6, generator=generator, dtype=torch.float64)
    module, draw = nn.Linear(6, 3).double(), Draw(0, None)
    y = CrossEntropy().sample(module(x), generator)
    data = Supervised({"train": (x, y)}, CrossEntropy(), (LOSS,))
    it = Objective(module, data, draw)
    it.begin_step(data.batch("train", 0, draw), 0)
    exact, empirical = Fisher(it).dense(), EmpiricalFisher(it).dense()
    # 4000 examples and 21 rows: relative errors about sqrt(21/4000)
    assert float((empirical - exact).norm() / exact.norm()) < 0.15


def test_the_penalty_is_in_the_ggn_and_in_no_fisher_matrix() -> None:
    """A Fisher matrix depends on the model alone."""
    with_penalty, without = (objective(CrossEntropy(), network(torch.float64), l2) for l2 in (0.2, 0.0))
    unpenalised: list[Callable[[Objective], Operator]] = [Fisher, EmpiricalFisher, lambda it: MCFisher(it, 3)]
    for fisher in unpenalised:
        assert torch.equal(fisher(with_penalty).dense(), fisher(without).dense())
    penalised: list[Callable[[Objective], Operator]] = [Hessian, GGN]
    for make in penalised:
        difference = make(with_penalty).dense() - make(without).dense()
        torch.testing.assert_close(difference, 0.2 * torch.eye(99, dtype=torch.float64), rtol=1e-9, atol=1e-12)


def test_a_parameter_that_is_one_number_has_its_row_and_column() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale, self.linear = nn.Parameter(torch.tensor(1.5).double()), nn.Linear(6, 3).double()

        def forward(self, x: Tensor) -> Tensor:
            outputs: Tensor = self.scale * self.linear(x)
            return outputs

    it = objective(CrossEntropy(), Scaled())
    dense, one_by_one = Hessian(it), Hessian(it)
    outputs, at = function(it)
    expected = torch.autograd.functional.hessian(lambda w: CrossEntropy().mean(outputs(w), it.targets), at)
    torch.testing.assert_close(dense.dense(), expected, rtol=1e-9, atol=1e-11)
    rows = [one_by_one @ row for row in torch.eye(len(at), dtype=torch.float64)]
    torch.testing.assert_close(torch.stack(rows), expected, rtol=1e-9, atol=1e-11)


class Weighted(CrossEntropy):
    """Cross-entropy with a Hessian of its own: three times as large."""

    def hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        return 3 * super().hessian_product(outputs, vectors)


def test_products_at_the_same_outputs_are_those_of_a_subclass() -> None:
    z, v = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain = CrossEntropy().hessian_product(z, v)
    for loss, expected in ((CrossEntropy(), plain), (Weighted(), 3 * plain)):
        torch.testing.assert_close(loss.hessian_product(z, v), expected)
        torch.testing.assert_close(loss.hessian_at(z)(v), expected)
