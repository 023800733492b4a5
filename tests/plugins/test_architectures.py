from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from thalweg.contracts import Shape
from thalweg.contracts.activations import activations
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.training.size import Size, size

DIGITS = Shape("classification", (64,), (10,))


AUTOENCODING = Shape("autoencoding", (64,), (64,))


def build(registry: Registry, name: str, given: dict[str, Any], shape: Shape = DIGITS) -> Any:
    architecture = registry.architecture(name)
    options = resolve(architecture.options, given, name)
    assert architecture.misfit(options, shape) is None
    torch.manual_seed(0)
    return architecture.build(options, shape)


def linears(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "given", "count"),
    [
        ("linear", {}, 64 * 10 + 10),
        ("mlp", {"widths": [32, 16]}, 64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10),
        ("mlp", {"widths": [32], "norm": "batch"}, 64 * 32 + 32 + 2 * 32 + 32 * 10 + 10),
        ("linear", {"bias": False}, 64 * 10),
        ("maxout-mlp", {"widths": [16], "pieces": 3}, (64 * 16 + 16) * 3 + 16 * 10 + 10),
        ("deep-linear", {"depth": 2, "width": 8}, 64 * 8 + 8 * 8 + 8 * 10),
        ("deep-mlp", {"depth": 3, "width": 8, "norm": "noisy-batch"}, 64 * 8 + 2 * 72 + 8 + 3 * 16 + 90),
        ("deep-mlp", {"depth": 4, "width": 8}, 64 * 8 + 8 + 3 * (8 * 8 + 8) + 8 * 10 + 10),
        ("deep-mlp", {"depth": 5, "width": 8, "residual": "plain"}, 64 * 8 + 8 + 4 * (8 * 8 + 8) + 8 * 10 + 10),
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
    module = build(registry, "deep-mlp", {"depth": 3, "width": 8, "residual": "plain"})
    block = next(layer for layer in module.modules() if type(layer).__name__ == "Residual")
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
    h = torch.randn(5, 8)
    assert torch.equal(block(h), h)


def test_a_residual_net_of_even_depth_is_refused_with_the_choices(registry: Registry) -> None:
    architecture = registry.architecture("deep-mlp")
    reason = architecture.misfit(resolve(architecture.options, {"depth": 8, "residual": "plain"}, "x"), DIGITS)
    assert reason is not None
    assert "7 or 9" in reason


def test_the_autoencoder_is_its_own_mirror_image(registry: Registry) -> None:
    module = build(registry, "autoencoder", {"widths": [48, 24, 8]}, AUTOENCODING)
    assert [layer.weight.shape[::-1] for layer in linears(module)] == [
        (64, 48), (48, 24), (24, 8), (8, 24), (24, 48), (48, 64)
    ]  # fmt: skip
    with activations(module) as seen:
        module(torch.rand(3, 64))
    assert [tuple(one.after.shape) for one in seen] == [(3, 48), (3, 24), (3, 24), (3, 48)]
    code_only = build(registry, "autoencoder", {"widths": [8]}, AUTOENCODING)
    assert [layer.weight.shape[::-1] for layer in linears(code_only)] == [(64, 8), (8, 64)]


def test_a_deep_linear_network_is_a_product_of_matrices(registry: Registry) -> None:
    module = build(registry, "deep-linear", {"depth": 3, "width": 7}).double()
    x = torch.randn(5, 64, dtype=torch.float64)
    product = torch.linalg.multi_dot([layer.weight for layer in reversed(linears(module))])
    torch.testing.assert_close(module(x), x @ product.T, rtol=1e-12, atol=1e-12)


def test_maxout_takes_the_largest_of_its_pieces(registry: Registry) -> None:
    module = build(registry, "maxout-mlp", {"widths": [4], "pieces": 3})
    x = torch.randn(5, 64)
    with activations(module) as seen:
        output = module(x)
    first, last = linears(module)
    by_hand = torch.stack([first(x)[:, [3 * j + k for j in range(4)]] for k in range(3)]).max(0).values
    assert torch.equal(seen[0].after, by_hand)
    assert torch.equal(output, last(by_hand))


@pytest.mark.parametrize(
    ("name", "given", "count"),
    [
        ("linear", {}, 0),
        ("mlp", {"widths": [8, 8, 8]}, 3),
        ("maxout-mlp", {}, 2),
        ("deep-linear", {"depth": 4}, 4),
        ("deep-mlp", {"depth": 7, "residual": "plain", "norm": "batch"}, 7),
        ("deep-mlp", {"depth": 5, "norm": "layer", "norm_position": "after", "activation": "gelu"}, 5),
    ],
)
def test_every_activation_is_seen_once(registry: Registry, name: str, given: dict[str, Any], count: int) -> None:
    module = build(registry, name, given)
    with activations(module) as seen:
        module(torch.randn(4, 64))
    assert len(seen) == count
    module(torch.randn(4, 64))
    assert len(seen) == count, "hooks are left behind"


def test_normalisation_comes_before_or_after_the_activation(registry: Registry) -> None:
    kinds = {
        position: [type(layer).__name__ for layer in build(registry, "deep-mlp", given)][1:4]
        for position in ("before", "after")
        for given in [{"depth": 2, "norm": "batch", "norm_position": position}]
    }
    assert kinds == {"before": ["Linear", "BatchNorm1d", "ReLU"], "after": ["Linear", "ReLU", "BatchNorm1d"]}


def test_scaled_shortcuts_divide_by_the_number_of_blocks(registry: Registry) -> None:
    given = {"depth": 7, "width": 8}
    plain = build(registry, "deep-mlp", {**given, "residual": "plain"}).double()
    scaled = build(registry, "deep-mlp", {**given, "residual": "scaled"}).double()
    h = torch.randn(5, 8, dtype=torch.float64)
    for one, other in zip(plain, scaled, strict=True):
        if type(one).__name__ == "Residual":
            torch.testing.assert_close((one(h) - h) / 3, other(h) - h)


@pytest.mark.parametrize(("n", "gain"), [(32, 1.0), (48, 2**0.5)])
def test_orthogonal_weights_keep_lengths_times_the_gain(registry: Registry, n: int, gain: float) -> None:
    shape = Shape("classification", (n,), (10,))
    module = build(registry, "deep-mlp", {"depth": 3, "width": n, "init": "orthogonal", "gain": gain}, shape)
    for layer in linears(module)[:-1]:
        gram = layer.weight @ layer.weight.T
        torch.testing.assert_close(gram, gain**2 * torch.eye(n), rtol=0, atol=1e-5)
        assert layer.bias.abs().max() == 0


def test_uniform_weights_fill_their_interval(registry: Registry) -> None:
    given = {"width": 128, "depth": 2, "low": 1.0, "high": 2.0}
    positive = linears(build(registry, "deep-mlp", {**given, "init": "uniform"}))[1].weight
    assert 1 <= positive.min() < 1.01
    assert 1.99 < positive.max() <= 2
    idle = registry.architecture("mlp").misfit(resolve(registry.architecture("mlp").options, {"low": 0.0}, "x"), DIGITS)
    assert idle == "low and high have no effect with init = 'he': leave them out"
    signed = linears(build(registry, "deep-mlp", {**given, "init": "signed-uniform"}))[1].weight
    assert signed.abs().min() >= 1
    # 16,384 signs: the standard error of their mean is 0.008
    assert abs(signed.sign().mean().item()) < 0.04
    reason = registry.architecture("mlp").misfit(
        resolve(registry.architecture("mlp").options, {"init": "uniform", "low": 2.0, "high": 1.0}, "x"), DIGITS
    )
    assert reason == "low = 2 is not below high = 1"


def test_noisy_batch_norm_disturbs_in_training_only(registry: Registry) -> None:
    architecture = registry.architecture("deep-mlp")
    assert architecture.draws_in_forward(resolve(architecture.options, {"norm": "noisy-batch"}, "x"))
    assert not architecture.draws_in_forward(resolve(architecture.options, {"norm": "batch"}, "x"))
    module = build(registry, "deep-mlp", {"depth": 1, "width": 2000, "norm": "noisy-batch"})
    noisy = module[2]
    h = torch.randn(64, 2000)
    y = noisy(h)
    # over units: means within U(-0.5, 0.5) and deviations within U(1, 1.25), but for rounding and the noise of examples
    means, deviations = y.mean(0), y.std(0)
    assert abs(means.mean().item()) < 0.05
    assert abs(means.std().item() - 1 / 12**0.5) < 0.03
    assert abs(deviations.mean().item() - (1.125**2 + 0.1**2 + 0.1**2 / 3) ** 0.5) < 0.03
    assert not torch.equal(y, noisy(h))
    noisy.eval()
    assert torch.equal(noisy(h), noisy.norm(h))


def test_a_linear_layer_starts_where_it_is_told_to(registry: Registry) -> None:
    zero = build(registry, "linear", {"init": "zero"})[1]
    assert zero.weight.abs().max() == zero.bias.abs().max() == 0
    normal = build(registry, "linear", {"init": "normal", "scale": 3.0})[1]
    # 640 draws: the relative standard error of a deviation is 2.8%
    assert abs(normal.weight.std().item() / 3 - 1) < 0.12
    assert build(registry, "linear", {"bias": False})[1].bias is None


def test_size_counts_parameters_and_operations(registry: Registry) -> None:
    architecture = registry.architecture("mlp")
    counted = size(architecture, resolve(architecture.options, {"widths": [32, 16]}, "x"), DIGITS)
    # a product of a (m, n) matrix and a vector is m n multiplications and as many additions
    assert counted == Size(64 * 32 + 32 + 32 * 16 + 16 + 16 * 10 + 10, 2 * (64 * 32 + 32 * 16 + 16 * 10))


@pytest.mark.parametrize("name", ["mlp", "deep-mlp", "linear", "deep-linear", "maxout-mlp"])
def test_what_does_not_fit_is_told_why(registry: Registry, name: str) -> None:
    architecture = registry.architecture(name)
    options = resolve(architecture.options, {}, name)
    assert "tokens" in str(architecture.misfit(options, Shape("language", (8,), (8, 5))))
    assert "'point'" in str(architecture.misfit(options, Shape("function", (), (8,))))
    assert "autoencoding" in str(registry.architecture("autoencoder").misfit(options, DIGITS))
    assert "function" in str(registry.architecture("point").misfit({"tensors": 1}, DIGITS))
