"""Squared gradient norms of single examples against a loop over examples and against vmap of the gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from networks import build
from thalweg.contracts import Draw, Shape
from thalweg.contracts.losses import CrossEntropy, OutputLoss, SigmoidCrossEntropy, SquaredError
from thalweg.contracts.modes import set_evaluating
from thalweg.contracts.objective import Objective
from thalweg.contracts.problem import Batch
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.curvature import example_gradients, flat, per_example, per_example_layers
from thalweg.registry import Registry

N = 5


def objective(
    module: nn.Module, shape: tuple[int, ...], loss: OutputLoss | None = None, vocabulary: int = 0
) -> Objective:
    module, loss, generator = module.double(), loss or CrossEntropy(), torch.Generator().manual_seed(0)
    set_evaluating(module)
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    x = torch.randn(N, *shape, generator=generator, dtype=torch.float64)
    if vocabulary:
        x = torch.randint(vocabulary, (N, *shape), generator=generator)
    with torch.no_grad():
        z = module(x)
    y = torch.rand(z.shape, generator=generator, dtype=torch.float64)
    data = Supervised({"train": (x, y.argmax(-1) if isinstance(loss, CrossEntropy) else y)}, loss, (LOSS,))
    made = Objective(module, data, Draw(0, None))
    made.begin_step(data.batch("train", 0, Draw(0, None)), 0)
    return made


def one_by_one(it: Objective) -> Tensor:
    """The gradient of each example (N, P), in a loop."""
    whole, rows = it.batch, []
    assert whole.inputs is not None
    assert whole.targets is not None
    for i in range(N):
        it.begin_step(Batch(whole.inputs[i : i + 1], whole.targets[i : i + 1], 1), 0)
        rows.append(flat(it.gradient()[1]))
    it.begin_step(whole, 0)
    return torch.stack(rows)


def assert_right(it: Objective) -> None:
    found, each = example_gradients(it), one_by_one(it)
    assert found is not None
    torch.testing.assert_close(found.squares, each.square().sum(1), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(found.mean, each.mean(0), rtol=1e-10, atol=1e-14)


def without_vmap(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a rule should have covered the parameters")

    monkeypatch.setattr(per_example, "_by_vmap", refused)


VECTORS, IMAGES = Shape("classification", (64,), (10,)), Shape("classification", (1, 12, 12), (10,))
LARGE, TEXT = Shape("classification", (3, 32, 32), (10,)), Shape("language", (7,), (11,))
ARCHITECTURES: list[tuple[str, dict[str, Any], Shape]] = [
    ("linear", {}, VECTORS),
    ("mlp", {"widths": [16, 8]}, VECTORS),
    ("mlp", {"widths": [16, 8], "norm": "batch"}, VECTORS),
    ("mlp", {"widths": [16, 8], "norm": "layer", "activation": "tanh"}, VECTORS),
    ("mlp", {"widths": [16, 8], "norm": "noisy-batch"}, VECTORS),
    ("deep-mlp", {"depth": 4, "width": 8}, VECTORS),
    ("deep-mlp", {"depth": 5, "width": 8, "residual": "plain"}, VECTORS),
    ("deep-linear", {"depth": 3, "width": 8}, VECTORS),
    ("maxout-mlp", {"widths": [8], "pieces": 3}, VECTORS),
    ("autoencoder", {}, Shape("autoencoding", (64,), (64,))),
    ("convnet", {"channels": [4, 4, 4], "widths": [8], "padding": "same"}, IMAGES),
    ("convnet", {"channels": [4, 4, 4], "widths": [8], "padding": "same", "norm": "batch"}, IMAGES),
    ("convnet", {"channels": [4, 4, 4], "widths": [8]}, Shape("classification", (1, 40), (10,))),
    ("lenet", {}, Shape("classification", (1, 28, 28), (10,))),
    ("resnet", {"depth": 8, "width": 2}, LARGE),
    ("wide-resnet", {"depth": 10, "widen": 1}, LARGE),
    ("vgg", {}, LARGE),
    ("vit", {"patch": 4, "dim": 8, "depth": 1, "heads": 2}, IMAGES),
    ("char-transformer", {"dim": 8, "depth": 1, "heads": 2}, TEXT),
    ("char-transformer", {"dim": 8, "depth": 1, "heads": 2, "tied": True}, TEXT),
]


@pytest.mark.parametrize(("name", "given", "shape"), ARCHITECTURES, ids=lambda it: it if isinstance(it, str) else "")
def test_every_built_in_architecture(registry: Registry, name: str, given: dict[str, Any], shape: Shape) -> None:
    module = build(registry, name, shape, given)
    loss = SigmoidCrossEntropy() if shape.task == "autoencoding" else None
    it = objective(module, shape.input, loss, vocabulary=11 if shape is TEXT else 0)
    assert_right(it)
    found, by_vmap = example_gradients(it), per_example._by_vmap(it, dict(module.named_parameters()))
    assert found is not None
    torch.testing.assert_close(found.squares, by_vmap, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("loss", [CrossEntropy(), SigmoidCrossEntropy(), SquaredError(1.7)], ids=type)
@pytest.mark.parametrize("shape", [(6,), (3, 6), (40, 6)], ids=["vectors", "short sequences", "long sequences"])
def test_every_loss(loss: OutputLoss, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Long sequences have the weight's gradient, short ones the products of all pairs of positions."""
    without_vmap(monkeypatch)
    torch.manual_seed(0)
    assert_right(objective(nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 4, bias=False)), shape, loss))


def images(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


def tokens(**more: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(4, 6, **more), nn.Linear(6, 3))


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "strides, groups, dilation": (
        lambda: images(nn.Conv2d(2, 4, 3, 2, dilation=2), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 2, groups=2)),
        (2, 9, 9),
        0,
    ),
    "padding by name": (lambda: images(nn.Conv2d(2, 4, (2, 3), padding="same", bias=False)), (2, 6, 6), 0),
    "circular padding": (lambda: images(nn.Conv1d(2, 4, 3, padding=1, padding_mode="circular")), (2, 6), 0),
    "three dimensions": (lambda: images(nn.Conv3d(1, 2, 2, padding=1), nn.BatchNorm3d(2)), (1, 4, 4, 4), 0),
    "group norm": (lambda: images(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(inplace=True)), (2, 5, 5), 0),
    "layer norm": (lambda: images(nn.Conv2d(2, 4, 3), nn.LayerNorm((3, 3))), (2, 5, 5), 0),
    "batch norm of sequences": (lambda: images(nn.BatchNorm1d(4)), (4, 5), 0),
    "tokens": (tokens, (9,), 4),
    "padding tokens": (lambda: tokens(padding_idx=1), (9,), 4),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("held", [1, 2**22], ids=["one by one", "all at once"])
def test_every_layer(name: str, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    without_vmap(monkeypatch)
    monkeypatch.setattr(per_example_layers, "HELD", held)
    make, shape, vocabulary = LAYERS[name]
    assert_right(objective(make(), shape, vocabulary=vocabulary))


class Scaled(nn.Module):
    """A parameter of its own, one in common with all positions, and a layer that it calls twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.scale = nn.Parameter(torch.randn(6))
        self.twice, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        z: Tensor = self.head(self.twice(self.twice(x * self.scale).tanh()))
        return z


class Tied(nn.Module):
    """A weight that its layer uses once, and a function once more."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).tanh() @ self.layer.weight


class OwnLinear(nn.Linear):
    """A subclass with a forward pass of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sin())


def with_hooks() -> nn.Module:
    """Hooks that change inputs and outputs."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    module[0].register_forward_hook(lambda _, __, output: output.sin())
    module[2].register_forward_pre_hook(lambda _, args: (args[0].exp(),))
    return module


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "a parameter of its own and a shared layer": Scaled,
    "a weight in two places": Tied,
    "a subclass": lambda: nn.Sequential(OwnLinear(6, 5), nn.Linear(5, 3)),
    "a parametrization": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)),
    "a learnt activation": lambda: nn.Sequential(nn.Linear(6, 5), nn.PReLU(), nn.Linear(5, 3)),
    "hooks": with_hooks,
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("held", [1, 2**24], ids=["one by one", "all at once"])
def test_what_has_no_rule_is_right_too(name: str, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_example, "HELD", held)
    assert_right(objective(OTHERS[name](), (6,)))


def test_frozen_parameters_have_no_part() -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))
    module[0].weight.requires_grad_(False)
    module[1].bias.requires_grad_(False)
    module[3].bias.requires_grad_(False)
    assert_right(objective(module, (6,)))


class OfTheBatch(nn.Module):
    """Centres each feature over the batch, also in evaluation mode."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Twice(CrossEntropy):
    """A loss whose mean is none."""

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 2 * super().mean(outputs, targets)


class Recurrent(nn.Module):
    """An LSTM, which vmap cannot batch."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(6, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x[:, None])[0][:, -1]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "make",
    [
        lambda: objective(nn.Sequential(nn.Linear(6, 3), OfTheBatch()), (6,)),
        lambda: objective(nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3, track_running_stats=False)), (6,)),
        lambda: objective(nn.Linear(6, 3), (6,), Twice()),
        lambda: objective(Recurrent(), (6,)),
    ],
    ids=["examples that mix", "batch statistics", "another mean", "no vmap"],
)
def test_there_is_none_where_it_would_be_wrong(make: Callable[[], Objective]) -> None:
    assert example_gradients(make()) is None


def test_training_mode_of_batch_norm_has_none() -> None:
    it = objective(nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3)), (6,))
    assert example_gradients(it) is not None
    it.module.train()
    assert example_gradients(it) is None


def test_one_gradient_is_counted() -> None:
    it = objective(nn.Linear(6, 3), (6,))
    example_gradients(it)
    assert (it.counts.gradient_evaluations, it.counts.examples) == (1, N)


class SequenceFirst(nn.Module):
    """Takes (N, T, 4), and has positions first inside, as torch's own layers of attention do."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0)
        self.leave = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.leave(self.layer(self.enter(x).transpose(0, 1)).mean(0))
        return out


@pytest.mark.parametrize("positions", [N - 1, N, N + 1])
def test_as_many_positions_as_examples(positions: int) -> None:
    torch.manual_seed(0)
    assert_right(objective(SequenceFirst(), (positions, 4)))
