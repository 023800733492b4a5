"""Batch norm's statistics for averaged weights, and complex numbers in modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from probing import ref
from thalweg.contracts import Architecture, Draw, Shape
from thalweg.contracts.budget import Budget, Interval
from thalweg.registry import Registry
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble
from thalweg.trial import Trial

NORMED = ref("mlp", widths=[12], norm="batch")


def training(registry: Registry, optimizer: Any, architecture: Any = NORMED, **changes: Any) -> Training:
    values: dict[str, Any] = {"budget": Budget(steps=20), "evaluate_every": Interval(steps=10), "batch_size": 64}
    trial = Trial(problem=ref("digits"), architecture=architecture, optimizer=optimizer, seed=0, **(values | changes))
    return Training(assemble(trial, registry), [], lambda *_: None, "weights")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_statistics_are_the_means_over_training_batches_at_the_evaluated_weights(
    registry: Registry, dtype: Any
) -> None:
    run = training(registry, ref("schedule-free-adamw"), dtype=dtype, budget=Budget(epochs=1), validation_fraction=0.2)
    done = run.run()
    it = run.it
    final = done.weights.final
    assert final is not None
    draw = Draw(it.draw.seed_for("statistics"), 64)
    means, variances = [], []
    for step in range(it.problem.steps_per_epoch(64)):
        inputs = it.problem.batch("train", step, draw).inputs
        assert inputs is not None
        weight, bias = (final[f"1.{name}"].to(inputs) for name in ("weight", "bias"))
        hidden = inputs.flatten(1) @ weight.T + bias
        means.append(hidden.mean(0))
        variances.append(hidden.var(0))
    tolerance = 1e-12 if dtype == "float64" else 1e-4
    torch.testing.assert_close(final["2.running_mean"], torch.stack(means).mean(0), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(final["2.running_var"], torch.stack(variances).mean(0), rtol=tolerance, atol=tolerance)
    # three evaluations after steps, the test and the kept weights; training's own count has none of it
    epoch = it.problem.steps_per_epoch(64) * 64
    assert done.summary["statistics_examples"] > 0
    assert done.summary["statistics_examples"] % epoch == 0
    assert done.summary["examples"] == it.objective.counts.examples == epoch
    module = it.module
    module.load_state_dict(final)
    last = done.curve[(done.curve["split"] == "valid") & (done.curve["metric"] == "loss")]["value"].iloc[-1]
    np.testing.assert_allclose(it.problem.evaluate(module.eval(), "valid")["loss"], last, rtol=1e-6)


def test_training_does_not_see_the_statistics_of_evaluations(registry: Registry) -> None:
    often = training(registry, ref("schedule-free-adamw"), evaluate_every=Interval(steps=1))
    rarely = training(registry, ref("schedule-free-adamw"), evaluate_every=Interval(steps=20))
    ours, theirs = often.run(), rarely.run()
    assert ours.weights.final is not None
    assert theirs.weights.final is not None
    assert all(torch.equal(ours.weights.final[name], tensor) for name, tensor in theirs.weights.final.items())
    for mine, other in zip(often.it.module.state_dict().values(), rarely.it.module.state_dict().values(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_methods_that_evaluate_where_they_train_keep_their_statistics(registry: Registry, optimizer: str) -> None:
    run = training(registry, ref(optimizer))
    done = run.run()
    assert "statistics_examples" not in done.summary
    assert done.weights.final is not None
    assert torch.equal(done.weights.final["2.running_mean"], run.it.module.state_dict()["2.running_mean"])


class Rotates(nn.Module):
    """Complex weights and a complex buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("phase", torch.polar(torch.ones(33), torch.linspace(0.5, 2.5, 33)))
        self.f = nn.Parameter(torch.randn(33, dtype=torch.cfloat))
        self.out = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(x.flatten(1)) * self.f * self.get_buffer("phase")
        out: torch.Tensor = self.out(torch.tanh(torch.fft.irfft(spectrum, n=64)))
        return out


class Spectral(Architecture):
    name, summary = "spectral", "for tests"

    def build(self, options: Any, shape: Shape) -> nn.Module:
        return Rotates()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["momentum", "adam", "lion", "schedule-free-adamw"])
def test_complex_weights_and_buffers_keep_their_imaginary_parts(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, dtype: Any, optimizer: str
) -> None:
    monkeypatch.setattr(registry, "architecture", lambda *_: Spectral())
    run = training(registry, ref(optimizer), ref("spectral"), dtype=dtype, coupled_weight_decay=0.01)
    before = run.it.module.state_dict()["f"].clone()
    kind = torch.complex64 if dtype == "float32" else torch.complex128
    done = run.run()
    assert done.status == "done", done.reason
    assert done.weights.final is not None
    assert done.weights.final["f"].dtype == done.weights.final["phase"].dtype == kind
    expected = torch.polar(torch.ones(33), torch.linspace(0.5, 2.5, 33)).to(kind)
    assert torch.equal(done.weights.final["phase"], expected)
    moved = done.weights.final["f"] - before
    # a weight may come back to where it was, and two have imaginary parts that no output depends on
    assert float(moved.imag.abs().median()) > 0
    assert float(moved.real.abs().median()) > 0


def test_an_elementwise_rule_takes_a_complex_number_for_two_real_ones(registry: Registry) -> None:
    """The same network with real and imaginary parts as weights of their own makes the same steps."""

    class Parts(nn.Module):
        def __init__(self, f: torch.Tensor) -> None:
            super().__init__()
            self.f = nn.Parameter(f)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            f = self.f if self.f.is_complex() else torch.view_as_complex(self.f)
            spectrum = torch.fft.rfft(x.flatten(1)) * f
            return torch.fft.irfft(spectrum, n=64)[:, :10]

    from thalweg.contracts import BuildContext
    from thalweg.contracts.objective import Objective
    from thalweg.contracts.option import resolve

    it = training(registry, ref("sgd"), dtype="float64").it
    start = torch.randn(33, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    found = []
    for f in (start.clone(), torch.view_as_real(start).clone()):
        module = Parts(f)
        optimizer = registry.optimizer("schedule-free-adamw")
        stepper = optimizer.build(module, resolve(optimizer.options, {}, "x"), BuildContext(0, 64, 16))
        objective = Objective(module, it.problem, it.draw, l2=0.1)
        for step in range(5):
            objective.begin_step(it.problem.batch("train", step, it.draw), step)
            stepper.step(objective)
        found.append(module.f.detach())
    torch.testing.assert_close(torch.view_as_real(found[0]), found[1], rtol=1e-12, atol=1e-14)
