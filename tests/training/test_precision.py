"""Mixed precision and TF32: which operations use which precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from probing import ref
from thalweg.contracts.budget import Budget, Interval
from thalweg.registry import Registry, load_registry
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble
from thalweg.training.precision import products_of
from thalweg.training.stacked.stackable import may_not
from thalweg.training.trained import Trained
from thalweg.trial import Trial

OPTIMIZERS = [entry.name for entry in load_registry([]).entries("optimizers")]


def trial(**changes: Any) -> Trial:
    values: dict[str, Any] = {
        "problem": ref("digits", layout="image"),
        "architecture": ref("convnet", channels=[2, 2, 2], widths=[4], padding="same", norm="batch"),
        "optimizer": ref("sgd"),
        "budget": Budget(steps=2),
        "evaluate_every": Interval(steps=2),
        "batch_size": 256,
        "seed": 0,
    }
    return Trial(**(values | changes))


def train(registry: Registry, asked: Trial) -> Trained:
    return Training(assemble(asked, registry), [], lambda *_: None).run()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_trains_in_mixed_precision_a_little_otherwise(registry: Registry, name: str) -> None:
    mixed, full = (
        train(registry, trial(optimizer=ref(name), precision=precision)) for precision in ("mixed-bfloat16", "full")
    )
    assert mixed.status == "done", mixed.reason
    first, other = (one.curve[(one.curve["step"] == 0)]["value"].tolist() for one in (mixed, full))
    # nothing is evaluated in anything but float32
    assert first == other
    assert mixed.summary["final"] != full.summary["final"]


def test_a_step_computes_in_bfloat16_and_keeps_everything_in_float32(registry: Registry) -> None:
    it = assemble(trial(precision="mixed-bfloat16"), registry)
    full = assemble(trial(), registry)
    seen: list[torch.dtype] = []
    it.module.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    for each in (it, full):
        each.objective.begin_step(each.problem.batch("train", 0, each.draw), 0)
    loss, gradients = it.objective.gradient()
    expected, true = full.objective.gradient()
    outputs = it.objective.outputs()
    assert seen == [torch.bfloat16, torch.bfloat16]
    assert {loss.dtype, outputs.dtype, *(g.dtype for g in gradients)} == {torch.float32}
    assert {buffer.dtype for buffer in it.module.buffers()} == {torch.float32, torch.int64}
    # bfloat16 has 8 bits: 1/256 in each of a few layers
    assert 0 < abs(loss - expected) < 0.05 * expected
    mine, theirs = (torch.cat([g.flatten() for g in each]) for each in (gradients, true))
    assert 0.9 < torch.cosine_similarity(mine, theirs, dim=0) < 1 - 1e-7
    # probes look in full precision
    assert it.objective.observer().loss() == full.objective.observer().loss()
    assert may_not(it.trial, registry)


def test_what_torch_is_told_of_tf32_is_the_trials_and_put_back() -> None:
    places = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)
    before = [place.fp32_precision for place in places]
    for precision, expected in (("full", "ieee"), ("tf32", "tf32"), ("mixed-bfloat16", "ieee")):
        with products_of(trial(precision=precision, device="cuda")):
            assert [place.fp32_precision for place in places] == [expected] * 2
        assert [place.fp32_precision for place in places] == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_tf32_rounds_products_on_cuda() -> None:
    a = torch.randn(512, 512, device="cuda")
    exact = a.double() @ a.double()
    errors = {}
    for precision in ("full", "tf32"):
        with products_of(trial(precision=precision, device="cuda")):
            errors[precision] = (a @ a - exact).abs().max().item()
    assert errors["full"] < 1e-3 < errors["tf32"]
