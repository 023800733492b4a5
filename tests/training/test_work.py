"""The work of trainings, against sums by hand of what each optimizer evaluates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import thalweg
from probing import ref
from stacked_trials import alone, trial
from support import CommandLine
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.costs import DECLARED
from thalweg.contracts.option import Hyperparameter
from thalweg.contracts.schedule import Schedule
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.registry import Registry
from thalweg.training.stacked.train import train_together
from thalweg.training.trained import Trained
from thalweg.trial import Stack, Trial

FIRST, REST = 64 * 64, 64 * 64 + 64 * 10
"""Multiplications of 64-64-64-10 for one example: in the layer whose inputs are data, and in the others."""


@dataclass(frozen=True)
class Share:
    """Costs of 64-64-64-10 over the cost of a gradient."""

    gradient = 2 * FIRST + 3 * REST
    forward = (FIRST + REST) / gradient
    jvp = (FIRST + 2 * REST) / gradient
    vjp = (FIRST + 2 * REST) / gradient
    hvp = (2 * FIRST + 6 * REST) / gradient
    ggnvp = jvp + vjp


def asked(optimizer: str, steps: int = 6, batch: int | str = 32, **changes: Any) -> Trial:
    settings = changes.pop("settings", {})
    values: dict[str, Any] = {
        "architecture": ref("mlp", widths=[64, 64]),
        "optimizer": ref(optimizer, **settings),
        "budget": Budget(steps=steps),
        "evaluate_every": Interval(steps=1),
        "batch_size": batch,
    }
    return trial(**(values | changes))


def work_of(trained: Trained) -> list[float]:
    """The work at each evaluation."""
    assert trained.status == "done", trained.reason
    rows = trained.curve.drop_duplicates("step").sort_values("step")
    work = rows["work"].tolist()
    assert trained.summary["work"] == work[-1]
    return work


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon", "shampoo"])
def test_the_work_of_a_gradient_a_step_is_the_examples(registry: Registry, optimizer: str) -> None:
    trained = alone(asked(optimizer), registry)
    assert work_of(trained) == [32.0 * step for step in range(7)]
    assert trained.summary["costs"]["source"] == "counted"
    assert trained.summary["costs"]["gradient"] == 2 * Share.gradient


def test_examples_hid_what_kfac_costs(registry: Registry) -> None:
    """116 steps, with which K-FAC reaches the target of digits: 38 examples a step, and 96 gradients of one example."""
    trained = alone(asked("kfac", 116, settings={}, dtype="float32", evaluate_every=Interval(steps=116)), registry)
    last = trained.summary
    # every fifth step evaluates the loss once more, to adapt the damping
    forward = 116 + 23
    # proposal and last step; the first step has no last one; every 20th step tries three dampings of the factors
    products = 1 + 115 * 2 + 5 * 4
    assert last["examples"] == 32 * forward
    assert round(last["examples"] / 116) == 38
    assert (last["gradient_evaluations"], last["curvature_products"]) == (232, products)
    expected = 32 * (Share.forward * forward + 116 * (1 - Share.forward) + 116 * Share.vjp + products * Share.jvp)
    assert work_of(trained)[-1] == pytest.approx(expected, rel=1e-12)
    assert round(expected / 116) == 96
    assert last["evaluations"] == {
        "backward": 116 * 32, "vjp": 116 * 32, "jvp": products * 32, "hvp": 0, "ggnvp": 0,
    }  # fmt: skip


def test_the_work_of_newton_cg_has_its_products(registry: Registry) -> None:
    trained = alone(asked("newton-cg", 3), registry)
    last = trained.summary
    assert last["evaluations"]["hvp"] == 32 * last["curvature_products"] > 0
    assert last["evaluations"]["backward"] == 32 * last["gradient_evaluations"]
    forward = Share.forward * last["examples"] + (1 - Share.forward) * last["evaluations"]["backward"]
    assert work_of(trained)[-1] == pytest.approx(forward + Share.hvp * last["evaluations"]["hvp"], rel=1e-12)


@pytest.mark.parametrize("optimizer", ["gauss-newton-cg", "natural-gradient-mc", "empirical-fisher"])
def test_the_work_of_fisher_and_gauss_newton_methods(registry: Registry, optimizer: str) -> None:
    changes: dict[str, Any] = {"architecture": ref("linear")} if optimizer != "gauss-newton-cg" else {}
    trained = alone(asked(optimizer, 2, 16, **changes), registry)
    last = trained.summary
    assert last["evaluations"]["ggnvp"] == 16 * last["curvature_products"] > 0
    costs = last["costs"]
    assert costs["ggnvp"] == costs["jvp"] + costs["vjp"]
    expected = (
        costs["forward"] * last["examples"]
        + (costs["gradient"] - costs["forward"]) * last["evaluations"]["backward"]
        + costs["ggnvp"] * last["evaluations"]["ggnvp"]
    )
    assert work_of(trained)[-1] == expected / costs["gradient"]


def test_each_point_of_a_line_search_is_a_gradient(registry: Registry) -> None:
    trained = alone(asked("lbfgs", 4, "full"), registry)
    last = trained.summary
    assert last["gradient_evaluations"] > 4
    assert work_of(trained)[-1] == last["examples"] == last["gradient_evaluations"] * 1347


class Sharpness(torch.optim.Optimizer):
    """Takes its gradient at w + rho g / |g|, by a closure, as sharpness-aware minimisation does."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any) -> None:  # type: ignore[override]
        with torch.enable_grad():
            closure()
        parameters: list[Tensor] = self.param_groups[0]["params"]
        with torch.no_grad():
            offsets = [0.05 * p.grad / p.grad.norm() for p in parameters if p.grad is not None]
            torch._foreach_add_(parameters, offsets)
        with torch.enable_grad():
            closure()
        with torch.no_grad():
            torch._foreach_sub_(parameters, offsets)
            for p in parameters:
                assert p.grad is not None
                p.sub_(p.grad, alpha=self.param_groups[0]["lr"])


class Curved(torch.optim.Optimizer):
    """Scales the gradient by a product with the Hessian, which it takes of gradients with their graph."""

    def __init__(self, params: Any, lr: float = 0.01) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        parameters: list[Tensor] = self.param_groups[0]["params"]
        gradients = [p.grad for p in parameters if p.grad is not None]
        rows = torch.autograd.grad(gradients, parameters, [torch.ones_like(p) for p in parameters])
        with torch.no_grad():
            for p, gradient, row in zip(parameters, gradients, rows, strict=True):
                p.sub_(self.param_groups[0]["lr"] * gradient / (1 + row.abs()))


class Extragradient(thalweg.Optimizer):
    name, summary = "extragradient", "two gradients a step"
    equation = "w <- w - lr g(w - lr g(w))"
    options = (Hyperparameter("lr", 0.05, "(0, inf)", "learning rate"),)

    def build(self, module: nn.Module, hyperparameters: Any, context: Any) -> thalweg.Stepper:
        return _Extragradient(hyperparameters["lr"])


class _Extragradient(thalweg.Stepper):
    def __init__(self, lr: float) -> None:
        self.lr = lr

    def step(self, objective: Any) -> thalweg.StepReport:
        start = [p.detach().clone() for p in objective.parameters]
        for _ in range(2):
            _, gradient = objective.gradient()
            with torch.no_grad():
                for p, w, g in zip(objective.parameters, start, gradient, strict=True):
                    p.copy_(w - self.lr * g)
        return thalweg.StepReport()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class With:
    """A registry with one more optimizer."""

    def __init__(self, registry: Registry, optimizer: thalweg.Optimizer) -> None:
        self.registry, self.own = registry, optimizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.registry, name)

    def optimizer(self, name: str, where: str = "") -> thalweg.Optimizer:
        return self.own if name == self.own.name else self.registry.optimizer(name, where)


@pytest.mark.parametrize(
    ("optimizer", "work"),
    [
        (Extragradient(), 2.0),
        (TorchOptimizer(Sharpness), 2.0),
        (TorchOptimizer(Curved, create_graph=True), 1 + Share.hvp),
        (TorchOptimizer(torch.optim.LBFGS, max_iter=3, max_eval=3), 3.0),
    ],
)
def test_the_work_of_optimizers_from_elsewhere(registry: Registry, optimizer: thalweg.Optimizer, work: float) -> None:
    known: Any = With(registry, optimizer)
    trained = alone(asked(optimizer.name, 3, settings={}), known)
    assert work_of(trained) == pytest.approx([32 * work * step for step in range(4)], rel=1e-12)


@pytest.mark.parametrize("optimizer", ["adam", "kfac", "lbfgs"])
def test_members_of_a_stack_work_as_much_as_trials_alone(registry: Registry, optimizer: str) -> None:
    trials = [
        asked(
            optimizer,
            8 if optimizer == "lbfgs" else 25,
            "full" if optimizer == "lbfgs" else 32,
            seed=seed,
            stack=Stack(size=4, slot=0, rows=True),
        )
        for seed in range(3)
    ]
    for one, ours in zip(trials, train_together(trials, registry), strict=True):
        theirs = alone(one, registry)
        assert work_of(ours) == work_of(theirs)
        for key in ("costs", "evaluations"):
            assert ours.summary[key] == theirs.summary[key]


def test_a_budget_of_work_has_no_free_products(registry: Registry) -> None:
    """Of two methods with equal gradients, the one that takes products makes fewer steps."""
    gradients = Budget(gradient_evaluations=12)
    work = Budget(work=12 * 32)
    free, paid = (alone(asked("newton-cg", budget=budget), registry) for budget in (gradients, work))
    plain = alone(asked("sgd", budget=work), registry)
    assert plain.summary["step"] == 12
    assert plain.summary["work"] == 12 * 32
    assert free.summary["gradient_evaluations"] == 12
    assert free.summary["work"] > 5 * 12 * 32
    assert paid.summary["step"] < free.summary["step"]
    # the training ends with the step that spends the budget
    assert work_of(paid)[-2] < 12 * 32 <= work_of(paid)[-1]


def test_a_schedule_runs_over_a_budget_of_work(registry: Registry) -> None:
    schedule = Schedule(name="warmup-cosine", warmup=0.25)
    by_work = alone(asked("sgd", budget=Budget(work=8 * 32), schedule=schedule), registry)
    by_steps = alone(asked("sgd", budget=Budget(steps=8), schedule=schedule), registry)
    assert by_work.curve.drop(columns="seconds").equals(by_steps.curve.drop(columns="seconds"))


def test_an_optimizer_without_work_ends_with_a_reason(registry: Registry) -> None:
    class Rests(Extragradient):
        name = "rests"

        def build(self, module: nn.Module, hyperparameters: Any, context: Any) -> thalweg.Stepper:
            return _Rests(0.1)

    class _Rests(_Extragradient):
        steps = 0

        def step(self, objective: Any) -> thalweg.StepReport:
            self.steps += 1
            return super().step(objective) if self.steps % 2 else thalweg.StepReport()

    known: Any = With(registry, Rests())
    trained = alone(asked("rests", budget=Budget(work=1000)), known)
    assert trained.status == "failed"
    assert "'rests' took a step without evaluating the loss" in trained.reason


def test_analytic_functions_have_declared_costs(registry: Registry) -> None:
    values: dict[str, Any] = {"problem": ref("rosenbrock"), "architecture": ref("point"), "batch_size": "full"}
    plain = alone(asked("sgd", settings={"lr": 1e-4}, **values), registry)
    assert work_of(plain) == [float(step) for step in range(7)]
    assert plain.summary["costs"]["source"] == "declared"
    newton = alone(asked("newton", **values), registry)
    last = newton.summary
    expected = (last["examples"] + 2 * last["evaluations"]["backward"] + 6 * last["evaluations"]["hvp"]) / 3
    assert work_of(newton)[-1] == expected
    assert DECLARED.hvp / DECLARED.gradient == 2


def test_a_benchmark_may_have_a_budget_of_work(cli: CommandLine) -> None:
    text = """
seeds = 2
[workloads.bowl]
problem = { name = "quadratic", dim = 4, kappa = 2.0 }
architecture = "point"
budget = { work = 30 }
evaluate_every = { steps = 1 }
target = { metric = "loss", value = 1e-3 }
[optimizers.sgd]
lr = 0.05
[optimizers.newton]
"""
    (cli.folder / "small.toml").write_text(text, encoding="utf-8")
    assert cli.json("run", "small.toml")["trials"] == {
        "total": 4, "trained": 4, "cached": 0, "diverged": 0, "failed": 0,
    }  # fmt: skip
    cli("results", "export", "curves.csv")
    curves = pd.read_csv(cli.folder / "curves.csv")
    last = curves.groupby("optimizer")[["step", "work"]].max()
    # a gradient is one product with the matrix forwards and one back; so are each of Newton's four, and a loss is half
    assert (last.loc["sgd", "step"], last.loc["sgd", "work"]) == (30, 30.0)
    assert last.loc["newton", "step"] < 8
    assert 30 <= last.loc["newton", "work"] < 30 + 1 + 4 + 25 / 2
    shares = {row["optimizer"]: row["ecdf"] for row in cli.json("leaderboard", "small.toml", "--over-all")["rows"]}
    assert 0 < shares["sgd"] < 1
    rows = {r["optimizer"]: r for r in cli.json("leaderboard", "small.toml", "--metric", "work_to_target")["rows"]}
    assert rows["newton"]["steps_to_target"] < rows["newton"]["value"]
    (cli.folder / "both.toml").write_text(text.replace("work = 30", "work = 30, steps = 2"), encoding="utf-8")
    assert "give exactly one of epochs, steps, gradient_evaluations, work, seconds" in cli("run", "both.toml", code=2).stderr  # fmt: skip # noqa: E501
