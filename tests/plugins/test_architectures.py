from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from thalweg.contracts import Shape
from thalweg.contracts.option import resolve
from thalweg.registry import Registry

DIGITS = Shape("classification", (64,), (10,))


def build(registry: Registry, name: str, given: dict[str, Any], seed: int = 0) -> nn.Module:
    architecture = registry.architecture(name)
    options = resolve(architecture.options, given, name)
    assert architecture.misfit(options, DIGITS) is None
    torch.manual_seed(seed)
    return architecture.build(options, DIGITS)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "given", "count"),
    [
        ("linear", {}, 64 * 10 + 10),
        ("mlp", {"widths": [32, 16]}, 64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10),
        ("mlp", {"widths": [32], "norm": "batch"}, 64 * 32 + 32 + 2 * 32 + 32 * 10 + 10),
        ("deep-mlp", {"depth": 4, "width": 8}, 64 * 8 + 8 + 3 * (8 * 8 + 8) + 8 * 10 + 10),
        ("deep-mlp", {"depth": 5, "width": 8, "residual": True}, 64 * 8 + 8 + 4 * (8 * 8 + 8) + 8 * 10 + 10),
    ],
)
def test_has_the_parameters_of_its_layers(registry: Registry, name: str, given: dict[str, Any], count: int) -> None:
    assert parameters(build(registry, name, given)) == count


@pytest.mark.parametrize(("init", "gain"), [("he", 2.0), ("fan-in", 1.0), ("glorot", 2 * 512 / (512 + 64))])
def test_weights_have_the_declared_variance(registry: Registry, init: str, gain: float) -> None:
    shape = Shape("classification", (512,), (10,))
    architecture = registry.architecture("mlp")
    torch.manual_seed(0)
    module = architecture.build(resolve(architecture.options, {"widths": [64], "init": init}, "x"), shape)
    first = next(layer for layer in module.modules() if isinstance(layer, nn.Linear))
    # 32,768 draws: the relative standard error of a variance is sqrt(2 / n) = 0.8%
    assert abs(first.weight.var().item() * 512 / gain - 1) < 0.04
    assert first.bias.abs().max().item() == 0


def test_torchs_own_initialization_is_left_alone(registry: Registry) -> None:
    module = build(registry, "mlp", {"widths": [64], "init": "torch"})
    torch.manual_seed(0)
    reference = nn.Linear(64, 64)
    first = next(layer for layer in module.modules() if isinstance(layer, nn.Linear))
    assert torch.equal(first.weight, reference.weight)


def test_a_residual_block_adds_its_input(registry: Registry) -> None:
    module = build(registry, "deep-mlp", {"depth": 3, "width": 8, "residual": True})
    block = next(layer for layer in module.modules() if type(layer).__name__ == "Residual")
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    h = torch.randn(5, 8)
    assert torch.equal(block(h), h)


def test_a_residual_net_of_even_depth_is_refused_with_the_choices(registry: Registry) -> None:
    architecture = registry.architecture("deep-mlp")
    reason = architecture.misfit(resolve(architecture.options, {"depth": 8, "residual": True}, "x"), DIGITS)
    assert reason is not None
    assert "7 or 9" in reason
