from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from thalweg.contracts import Column, Metric, Probe
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.option import resolve
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.errors import Diverged
from thalweg.registry import Registry
from thalweg.training.alone import Training
from thalweg.training.assembly import ActiveProbe, assemble
from thalweg.training.trained import Trained
from thalweg.trial import ComponentRef, ProbeRequest, Trial


def ref(name: str, **options: Any) -> ComponentRef:
    return ComponentRef(name=name, options=options, provider="test")


def trial(**changes: Any) -> Trial:
    values: dict[str, Any] = {
        "problem": ref("digits"),
        "architecture": ref("mlp", widths=[8], norm="batch"),
        "optimizer": ref("adam"),
        "budget": Budget(epochs=2),
        "batch_size": 128,
        "validation_fraction": 0.2,
        "seed": 0,
    }
    return Trial(**(values | changes))


def train(registry: Registry, asked: Trial, probes: list[ActiveProbe] | None = None) -> Trained:
    return Training(assemble(asked, registry), probes or [], lambda *_: None).run()


def untimed(trained: Trained) -> pd.DataFrame:
    return trained.curve.drop(columns="seconds")


def bowl(**changes: Any) -> Trial:
    values: dict[str, Any] = {
        "problem": ref("quadratic", dim=6, kappa=20.0),
        "architecture": ref("point"),
        "optimizer": ref("sgd", lr=0.05),
        "budget": Budget(steps=40),
        "batch_size": "full",
        "validation_fraction": 0.0,
        "dtype": "float64",
        "evaluate_every": Interval(steps=1),
    }
    return trial(**(values | changes))


def test_the_same_seed_gives_bitwise_equal_curves_and_another_seed_does_not(registry: Registry) -> None:
    first, second = train(registry, trial()), train(registry, trial())
    pd.testing.assert_frame_equal(untimed(first), untimed(second), check_exact=True)
    other = train(registry, trial(seed=1))
    assert not untimed(first).equals(untimed(other))


def test_gradient_descent_on_a_quadratic_follows_its_closed_form(registry: Registry) -> None:
    asked = bowl()
    trained = train(registry, asked)
    problem: Any = registry.problem("quadratic")
    hessian, minimum = problem.hessian_and_minimum(resolve(problem.options, asked.problem.options, "x"))
    (start,) = assemble(asked, registry).module.parameters()
    # f(x_t) with x_t - x* = (I - lr H)^t (x_0 - x*)
    eigenvalues, q = np.linalg.eigh(hessian.numpy())
    coordinates = q.T @ (start.detach() - minimum).numpy()
    rows = trained.curve.sort_values("step")
    assert rows["step"].tolist() == list(range(41))
    expected = [0.5 * (eigenvalues * ((1 - 0.05 * eigenvalues) ** t * coordinates) ** 2).sum() for t in range(41)]
    np.testing.assert_allclose(rows["value"], expected, rtol=1e-10, atol=0)


def test_rows_are_written_at_the_declared_steps_for_each_split(registry: Registry) -> None:
    trained = train(registry, trial())
    rows = trained.curve[trained.curve["metric"] == "loss"]
    assert rows.loc[rows["split"] == "train", "step"].tolist() == [0, 8, 16]
    assert rows.loc[rows["split"] == "valid", "step"].tolist() == [0, 8, 16]
    assert rows.loc[rows["split"] == "train", "epoch"].tolist() == [0, 1, 2]
    assert rows.loc[rows["split"] == "train", "gradient_evaluations"].tolist() == [0, 8, 16]
    assert rows.loc[rows["split"] == "train", "examples"].tolist() == [0, 8 * 128, 16 * 128]
    by_steps = train(registry, trial(budget=Budget(steps=11), evaluate_every=Interval(steps=4))).curve
    assert by_steps.loc[by_steps["split"] == "train", "step"].unique().tolist() == [0, 4, 8, 11]


def test_the_test_split_is_read_once_at_the_step_that_validation_selects(registry: Registry) -> None:
    asked = trial(budget=Budget(epochs=6), optimizer=ref("adam", lr=0.05))
    assembly = assemble(asked, registry)
    read: list[str] = []
    evaluate = assembly.problem.evaluate

    def watched(module: torch.nn.Module, split: Any) -> dict[str, float]:
        read.append(split)
        return evaluate(module, split)

    assembly.problem.evaluate = watched  # type: ignore[method-assign]
    try:
        trained = Training(assembly, [], lambda *_: None).run()
    finally:
        del assembly.problem.evaluate
    assert read.count("test") == 1
    assert read[-1] == "test"
    valid = trained.curve[(trained.curve["split"] == "valid") & (trained.curve["metric"] == "accuracy")]
    best = int(valid.loc[valid["value"].idxmax(), "step"])
    assert trained.curve.loc[trained.curve["split"] == "test", "step"].unique().tolist() == [best]
    assert trained.summary["selected_step"] == best
    # the value is that of the weights at that step: train just so far and compare
    shorter = train(registry, trial(budget=Budget(steps=max(best, 1)), optimizer=ref("adam", lr=0.05)))
    ours = trained.curve[trained.curve["split"] == "test"].set_index("metric")["value"]
    theirs = shorter.curve[shorter.curve["split"] == "test"].set_index("metric")["value"]
    assert ours.to_dict() == theirs.to_dict()


def test_reading_the_test_split_leaves_the_final_weights(registry: Registry) -> None:
    asked = trial(budget=Budget(epochs=6), optimizer=ref("adam", lr=0.05))
    assembly = assemble(asked, registry)
    trained = Training(assembly, [], lambda *_: None).run()
    last = trained.curve[(trained.curve["split"] == "train") & (trained.curve["metric"] == "loss")]["value"].iloc[-1]
    assert assembly.problem.evaluate(assembly.module.eval(), "train")["loss"] == last


@pytest.mark.parametrize(
    ("budget", "steps"), [(Budget(epochs=1), 8), (Budget(steps=5), 5), (Budget(gradient_evaluations=3), 3)]
)
def test_every_kind_of_budget_ends_training(registry: Registry, budget: Budget, steps: int) -> None:
    assert train(registry, trial(budget=budget)).summary["step"] == steps


def test_a_budget_of_seconds_ends_training(registry: Registry) -> None:
    summary = train(registry, trial(budget=Budget(seconds=0.05))).summary
    assert summary["seconds"] >= 0.05
    assert summary["step"] >= 1


def test_lbfgs_spends_several_gradients_a_step(registry: Registry) -> None:
    asked = trial(optimizer=ref("lbfgs"), batch_size="full", budget=Budget(gradient_evaluations=20))
    summary = train(registry, asked).summary
    assert summary["gradient_evaluations"] >= 20
    assert summary["step"] < 20
    assert summary["examples"] == summary["gradient_evaluations"] * 1077


def test_a_diverging_trial_is_a_result_with_its_curve_so_far(registry: Registry) -> None:
    trained = train(registry, bowl(optimizer=ref("sgd", lr=1.0)))
    assert trained.status == "diverged"
    assert trained.failure is None
    assert "training loss" in trained.reason
    assert 0 < trained.summary["step"] < 40
    assert len(trained.curve)


def test_a_loss_past_the_bound_after_the_last_step_is_noticed(registry: Registry) -> None:
    trained = train(registry, bowl(optimizer=ref("sgd", lr=1e12), budget=Budget(steps=1)))
    assert trained.status == "diverged"
    assert np.isfinite(trained.curve["value"]).all()


def test_a_metric_without_a_value_is_a_failure_that_names_it(registry: Registry) -> None:
    assembly = assemble(bowl(), registry)
    assembly.problem = copy.copy(assembly.problem)
    assembly.problem.metrics = (*assembly.problem.metrics, Metric("regret", "lower"))
    trained = Training(assembly, [], lambda *_: None).run()
    assert trained.status == "failed"
    assert "gives no value of regret" in trained.reason


def test_weights_that_become_nan_in_the_last_step_are_noticed(registry: Registry) -> None:
    trained = train(registry, bowl(optimizer=ref("sgd", lr=1e300), budget=Budget(steps=1)))
    assert trained.status == "diverged"


def test_an_exception_in_a_step_is_a_failure_with_its_reason(registry: Registry) -> None:
    assembly = assemble(trial(), registry)
    step = assembly.stepper.step

    def broken(objective: Any) -> Any:
        if broken_at[0] == 0:
            raise ArithmeticError("no pivot\nfound")
        broken_at[0] -= 1
        return step(objective)

    broken_at = [10]
    assembly.stepper.step = broken  # type: ignore[method-assign]
    trained = Training(assembly, [], lambda *_: None).run()
    assert (trained.status, trained.reason) == ("failed", "ArithmeticError: no pivot found")
    assert trained.failure is not None
    assert "broken" in trained.failure.traceback
    assert trained.curve["step"].max() == 8


def test_an_optimizer_may_declare_divergence_itself(registry: Registry) -> None:
    assembly = assemble(trial(), registry)

    def step(_: Any) -> Any:
        raise Diverged("curvature factor of layer 2 is nan")

    assembly.stepper.step = step  # type: ignore[method-assign]
    trained = Training(assembly, [], lambda *_: None).run()
    assert (trained.status, trained.reason) == ("diverged", "curvature factor of layer 2 is nan")


class Meddler(Probe):
    name, summary = "meddler", "changes whatever it can reach"
    when = ("start", "step", "epoch", "end")
    columns = (Column("step"), Column("random"))

    def measure(self, context: Any) -> pd.DataFrame:
        context.objective.backward()
        with torch.no_grad():
            for tensor in context.module.state_dict().values():
                tensor.zero_()
        for parameter in context.module.parameters():
            parameter.grad = None
        context.module.eval()
        random = float(torch.rand(()))
        return pd.DataFrame({"step": [context.step], "random": [random]})

    def chart(self, table: pd.DataFrame) -> Any:
        raise AssertionError


class Failing(Meddler):
    name = "failing"

    def measure(self, context: Any) -> pd.DataFrame:
        if context.step == 8:
            raise ValueError("cannot measure")
        return super().measure(context)


def active(probe: Probe) -> ActiveProbe:
    return ActiveProbe(ProbeRequest(label=probe.name, probe=ref(probe.name)), probe, {})


def test_curves_are_bitwise_equal_with_and_without_probes(registry: Registry) -> None:
    without = train(registry, trial())
    probed = train(registry, trial(), [active(Meddler())])
    pd.testing.assert_frame_equal(untimed(without), untimed(probed), check_exact=True)
    (table,) = probed.tables.values()
    # start, each of 16 steps, each of 2 epochs, end
    assert len(table) == 1 + 16 + 2 + 1


def test_a_failing_probe_leaves_the_trial_and_the_other_probes_whole(registry: Registry) -> None:
    trained = train(registry, trial(), [active(Failing()), active(Meddler())])
    assert trained.status == "done"
    assert [key.split("--")[0] for key in trained.tables] == ["meddler"]
    ((key, failure),) = trained.probe_failures.items()
    assert key.startswith("failing--")
    assert (failure.kind, failure.message) == ("ValueError", "cannot measure")


def test_saved_weights_are_those_that_are_evaluated(registry: Registry) -> None:
    """As for methods that average: here the weights that are evaluated are half of those that are trained."""
    assembly = assemble(bowl(), registry)
    (point,) = assembly.module.parameters()

    @contextlib.contextmanager
    def halved() -> Iterator[None]:
        kept = point.detach().clone()
        with torch.no_grad():
            point.mul_(0.5)
        yield
        with torch.no_grad():
            point.copy_(kept)

    assembly.stepper.evaluation_weights = halved  # type: ignore[method-assign]
    seen: list[torch.Tensor] = []

    class Looks(Meddler):
        when = ("end",)

        def measure(self, context: Any) -> pd.DataFrame:
            seen.append(next(context.module.parameters()).detach().clone())
            return super().measure(context)

    probe = Looks()
    probe.needs = ("final", "trajectory")
    trained = Training(assembly, [active(probe)], lambda *_: None).run()
    assert trained.weights.final is not None
    assert trained.weights.trajectory is not None
    assert torch.equal(trained.weights.final["x"], 0.5 * point.detach())
    assert torch.equal(trained.weights.trajectory[-1], trained.weights.final["x"])
    assert torch.equal(seen[0], trained.weights.final["x"])


def test_a_module_that_cannot_be_copied_costs_its_probes_and_not_the_trial(registry: Registry) -> None:
    assembly = assemble(bowl(), registry)
    assembly.module.lock = threading.Lock()  # type: ignore[assignment]
    trained = Training(assembly, [active(Meddler())], lambda *_: None).run()
    assert trained.status == "done"
    (failure,) = trained.probe_failures.values()
    assert failure.kind == "TypeError"
    assert not trained.tables


def test_a_stepper_that_cannot_be_copied_is_kept_from_probes(registry: Registry) -> None:
    assembly = assemble(bowl(), registry)
    assembly.stepper.lock = threading.Lock()  # type: ignore[attr-defined]
    seen: list[Any] = []

    class Looks(Meddler):
        def measure(self, context: Any) -> pd.DataFrame:
            seen.append(context.stepper)
            return super().measure(context)

    trained = Training(assembly, [active(Looks())], lambda *_: None).run()
    assert trained.status == "done"
    assert not trained.probe_failures
    assert set(seen) == {None}


def test_progress_reaches_its_total(registry: Registry) -> None:
    calls: list[tuple[int, int]] = []
    Training(assemble(trial(), registry), [], lambda done, total: calls.append((done, total))).run()
    assert calls == [(8, 16), (16, 16)]


def test_the_start_does_not_depend_on_the_optimizer(registry: Registry) -> None:
    first = assemble(trial(), registry).module
    second = assemble(trial(optimizer=ref("lbfgs")), registry).module
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


class Coarse(torch.optim.Optimizer):
    """Gradient descent that keeps a sum of its gradients in float32, or its weights."""

    def __init__(self, params: Any, lr: float = 0.1, weights: bool = False) -> None:
        super().__init__(params, {"lr": lr})
        self.lowers = weights

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                kept = self.state[p].setdefault("sum", torch.zeros_like(p, dtype=torch.float32))
                kept.add_(p.grad.float())
                p.sub_(group["lr"] * p.grad)
                if self.lowers:
                    p.data = p.data.float()


@pytest.mark.parametrize("lowers", [False, True])
def test_a_lower_precision_than_the_trials_is_said_or_refused(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, lowers: bool
) -> None:
    optimizer = TorchOptimizer(Coarse, weights=lowers)
    monkeypatch.setattr(registry, "optimizer", lambda *_: optimizer)
    trial = Trial(
        problem=ref("digits"), architecture=ref("linear"), optimizer=ref("coarse"), dtype="float64",
        budget=Budget(steps=1), batch_size=64, seed=0,
    )  # fmt: skip
    done = Training(assemble(trial, registry), [], lambda *_: None).run()
    if lowers:
        assert done.status == "failed"
        assert "float32" in done.reason
    else:
        assert done.status == "done"
        assert done.summary["coarse_state"] == ["state.0.sum (float32)", "state.1.sum (float32)"]
        same = trial.model_copy(update={"dtype": "float32"})
        assert "coarse_state" not in Training(assemble(same, registry), [], lambda *_: None).run().summary
