"""Schedules, clipping and weight decay around an optimizer's steps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from support import CommandLine
from thalweg.benchmark_file import Recipe
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.schedule import Schedule
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.registry import Registry
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble
from thalweg.training.trained import Trained
from thalweg.trial import ComponentRef, Trial

STEPS = 40


def ref(name: str, **options: Any) -> ComponentRef:
    return ComponentRef(name=name, options=options, provider="test")


def bowl(optimizer: ComponentRef, **changes: Any) -> Trial:
    values: dict[str, Any] = {
        "problem": ref("quadratic", dim=6, kappa=20.0),
        "architecture": ref("point"),
        "optimizer": optimizer,
        "budget": Budget(steps=STEPS),
        "dtype": "float64",
        "evaluate_every": Interval(steps=1),
        "seed": 0,
    }
    return Trial(**(values | changes))


def digits(optimizer: ComponentRef, **changes: Any) -> Trial:
    values: dict[str, Any] = {
        "problem": ref("digits"),
        "architecture": ref("mlp", widths=(8,)),
        "optimizer": optimizer,
        "budget": Budget(steps=10),
        "batch_size": 64,
        "evaluate_every": Interval(steps=1),
        "seed": 0,
    }
    return Trial(**(values | changes))


def train(registry: Registry, asked: Trial) -> Trained:
    return Training(assemble(asked, registry), [], lambda *_: None).run()


def losses(trained: Trained) -> list[float]:
    curve = trained.curve
    return list(curve[(curve["split"] == "train") & (curve["metric"] == "loss")]["value"])


def by_hand(registry: Registry, asked: Trial, update: Any) -> list[float]:
    """The same problem and start, and an update w <- update(t, w, g(w)) in NumPy."""
    it = assemble(asked, registry)
    (point,) = it.module.parameters()
    h = it.problem.hessian(point.detach()).numpy()  # type: ignore[attr-defined]
    minimizer = it.problem.minimizers[0].numpy()  # type: ignore[attr-defined]
    w = point.detach().numpy().copy()
    found = [0.5 * (w - minimizer) @ h @ (w - minimizer)]
    for t in range(STEPS):
        w = update(t, w, h @ (w - minimizer))
        found.append(0.5 * (w - minimizer) @ h @ (w - minimizer))
    return found


@pytest.mark.parametrize("name", ["step", "cosine", "warmup-cosine", "inverse-sqrt"])
def test_a_schedule_multiplies_the_rate_and_is_told_in_the_curve(registry: Registry, name: Any) -> None:
    schedule = Schedule(name=name)
    asked = bowl(ref("sgd", lr=0.05), schedule=schedule)
    rates = [0.05 * schedule.factor_at(t, t / STEPS, 1 / STEPS) for t in range(STEPS)]
    trained = train(registry, asked)
    expected = by_hand(registry, asked, lambda t, w, g: w - rates[t] * g)
    np.testing.assert_allclose(losses(trained), expected, rtol=1e-10)
    told = trained.curve[(trained.curve["split"] == "optimizer") & (trained.curve["metric"] == "lr")]
    np.testing.assert_allclose(told["value"], rates, rtol=1e-12)


def test_a_budget_of_gradients_is_scheduled_by_what_is_spent(registry: Registry) -> None:
    asked = bowl(ref("sgd", lr=0.05), schedule=Schedule(name="step", at=(0.5,)))
    by_steps = train(registry, asked)
    by_gradients = train(registry, asked.model_copy(update={"budget": Budget(gradient_evaluations=STEPS)}))
    assert losses(by_steps) == losses(by_gradients)


def test_decoupled_decay_of_adam_is_adamw(registry: Registry) -> None:
    decayed = train(registry, bowl(ref("adam", lr=0.1), decoupled_weight_decay=0.3))
    it = assemble(bowl(ref("adam", lr=0.1)), registry)
    optimizer = torch.optim.AdamW(it.module.parameters(), lr=0.1, weight_decay=0.3)
    expected = [it.problem.evaluate(it.module, "train")["loss"]]
    for step in range(STEPS):
        it.objective.begin_step(it.problem.batch("train", step, it.draw), step)
        it.objective.backward()
        optimizer.step()
        expected.append(it.problem.evaluate(it.module, "train")["loss"])
    np.testing.assert_allclose(losses(decayed), expected, rtol=1e-10)


def test_coupled_decay_of_adam_is_torchs_own(registry: Registry) -> None:
    around = train(registry, bowl(ref("adam", lr=0.1), coupled_weight_decay=0.3))
    inside = train(registry, bowl(ref("adam", lr=0.1, weight_decay=0.3)))
    np.testing.assert_allclose(losses(around), losses(inside), rtol=1e-10)
    assert not np.allclose(losses(around), losses(train(registry, bowl(ref("adam", lr=0.1)))))


def test_decoupled_decay_follows_the_schedule(registry: Registry) -> None:
    schedule = Schedule(name="inverse-sqrt")
    asked = bowl(ref("sgd", lr=0.05), schedule=schedule, decoupled_weight_decay=0.5)

    def update(t: int, w: Any, g: Any) -> Any:
        rate = 0.05 / math.sqrt(t + 1)
        return w - rate * g - rate * 0.5 * w

    np.testing.assert_allclose(losses(train(registry, asked)), by_hand(registry, asked, update), rtol=1e-10)


def test_decoupled_decay_leaves_frozen_weights_alone(registry: Registry) -> None:
    it = assemble(digits(ref("sgd", lr=0.1), decoupled_weight_decay=0.5), registry)
    frozen, trained = list(it.module.parameters())[:2]
    frozen.requires_grad_(False)
    it.objective.parameters = [parameter for parameter in it.module.parameters() if parameter.requires_grad]
    before = frozen.detach().clone(), trained.detach().clone()
    Training(it, [], lambda *_: None).run()
    assert torch.equal(frozen, before[0])
    assert not torch.equal(trained, before[1])


def test_a_budget_in_seconds_is_scheduled_by_the_seconds_spent(registry: Registry) -> None:
    warmup = Schedule(name="warmup-cosine", warmup=0.3)
    asked = bowl(ref("sgd", lr=1e-3), budget=Budget(seconds=1.0), schedule=warmup)
    curve = train(registry, asked).curve
    told = curve[(curve["split"] == "optimizer") & (curve["metric"] == "lr")].sort_values("step")
    share, rates = told["seconds"].to_numpy(), told["value"].to_numpy() / 1e-3
    assert 0 < rates[0] < 0.01
    expected = np.where(share < 0.3, share / 0.3, (1 + np.cos(np.pi * (share - 0.3) / 0.7)) / 2)
    # single steps may take long on a busy machine
    assert np.median(np.abs(rates - expected)) < 0.05
    assert len(set(rates)) > 0.5 * len(rates)


def test_a_method_that_takes_several_gradients_a_step_warms_up_by_what_a_step_spends(registry: Registry) -> None:
    schedule = Schedule(name="warmup-cosine", warmup=0.5)
    asked = digits(ref("kfac"), budget=Budget(gradient_evaluations=40), schedule=schedule)
    curve = train(registry, asked).curve
    told = curve[(curve["split"] == "optimizer") & (curve["metric"] == "lr")]["value"]
    # two gradients a step: ten steps up, ten down; before the first step one gradient is what a step is taken to be
    expected = [1 / 20] + [(2 * t + 2) / 20 for t in range(1, 10)]
    np.testing.assert_allclose(told[:10], expected, rtol=1e-9)


def test_weights_that_a_stepper_keeps_stay_in_the_problems_domain(registry: Registry) -> None:
    asked = Trial(
        problem=ref("rkk18"), architecture=ref("point"), optimizer=ref("schedule-free-adamw", lr=0.1),
        budget=Budget(steps=600), dtype="float64", evaluate_every=Interval(steps=50), seed=0,
    )  # fmt: skip
    it = assemble(asked, registry)
    trained = Training(it, [], lambda *_: None).run()
    x = trained.curve[trained.curve["metric"] == "x"]["value"]
    assert x.abs().max() <= 1
    slots = it.stepper.slots  # type: ignore[attr-defined]
    assert float(slots["z"].abs()) <= 1
    assert float(slots["x"].abs()) <= 1


def test_clipping_bounds_the_step(registry: Registry) -> None:
    asked = bowl(ref("sgd", lr=0.05), clip_norm=2.0)

    def update(_: int, w: Any, g: Any) -> Any:
        return w - 0.05 * g * min(1.0, 2.0 / (np.linalg.norm(g) + 1e-6))

    np.testing.assert_allclose(losses(train(registry, asked)), by_hand(registry, asked, update), rtol=1e-9)
    assert losses(train(registry, asked)) != losses(train(registry, bowl(ref("sgd", lr=0.05))))


def test_a_trial_without_a_recipe_has_the_hash_that_it_had() -> None:
    asked = bowl(ref("sgd"))
    assert not {"schedule", "clip_norm", "coupled_weight_decay", "decoupled_weight_decay"} & asked.canonical().keys()
    changed = [
        bowl(ref("sgd"), **change)
        for change in (
            {"schedule": Schedule(name="cosine")},
            {"schedule": Schedule(name="cosine", final=0.1)},
            {"clip_norm": 1.0},
            {"coupled_weight_decay": 0.1},
            {"decoupled_weight_decay": 0.1},
        )
    ]
    assert len({asked.hash, *(trial.hash for trial in changed)}) == 6


def test_costs_are_in_the_curve_and_memory_in_the_summary(registry: Registry) -> None:
    plain, adam = train(registry, bowl(ref("sgd"))), train(registry, bowl(ref("adam")))
    assert plain.summary["state_bytes"] == 0
    # two float64 vectors of six numbers, and a step counter in float32
    assert adam.summary["state_bytes"] == 2 * 6 * 8 + 4
    columns = ["gradient_evaluations", "curvature_products", "factor_inversions"]
    last = adam.curve.iloc[-1][columns]
    assert list(last) == [STEPS, 0, 0]
    assert isinstance(adam.curve, pd.DataFrame)


def test_a_decay_past_what_numbers_can_hold_is_divergence(registry: Registry) -> None:
    trained = train(registry, digits(ref("sgd"), decoupled_weight_decay=1e308))
    assert trained.status == "diverged"


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        ("return None", "built NoneType and no thalweg.Stepper"),
        ("s = super().build(module, h, context); s.step = lambda objective: None; return s",
         "a step returned NoneType and no thalweg.StepReport"),
    ],
)  # fmt: skip
def test_a_plugin_that_returns_something_else_is_told_what_is_wanted(
    cli: CommandLine, tmp_path: Path, build: str, reason: str
) -> None:
    text = "import thalweg\nfrom thalweg_plugins.optimizers.first_order.sgd import SGD\n"
    text += f"class Odd(SGD):\n    name = 'odd'\n    def build(self, module, h, context):\n        {build}\n"
    text += "@thalweg.hookimpl\ndef thalweg_register_optimizers(register):\n    register(Odd)\n"
    (tmp_path / "odd.py").write_text(text, encoding="utf-8")
    words = ["--plugin", "odd.py", "--with", "optimizer=odd", "--only", "optimizer=odd", "--only", "workload=quadratic"]
    report = cli.json("run", "quick", *words, code=1)
    assert reason in report["failures"][0]["message"]


class Grouped(torch.optim.Optimizer):
    """Gradient descent, vectors at another rate."""

    def __init__(self, params: Any, lr: float = 0.1, ratio: float = 0.5) -> None:
        params = list(params)
        matrices, vectors = ([p for p in params if (p.dim() > 1) is large] for large in (True, False))
        super().__init__([{"params": vectors, "lr": ratio * lr}, {"params": matrices, "lr": lr}], {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad)


@pytest.mark.parametrize("on", ["all", "matrices"])
@pytest.mark.parametrize("kind", ["coupled_weight_decay", "decoupled_weight_decay"])
@pytest.mark.parametrize("ratio", [0.5, 0.0])
def test_decay_is_at_each_groups_rate_and_may_spare_vectors(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, on: Any, kind: str, ratio: float
) -> None:
    """w <- w - r (g + c w) with the group's own rate r, c = 0 for what is spared."""
    optimizer = TorchOptimizer(Grouped, ratio=ratio)
    monkeypatch.setattr(registry, "optimizer", lambda *_: optimizer)
    settings: dict[str, Any] = {kind: 0.1, "weight_decay_on": on}
    trial = Trial(
        problem=ref("digits"), architecture=ref("mlp", widths=[6]), optimizer=ref("grouped"), dtype="float64",
        budget=Budget(steps=1), batch_size=64, seed=0, schedule=Schedule(name="cosine", final=1.0), **settings,
    )  # fmt: skip
    start = assemble(trial.model_copy(update=dict.fromkeys(settings, 0.0) | {"weight_decay_on": "all"}), registry)
    start.objective.begin_step(start.problem.batch("train", 0, start.draw), 0)
    start.objective.backward()
    run = Training(assemble(trial, registry), [], lambda *_: None)
    assert run.run().status == "done"
    for parameter, before in zip(run.it.module.parameters(), start.module.parameters(), strict=True):
        rate = 0.1 * (1.0 if before.dim() > 1 else ratio)
        c = 0.1 if on == "all" or before.dim() > 1 else 0.0
        expected = before - rate * (before.grad + c * before)
        torch.testing.assert_close(parameter, expected, rtol=1e-13, atol=1e-15)


def test_what_decays_is_no_part_of_a_trial_without_decay() -> None:
    assert Recipe.settle(Recipe(weight_decay_on="matrices")) == {}
    said = {"coupled_weight_decay": 0.1, "weight_decay_on": "matrices"}
    assert Recipe.settle(Recipe(**said)) == said
