from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from networks import build, misfit
from thalweg.contracts import Shape
from thalweg.contracts.activations import activations
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.training.size import size

CIFAR = Shape("classification", (3, 32, 32), (10,))
MNIST = Shape("classification", (1, 28, 28), (10,))
DIGITS = Shape("classification", (1, 8, 8), (10,))
NAMES = ("resnet", "wide-resnet")


def parameters(registry: Registry, name: str, given: dict[str, Any]) -> int:
    architecture = registry.architecture(name)
    return size(architecture, resolve(architecture.options, given, name), CIFAR).parameters


def blocks(module: nn.Module) -> list[nn.Module]:
    return [layer for layer in module.modules() if type(layer).__name__ in ("Block", "PreActivationBlock")]


def of(module: nn.Module, kind: type[nn.Module]) -> Iterator[Any]:
    return (layer for layer in module.modules() if isinstance(layer, kind))


def resnet_parameters(n: int, width: int, batch_norm: bool) -> int:
    """Table of section 4.2: 1 + 2n layers of w maps, 2n of 2w, 2n of 4w, and 4w x 10 weights with 10 biases."""
    a, b, c = width, 2 * width, 4 * width
    weights = 9 * (3 * a + 2 * n * a * a + a * b + (2 * n - 1) * b * b + b * c + (2 * n - 1) * c * c)
    maps = (1 + 2 * n) * a + 2 * n * b + 2 * n * c
    return weights + (2 * maps if batch_norm else maps) + 10 * c + 10


@pytest.mark.parametrize(("depth", "millions"), [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.7")])
def test_resnet_has_the_parameters_of_table_6(registry: Registry, depth: int, millions: str) -> None:
    count = parameters(registry, "resnet", {"depth": depth})
    assert f"{count / 1e6:.{len(millions) - 2}f}" == millions
    assert count == resnet_parameters((depth - 2) // 6, 16, True)


@pytest.mark.parametrize("given", [{}, {"depth": 8, "width": 5}, {"depth": 14, "norm": "none"}])
def test_resnet_shortcuts_have_no_parameters(registry: Registry, given: dict[str, Any]) -> None:
    options = {"depth": 20, "width": 16, "norm": "batch"} | given
    expected = resnet_parameters((options["depth"] - 2) // 6, options["width"], options["norm"] == "batch")
    assert parameters(registry, "resnet", given) == expected
    assert parameters(registry, "resnet", {**given, "shortcuts": False}) == expected


def test_resnet_20_has_the_operations_of_its_layers_and_of_the_literature(registry: Registry) -> None:
    # maps of 32, 16 and 8 pixels: 16 to 16 channels six times, then 16 to 32 and 32 to 32 five times, and so on
    multiply_adds = (
        32 * 32 * 16 * 3 * 9
        + 6 * (32 * 32 * 16 * 16 * 9)
        + 16 * 16 * 32 * 16 * 9
        + 5 * (16 * 16 * 32 * 32 * 9)
        + 8 * 8 * 64 * 32 * 9
        + 5 * (8 * 8 * 64 * 64 * 9)
        + 64 * 10
    )
    architecture = registry.architecture("resnet")
    counted = size(architecture, resolve(architecture.options, {}, "resnet"), CIFAR).flops
    assert counted == 2 * multiply_adds
    # 40.8 million, as it is quoted, counts pooling and shortcuts too
    assert counted == pytest.approx(2 * 40.8e6, rel=0.02)


def test_resnet_shortcut_is_the_identity_when_the_blocks_weights_are_zero(registry: Registry) -> None:
    block = blocks(build(registry, "resnet", CIFAR, {"depth": 8}))[0]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    h = torch.rand(2, 16, 6, 6)
    assert torch.equal(block(h), h)


@pytest.mark.parametrize("sides", [(6, 6), (7, 5)])
def test_resnet_shortcut_subsamples_and_adds_channels_of_zeros(registry: Registry, sides: tuple[int, int]) -> None:
    block = blocks(build(registry, "resnet", CIFAR, {"depth": 8}))[1]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    h = torch.rand(2, 16, *sides)
    expected = torch.zeros(2, 32, (sides[0] + 1) // 2, (sides[1] + 1) // 2)
    for i in range(expected.shape[2]):
        for j in range(expected.shape[3]):
            expected[:, :16, i, j] = h[:, :, 2 * i, 2 * j]
    assert torch.equal(block(h), expected)


def test_plain_net_gives_zero_where_the_blocks_weights_are_zero(registry: Registry) -> None:
    block = blocks(build(registry, "resnet", CIFAR, {"depth": 8, "shortcuts": False}))[0]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    assert not block(torch.rand(2, 16, 6, 6)).any()


@pytest.mark.parametrize("shortcuts", [True, False])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_resnet_is_the_papers_recursion(registry: Registry, shortcuts: bool, norm: str) -> None:
    module = build(registry, "resnet", DIGITS, {"depth": 14, "width": 3, "shortcuts": shortcuts, "norm": norm})
    module = module.double()
    convolutions = of(module, nn.Conv2d)

    def layer(x: Tensor, stride: int) -> Tensor:
        conv = next(convolutions)
        h = functional.conv2d(x, conv.weight, conv.bias, stride, 1)
        if norm == "none":
            return h
        # scale one and shift zero, as batch norm starts
        centred = h - h.mean((0, 2, 3), keepdim=True)
        return centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()

    x = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    h = layer(x, 1).clamp(min=0)
    for stride in (1, 1, 2, 1, 2, 1):
        f = layer(layer(h, stride).clamp(min=0), 1)
        if shortcuts:
            s = h[:, :, ::stride, ::stride]
            f = f + torch.cat([s, torch.zeros(5, f.shape[1] - s.shape[1], *s.shape[2:], dtype=s.dtype)], 1)
        h = f.clamp(min=0)
    (output,) = of(module, nn.Linear)
    torch.testing.assert_close(module(x), h.mean((2, 3)) @ output.weight.T + output.bias)


@pytest.mark.parametrize("name", NAMES)
def test_convolutions_start_he_normal(registry: Registry, name: str) -> None:
    for conv in of(build(registry, name, CIFAR), nn.Conv2d):
        if conv.weight.numel() > 9000:
            # at least 9,000 draws: the relative standard error of a variance is at most sqrt(2 / n) = 1.5%
            fan_in = conv.weight[0].numel()
            assert conv.weight.var().item() == pytest.approx(2 / fan_in, rel=0.06)


@pytest.mark.parametrize(
    ("name", "depth", "choices"),
    [("resnet", 18, "14 or 20"), ("resnet", 21, "20 or 26"), ("wide-resnet", 20, "16 or 22")],
)
def test_another_depth_is_refused_with_the_nearest_two(registry: Registry, name: str, depth: int, choices: str) -> None:
    reason = misfit(registry, name, CIFAR, {"depth": depth})
    assert reason is not None
    assert reason.endswith(f"use {choices}")


def wide_parameters(n: int, k: int) -> int:
    """Table 1: stages of 16k, 32k, 64k maps; each first block projects; two norms a block and one at the end."""
    total, n_in = 9 * 3 * 16, 16
    for n_out in (16 * k, 32 * k, 64 * k):
        total += 9 * n_in * n_out + (2 * n - 1) * 9 * n_out**2
        total += n_in * n_out if n_in != n_out else 0
        total += 2 * n_in + (2 * n - 1) * 2 * n_out
        n_in = n_out
    return total + 2 * n_in + 10 * n_in + 10


@pytest.mark.parametrize(
    ("depth", "widen", "millions"), [(16, 4, 2.7), (40, 4, 8.9), (16, 8, 11.0), (28, 10, 36.5), (10, 1, None)]
)
def test_wide_resnet_has_the_papers_parameters(
    registry: Registry, depth: int, widen: int, millions: float | None
) -> None:
    count = parameters(registry, "wide-resnet", {"depth": depth, "widen": widen})
    assert count == wide_parameters((depth - 4) // 6, widen)
    if millions is not None:
        assert round(count / 1e6, 1) == millions


@pytest.mark.parametrize("widen", [1, 2])
def test_wide_resnet_is_the_papers_recursion(registry: Registry, widen: int) -> None:
    module = build(registry, "wide-resnet", DIGITS, {"widen": widen}).double()

    def activate(x: Tensor) -> Tensor:
        centred = x - x.mean((0, 2, 3), keepdim=True)
        return (centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()).clamp(min=0)

    x = torch.randn(5, 1, 8, 8, dtype=torch.float64)
    h = functional.conv2d(x, next(of(module, nn.Conv2d)).weight, padding=1)
    for block, stride in zip(blocks(module), (1, 1, 2, 1, 2, 1), strict=True):
        a = activate(h)
        first, second, *projection = (conv.weight for conv in of(block, nn.Conv2d))
        f = functional.conv2d(activate(functional.conv2d(a, first, stride=stride, padding=1)), second, padding=1)
        changes = h.shape[1] != f.shape[1]
        assert len(projection) == changes
        h = f + (functional.conv2d(a, projection[0], stride=stride) if changes else h)
    (output,) = of(module, nn.Linear)
    torch.testing.assert_close(module(x), activate(h).mean((2, 3)) @ output.weight.T + output.bias)


def test_wide_resnet_keeps_its_input_when_the_blocks_weights_are_zero(registry: Registry) -> None:
    block = blocks(build(registry, "wide-resnet", CIFAR, {"widen": 1}))[0]
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    h = torch.randn(2, 16, 6, 6)
    assert torch.equal(block(h), h)


def test_wide_resnet_with_dropout_draws_in_training_only_and_says_so(registry: Registry) -> None:
    architecture = registry.architecture("wide-resnet")
    assert architecture.draws_in_forward(resolve(architecture.options, {"dropout": 0.3}, "wide-resnet"))
    assert not architecture.draws_in_forward(resolve(architecture.options, {}, "wide-resnet"))
    module = build(registry, "wide-resnet", DIGITS, {"depth": 10, "widen": 1, "dropout": 0.3})
    x = torch.randn(4, 1, 8, 8)
    assert sum(1 for _ in of(module, nn.Dropout)) == 3
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


@pytest.mark.parametrize(
    ("name", "given", "count"),
    [
        ("resnet", {}, 19),
        ("resnet", {"depth": 14, "shortcuts": False}, 13),
        ("resnet", {"depth": 8, "norm": "none"}, 7),
        ("wide-resnet", {}, 13),
        ("wide-resnet", {"depth": 28, "dropout": 0.1}, 25),
    ],
)
def test_every_activation_is_seen_once(registry: Registry, name: str, given: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        module = build(registry, name, CIFAR, given)
        with activations(module) as seen:
            module(torch.zeros(2, *CIFAR.input))
    assert len(seen) == len({one.layer for one in seen}) == count


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sides", [(4, 4), (5, 9), (28, 28)])
def test_takes_images_of_at_least_four_pixels(registry: Registry, name: str, sides: tuple[int, int]) -> None:
    shape = Shape("regression", (2, *sides), (3,))
    assert build(registry, name, shape)(torch.randn(2, 2, *sides)).shape == (2, 3)
    reason = misfit(registry, name, Shape("regression", (2, 3, sides[1]), (3,)))
    assert reason == f"it takes images of at least 4x4, and this problem gives 3x{sides[1]}"


@pytest.mark.parametrize("name", NAMES)
def test_vectors_and_other_tasks_are_refused_with_the_reason(registry: Registry, name: str) -> None:
    assert misfit(registry, name, Shape("classification", (64,), (10,))) == (
        "it takes images (channels, height, width), and this problem gives vectors of 64 numbers: use 'mlp'"
    )
    autoencoding = misfit(registry, name, Shape("autoencoding", (64,), (64,)))
    assert autoencoding == "it is for classification and regression, and this problem is autoencoding"


@pytest.mark.parametrize("name", NAMES)
def test_copies_in_double_precision_take_one_example_at_a_time(registry: Registry, name: str) -> None:
    module = deepcopy(build(registry, name, MNIST)).double()
    x = torch.randn(3, *MNIST.input, dtype=torch.float64)
    assert module(x[:1]).shape == (1, 10)
    module.eval()
    torch.testing.assert_close(torch.cat([module(one[None]) for one in x]), module(x))
