from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from networks import build, misfit
from thalweg.contracts import Shape
from thalweg.contracts.activations import activations
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.training.size import size

MNIST = Shape("classification", (1, 28, 28), (10,))
PADDED_MNIST = Shape("classification", (1, 32, 32), (10,))
CIFAR = Shape("classification", (3, 32, 32), (10,))
DIGITS = Shape("classification", (1, 8, 8), (10,))
MNIST1D = Shape("classification", (1, 40), (10,))
NAMES = ("lenet", "convnet", "vgg")


def parameters(module: nn.Module, *kinds: type[nn.Module]) -> int:
    """Numbers in the weights of layers of these kinds; without kinds all parameters."""
    if not kinds:
        return sum(parameter.numel() for parameter in module.parameters())
    return sum(layer.get_parameter("weight").numel() for layer in module.modules() if isinstance(layer, kinds))


def with_weights_of(module: nn.Module, reference: nn.Module) -> nn.Module:
    """The reference with the module's parameters in the same order."""
    with torch.no_grad():
        for ours, theirs in zip(module.parameters(), reference.parameters(), strict=True):
            theirs.copy_(ours)
    return reference


@pytest.mark.parametrize("shape", [MNIST, PADDED_MNIST])
def test_lenet_has_61706_parameters(registry: Registry, shape: Shape) -> None:
    assert parameters(build(registry, "lenet", shape)) == 61_706


@pytest.mark.parametrize(("activation", "layer"), [("relu", nn.ReLU), ("tanh", nn.Tanh)])
def test_lenet_pads_28_to_32_and_is_the_plain_stack(
    registry: Registry, activation: str, layer: type[nn.Module]
) -> None:
    module = build(registry, "lenet", MNIST, {"activation": activation})
    stack = nn.Sequential(
        *(nn.ZeroPad2d(2), nn.Conv2d(1, 6, 5), layer(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), layer(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(16 * 5 * 5, 120), layer(), nn.Linear(120, 84), layer(), nn.Linear(84, 10)),
    )
    x = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(module(x), with_weights_of(module, stack)(x))


def test_lenet_names_the_smallest_image_and_takes_it(registry: Registry) -> None:
    assert misfit(registry, "lenet", DIGITS) == "it takes images of at least 12x12, and this problem gives 8x8"
    for sides in ((12, 12), (12, 50), (31, 33), (64, 64)):
        assert build(registry, "lenet", Shape("regression", (2, *sides), (3,)))(torch.randn(1, 2, *sides)).shape == (
            1,
            3,
        )


def test_convnet_has_the_895210_parameters_of_deepobs(registry: Registry) -> None:
    assert parameters(build(registry, "convnet", CIFAR)) == 895_210


def test_convnet_operations_are_those_of_its_layers(registry: Registry) -> None:
    architecture = registry.architecture("convnet")
    multiply_adds = (
        28 * 28 * 64 * (3 * 5 * 5)
        + 12 * 12 * 96 * (64 * 3 * 3)
        + 6 * 6 * 128 * (96 * 3 * 3)
        + (3 * 3 * 128) * 512
        + 512 * 256
        + 256 * 10
    )
    counted = size(architecture, resolve(architecture.options, {}, "convnet"), CIFAR)
    assert counted.parameters == 895_210
    assert counted.flops == 2 * multiply_adds


def test_convnet_is_the_plain_stack_on_images(registry: Registry) -> None:
    module = build(registry, "convnet", CIFAR, {"norm": "batch"}).double()
    low = -torch.inf
    stack = nn.Sequential(
        *(nn.Conv2d(3, 64, 5), nn.BatchNorm2d(64), nn.ReLU(), nn.ConstantPad2d((0, 1, 0, 1), low), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 96, 3), nn.BatchNorm2d(96), nn.ReLU(), nn.ConstantPad2d((0, 1, 0, 1), low), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(96, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU()),
        *(nn.ConstantPad2d((0, 1, 0, 1), low), nn.MaxPool2d(3, 2), nn.Flatten()),
        *(nn.Linear(128 * 3 * 3, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)),
    ).double()
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(module(x), with_weights_of(module, stack)(x))


def test_convnet_is_the_plain_stack_on_sequences(registry: Registry) -> None:
    module = build(registry, "convnet", MNIST1D, {"channels": [4, 5, 6], "widths": [7]})
    # 40 -> 36 -> 18 -> 16 -> 8 -> 8 -> 4
    stack = nn.Sequential(
        *(nn.Conv1d(1, 4, 5), nn.ReLU(), nn.ConstantPad1d((0, 1), -torch.inf), nn.MaxPool1d(3, 2)),
        *(nn.Conv1d(4, 5, 3), nn.ReLU(), nn.ConstantPad1d((0, 1), -torch.inf), nn.MaxPool1d(3, 2)),
        *(nn.Conv1d(5, 6, 3, padding=1), nn.ReLU(), nn.ConstantPad1d((0, 1), -torch.inf), nn.MaxPool1d(3, 2)),
        *(nn.Flatten(), nn.Linear(6 * 4, 7), nn.ReLU(), nn.Linear(7, 10)),
    )
    x = torch.randn(4, 1, 40)
    torch.testing.assert_close(module(x), with_weights_of(module, stack)(x))


def same_pool(x: np.ndarray[Any, Any]) -> list[float]:
    """TensorFlow's rule for SAME with window 3 and stride 2, element by element."""
    n = len(x)
    out = -(-n // 2)
    padding = max((out - 1) * 2 + 3 - n, 0)
    starts = [2 * i - padding // 2 for i in range(out)]
    return [float(x[max(start, 0) : start + 3].max()) for start in starts]


@pytest.mark.parametrize("length", range(9, 27))
def test_convnet_pools_as_tensorflows_same(registry: Registry, length: int) -> None:
    module = build(registry, "convnet", Shape("classification", (1, length), (2,)), {"channels": [1, 1, 1]})
    pooled: list[tuple[Tensor, Tensor]] = []
    for layer in module.modules():
        if isinstance(layer, nn.MaxPool1d):
            layer.register_forward_hook(lambda _, inputs, output: pooled.append((inputs[0], output)))
    module(torch.randn(1, 1, length))
    assert len(pooled) == 3
    for before, after in pooled:
        x = before.detach().flatten().numpy()
        assert after.flatten().tolist() == same_pool(x)


def test_convnet_pools_each_side_by_its_own_length(registry: Registry) -> None:
    module = build(registry, "convnet", Shape("classification", (1, 10, 11), (2,)))
    pool = next(layer for layer in module.modules() if isinstance(layer, nn.MaxPool2d))
    x = torch.randn(1, 1, 6, 7)
    rows = torch.tensor([same_pool(row) for row in x[0, 0].numpy()])
    expected = torch.tensor([same_pool(column) for column in rows.T.numpy()]).T
    assert torch.equal(pool(x)[0, 0], expected)


def test_convnet_names_the_smallest_input_and_takes_it(registry: Registry) -> None:
    told = "use padding = 'same'"
    assert (
        misfit(registry, "convnet", DIGITS)
        == f"it takes inputs of size 9x9 or more, and this problem gives 8x8: {told}"
    )
    short = Shape("classification", (1, 8), (2,))
    assert misfit(registry, "convnet", short) == f"it takes inputs of size 9 or more, and this problem gives 8: {told}"
    for sides in ((9,), (9, 9), (9, 30)):
        shape = Shape("classification", (2, *sides), (3,))
        assert build(registry, "convnet", shape)(torch.randn(1, 2, *sides)).shape == (1, 3)


def test_convnet_with_padding_takes_small_images(registry: Registry) -> None:
    options = {"padding": "same", "channels": [4, 5, 6], "widths": [7]}
    module = build(registry, "convnet", DIGITS, options)
    # 8x8 -> 4x4 -> 2x2 -> 1x1
    dense = next(layer for layer in module.modules() if isinstance(layer, nn.Linear))
    assert dense.in_features == 6
    convolutions = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.kernel_size for layer in convolutions] == [(5, 5), (3, 3), (3, 3)]
    assert module(torch.randn(2, *DIGITS.input)).shape == (2, 10)
    assert misfit(registry, "convnet", Shape("classification", (1, 1, 1), (2,)), options) is None


def test_convnet_needs_three_numbers_of_channels(registry: Registry) -> None:
    reason = misfit(registry, "convnet", CIFAR, {"channels": [8, 8]})
    assert reason == "channels needs a number for each of three convolutions, but has 2"


def test_convnet_starts_glorot(registry: Registry) -> None:
    module = build(registry, "convnet", CIFAR)
    second = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)][1]
    dense = next(layer for layer in module.modules() if isinstance(layer, nn.Linear))
    # 55,296 draws: the relative standard error of a normal's variance is sqrt(2 / n) = 0.6%
    assert second.weight.var().item() == pytest.approx(2 / (9 * 64 + 9 * 96), rel=0.03)
    assert dense.weight.abs().max().item() == pytest.approx((6 / (1152 + 512)) ** 0.5, rel=1e-4)
    assert not any(layer.bias.any() for layer in (second, dense) if layer.bias is not None)


@pytest.mark.parametrize(("depth", "convolutions", "millions"), [(9, 7, None), (11, 8, 9.22), (16, 13, 14.71)])
def test_vgg_has_its_weight_layers(registry: Registry, depth: int, convolutions: int, millions: float | None) -> None:
    with torch.device("meta"):
        module = build(registry, "vgg", CIFAR, {"depth": depth})
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth
    assert sum(isinstance(layer, nn.Conv2d) for layer in layers) == convolutions
    if millions is not None:
        assert round(parameters(module, nn.Conv2d) / 1e6, 2) == millions
    hidden = [256] if depth == 9 else [512, 512]
    assert [layer.out_features for layer in layers if isinstance(layer, nn.Linear)] == [*hidden, 10]


@pytest.mark.parametrize(
    ("depth", "layers"),
    [
        (9, "64 64 M 128 128 M 256 256 256 M"),
        (11, "64 M 128 M 256 256 M 512 512 M 512 512 M"),
        (16, "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"),
    ],
)
def test_vgg_has_the_layers_of_the_papers_table(registry: Registry, depth: int, layers: str) -> None:
    with torch.device("meta"):
        module = build(registry, "vgg", CIFAR, {"depth": depth})
    names = [
        "M" if isinstance(layer, nn.MaxPool2d) else str(layer.out_channels)
        for layer in module.modules()
        if isinstance(layer, nn.MaxPool2d | nn.Conv2d)
    ]
    assert " ".join(names) == layers


@pytest.mark.parametrize(("sides", "left"), [((32, 32), 1), ((28, 28), 1), ((8, 8), 1), ((1, 64), 2), ((33, 65), 6)])
def test_vgg_takes_any_image_and_rounds_up(registry: Registry, sides: tuple[int, int], left: int) -> None:
    shape = Shape("classification", (1, *sides), (10,))
    with torch.device("meta"):
        module = build(registry, "vgg", shape)
        assert module(torch.zeros(2, *shape.input)).shape == (2, 10)
    first = next(layer for layer in module.modules() if isinstance(layer, nn.Linear))
    assert first.in_features == 512 * left


def test_vgg_starts_he_normal(registry: Registry) -> None:
    module = build(registry, "vgg", CIFAR)
    conv = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)][3]
    dense = next(layer for layer in module.modules() if isinstance(layer, nn.Linear))
    # 590,000 and 260,000 draws: relative standard errors below 0.3%
    assert conv.weight.var().item() == pytest.approx(2 / (9 * 256), rel=0.015)
    assert dense.weight.var().item() == pytest.approx(2 / 512, rel=0.015)
    assert not any(bias.any() for name, bias in module.named_parameters() if name.endswith("bias"))


def test_vgg_batch_norm_precedes_each_relu_of_a_convolution(registry: Registry) -> None:
    with torch.device("meta"):
        layers = list(build(registry, "vgg", CIFAR, {"depth": 9, "norm": "batch"}).children())
    after = [layers[i + 1 : i + 3] for i, layer in enumerate(layers) if isinstance(layer, nn.Conv2d)]
    assert len(after) == 7
    assert all(isinstance(norm, nn.BatchNorm2d) and isinstance(relu, nn.ReLU) for norm, relu in after)


def test_vgg_with_dropout_draws_in_training_only_and_says_so(registry: Registry) -> None:
    architecture = registry.architecture("vgg")
    assert architecture.draws_in_forward(resolve(architecture.options, {"dropout": 0.5}, "vgg"))
    assert not architecture.draws_in_forward(resolve(architecture.options, {}, "vgg"))
    module = build(registry, "vgg", DIGITS, {"depth": 9, "dropout": 0.5})
    x = torch.randn(4, 1, 8, 8)
    assert not torch.equal(module(x), module(x))
    module.eval()
    assert torch.equal(module(x), module(x))


def test_vgg_of_another_depth_is_refused_with_the_choices(registry: Registry) -> None:
    reason = misfit(registry, "vgg", CIFAR, {"depth": 13})
    assert reason == "it has no depth = 13: use 9, 11 or 16"


@pytest.mark.parametrize(
    ("name", "given", "count"),
    [
        ("lenet", {}, 4),
        ("lenet", {"activation": "tanh"}, 4),
        ("convnet", {}, 5),
        ("convnet", {"widths": [8], "norm": "batch"}, 4),
        ("vgg", {"depth": 9}, 8),
        ("vgg", {"depth": 11, "norm": "batch", "dropout": 0.1}, 10),
        ("vgg", {"depth": 16}, 15),
    ],
)
def test_every_activation_is_seen_once(registry: Registry, name: str, given: dict[str, Any], count: int) -> None:
    with torch.device("meta"):
        module = build(registry, name, MNIST, given)
        with activations(module) as seen:
            module(torch.zeros(2, *MNIST.input))
    assert len(seen) == len({one.layer for one in seen}) == count


@pytest.mark.parametrize("name", NAMES)
def test_vectors_and_other_tasks_are_refused_with_the_reason(registry: Registry, name: str) -> None:
    vectors = misfit(registry, name, Shape("classification", (64,), (10,)))
    assert vectors is not None
    assert "and this problem gives vectors of 64 numbers: use 'mlp'" in vectors
    autoencoding = misfit(registry, name, Shape("autoencoding", (64,), (64,)))
    assert autoencoding == "it is for classification and regression, and this problem is autoencoding"
    tokens = misfit(registry, name, Shape("language", (16,), (16, 30)))
    assert tokens == "it takes numbers, and this problem gives sequences of tokens"


@pytest.mark.parametrize("name", ["lenet", "vgg"])
def test_sequences_are_sent_to_convnet(registry: Registry, name: str) -> None:
    assert misfit(registry, name, MNIST1D) == (
        "it takes images (channels, height, width), and this problem gives sequences of length 40 with 1 channel: "
        "use 'convnet' or 'mlp'"
    )


@pytest.mark.parametrize("name", NAMES)
def test_copies_in_double_precision_take_one_example_at_a_time(registry: Registry, name: str) -> None:
    module = deepcopy(build(registry, name, MNIST)).double()
    x = torch.randn(3, *MNIST.input, dtype=torch.float64)
    torch.testing.assert_close(torch.cat([module(one[None]) for one in x]), module(x))
