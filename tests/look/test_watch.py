"""Probes that look at a training loop of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from thalweg import look
from thalweg.errors import UserError

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(48, 6, generator=GENERATOR)
Y = torch.randint(3, (48,), generator=GENERATOR)
ALL: dict[str, dict[str, Any]] = {
    "gradient-flow": {},
    "noise-scale": {},
    "edge-of-stability": {"iterations": 20},
    "critical-sharpness": {},
    "smoothness": {},
    "covariate-shift": {},
    "trajectory": {},
    "surface": {"resolution": 5, "directions": "path"},
    "line": {"points": 5},
    "trace": {"vectors": 6},
}


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 3))


def sgd(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)


def adam(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=0.01, betas=(0.8, 0.95))


def loop(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 6) -> list[Tensor]:
    """A loop with a schedule, which replaces the optimizer's step by a function of its own."""
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(X), Y)
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
    return losses


@pytest.mark.parametrize("make", [sgd, adam])
def test_a_training_has_the_same_numbers_with_probes_and_without(
    make: Callable[[nn.Module], torch.optim.Optimizer],
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        alone = network()
        losses = loop(alone, make(alone))
        torch.manual_seed(3)
        module = network()
        optimizer = make(module)
        with look.watch(module, optimizer, "cross_entropy", (X, Y), probes=ALL, every=2) as seen:
            with_probes = loop(module, optimizer)
    assert torch.equal(torch.stack(losses), torch.stack(with_probes))
    assert all(torch.equal(one, other) for one, other in zip(alone.parameters(), module.parameters(), strict=True))
    assert all(torch.equal(one, other) for one, other in zip(alone.buffers(), module.buffers(), strict=True))
    assert list(seen) == list(ALL)
    for name in seen:
        assert len(seen[name].table)
        assert seen[name].chart().to_dict()
    for name in ("gradient-flow", "noise-scale", "edge-of-stability", "critical-sharpness", "smoothness"):
        assert seen[name].table["step"].unique().tolist() == [0, 2, 4, 6], name
    assert seen["trajectory"].table["step"].tolist() == [0, 2, 4, 6]
    # the schedule has lowered the rate
    assert seen["smoothness"].table["lr"].is_monotonic_decreasing
    assert not optimizer._optimizer_step_post_hooks


def test_a_second_loop_is_not_watched() -> None:
    module = network()
    optimizer = sgd(module)
    with look.watch(module, optimizer, "cross_entropy", (X, Y), probes="noise-scale") as seen:
        loop(module, optimizer, 2)
    loop(module, optimizer, 2)
    assert seen.step == 2
    assert seen["noise-scale"].table["step"].unique().tolist() == [0, 1, 2]


def test_thresholds_of_the_optimizer_at_hand_are_told() -> None:
    """2 / lr of gradient descent, (2 + 2 momentum) / lr with momentum (Cohen et al. 2021)."""
    module = network()
    optimizer = sgd(module)
    with look.watch(module, optimizer, "cross_entropy", (X, Y), probes=["edge-of-stability"]) as seen:
        pass
    assert seen["edge-of-stability"].table["threshold"].tolist() == [pytest.approx(38.0)]


def test_a_loader_says_how_long_an_epoch_is_and_how_large_a_batch() -> None:
    module = network()
    optimizer = sgd(module)
    loader = DataLoader(TensorDataset(X, Y), batch_size=16, shuffle=True)
    with look.watch(
        module, optimizer, "cross_entropy", loader, probes=["noise-scale", "edge-of-stability"], every=3
    ) as seen:
        for x, y in loader:
            optimizer.zero_grad()
            functional.cross_entropy(module(x), y).backward()
            optimizer.step()
    assert seen["noise-scale"].table["epoch"].unique().tolist() == [0.0, 1.0]
    # with batches there is no threshold of gradient descent
    assert np.isnan(seen["edge-of-stability"].table["threshold"]).all()


def test_a_loop_that_fails_keeps_what_was_seen() -> None:
    module = network()
    optimizer = sgd(module)
    watching = look.watch(module, optimizer, "cross_entropy", (X, Y), probes=["noise-scale", "surface"])
    seen = watching.__enter__()
    loop(module, optimizer, 2)
    watching.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert seen["noise-scale"].table["step"].max() == 2
    assert seen["surface"].table.empty
    assert not optimizer._optimizer_step_post_hooks


def groups(module: nn.Module, **second: Any) -> torch.optim.Optimizer:
    parameters = list(module.parameters())
    first = {"params": [p for p in parameters if p.dim() > 1]}
    return torch.optim.AdamW([first, {"params": [p for p in parameters if p.dim() < 2], **second}], lr=0.01)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda module: sgd(network()), "it holds no parameter of the module"),
        (lambda module: torch.optim.Adam(module[4].parameters()), "that holds all parameters that require gradients"),
        (lambda module: groups(module, lr=0.1), "take one learning rate: its groups have 0.01, 0.1"),
        (lambda module: groups(module), r"in the order of module.parameters\(\)"),
    ],
)
def test_an_optimizer_that_probes_would_misread_is_refused(make: Any, says: str) -> None:
    module = network()
    with pytest.raises(UserError, match=says):
        look.watch(module, make(module), "cross_entropy", (X, Y), probes=["edge-of-stability"])


def test_a_block_is_watched_once_and_other_probes_take_any_groups() -> None:
    module = network()
    optimizer = groups(module, lr=0.1)
    watching = look.watch(module, optimizer, "cross_entropy", (X, Y), probes=["noise-scale", "trajectory"])
    with watching as seen:
        loop(module, optimizer, 2)
    assert seen["trajectory"].table["step"].tolist() == [0, 1, 2]
    with pytest.raises(UserError, match="a block was watched already"):
        watching.__enter__()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"probes": ["gradient-flo"]}, "did you mean 'gradient-flow'"),
        ({"probes": {"surface": {"resolution": 4}}}, "resolution = 4 is even"),
        ({"probes": ["mode-connectivity"]}, "compares two networks"),
        ({"every": 0}, "every = 0: give a number of steps, 1 or more"),
        ({"optimizer": "sgd"}, "str is no torch.optim.Optimizer"),
    ],
)
def test_a_mistake_is_told(more: dict[str, Any], says: str) -> None:
    module = network()
    given = {"optimizer": sgd(module), "probes": ["gradient-flow"]} | more
    with pytest.raises(UserError, match=says):
        look.watch(module, given.pop("optimizer"), "cross_entropy", (X, Y), **given)
    with pytest.raises(KeyError, match="no probe 'surface'"):
        look.watch(module, sgd(module), "cross_entropy", (X, Y))["surface"]
