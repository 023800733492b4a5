"""A module, optimizer or probe that writes into the data is detected, and later code sees the original data."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from probing import ref
from thalweg.contracts import Architecture, Draw, Shape
from thalweg.contracts.budget import Budget
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.contracts.untouched import DataChangedError, Untouched, blame
from thalweg.landscape import losses_at
from thalweg.landscape.points import flat
from thalweg.registry import Registry
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble
from thalweg.training.trained import Trained
from thalweg.trial import Trial


class Writes(nn.Module):
    """A linear network that does something to its input first."""

    def __init__(self, write: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.write = write
        self.out = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        self.write(x)
        out: Tensor = self.out(x.flatten(1))
        return out


WRITES: dict[str, Callable[[Tensor], Any]] = {
    "in place": lambda x: x.sub_(0.5),
    "through a view": lambda x: x[:, :3].mul_(2.0),
    "through a detached one": lambda x: x.detach().add_(1.0),
    "uncounted, through .data": lambda x: x.data.sub_(0.5),
    "uncounted, through NumPy": lambda x: x.detach().numpy().__isub__(0.5),
    "uncounted, signs": lambda x: x.data.neg_(),
    "uncounted, places": lambda x: x.data.copy_(x.data.flip(0)),
}


def problem() -> Supervised:
    g = torch.Generator().manual_seed(0)
    data = torch.randn(40, 64, generator=g), torch.randint(10, (40,), generator=g)
    return Supervised({"train": data, "test": tuple(t.clone() for t in data)}, CrossEntropy(), CLASSIFICATION)


def trained(registry: Registry, module: nn.Module | None, batch_size: Any = 32) -> Trained:
    """Momentum on digits with a linear network, or with this one."""
    settings: dict[str, Any] = {"problem": ref("digits"), "architecture": ref("linear"), "optimizer": ref("momentum")}
    trial = Trial(**settings, budget=Budget(epochs=2), batch_size=batch_size, seed=0)
    if module is None:
        return Training(assemble(trial, registry), [], lambda *_: None).run()

    class Own(Architecture):
        name, summary = "linear", "for tests"

        def build(self, options: Any, shape: Shape) -> nn.Module:
            return copy.deepcopy(module)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "architecture", lambda *_: Own())
        return Training(assemble(trial, registry), [], lambda *_: None).run()


@pytest.mark.parametrize("batch_size", [32, "full"])
@pytest.mark.parametrize("write", WRITES)
def test_a_trial_that_writes_fails_and_the_next_one_has_its_own_numbers(
    registry: Registry, write: str, batch_size: Any
) -> None:
    before = trained(registry, None)
    spoilt = trained(registry, Writes(WRITES[write]), batch_size)
    assert spoilt.status == "failed"
    assert spoilt.failure is not None
    assert spoilt.failure.kind == "DataChangedError"
    assert "\n" not in spoilt.reason
    if "uncounted" not in write:
        assert "the module Writes writes into its input" in spoilt.reason
    after = trained(registry, None)
    columns = before.curve.columns.drop("seconds")
    assert after.curve[columns].equals(before.curve[columns])


def test_the_submodule_is_named() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.ReLU(inplace=True)), nn.Linear(64, 10))
    assert "the module 1.0 (ReLU) writes into its input" in blame(net, torch.randn(2, 64))


def test_a_write_into_a_batch_is_found_within_the_step() -> None:
    data = problem()
    objective = Objective(Writes(WRITES["in place"]), data, Draw(0, 8))
    objective.begin_step(data.batch("train", 0, Draw(0, 8)), 0)
    with pytest.raises(DataChangedError, match="Writes"):
        objective.backward()
    calm = Objective(nn.Linear(64, 10), data, Draw(0, 8))
    calm.begin_step(data.batch("train", 0, Draw(0, 8)), 0)
    calm.backward()
    calm.check_batch()
    assert calm.batch.inputs is not None
    calm.batch.inputs.add_(1)
    with pytest.raises(DataChangedError):
        calm.check_batch()


@pytest.mark.parametrize("batch_norm", ["running", "batch", "re-estimated"])
@pytest.mark.parametrize("method", ["auto", "walk", "stack", "plain"])
def test_losses_at_leaves_the_callers_tensors_alone(method: Any, batch_norm: Any) -> None:
    data = problem()
    kept = {split: [tensor.clone() for tensor in pair] for split, pair in data.data.items()}
    module = Writes(WRITES["in place"])
    points = flat(module).repeat(3, 1)
    with pytest.raises(DataChangedError, match="Writes"):
        losses_at(module, data, points, method=method, batch_norm=batch_norm)
    for split, pair in data.data.items():
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(pair, kept[split], strict=True))


def test_what_is_kept_of_data_is_found_wherever_it_is_held() -> None:
    x, y, z = torch.zeros(3), torch.zeros(5, dtype=torch.uint8), torch.zeros(2, dtype=torch.complex64)
    kept = Untouched({"a": [x, (y,)], "b": {"c": z}})
    assert not kept.changed
    y.data[0] = 1
    assert not kept.written
    assert kept.changed
    again = Untouched([x, y, z])
    z.mul_(1)
    assert again.written


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.uint8, torch.complex64])
@pytest.mark.parametrize("count", [1, 2, 7, 100, 2**17 + 3])
def test_uncounted_changes_of_places_bits_and_signs_are_seen(dtype: torch.dtype, count: int) -> None:
    x = (torch.arange(count) % 251 + 1).to(dtype)
    changes: list[Callable[[Tensor], Any]] = [lambda t: t[-1:].fill_(0), lambda t: t[:1].fill_(3)]
    if count > 1:
        changes += [lambda t: t.copy_(t.flip(0)), lambda t: t.copy_(t.roll(1))]
    if dtype is not torch.uint8:
        changes += [lambda t: t.neg_()]
    for change in changes:
        kept = Untouched(x)
        before = x.clone()
        change(x.data)
        assert kept.changed
        x.data.copy_(before)
        assert not kept.changed


def test_uncounted_changes_of_sparse_data_are_seen() -> None:
    x = torch.eye(4).to_sparse()
    kept = Untouched(x)
    assert not kept.changed
    x._values().data[2] = 5.0
    assert kept.changed
