"""Hessians of chains of layers, by Pearlmutter's formulas, against graphs, and what is no such chain."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from thalweg.contracts import Draw
from thalweg.contracts.losses import CrossEntropy, OutputLoss, SigmoidCrossEntropy, SquaredError
from thalweg.contracts.objective import Objective
from thalweg.contracts.problem import Batch
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.curvature import ChainHessian, Hessian, chain, hessian, operators

N, CLASSES = 12, 3


def objective(module: nn.Module, shape: tuple[int, ...], loss: OutputLoss | None = None, **more: float) -> Objective:
    """An objective in evaluation mode and float64, with statistics of batch norm other than zero and one."""
    module = module.double().eval()
    loss, generator = loss or CrossEntropy(), torch.Generator().manual_seed(0)
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    x = torch.randn(N, *shape, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        z = module(x)
    y = torch.rand(z.shape, generator=generator, dtype=torch.float64)
    data = Supervised({"train": (x, y.argmax(-1) if isinstance(loss, CrossEntropy) else y)}, loss, (LOSS,))
    made = Objective(module, data, Draw(0, None), **more)
    made.begin_step(data.batch("train", 0, Draw(0, None)), 0)
    return made


def assert_same(it: Objective) -> None:
    """Equal to the Hessian on a graph, up to rounding: loss, gradient, and products of two vectors."""
    found, expected = hessian(it), Hessian(it)
    assert isinstance(found, ChainHessian)
    close = {"rtol": 1e-10, "atol": 1e-13}
    torch.testing.assert_close(found.loss, expected.loss, **close)
    torch.testing.assert_close(found.gradient, expected.gradient, **close)
    vectors = torch.randn(2, found.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(torch.stack([found @ v for v in vectors]), expected._products(vectors), **close)


def dense(activation: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), activation, nn.Sequential(nn.Linear(5, 4, bias=False), nn.Linear(4, CLASSES)))


def images(*layers: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(CLASSES))


ELEMENTWISE = [
    nn.ReLU(), nn.ReLU(inplace=True), nn.LeakyReLU(), nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(),
    nn.Mish(), nn.ELU(), nn.CELU(), nn.SELU(), nn.Softplus(), nn.Softsign(), nn.Hardtanh(), nn.ReLU6(), nn.Hardswish(),
    nn.LogSigmoid(), nn.Tanhshrink(), nn.Softshrink(), nn.Hardshrink(), nn.Threshold(0.1, 0.0),
    nn.Identity(),
]  # fmt: skip


@pytest.mark.parametrize("activation", ELEMENTWISE, ids=repr)
def test_every_activation(activation: nn.Module) -> None:
    assert_same(objective(dense(activation), (6,)))


@pytest.mark.parametrize("loss", [CrossEntropy(), SigmoidCrossEntropy(), SquaredError(1.7)], ids=type)
@pytest.mark.parametrize("shape", [(6,), (4, 6)], ids=["vectors", "sequences"])
def test_every_loss(loss: OutputLoss, shape: tuple[int, ...]) -> None:
    assert_same(objective(dense(nn.Tanh()), shape, loss))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "batch norm and max pooling": (
        lambda: images(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 3, 3), nn.MaxPool2d(2)),
        (2, 8, 8),
    ),
    "overlapping windows": (
        lambda: images(nn.Conv2d(2, 4, 3), nn.MaxPool2d(3, 2, padding=1, ceil_mode=True), nn.GELU()),
        (2, 8, 8),
    ),
    "strides, groups, dilation": (
        lambda: images(nn.Conv2d(2, 4, 3, 2, dilation=2), nn.SiLU(), nn.Conv2d(4, 4, 2, groups=2, bias=False)),
        (2, 9, 9),
    ),
    "average pooling": (
        lambda: images(nn.Conv2d(2, 4, 3, padding="same"), nn.AvgPool2d(2, 2, 1), nn.ELU(), nn.AdaptiveAvgPool2d(2)),
        (2, 6, 6),
    ),
    "one dimension": (
        lambda: images(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4, affine=False), nn.Tanh(), nn.MaxPool1d(2)),
        (2, 9),
    ),
    "three dimensions": (
        lambda: images(nn.Conv3d(1, 2, 2), nn.BatchNorm3d(2), nn.Tanh(), nn.MaxPool3d(2)),
        (1, 5, 5, 5),
    ),
    "batch norm first": (lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(), dense(nn.ReLU())), (6,)),
    "one layer": (lambda: nn.Linear(6, CLASSES), (6,)),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("piece", [1, 10**6], ids=["one by one", "all at once"])
def test_every_layer(name: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain, "PIECE", piece)
    build, shape = NETWORKS[name]
    it = objective(build(), shape)
    assert_same(it)
    assert len(hessian(it)._pieces) == (N if piece == 1 else 1)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", NETWORKS)
def test_some_parameters_alone(name: str) -> None:
    """Each parameter alone, and all but it: the diagonal blocks of the matrix, and frozen parameters."""
    build, shape = NETWORKS[name]
    it = objective(build(), shape)
    everything = it.parameters
    for one in everything:
        for chosen in ([one], [p for p in everything if p is not one]):
            if chosen:
                it.parameters = chosen
                assert_same(it)


def test_many_products_and_the_matrix() -> None:
    """With little data a graph computes many products at once."""
    it = objective(dense(nn.Tanh()), (6,))
    found, expected = hessian(it), Hessian(it)
    close = {"rtol": 1e-10, "atol": 1e-13}
    torch.testing.assert_close(found.dense(), expected.dense(), **close)
    vectors = torch.randn(9, found.size, dtype=torch.float64)
    torch.testing.assert_close(found.products(vectors), vectors @ expected.dense(), **close)


@pytest.mark.parametrize("numbers", [0, 10**9], ids=["one by one", "at once"])
@pytest.mark.parametrize("make", [hessian, Hessian], ids=["chain", "graph"])
def test_products_do_not_depend_on_how_many_are_computed_at_once(
    make: Callable[[Objective], Hessian | ChainHessian], numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "NUMBERS", numbers)
    operator = make(objective(dense(nn.Tanh()), (6,)))
    assert operator._at_once() == (1 if numbers == 0 else operators.CHUNK)
    vectors = torch.randn(9, operator.size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.stack([operator @ v for v in vectors])
    torch.testing.assert_close(operator.products(vectors), expected, rtol=1e-12, atol=1e-15)
    assert operator.objective.counts.curvature_products == 18


def test_counts_are_those_of_a_graph() -> None:
    it, other = (objective(dense(nn.Tanh()), (6,)) for _ in range(2))
    for made in (hessian(it), Hessian(other)):
        made @ torch.ones(made.size, dtype=torch.float64)
    assert it.counts == other.counts


class Twice(nn.Module):
    """A module that torch does not have."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class OwnLinear(nn.Linear):
    """A subclass with a forward pass of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sin()


def hooked() -> nn.Module:
    module = dense(nn.Tanh())
    module[0].register_forward_hook(lambda _, __, output: output.sin())  # type: ignore[index]
    return module


def shared() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer)


def tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
    module[2].weight = module[0].weight  # type: ignore[assignment]
    return module


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "an unknown module": lambda: nn.Sequential(dense(nn.Tanh()), Twice()),
    "a subclass": lambda: nn.Sequential(OwnLinear(6, 5), nn.Linear(5, CLASSES)),
    "a hook": hooked,
    "a layer in two places": shared,
    "a weight in two layers": tied,
    "a parametrization": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, CLASSES)),
    "a learnt activation": lambda: dense(nn.PReLU()),
    "layer norm": lambda: dense(nn.LayerNorm(5)),
    "softmax": lambda: dense(nn.Softmax(-1)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_has_a_graph(name: str) -> None:
    found = hessian(objective(OTHERS[name](), (6,)))
    assert isinstance(found, Hessian)
    expected = torch.stack([found @ row for row in torch.eye(found.size, dtype=torch.float64)])
    torch.testing.assert_close(found.products(torch.eye(found.size, dtype=torch.float64)), expected)


def test_batch_statistics_and_dropout_have_a_graph() -> None:
    for layer in (nn.BatchNorm1d(5), nn.Dropout()):
        it = objective(nn.Sequential(nn.Linear(6, 5), layer, nn.Linear(5, CLASSES)), (6,))
        assert isinstance(hessian(it), ChainHessian)
        layer.train()
        assert isinstance(hessian(it), Hessian)


def test_a_penalty_and_mixed_precision_have_a_graph() -> None:
    for more in ({"l2": 0.1}, {"mixed": True}):
        assert isinstance(hessian(objective(dense(nn.Tanh()), (6,), **more)), Hessian)


def test_layers_that_mix_examples_have_a_graph() -> None:
    """Flatten(0, 1) makes examples of positions; pooling of matrices takes the examples for channels."""
    mixing = nn.Sequential(nn.Flatten(0, 1), nn.Linear(6, CLASSES))
    it = objective(nn.Linear(6, CLASSES), (4, 6))
    it.module = mixing.double()
    it.parameters = list(mixing.parameters())
    x = it.batch.inputs
    it.begin_step(Batch(x, torch.zeros(4 * N, dtype=torch.long), N), 0)
    assert isinstance(hessian(it), Hessian)
    assert isinstance(hessian(objective(nn.Sequential(nn.MaxPool1d(2), nn.Linear(3, CLASSES)), (6,))), Hessian)


def test_a_first_layer_in_place_does_not_write_into_the_data() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(6, CLASSES)
    plain, writing = (objective(nn.Sequential(nn.ELU(inplace=i), linear), (6,)) for i in (False, True))
    writing.begin_step(plain.batch, 0)
    kept = plain.batch.inputs.clone()  # type: ignore[union-attr]
    torch.testing.assert_close(hessian(writing).gradient, Hessian(plain).gradient, rtol=1e-10, atol=1e-13)
    assert torch.equal(kept, plain.batch.inputs)  # type: ignore[arg-type]
