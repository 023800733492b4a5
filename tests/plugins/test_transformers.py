from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from networks import build, misfit
from thalweg.contracts import Shape
from thalweg.contracts.activations import activations
from thalweg.contracts.option import resolve
from thalweg.registry import Registry
from thalweg.training.size import size

CIFAR = Shape("classification", (3, 32, 32), (10,))
MNIST = Shape("classification", (1, 28, 28), (10,))
TEXT = Shape("language", (16,), (16, 30))


def counts(registry: Registry, name: str, shape: Shape, given: dict[str, Any]) -> tuple[int, int]:
    architecture = registry.architecture(name)
    counted = size(architecture, resolve(architecture.options, given, name), shape)
    return counted.parameters, counted.flops


def block_flops(length: int, dim: int) -> int:
    """12 dim^2 multiplications and additions a token, and scores and their product with the values."""
    return 2 * (length * 12 * dim**2 + 2 * length**2 * dim)


def tokens(n: int, length: int = 16) -> Tensor:
    return torch.randint(30, (n, length), generator=torch.Generator().manual_seed(0))


def torchs_own_blocks(module: nn.Module, dim: int, heads: int) -> nn.Module:
    """torch's encoder layers with the weights of the module's blocks."""
    layers = []
    for block in module.get_submodule("blocks").children():
        layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
        names = {
            "norm1": "norm1",
            "norm2": "norm2",
            "attention.project": "self_attn.out_proj",
            "mlp.0": "linear1",
            "mlp.2": "linear2",
        }
        for ours, theirs in names.items():
            layer.get_submodule(theirs).load_state_dict(block.get_submodule(ours).state_dict())
        qkv = block.get_submodule("attention.qkv").state_dict()
        layer.self_attn.load_state_dict({"in_proj_weight": qkv["weight"], "in_proj_bias": qkv["bias"]}, strict=False)
        layers.append(layer)
    return nn.ModuleList(layers)


@torch.no_grad()
def shake(module: nn.Module) -> None:
    """Move every parameter, so that biases and norms are not at their special initial values."""
    for parameter in module.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.1)


def test_vit_base_has_the_papers_86_million_parameters(registry: Registry) -> None:
    shape = Shape("classification", (3, 224, 224), (1000,))
    parameters, _ = counts(registry, "vit", shape, {"patch": 16, "dim": 768, "depth": 12, "heads": 12})
    # ViT-B/16 has 86,567,656 with its class token, which is a vector and a position more
    assert parameters == 86_567_656 - 2 * 768


def test_gpt_2_has_its_124_million_parameters(registry: Registry) -> None:
    shape = Shape("language", (1024,), (1024, 50257))
    parameters, _ = counts(registry, "char-transformer", shape, {"dim": 768, "depth": 12, "heads": 12})
    assert parameters == 124_439_808


def test_vit_has_the_parameters_and_operations_of_its_layers(registry: Registry) -> None:
    parameters, flops = counts(registry, "vit", CIFAR, {})
    block = 12 * 64**2 + 13 * 64
    assert parameters == (48 * 64 + 64) + 64 * 64 + 4 * block + 2 * 64 + (64 * 10 + 10)
    assert flops == 2 * (64 * 48 * 64) + 4 * block_flops(64, 64) + 2 * 64 * 10


@pytest.mark.parametrize("tied", [True, False])
def test_char_transformer_has_the_parameters_and_operations_of_its_layers(registry: Registry, tied: bool) -> None:
    parameters, flops = counts(registry, "char-transformer", TEXT, {"tied": tied})
    block = 12 * 64**2 + 13 * 64
    assert parameters == 30 * 64 * (1 if tied else 2) + 16 * 64 + 2 * block + 2 * 64
    assert flops == 2 * block_flops(16, 64) + 2 * (16 * 64 * 30)


def test_vit_is_torchs_own_encoder_on_patches(registry: Registry) -> None:
    module = build(registry, "vit", MNIST, {"patch": 7, "dim": 12, "depth": 2, "heads": 3}).double()
    shake(module)
    x = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    patches = torch.stack(
        [x[:, :, 7 * i : 7 * i + 7, 7 * j : 7 * j + 7].flatten(1) for i in range(4) for j in range(4)], 1
    )
    h = patches @ module.get_parameter("embed.weight").T + module.get_parameter("embed.bias")
    h = h + module.get_parameter("positions")
    for layer in torchs_own_blocks(module, 12, 3).double().children():
        h = layer(h)
    expected = module.get_submodule("head")(module.get_submodule("norm")(h).mean(1))
    torch.testing.assert_close(module(x), expected)


@pytest.mark.parametrize("tied", [True, False])
def test_char_transformer_is_torchs_own_encoder_under_a_causal_mask(registry: Registry, tied: bool) -> None:
    module = build(registry, "char-transformer", TEXT, {"dim": 12, "heads": 3, "tied": tied}).double()
    shake(module)
    x = tokens(3)
    h = module.get_parameter("tokens.weight")[x] + module.get_parameter("positions")
    mask = nn.Transformer.generate_square_subsequent_mask(16, dtype=torch.float64)
    for layer in torchs_own_blocks(module, 12, 3).double().children():
        h = layer(h, src_mask=mask)
    weight = module.get_parameter("tokens.weight" if tied else "head.weight")
    torch.testing.assert_close(module(x), module.get_submodule("norm")(h) @ weight.T)


def test_char_transformer_does_not_look_ahead(registry: Registry) -> None:
    module = build(registry, "char-transformer", TEXT)
    shake(module)
    x = tokens(2)
    for t in (0, 7, 14):
        changed = x.clone()
        changed[:, t + 1 :] = (x[:, t + 1 :] + 1) % 30
        before, after = module(x), module(changed)
        assert torch.equal(before[:, : t + 1], after[:, : t + 1])
        assert not torch.isclose(before[:, t + 1 :], after[:, t + 1 :]).all()


def test_char_transformer_looks_back_to_the_first_token(registry: Registry) -> None:
    module = build(registry, "char-transformer", TEXT)
    shake(module)
    x = tokens(2)
    changed = x.clone()
    changed[:, 0] = (x[:, 0] + 1) % 30
    assert not torch.isclose(module(x)[:, -1], module(changed)[:, -1]).all()


def test_char_transformer_takes_shorter_sequences(registry: Registry) -> None:
    module = build(registry, "char-transformer", TEXT)
    x = tokens(2)
    torch.testing.assert_close(module(x[:, :5]), module(x)[:, :5])


def test_char_transformer_ties_by_one_parameter_that_is_saved_once(registry: Registry) -> None:
    tied, untied = (build(registry, "char-transformer", TEXT, {"tied": choice}) for choice in (True, False))
    assert set(untied.state_dict()) - set(tied.state_dict()) == {"head.weight"}
    copied = deepcopy(tied)
    with torch.no_grad():
        copied.get_parameter("tokens.weight").zero_()
    assert not copied(tokens(1)).any()


def test_char_transformer_starts_as_gpt_2(registry: Registry) -> None:
    module = build(registry, "char-transformer", TEXT, {"depth": 3, "dim": 128})
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any()
        elif "norm" in name:
            assert torch.equal(parameter, torch.ones_like(parameter))
        else:
            # the smallest has 2,048 draws: the relative standard error of a deviation is sqrt(1 / 2n) = 1.6%
            last = name.endswith(("attention.project.weight", "mlp.2.weight"))
            assert parameter.std().item() == pytest.approx(0.02 / 6**0.5 if last else 0.02, rel=0.06), name


def test_vit_starts_glorot_uniform(registry: Registry) -> None:
    module = build(registry, "vit", CIFAR)
    weight = module.get_parameter("blocks.0.mlp.0.weight")
    assert weight.abs().max().item() == pytest.approx((6 / (64 + 256)) ** 0.5, rel=1e-3)
    assert module.get_parameter("positions").std().item() == pytest.approx(0.02, rel=0.05)


def test_vit_without_positions_does_not_see_the_order_of_patches(registry: Registry) -> None:
    module = build(registry, "vit", CIFAR).double()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    swapped = torch.cat([x[..., 16:], x[..., :16]], -1)
    assert not torch.allclose(module(x), module(swapped))
    with torch.no_grad():
        module.get_parameter("positions").zero_()
    torch.testing.assert_close(module(x), module(swapped))


def test_vit_takes_whole_patches_only_and_names_the_sizes(registry: Registry) -> None:
    reason = misfit(registry, "vit", MNIST, {"patch": 8})
    assert reason == "patch = 8 does not divide height 28 and width 28: use 1, 2, 4, 7, 14 or 28"
    oblong = Shape("classification", (1, 12, 20), (10,))
    assert misfit(registry, "vit", oblong, {"patch": 6}) == (
        "patch = 6 does not divide height 12 and width 20: use 1, 2 or 4"
    )
    assert build(registry, "vit", oblong)(torch.randn(1, 1, 12, 20)).shape == (1, 10)


@pytest.mark.parametrize(("name", "shape"), [("vit", CIFAR), ("char-transformer", TEXT)])
def test_heads_share_the_dimension_evenly(registry: Registry, name: str, shape: Shape) -> None:
    reason = misfit(registry, name, shape, {"dim": 10, "heads": 4})
    assert reason == "heads = 4 does not divide dim = 10: use 1, 2, 5 or 10"


def test_other_inputs_are_refused_with_the_reason(registry: Registry) -> None:
    vectors = Shape("classification", (64,), (10,))
    assert misfit(registry, "vit", vectors) == (
        "it takes images (channels, height, width), and this problem gives vectors of 64 numbers: use 'mlp'"
    )
    assert misfit(registry, "vit", TEXT) == "it takes numbers, and this problem gives sequences of tokens"
    for shape in (vectors, CIFAR, Shape("autoencoding", (64,), (64,))):
        reason = misfit(registry, "char-transformer", shape)
        assert reason == "it takes sequences of tokens, and this problem gives numbers"


@pytest.mark.parametrize(("name", "shape"), [("vit", CIFAR), ("char-transformer", TEXT)])
def test_every_block_has_one_activation(registry: Registry, name: str, shape: Shape) -> None:
    module = build(registry, name, shape, {"depth": 3})
    x = tokens(2) if name == "char-transformer" else torch.randn(2, *shape.input)
    with activations(module) as seen:
        module(x)
    assert len(seen) == len({one.layer for one in seen}) == 3
    assert {one.before.shape[-1] for one in seen} == {4 * 64}


@pytest.mark.parametrize(("name", "shape"), [("vit", CIFAR), ("char-transformer", TEXT)])
def test_copies_in_double_precision_take_one_example_at_a_time(registry: Registry, name: str, shape: Shape) -> None:
    module = deepcopy(build(registry, name, shape)).double()
    x = tokens(3) if name == "char-transformer" else torch.randn(3, *shape.input, dtype=torch.float64)
    torch.testing.assert_close(torch.cat([module(one[None]) for one in x]), module(x))
