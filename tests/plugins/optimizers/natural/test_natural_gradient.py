"""Natural gradients and the empirical Fisher matrix (CLAIMS: B1, B2, B3), on the 8-6-10 network of claim B."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor, nn

from second_order import Bench, Pinned, Reparametrised, claim_b
from thalweg.contracts import Shape
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.curvature import EmpiricalFisher, Fisher, flat, pieces
from thalweg.errors import Diverged, UserError
from thalweg.registry import Registry
from thalweg.testing.small import network, problem, same

METHODS = ["natural-gradient", "natural-gradient-cg", "natural-gradient-mc", "empirical-fisher"]
BY_PRODUCTS = {"tolerance": 1e-12, "max_iterations": 2000}


@pytest.fixture(scope="module")
def case(registry: Registry) -> tuple[Supervised, Pinned]:
    return claim_b(registry)


def bench(
    registry: Registry, name: str, case: tuple[Supervised, Pinned], module: nn.Module | None = None, **h: Any
) -> Bench:
    made = Bench(registry, name, case[0], module or copy.deepcopy(case[1]), **h)
    made.objective.begin_step(case[0].batch("train", 0, made.draw), 0)
    return made


def outputs_of(case: tuple[Supervised, Pinned]) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The outputs on the 500 points as a function of the weights, and the weights."""
    names, like = zip(*case[1].named_parameters(), strict=True)
    inputs = case[0].data["train"][0]

    def outputs(vector: Tensor) -> Tensor:
        weights = dict(zip(names, pieces(vector, like), strict=True))
        found: Tensor = torch.func.functional_call(case[1], weights, (inputs,))
        return found

    return outputs, flat(like).detach()


def fisher_and_gradient(case: tuple[Supervised, Pinned]) -> tuple[Tensor, Tensor, Tensor]:
    """F = E[J'(diag p - pp')J], the gradients of the examples' losses (500, P), and p, from Jacobians."""
    outputs, w = outputs_of(case)
    jacobian, p = torch.func.jacrev(outputs)(w), outputs(w).softmax(1)
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    labels = nn.functional.one_hot(case[0].data["train"][1], 10)
    gradients = torch.einsum("nap,na->np", jacobian, p - labels)
    return torch.einsum("nap,nab,nbq->pq", jacobian, middle, jacobian) / len(p), gradients, p


# --- a step is what its formula says


@pytest.mark.parametrize("name", ["natural-gradient", "natural-gradient-cg", "empirical-fisher"])
@pytest.mark.parametrize("damping", [1e-3, 0.1])
def test_a_step_equals_a_dense_solve(
    registry: Registry, case: tuple[Supervised, Pinned], name: str, damping: float
) -> None:
    fisher, gradients, _ = fisher_and_gradient(case)
    matrix = gradients.T @ gradients / 500 if name == "empirical-fisher" else fisher
    expected = -0.7 * np.linalg.solve(
        (matrix + damping * torch.eye(len(matrix)).double()).numpy(), gradients.mean(0).numpy()
    )
    it = bench(registry, name, case, lr=0.7, damping=damping, **({} if name == "natural-gradient" else BY_PRODUCTS))
    before = it.w
    it.step()
    np.testing.assert_allclose(it.w - before, expected, rtol=1e-7, atol=1e-9)
    counts = it.objective.counts
    assert (counts.gradient_evaluations, counts.examples) == (1, 500)
    assert counts.factor_inversions == (name == "natural-gradient")
    if name == "natural-gradient":
        assert counts.curvature_products == len(matrix) == 117


def test_a_sampled_step_uses_targets_drawn_from_the_model(registry: Registry, case: tuple[Supervised, Pinned]) -> None:
    it = bench(registry, "natural-gradient-mc", case, lr=1.0, damping=0.01, samples=3, **BY_PRODUCTS)
    outputs, w = outputs_of(case)
    jacobian, p = torch.func.jacrev(outputs)(w), outputs(w).softmax(1)
    matrix = torch.zeros(len(w), len(w)).double()
    for sample in range(3):
        labels = nn.functional.one_hot(it.objective.sampled_targets(outputs(w), sample), 10)
        gradients = torch.einsum("nap,na->np", jacobian, p - labels)
        matrix += gradients.T @ gradients / 500 / 3
    g = fisher_and_gradient(case)[1].mean(0)
    it.step()
    expected = -torch.linalg.solve(matrix + 0.01 * torch.eye(len(w)).double(), g)
    torch.testing.assert_close(it.w - w, expected, rtol=1e-7, atol=1e-9)


def test_more_samples_come_nearer_to_the_exact_step(registry: Registry, case: tuple[Supervised, Pinned]) -> None:
    exact = bench(registry, "natural-gradient", case, damping=0.1)
    before = exact.w
    exact.step()
    errors = []
    for samples in (1, 100):
        it = bench(registry, "natural-gradient-mc", case, damping=0.1, samples=samples, **BY_PRODUCTS)
        it.step()
        errors.append(float((it.w - exact.w).norm() / (exact.w - before).norm()))
    assert errors[1] < 0.2 * errors[0]  # 1/10 on average


# --- claim B


def test_the_natural_gradient_minimises_gradient_plus_kl_for_small_steps(
    registry: Registry, case: tuple[Supervised, Pinned]
) -> None:
    """B1: argmin g'D + KL / eps against -eps F^-1 g, by SciPy with derivatives of its own; found: 1 - 3e-8."""
    eps = 1e-4
    outputs, w = outputs_of(case)
    g = fisher_and_gradient(case)[1].mean(0).detach()
    log_p = outputs(w).log_softmax(1).detach()

    def objective(step: Tensor) -> Tensor:
        kl = (log_p.exp() * (log_p - outputs(w + step).log_softmax(1))).sum(1).mean()
        return (g @ step + kl / eps) / eps  # over eps: numbers near one

    found = scipy.optimize.minimize(
        lambda d: float(objective(torch.from_numpy(d)).detach()),
        np.zeros(len(w)),
        jac=lambda d: torch.func.grad(objective)(torch.from_numpy(d)).detach().numpy(),
        hess=lambda d: torch.func.hessian(objective)(torch.from_numpy(d)).detach().numpy(),
        method="trust-exact",
        options={"gtol": 1e-7, "initial_trust_radius": 1e-3},
    )
    assert np.linalg.norm(found.jac) < 1e-6 * np.linalg.norm(g / eps)
    it = bench(registry, "natural-gradient", case, lr=eps, damping=1e-14)
    it.step()
    step = (it.w - w).numpy()
    assert found.x @ step / np.linalg.norm(found.x) / np.linalg.norm(step) > 0.99999


def test_the_fisher_matrix_does_not_see_the_labels_and_the_empirical_one_is_another(
    registry: Registry, case: tuple[Supervised, Pinned]
) -> None:
    """B2; the cosines of the preconditioned steps found: 0.826, 0.959, 0.995 at dampings 1e-3, 1e-2, 1e-1."""
    x, y = case[0].data["train"]
    permuted = Supervised(
        {"train": (x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))])},
        CrossEntropy(),
        CLASSIFICATION,
    )
    one, other = bench(registry, "sgd", case), bench(registry, "sgd", (permuted, case[1]))
    assert torch.equal(Fisher(one.objective).dense(), Fisher(other.objective).dense())
    assert not torch.equal(EmpiricalFisher(one.objective).dense(), EmpiricalFisher(other.objective).dense())
    for damping, cosine in ((1e-3, 0.826), (1e-2, 0.959), (1e-1, 0.995)):
        steps = []
        for name in ("natural-gradient-cg", "empirical-fisher"):
            it = bench(registry, name, case, damping=damping, **BY_PRODUCTS)
            before = it.w
            it.step()
            steps.append(it.w - before)
        assert float(torch.cosine_similarity(*steps, dim=0)) == pytest.approx(cosine, abs=0.01)


def test_the_natural_gradient_step_is_the_same_under_a_linear_reparametrisation(
    registry: Registry, case: tuple[Supervised, Pinned]
) -> None:
    """B3, kappa = 100; found: 8e-12. Damping is not invariant, and grows with its product with kappa^2."""
    w = outputs_of(case)[1]
    generator = torch.Generator().manual_seed(1)
    q, r = (torch.linalg.qr(torch.randn(len(w), len(w), generator=generator, dtype=w.dtype)).Q for _ in range(2))
    a = (q * torch.logspace(0, 2, len(w), dtype=w.dtype)) @ r
    rewritten = Reparametrised(copy.deepcopy(case[1]), lambda phi: a @ phi, torch.linalg.solve(a, w))
    plain = bench(registry, "natural-gradient", case, damping=1e-14)
    other = bench(registry, "natural-gradient", case, rewritten, damping=1e-14)
    plain.step()
    other.step()
    assert float((a @ other.w - plain.w).norm() / (plain.w - w).norm()) < 1e-8


@pytest.mark.parametrize(("name", "h", "slope"), [("natural-gradient", {"damping": 1e-12}, 1.0), ("sgd", {}, 0.0)])
def test_under_a_nonlinear_reparametrisation_only_the_natural_gradient_agrees_for_small_steps(
    registry: Registry, case: tuple[Supervised, Pinned], name: str, h: dict[str, float], slope: float
) -> None:
    """B3, theta = sinh(phi): ||out1 - out2|| / ||out1 - out0|| as a power of the step; found: 1.001 and 0.000."""
    outputs, w = outputs_of(case)
    rates = np.geomspace(1e-4, 1e-2, 5)
    differences = []
    for lr in rates:
        plain = bench(registry, name, case, lr=lr, **h)
        module = Reparametrised(copy.deepcopy(case[1]), torch.sinh, torch.asinh(w))
        other = bench(registry, name, case, module, lr=lr, **h)
        plain.step()
        other.step()
        one, two = outputs(plain.w), outputs(other.w.sinh())
        differences.append(float(((one - two).norm() / (one - outputs(w)).norm()).detach()))
    assert np.polyfit(np.log(rates), np.log(differences), 1)[0] == pytest.approx(slope, abs=0.1)


# --- a budget of KL divergence


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("budget", [1e-4, 1e-3, 1e-2])
def test_a_step_meets_its_budget_of_kl_divergence(
    registry: Registry, case: tuple[Supervised, Pinned], name: str, budget: float
) -> None:
    it, free = bench(registry, name, case, kl=budget), bench(registry, name, case, lr=1.0)
    outputs, w = outputs_of(case)
    info = it.step()
    log_p = outputs(w).log_softmax(1).detach()
    kl = float((log_p.exp() * (log_p - outputs(it.w).log_softmax(1))).sum(1).mean().detach())
    assert abs(kl / budget - 1) <= 0.01
    assert info["kl"] == pytest.approx(kl, rel=1e-9)
    free.step()
    torch.testing.assert_close(it.w - w, info["step_length"] * (free.w - w), rtol=1e-9, atol=1e-12)
    # forward passes on the way are counted: the first guess is nearly right
    assert 1000 <= it.objective.counts.examples <= 3000


@pytest.mark.parametrize("budget", [0.03, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("damping", [1e-3, 0.1])
def test_a_large_budget_is_met_as_exactly(
    registry: Registry, case: tuple[Supervised, Pinned], budget: float, damping: float
) -> None:
    """There the divergence to second order is wrong by far, and the length is searched for."""
    it = bench(registry, "natural-gradient", case, kl=budget, damping=damping)
    outputs, w = outputs_of(case)
    it.step()
    log_p = outputs(w).log_softmax(1).detach()
    kl = float((log_p.exp() * (log_p - outputs(it.w).log_softmax(1))).sum(1).mean().detach())
    assert abs(kl / budget - 1) <= 0.01
    assert it.objective.counts.examples > 1000


def test_the_budget_is_met_with_batch_norm_in_float32(registry: Registry) -> None:
    it = Bench(registry, "natural-gradient", problem(), network(), batch=16, kl=1e-3)
    reference = Bench(registry, "sgd", problem(), network(), batch=16)
    for _ in range(5):
        assert it.step()["kl"] == pytest.approx(1e-3, rel=0.01)
        reference.step()
    assert int(it.module[1].num_batches_tracked) == int(reference.module[1].num_batches_tracked) == 5  # type: ignore[index]


def test_a_budget_that_no_step_reaches_is_approached_from_below(registry: Registry) -> None:
    """Two classes and one example: KL along the line grows to infinity only linearly, and 1e6 is out of reach."""
    x, y = torch.ones(1, 1).double(), torch.tensor([0])
    data = Supervised({"train": (x, y)}, CrossEntropy(), CLASSIFICATION)
    module = nn.Linear(1, 2).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    it = Bench(registry, "natural-gradient", data, nn.Sequential(module, nn.Tanh()), kl=1.0)
    info = it.step()
    # logits in (-1, 1): KL((1/2, 1/2) || (s, 1 - s)) with s the sigmoid of 2 at most
    s = 1 / (1 + np.exp(-2))
    limit = -0.5 * np.log(4 * s * (1 - s))
    assert 0.9 * limit < info["kl"] <= limit * (1 + 1e-9)


# --- all


@pytest.mark.parametrize("name", METHODS)
def test_continues_from_its_state(registry: Registry, name: str) -> None:
    it, again = (Bench(registry, name, problem(), network(), batch=16, kl=1e-2) for _ in range(2))
    it.step(3)
    again.module.load_state_dict(it.module.state_dict())
    again.stepper.load_state_dict(copy.deepcopy(it.stepper.state_dict()))
    again.at = 3
    it.step(3)
    again.step(3)
    assert same(list(it.module.state_dict().values()), list(again.module.state_dict().values()))


@pytest.mark.parametrize("name", METHODS)
def test_a_parameter_that_is_no_number_diverges(registry: Registry, name: str) -> None:
    module = network()
    with torch.no_grad():
        next(module.parameters())[0, 0] = torch.nan
    with pytest.raises(Diverged, match="the gradient is not finite"):
        Bench(registry, name, problem(), module).step()


@pytest.mark.parametrize("name", METHODS)
def test_an_analytic_function_is_refused(registry: Registry, name: str) -> None:
    optimizer = registry.optimizer(name)
    reason = optimizer.misfit({}, Shape("function", (), (2,)))
    assert reason is not None
    assert "analytic function" in reason
    assert optimizer.misfit({}, Shape("classification", (8,), (10,))) is None


def test_a_network_that_is_too_large_is_refused(registry: Registry) -> None:
    with pytest.raises(
        UserError,
        match=r"natural-gradient keeps a dense matrix with a row for each of 99 parameters, .* max_parameters = 98",
    ):
        Bench(registry, "natural-gradient", problem(), network(), max_parameters=98)


@pytest.mark.parametrize("name", METHODS)
def test_a_damping_of_zero_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(UserError, match=r"damping = 0.0 is outside its allowed range \(0, inf\)"):
        Bench(registry, name, problem(), network(), damping=0.0)


def test_a_matrix_that_damping_does_not_make_definite_diverges(registry: Registry) -> None:
    """In float32 products of a large matrix have errors that outweigh a tiny damping."""
    module = network()
    with torch.no_grad():
        next(module.parameters()).mul_(1e-3)
        list(module.parameters())[-2].mul_(1e4)
    with pytest.raises(Diverged, match="not positive definite"):
        Bench(registry, "natural-gradient", problem(), module, damping=1e-30).step()
