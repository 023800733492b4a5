"""A member's L-BFGS makes the iterations of ``torch.optim.LBFGS``, the independent reference."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.lbfgs import _strong_wolfe  # type: ignore[attr-defined]

from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.torch_stepper import TorchStepper
from thalweg.errors import Diverged
from thalweg.registry import Registry
from thalweg_plugins.optimizers.second_order._lbfgs_stacked import LBFGSMember, Pairs
from thalweg_plugins.optimizers.second_order._quasi_newton import two_loop, updated_inverse
from thalweg_plugins.optimizers.second_order._search_of_torch import search_of_torch
from thalweg_plugins.optimizers.second_order._wolfe import Point
from thalweg_plugins.optimizers.second_order.lbfgs import LBFGS

Line = tuple[Callable[[float], float], Callable[[float], float]]

LINES: dict[str, Line] = {
    "quadratic": (lambda a: (a - 3) ** 2, lambda a: 2 * (a - 3)),
    "quartic": (lambda a: (a - 2) ** 4 + a**2, lambda a: 4 * (a - 2) ** 3 + 2 * a),
    "waves": (lambda a: math.cos(3 * a) - a, lambda a: -3 * math.sin(3 * a) - 1),
    # More & Thuente 1994, function (5.1)
    "first": (lambda a: -a / (a**2 + 2), lambda a: (a**2 - 2) / (a**2 + 2) ** 2),
    "falling": (lambda a: -a, lambda a: -1.0),
    "barrier": (lambda a: -math.log(5 - a) - 3 * a if a < 5 else math.inf,
                lambda a: 1 / (5 - a) - 3 if a < 5 else math.nan),
    "lost": (lambda a: 1.0 if a == 0 else math.nan, lambda a: -1.0 if a == 0 else math.nan),
    # slopes that do not belong to the values, so that brackets shrink badly
    "wrong": (lambda a: abs(a - 1.3), lambda a: -1.0 if a < 1 else 0.95),
    "rising": (lambda a: a, lambda a: -1.0 - a),
    "steps": (lambda a: round(4 * (a - 1) ** 2), lambda a: 8 * (a - 1)),
}  # fmt: skip


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("first", [1e-4, 0.03, 1.0, 1.7, 40.0])
@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("most", [1, 3, 30])
def test_the_search_tries_the_points_of_torch(line: str, first: float, dtype: str, close: float, most: int) -> None:
    f, df = LINES[line]
    precision = getattr(torch, dtype)
    theirs: list[float] = []

    def phi(_: Any, t: Any, d: Tensor) -> tuple[float, Tensor]:
        theirs.append(float(t))
        return f(float(t)), d * df(float(t))

    one = torch.ones(1, dtype=precision)
    value, _, found, _ = _strong_wolfe(phi, None, first, one, f(0), one * df(0), one[0] * df(0), max_ls=most)
    number = np.dtype(dtype).type
    ours: list[float] = []
    search = search_of_torch(first, Point(0, f(0), number(df(0))), lambda: number(1), most)
    with np.errstate(all="ignore"):
        alpha = next(search)
        while True:
            ours.append(float(alpha))
            try:
                alpha = search.send(Point(alpha, f(float(alpha)), number(df(float(alpha)))))
            except StopIteration as stop:
                end = stop.value
                break
    assert len(ours) == len(theirs)
    np.testing.assert_allclose(ours, theirs, rtol=close)
    np.testing.assert_allclose([float(end.alpha), end.value], [float(found), value], rtol=close)


def test_the_direction_is_that_of_a_dense_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    dim, most = 12, 4
    root = torch.randn(dim, dim, dtype=torch.float64, generator=generator)
    hessian = root @ root.T + torch.eye(dim, dtype=torch.float64)
    pairs = Pairs(most, torch.zeros(dim, dtype=torch.float64))
    kept: list[tuple[Tensor, Tensor]] = []
    for number in range(11):
        s, g = (torch.randn(dim, dtype=torch.float64, generator=generator) for _ in range(2))
        # a pair of negative curvature, and one with a number that is not finite, are left out
        y = {3: -s, 7: s * math.nan}.get(number, hessian @ s)
        pairs.add(s, y + g, g)
        if number not in (3, 7):
            kept = [*kept, (s, hessian @ s)][-most:]
        d = pairs.direction(g)
        last = kept[-1]
        inverse = torch.eye(dim, dtype=torch.float64) * (last[0] @ last[1]) / (last[1] @ last[1])
        for pair in kept:
            inverse = updated_inverse(inverse, *pair)
        # 12 numbers of condition 1e3 in float64
        torch.testing.assert_close(d, -inverse @ g, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(d, -two_loop(g, kept), rtol=1e-10, atol=1e-10)


def test_the_direction_without_pairs_is_the_gradient() -> None:
    g = torch.arange(5.0)
    pairs = Pairs(3, g)
    assert torch.equal(pairs.direction(g), -g)
    pairs.add(g, -g, g)
    assert torch.equal(pairs.direction(g), -g)


def rosenbrock(x: Tensor, step: int) -> Tensor:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def batches(x: Tensor, step: int) -> Tensor:
    """Another problem in each step, as with batches."""
    generator = torch.Generator().manual_seed(step)
    a = torch.randn(6, len(x), generator=generator).to(x)
    return torch.nn.functional.softplus(a @ x - 1).mean() + 0.05 * (x**2).sum()


def bowl(x: Tensor, step: int) -> Tensor:
    return 0.5 * (torch.arange(1.0, len(x) + 1).to(x) * x**2).sum()


def flat(x: Tensor, step: int) -> Tensor:
    return (x * 0).sum() + 3


def cliff(x: Tensor, step: int) -> Tensor:
    """Not finite where x moves far."""
    return torch.log(2 - x.square().sum()) * -1 + x.sum()


def lost(x: Tensor, step: int) -> Tensor:
    return (x * math.nan).sum()


FUNCTIONS = [rosenbrock, batches, bowl, flat, cliff, lost]


def looked_at(f: Callable[[Tensor, int], Tensor], x: Tensor, step: int) -> tuple[float, Tensor]:
    point = x.detach().clone().requires_grad_()
    with torch.enable_grad():
        loss = f(point, step)
        (g,) = torch.autograd.grad(loss, point)
    return float(loss), g


def make_step(member: LBFGSMember, f: Callable[[Tensor, int], Tensor], x: Tensor, step: int) -> int:
    """One step from x, in place; the number of evaluations."""
    walk, evaluations = member.step(x), 0
    next(walk)
    with np.errstate(all="ignore"), torch.no_grad():
        while True:
            evaluations += 1
            try:
                walk.send(looked_at(f, x, step))
            except StopIteration:
                return evaluations


def settings(**changed: Any) -> dict[str, Any]:
    """torch's arguments."""
    return LBFGS().arguments(resolve(LBFGS.options, changed, "lbfgs"))


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("lr", [1e-3, 0.3, 1.0, 5.0])
@pytest.mark.parametrize(("max_iter", "history_size"), [(1, 3), (5, 10), (8, 2)])
def test_steps_are_those_of_torch(
    f: Callable[[Tensor, int], Tensor], lr: float, max_iter: int, history_size: int
) -> None:
    h = settings(lr=lr, max_iter=max_iter, history_size=history_size)
    start = torch.linspace(-0.5, 0.6, 8, dtype=torch.float64)
    theirs = start.clone().requires_grad_()
    reference = torch.optim.LBFGS([theirs], **h)
    ours = start.clone()
    member = LBFGSMember(h, ours)
    for step in range(3):
        before = reference.state[theirs].get("func_evals", 0)

        def closure(step: int = step) -> Tensor:
            reference.zero_grad()
            loss = f(theirs, step)
            loss.backward()
            return loss

        try:
            reference.step(closure)
        except IndexError:  # torch's search finds no end where a loss is nan and its gradient is not
            with pytest.raises(Diverged, match="no number"):
                make_step(member, f, ours, step)
            break
        spent = make_step(member, f, ours, step)
        assert spent == reference.state[theirs]["func_evals"] - before
        # steps have up to 8 iterations, each of which may multiply rounding errors by ten
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=1e-8, equal_nan=True)
        if ours.isnan().any():
            break


class Falling:
    """An objective whose loss is nan off the start, with a gradient of numbers."""

    def __init__(self) -> None:
        self.x = nn.Parameter(torch.linspace(-0.5, 0.6, 8, dtype=torch.float64))
        self.parameters = [self.x]

    def backward(self, create_graph: bool = False) -> Tensor:
        self.x.grad = None
        loss = -torch.log(2 - self.x.square().sum()) + self.x.sum()
        loss.backward(create_graph=create_graph)
        return loss.detach()


def test_a_search_that_finds_no_number_ends_a_trial_alone_as_diverged() -> None:
    objective = Falling()
    stepper = TorchStepper(torch.optim.LBFGS([objective.x], **settings(lr=5.0, max_iter=5, history_size=10)))
    with pytest.raises(Diverged, match="no number"):
        stepper.step(cast(Objective, objective))


def test_a_member_at_its_minimum_stays() -> None:
    x = torch.zeros(8)
    member = LBFGSMember(settings(), x)
    assert make_step(member, bowl, x, 0) == 1
    assert not x.any()
    tiny = torch.full((8,), 1e-30)
    # squares of these gradients are zero in float32, and the gradients are not
    assert make_step(member, bowl, tiny, 0) > 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_member_continues_bitwise_from_its_state(dtype: torch.dtype) -> None:
    ends = []
    for interrupted in (False, True):
        x = torch.linspace(-0.5, 0.6, 8, dtype=dtype)
        member = LBFGSMember(settings(history_size=3), x)
        for step in range(9):
            if interrupted and step in (0, 1, 5):
                state = copy.deepcopy(member.state())
                member = LBFGSMember(settings(history_size=3, lr=0.1), x)
                member.load(state)
            make_step(member, batches, x, step)
        ends.append(x)
    assert torch.equal(*ends)


def test_exact_line_searches_have_no_stacked_form(registry: Registry) -> None:
    optimizer = registry.optimizer("lbfgs")
    with pytest.raises(NotImplementedError, match="exact line searches train one at a time"):
        optimizer.build_stacked(
            torch.nn.Linear(1, 1), [resolve(optimizer.options, {"line_search": "exact"}, "lbfgs")], None
        )  # type: ignore[arg-type]
