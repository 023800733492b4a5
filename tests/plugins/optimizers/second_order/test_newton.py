"""Newton's method, Newton-CG and Gauss-Newton-CG (CLAIMS: A1)."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from second_order import Bench, analytic, claim_b
from thalweg.contracts import Shape
from thalweg.curvature import pieces
from thalweg.errors import Diverged, UserError
from thalweg.registry import Registry
from thalweg.testing.small import network, problem, same

Vector = NDArray[np.float64]
METHODS = ["newton", "newton-cg", "gauss-newton-cg"]


# --- newton


@pytest.mark.parametrize(("dim", "kappa"), [(20, 100.0), (50, 1000.0)])
def test_newton_reaches_the_minimum_of_a_quadratic_in_one_step_at_its_defaults(
    registry: Registry, dim: int, kappa: float
) -> None:
    """A1."""
    bench = analytic(registry, "newton", "quadratic", options={"dim": dim, "kappa": kappa})
    gradient = bench.problem.gradient  # type: ignore[attr-defined]
    first = gradient(bench.w).norm()
    info = bench.step()
    assert float(gradient(bench.w).norm() / first) < 1e-10
    assert info["indefinite"] == 0
    assert info["lambda_min"] == pytest.approx(1, rel=1e-9)
    assert info["ratio"] == pytest.approx(1, abs=1e-6)
    counts = bench.objective.counts
    assert (counts.gradient_evaluations, counts.curvature_products, counts.factor_inversions) == (1, dim, 1)
    assert bench.step()["accepted"] == 1  # at the minimum rounding decides nothing


def test_newton_leaves_a_saddle_downhill_and_says_that_the_hessian_is_indefinite(registry: Registry) -> None:
    bench = analytic(registry, "newton", "saddle")
    problem, x = bench.problem, bench.w
    # without damping the step goes to the saddle, and up from there on the descending axis
    undamped = x - torch.linalg.solve(problem.hessian(x), problem.gradient(x))  # type: ignore[attr-defined]
    assert abs(float(undamped[0])) < abs(float(x[0]))
    losses, indefinite = [bench.loss], []
    for _ in range(30):
        info = bench.step()
        losses.append(bench.loss)
        indefinite.append(info["indefinite"])
        assert info["damping"] >= max(0.0, -info["lambda_min"])
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert indefinite[0] == 1
    assert indefinite[-1] == 0
    assert losses[-1] < 1e-12


@pytest.mark.parametrize("lr", [1.0, 0.5])
def test_a_damped_newton_step_equals_a_dense_solve(registry: Registry, lr: float) -> None:
    c = torch.tensor([0.5, 2.0, 7.0]).double()
    start = torch.tensor([0.3, -0.2, 0.1]).double()
    bench = analytic(registry, "newton", lambda x: 0.5 * (c * x) @ x + (x**4).sum() + x[0] * x[1] * x[2], start,
                     damping=0.7, lr=lr)  # fmt: skip
    x = start.numpy()
    gradient = c.numpy() * x + 4 * x**3 + np.prod(x) / x
    cross = np.array([[0, x[2], x[1]], [x[2], 0, x[0]], [x[1], x[0], 0]])
    hessian = np.diag(c.numpy() + 12 * x**2) + cross
    info = bench.step()
    assert info["damping"] == 0.7
    np.testing.assert_allclose(bench.w, x - lr * np.linalg.solve(hessian + 0.7 * np.eye(3), gradient), rtol=1e-12)


def test_newton_adapts_its_damping_by_the_reduction_ratio(registry: Registry) -> None:
    start = torch.tensor([3.0, 1.0]).double()
    bench = analytic(registry, "newton", lambda x: (1 + x**2).sqrt().sum(), start, damping=0.01)
    for _ in range(12):
        before, x = bench.loss, bench.w
        info = bench.step()
        step = bench.w - x
        gradient, hessian = x / (1 + x**2).sqrt(), (1 + x**2) ** -1.5
        predicted = gradient @ step + 0.5 * (hessian * step) @ step
        if abs(predicted) < 1e-10:
            break
        assert info["ratio"] == pytest.approx((bench.loss - before) / float(predicted), rel=1e-6)
        # at 0.01 the step from 3 would overshoot to about -20: dampings are raised in the step itself
        factor = bench.stepper.state_dict()["damping"] / info["damping"]
        assert factor == (0.25 if info["ratio"] > 0.75 else 4 if info["ratio"] < 0.25 else 1)
        assert bench.loss < before
    assert bench.loss == pytest.approx(2, abs=1e-9)


def test_a_step_that_no_damping_makes_good_is_not_taken(registry: Registry) -> None:
    # the derivative is 1, and every step raises the value all the same
    start = torch.tensor([0.0]).double()
    bench = analytic(registry, "newton", lambda x: (x - x.detach() + (x.detach() != 0) * 1.0).sum(), start)
    info = bench.step()
    assert info["accepted"] == 0
    assert torch.equal(bench.w, start)


def test_newton_refuses_a_network_that_is_too_large(registry: Registry) -> None:
    with pytest.raises(
        UserError, match=r"newton keeps a dense matrix with a row for each of 99 parameters, .* max_parameters = 98"
    ):
        Bench(registry, "newton", problem(), network(), max_parameters=98)
    Bench(registry, "newton", problem(), network(), max_parameters=99)


def test_a_hessian_that_is_no_number_diverges(registry: Registry) -> None:
    bench = analytic(registry, "newton", lambda x: (x.abs() ** 1.5).sum(), torch.tensor([0.0, 1.0]).double())
    with pytest.raises(Diverged, match="the Hessian is not finite"):
        bench.step()


# --- newton-cg


def truncated_newton(f: object, gradient: object, hessian: object, x: Vector, steps: int) -> Vector:
    """Nocedal & Wright, algorithm 7.1, with dense products."""
    for _ in range(steps):
        g, h = gradient(x), hessian(x)  # type: ignore[operator]
        tolerance = min(0.5, np.sqrt(np.linalg.norm(g))) * np.linalg.norm(g)
        z, r = np.zeros_like(x), g.copy()
        d = -r
        for j in range(len(x)):
            curvature = d @ h @ d
            if curvature <= 0:
                p = -g if j == 0 else z
                break
            alpha = r @ r / curvature
            z = z + alpha * d
            new = r + alpha * h @ d
            if np.linalg.norm(new) <= tolerance:
                p = z
                break
            d = -new + (new @ new) / (r @ r) * d
            r = new
        else:
            p = z
        t = 1.0
        while f(x + t * p) > f(x) + 1e-4 * t * (g @ p):  # type: ignore[operator]
            t /= 2
        x = x + t * p
    return x


@pytest.mark.parametrize(("name", "steps"), [("rosenbrock", 12), ("saddle", 6), ("styblinski-tang", 6)])
def test_newton_cg_equals_a_hand_written_loop(registry: Registry, name: str, steps: int) -> None:
    bench = analytic(registry, "newton-cg", name, options={"dim": 4}, max_iterations=4)
    function = bench.problem

    def of(attribute: str) -> object:
        call = getattr(function, attribute)
        return lambda x: call(torch.from_numpy(x)).detach().numpy()

    expected = truncated_newton(of("f"), of("gradient"), of("hessian"), bench.w.numpy(), steps)
    bench.step(steps)
    np.testing.assert_allclose(bench.w, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("size", [1e-6, 1e-5, 1e-4, 10.0])
def test_newton_cg_solves_the_more_exactly_the_smaller_the_gradient(registry: Registry, size: float) -> None:
    """To min(0.5, sqrt||g||) ||g||, on quadratics on which that is what ends the iterations."""
    c = np.logspace(0, 2, 12)
    start = size * np.cos(np.arange(12))
    of = torch.from_numpy(c)
    bench = analytic(registry, "newton-cg", lambda x: 0.5 * (of * x) @ x, torch.from_numpy(start))
    expected = truncated_newton(lambda x: 0.5 * c @ x**2, lambda x: c * x, lambda _: np.diag(c), start, 1)
    info = bench.step()
    assert info["cg_iterations"] == 1 if size == 10 else 1 < info["cg_iterations"] < 12
    # up to 12 iterations, each with rounding (2.2e-16) of a gradient of 170 size, times a condition number of 100
    np.testing.assert_allclose(bench.w, expected, rtol=1e-9, atol=5e-11 * size)


def test_newton_cg_reports_negative_curvature_and_goes_down(registry: Registry) -> None:
    bench = analytic(registry, "newton-cg", "saddle", options={"descending": 2})
    for _ in range(5):
        before = bench.loss
        assert bench.step()["negative_curvature"] == 1
        assert bench.loss < before


@pytest.mark.parametrize(("name", "steps"), [("saddle", 10), ("rosenbrock", 30)])
def test_newton_cg_that_follows_negative_curvature_leaves_it_soon(registry: Registry, name: str, steps: int) -> None:
    followed, slow = (analytic(registry, "newton-cg", name, follow=follow) for follow in (True, False))
    losses, reached = [followed.loss], 0.0
    for _ in range(steps):
        reached = max(reached, followed.step().get("followed", 0.0))
        losses.append(followed.loss)
    assert reached > 0
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert losses[-1] < 1e-20
    slow.step(steps)
    assert slow.loss > 1e-4


# --- gauss-newton-cg


def ggn_and_gradient(bench: Bench) -> tuple[Tensor, Tensor]:
    """From Jacobians, for a softmax."""
    x, y = bench.problem.data["train"]  # type: ignore[attr-defined]
    names, like = zip(*bench.module.named_parameters(), strict=True)

    def outputs(vector: Tensor) -> Tensor:
        return torch.func.functional_call(bench.module, dict(zip(names, pieces(vector, like), strict=True)), (x,))

    at = bench.w
    jacobian, p = torch.func.jacrev(outputs)(at), outputs(at).softmax(1).detach()
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    residual = p - torch.nn.functional.one_hot(y, p.shape[1])
    g = torch.einsum("nap,na->p", jacobian, residual) / len(x)
    return torch.einsum("nap,nab,nbq->pq", jacobian, middle, jacobian) / len(x), g


@pytest.mark.parametrize(("warm_start", "lr"), [(0.0, 1.0), (0.9, 1.0), (0.0, 0.4)])
def test_a_gauss_newton_step_equals_a_dense_solve(registry: Registry, warm_start: float, lr: float) -> None:
    data, module = claim_b(registry)
    bench = Bench(registry, "gauss-newton-cg", data, module, damping=0.1, min_damping=0.01, tolerance=1e-11,
                  max_iterations=1000, warm_start=warm_start, lr=lr)  # fmt: skip
    for _ in range(3):
        (ggn, g), before, loss = ggn_and_gradient(bench), bench.w, bench.loss
        damping = bench.stepper.state_dict()["damping"]
        step = -lr * torch.linalg.solve(ggn + damping * torch.eye(len(g)).double(), g)
        info = bench.step()
        assert info["step_length"] == lr
        torch.testing.assert_close(bench.w - before, step, rtol=1e-7, atol=1e-9)
        predicted = float(g @ step + 0.5 * step @ ggn @ step)
        assert info["ratio"] == pytest.approx((bench.loss - loss) / predicted, rel=1e-6)
        factor = bench.stepper.state_dict()["damping"] / damping
        assert factor == pytest.approx(2 / 3 if info["ratio"] > 0.75 else 1.5 if info["ratio"] < 0.25 else 1)


@pytest.mark.parametrize("lr", [1.0, 0.7])
def test_a_gauss_newton_step_that_promises_too_much_is_shortened_and_raises_the_damping(
    registry: Registry, lr: float
) -> None:
    """The ratio judges the whole step, since a shortened step always keeps its promise."""
    data, module = claim_b(registry)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(-2.0)  # far from anything
    bench = Bench(registry, "gauss-newton-cg", data, module, damping=1e-3, min_damping=1e-6, tolerance=1e-12,
                  max_iterations=1000, lr=lr)  # fmt: skip
    (ggn, g), before, loss = ggn_and_gradient(bench), bench.w, bench.loss
    step = -lr * torch.linalg.solve(ggn + 1e-3 * torch.eye(len(g)).double(), g)
    info = bench.step()
    assert info["step_length"] < lr
    assert bench.loss < loss
    torch.testing.assert_close(bench.w - before, info["step_length"] / lr * step, rtol=1e-5, atol=1e-7)
    with torch.no_grad():
        for parameter, piece in zip(module.parameters(), pieces(before + step, list(module.parameters())), strict=True):
            parameter.copy_(piece)
    ratio = (bench.loss - loss) / float(g @ step + 0.5 * step @ ggn @ step)
    assert info["ratio"] == pytest.approx(ratio, rel=1e-5)
    assert ratio < 0.25
    assert bench.stepper.state_dict()["damping"] == pytest.approx(1.5e-3)


@pytest.mark.parametrize("helps", [True, False])
def test_a_warm_start_is_dropped_where_it_ends_above_the_models_value_at_zero(registry: Registry, helps: bool) -> None:
    """Two products: one iteration of conjugate gradients from the last step, or two from zero."""
    data, module = claim_b(registry)
    bench = Bench(registry, "gauss-newton-cg", data, module, damping=0.1, tolerance=1e-12, max_iterations=2,
                  warm_start=0.5)  # fmt: skip
    ggn, g = ggn_and_gradient(bench)
    matrix, before = ggn + 0.1 * torch.eye(len(g)).double(), bench.w
    solution = -torch.linalg.solve(matrix, g)
    last = 1.6 * solution if helps else 1e3 * torch.linspace(-1, 1, len(g)).double()

    def best(start: Tensor, iterations: int) -> Tensor:
        """In start + the Krylov space, which is where conjugate gradients arrive."""
        residual = -g - matrix @ start
        basis = torch.stack([residual, matrix @ residual][:iterations], 1)
        return start + basis @ torch.linalg.solve(basis.T @ matrix @ basis, basis.T @ residual)

    def model(d: Tensor) -> float:
        return float(g @ d + 0.5 * d @ matrix @ d)

    warm, cold = best(0.5 * last, 1), best(torch.zeros_like(g), 2)
    assert model(warm) < model(cold) < 0 if helps else model(warm) > 0
    bench.stepper.load_state_dict({"lr": 1.0, "damping": 0.1, "last": last})
    assert bench.step()["step_length"] == 1
    torch.testing.assert_close(bench.w - before, warm if helps else cold, rtol=1e-8, atol=1e-11)


def test_gauss_newton_refuses_an_analytic_function(registry: Registry) -> None:
    optimizer = registry.optimizer("gauss-newton-cg")
    reason = optimizer.misfit({}, Shape("function", (), (2,)))
    assert reason is not None
    assert "analytic function" in reason
    assert optimizer.misfit({}, Shape("classification", (8,), (10,))) is None


# --- all


@pytest.mark.parametrize("name", METHODS)
def test_a_parameter_that_is_no_number_diverges(registry: Registry, name: str) -> None:
    module = network()
    with torch.no_grad():
        next(module.parameters())[0, 0] = torch.nan
    with pytest.raises(Diverged, match="is not finite"):
        Bench(registry, name, problem(), module).step()


@pytest.mark.parametrize(("name", "h"), [("newton", {"damping": 0.5}), ("newton-cg", {"damping": 0.1}),
                                         ("gauss-newton-cg", {"warm_start": 0.95})])  # fmt: skip
def test_continues_from_its_state(registry: Registry, name: str, h: dict[str, float]) -> None:
    bench = Bench(registry, name, problem(), network(), batch=16, **h)
    bench.step(3)
    again = Bench(registry, name, problem(), network(), batch=16, **h)
    again.module.load_state_dict(bench.module.state_dict())
    again.stepper.load_state_dict(copy.deepcopy(bench.stepper.state_dict()))
    again.at = 3
    bench.step(3)
    again.step(3)
    assert same(list(bench.module.state_dict().values()), list(again.module.state_dict().values()))


@pytest.mark.parametrize("name", METHODS)
def test_batch_norms_statistics_advance_once_a_step(registry: Registry, name: str) -> None:
    bench, reference = Bench(registry, name, problem(), network()), Bench(registry, "sgd", problem(), network())
    bench.step()
    reference.step()
    assert same(list(bench.module.buffers()), list(reference.module.buffers()))


@pytest.mark.parametrize("name", METHODS)
def test_a_penalty_of_the_trial_is_part_of_the_step(registry: Registry, name: str) -> None:
    """With an L2 penalty of 1e6 every method goes to the origin: it is in the gradient and in the curvature."""
    bench = Bench(registry, name, problem(torch.float64), network(torch.float64))
    bench.objective.l2 = 1e6
    bench.step()
    assert float(bench.w.norm()) < 1e-3
