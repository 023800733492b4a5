"""Paths of the playground: those of trials to the bit, closed forms, and every way to end."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from support import CommandLine
from thalweg.contracts.budget import Budget
from thalweg.errors import UserError
from thalweg.playground.choices import functions_of, optimizers_of
from thalweg.playground.requests import Analytic, Answer, Plane, Question, Walk, WalkRequest
from thalweg.playground.walk import trial_of, walk
from thalweg.playground.worker import answer
from thalweg.registry import Registry, load_registry
from thalweg.store.results import BenchmarkResults
from thalweg.store.weights import read_weights

STEPS = 12

RATES = {"newton": 0.5, "newton-cg": 0.5, "bfgs": 0.5, "lbfgs": 0.5}
"""Rates of methods whose default is 1; the others take 0.01."""

QUADRATIC = Analytic(problem="quadratic", options={"dim": 2})

GRID = tuple(np.linspace(-1.0, 1.0, 9).tolist())
BOWL = Plane(
    x=GRID, y=GRID, losses=tuple(tuple(x * x + 3 * y * y for x in GRID) for y in GRID), log=False, start=(0.5, -0.75)
)


def asked(function: Analytic | Plane, optimizer: str, steps: int = STEPS, **more: object) -> WalkRequest:
    return WalkRequest.model_validate({"function": function, "optimizer": optimizer, "steps": steps, **more})


@pytest.mark.parametrize("problem", ["beale", "quadratic", "rastrigin"])
def test_every_path_is_the_trajectory_of_the_trial(cli: CommandLine, registry: Registry, problem: str) -> None:
    function = functions_of(registry)[problem]
    names = list(optimizers_of(registry))
    rates = {name: RATES.get(name, 0.01) for name in names}
    settings = "".join(f", {key} = {value}" for key, value in function.options.items())
    toml = f"""
seeds = 1
keep = "trajectory"
[workloads.w]
problem = {{ name = "{problem}"{settings} }}
architecture = "point"
dtype = "float64"
budget = {{ steps = {STEPS} }}
evaluate_every = {{ steps = 1 }}
""" + "".join(f"[optimizers.{name}]\nlr = {rate}\n" for name, rate in rates.items())
    (cli.folder / "b.toml").write_text(toml, encoding="utf-8")
    cli("run", "b.toml", "--results", "there", "--device", "cpu")
    trials, _ = BenchmarkResults(cli.folder / "there", "b").scan()
    assert len(trials) == len(names)
    for trial in trials:
        name = trial.document.optimizer
        request = asked(function, name, hyperparameters={"lr": rates[name]})
        assert trial_of(request, registry).hash == trial.document.hash, name
        found = walk(request, registry)
        assert (found.status, trial.document.status) == ("done", "done"), name
        weights = read_weights(trial.files)
        assert weights.trajectory is not None
        assert found.points == tuple(map(tuple, weights.trajectory.tolist())), name


def test_sgd_on_the_quadratic_has_its_closed_form(registry: Registry) -> None:
    """x_t = x* + (I - lr H)^t (x_0 - x*); 30 steps round 30 times, so 1e-13 of the start is far enough."""
    problem = registry.problem("quadratic")
    hessian, minimum = problem.hessian_and_minimum(  # type: ignore[attr-defined]
        {"dim": 2, "kappa": 100.0, "spectrum": "geometric", "rotation": "random", "instance": 0}
    )
    lr, start = 0.015, (2.0, -1.5)
    found = walk(asked(QUADRATIC, "sgd", 30, hyperparameters={"lr": lr}, start=start), registry)
    offset = np.array(start) - minimum.numpy()
    step = np.eye(2) - lr * hessian.numpy()
    for t, (point, loss) in enumerate(zip(found.points, found.losses, strict=True)):
        exact = np.linalg.matrix_power(step, t) @ offset
        np.testing.assert_allclose(np.array(point), minimum.numpy() + exact, rtol=0, atol=1e-12)
        np.testing.assert_allclose(loss, exact @ hessian.numpy() @ exact / 2, rtol=1e-9)
    assert len(found.points) == 31


def test_a_path_that_diverges_ends_where_the_trial_does(cli: CommandLine, registry: Registry) -> None:
    """The bound is 1e6 times the first loss, or 1e6; the loss grows by (1 - lr kappa)^2 = 81 a step."""
    found = walk(asked(QUADRATIC, "sgd", 100, hyperparameters={"lr": 0.1}), registry)
    assert found.status == "diverged"
    bound = 1e6 * max(1.0, found.losses[0])
    assert found.losses[-1] > bound >= max(found.losses[:-1])
    assert found.reason == f"training loss {found.losses[-1]:.4g} at step {found.steps}"


def test_sgd_on_a_plane_is_sgd_on_the_polynomial_that_it_holds(registry: Registry) -> None:
    """The spline through x^2 + 3 y^2 is x^2 + 3 y^2, so that coordinates shrink by 1 - 2 lr and 1 - 6 lr a step."""
    found = walk(asked(BOWL, "sgd", 20, hyperparameters={"lr": 0.1}), registry)
    exact = [(0.5 * 0.8**t, -0.75 * 0.4**t) for t in range(21)]
    np.testing.assert_allclose(np.array(found.points), exact, rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.losses, [x * x + 3 * y * y for x, y in exact], rtol=0, atol=1e-13)


def test_a_path_ends_where_it_leaves_the_grid(registry: Registry) -> None:
    """With lr = 0.5 the second coordinate doubles and changes its sign: -0.75, 1.5."""
    found = walk(asked(BOWL, "sgd", 20, hyperparameters={"lr": 0.5}), registry)
    assert (found.status, found.reason, found.steps) == ("left", "at step 1", 1)
    assert found.points[-1] == pytest.approx((0.0, 1.5))
    assert math.isnan(found.losses[-1])
    assert math.isfinite(found.losses[0])


def test_a_line_search_that_looks_outside_of_the_grid_ends_the_path(registry: Registry) -> None:
    slope = BOWL.model_copy(update={"losses": tuple(tuple(math.exp(3 * x) for x in GRID) for _ in GRID), "log": True})
    found = walk(asked(slope, "lbfgs", 20), registry)
    assert found.status == "left"
    assert found.reason == f"in an evaluation of step {found.steps + 1}"
    assert all(math.isfinite(loss) for loss in found.losses)


def test_a_plugin_mistake_fails_its_path_alone(plugin_file: Path) -> None:
    found = walk(asked(QUADRATIC, "raising"), load_registry([plugin_file]))
    assert (found.status, found.reason) == ("failed", "RuntimeError: no step for you")
    assert len(found.points) == 1


def test_a_plugin_optimizer_has_its_closed_form(plugin_file: Path) -> None:
    """It multiplies the weights by 1 - lr, whatever the function."""
    found = walk(asked(BOWL, "halving", 3, hyperparameters={"lr": 0.25}), load_registry([plugin_file]))
    assert found.points == tuple((0.5 * 0.75**t, -0.75 * 0.75**t) for t in range(4))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"optimizer": "admn"}, "no optimizer 'admn'; did you mean 'adam'?"),
        ({"function": Analytic(problem="beal")}, "no problem 'beal'; did you mean 'beale'?"),
        ({"function": Analytic(problem="quadratic")}, "no function of two variables with these options"),
        ({"hyperparameters": {"lr": -1.0}}, "lr = -1.0 is outside its allowed range (0, inf)"),
        ({"function": BOWL.model_copy(update={"log": True})}, "a loss of zero or below"),
        ({"function": BOWL.model_copy(update={"losses": ((math.nan, 1.0),) * 9})}, "9 of 18 points"),
        ({"function": BOWL.model_copy(update={"losses": ((1.0,),)})}, "two rows and two columns"),
    ],
)
def test_a_mistake_is_one_sentence(registry: Registry, changed: dict[str, object], says: str) -> None:
    request = asked(QUADRATIC, "sgd").model_copy(update=changed)
    with pytest.raises(UserError) as caught:
        walk(request, registry)
    assert says in str(caught.value)
    told = answer(Question(ask=request).model_dump_json(), registry)
    assert told.error == str(caught.value)


def test_messages_keep_every_bit_and_nan(registry: Registry) -> None:
    found = walk(asked(QUADRATIC, "sgd", 100, hyperparameters={"lr": 0.1}), registry)
    ended = found.model_copy(update={"losses": (*found.losses, math.inf, math.nan)})
    back = Answer.model_validate_json(Answer(walk=ended).model_dump_json()).walk
    assert isinstance(back, Walk)
    assert back.points == ended.points
    assert repr(back.losses) == repr(ended.losses)


def test_a_path_leaves_torch_and_the_generators_as_they_were(registry: Registry) -> None:
    import torch

    torch.manual_seed(3)
    before = torch.get_rng_state()
    walk(asked(QUADRATIC, "adam", hyperparameters={"lr": 0.1}), registry)
    assert torch.equal(torch.get_rng_state(), before)
    assert Budget(steps=STEPS) == trial_of(asked(QUADRATIC, "adam"), registry).budget
