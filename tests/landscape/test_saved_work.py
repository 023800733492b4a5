"""Networks whose forward pass is run step by step, or cannot be: the losses are those of the network itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from thalweg.contracts.losses import CrossEntropy, SquaredError
from thalweg.contracts.supervised import CLASSIFICATION, LOSS, Supervised
from thalweg.landscape import Evaluator, Plane, Span, flat, losses_at
from thalweg.landscape.rewrite import traced

CLASSES = 5


def images(channels: int = 1, side: int = 9, n: int = 20) -> Supervised:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, channels, side, side, generator=generator, dtype=torch.float64)
    return Supervised({"train": (x, torch.arange(n) % CLASSES)}, CrossEntropy(), CLASSIFICATION)


def plane(module: nn.Module, side: int = 4, scale: float = 0.2) -> Plane:
    center, generator = flat(module), torch.Generator().manual_seed(1)
    d1, d2 = (scale * torch.randn(len(center), generator=generator, dtype=torch.float64).to(center) for _ in range(2))
    ticks = np.linspace(-1, 1.5, side).tolist()
    return Plane(center, d1, d2, ticks, ticks)


def by_hand(module: nn.Module, data: Supervised, points: Any) -> list[float]:
    walker = copy.deepcopy(module)
    x, y = data.data["train"]
    found = []
    for point in points:
        nn.utils.vector_to_parameters(point, walker.parameters())
        with torch.no_grad():
            found.append(float(data.output_loss.mean(walker(x), y)))
    return found


def conv(*, inputs: int = 1, then: tuple[nn.Module, ...] = (), **options: Any) -> nn.Module:
    torch.manual_seed(0)
    first = nn.Conv2d(inputs, 16, 3, **options)
    with torch.no_grad():
        size = nn.Sequential(first, *then, nn.Flatten())(torch.zeros(1, inputs, 9, 9)).shape[1]
    module = nn.Sequential(first, *then, nn.Flatten(), nn.Linear(size, CLASSES)).double()
    for layer in module:
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.running_mean, *(parameter.data for parameter in layer.parameters())):
                assert tensor is not None
                tensor.normal_()
            layer.running_var.uniform_(0.5, 2)  # type: ignore[operator, union-attr]
    return module.eval()


class Branches(nn.Module):
    """Skips, lists, keywords and a part of the network that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.twice, self.out = nn.Linear(81, 12), nn.Linear(12, 12), nn.Linear(24, CLASSES)
        self.relu, self.scale = nn.ReLU(), nn.Parameter(torch.ones(12))
        self.register_buffer("shift", torch.linspace(-1, 1, 12))

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.first(torch.flatten(x, start_dim=1)))
        h = self.twice(h).mul(self.scale) + h
        g = functional.gelu(self.twice(self.relu(h)), approximate="tanh") + self.shift
        result: Tensor = self.out(torch.cat([h, g], dim=1).clamp(min=-3.0))
        return result


class Autocast(nn.Module):
    """Computes one layer in another precision, which a graph does not record."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(81, 40), nn.Linear(40, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            h = self.a(x.flatten(1))
        result: Tensor = self.b(torch.tanh(h.to(self.b.weight.dtype)))
        return result


class Hidden(nn.Module):
    """Reads a weight behind torch's back: a trace takes its sine for a constant."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.factor = nn.Linear(81, CLASSES), nn.Parameter(torch.tensor(0.7))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.a(x.flatten(1)) * torch.sin(self._parameters["factor"].detach().clone())  # type: ignore[union-attr]
        return result


def wide(width: int) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Linear(81, width), nn.ReLU(), nn.Linear(width, width), nn.Dropout(0.5), nn.ReLU(), nn.Identity()]
    return nn.Sequential(nn.Flatten(), nn.Sequential(*layers), nn.Linear(width, CLASSES)).double().eval()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "nested": lambda: wide(20),
    "branches": lambda: Branches().double(),
    "hidden weight": lambda: Hidden().double(),
    "patches": lambda: conv(),
    "patches, padded": lambda: conv(padding=1, then=(nn.ReLU(), nn.MaxPool2d(2))),
    "patches, strided": lambda: conv(stride=2, padding=(0, 1), dilation=2, bias=False),
    "patches, normed": lambda: conv(then=(nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, 2))),
    "patches, no bias, normed": lambda: conv(bias=False, then=(nn.BatchNorm2d(16, affine=False), nn.ReLU())),
    "same": lambda: conv(padding="same", then=(nn.ReLU(inplace=True),)),
    "reflect": lambda: conv(padding=1, padding_mode="reflect"),
    "three channels": lambda: conv(inputs=3, padding=1, then=(nn.ReLU(), nn.MaxPool2d(2, 2), nn.Conv2d(16, 8, 3))),
    "many channels": lambda: conv(inputs=6, padding=1, then=(nn.BatchNorm2d(16), nn.ReLU())),
    "groups": lambda: conv(inputs=2, groups=2),
    "even pooling": lambda: even(),
    "rounded up": lambda: conv(then=(nn.MaxPool2d(2, ceil_mode=True), nn.ReLU())),
}


def even() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, CLASSES)).double()


def inputs_of(name: str) -> Supervised:
    return images(3 if name == "three channels" else 6 if name == "many channels" else 2 if name == "groups" else 1)


@pytest.mark.parametrize("method", ["walk", "stack", "auto"])
@pytest.mark.parametrize("spanned", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_losses_are_those_of_the_weights_put_in_by_hand(name: str, spanned: bool, method: Any) -> None:
    module, data = NETWORKS[name](), inputs_of(name)
    span = plane(module)
    points = span if spanned else torch.stack(list(span))
    found = losses_at(module, data, points, method=method, metrics=["loss"])
    assert found.method != "plain"
    np.testing.assert_allclose(found["loss"], by_hand(module, data, span), rtol=1e-11)


def test_a_switch_of_precision_inside_a_network_is_kept() -> None:
    x, y = images().data["train"]
    module, data = Autocast(), Supervised({"train": (x.float(), y)}, CrossEntropy(), CLASSIFICATION)
    span = plane(module)
    found = losses_at(module, data, span, method="walk", metrics=["loss"])["loss"]
    # the last bit of a weight may decide how bfloat16 rounds it, in a few of the points
    assert np.median(np.abs(found.numpy() - by_hand(module, data, span))) < 1e-6
    single = Autocast()
    single.forward = lambda x: single.b(torch.tanh(single.a(x.flatten(1))))  # type: ignore[method-assign]
    assert np.median(np.abs(found.numpy() - by_hand(single, data, span))) > 1e-4


def test_a_trace_that_computes_with_weights_is_not_run() -> None:
    assert traced(Branches())[1]
    assert not traced(Hidden())[1]
    assert traced(Autocast()) == (None, False)
    assert traced(wide(8))[1]


def test_nans_pass_through_pooling_and_rectifying() -> None:
    module, data = even(), images()
    data.data["train"][0][3, 0, 2, 2] = float("nan")
    assert losses_at(module, data, plane(module), metrics=["loss"])["loss"].isnan().all()


class Smoothed(CrossEntropy):
    """Overrides the loss of each example alone."""

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.3)

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.per_example(outputs, targets).mean()


class OfTheWhole(CrossEntropy):
    """Takes the examples of a batch for the whole data set."""

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        losses = super().per_example(outputs, targets)
        return losses * losses.argsort().argsort() / len(losses)

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.per_example(outputs, targets).mean()


@pytest.mark.parametrize("loss", [CrossEntropy(), Smoothed(), OfTheWhole()], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("classes", [3, 20, 200])
def test_every_loss_is_computed_as_it_declares(loss: CrossEntropy, classes: int) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, classes)).double()
    x, y = torch.randn(30, 6, dtype=torch.float64), torch.arange(30) % classes
    data = Supervised({"train": (x, y)}, loss, CLASSIFICATION)
    span = plane(module)
    found = losses_at(module, data, span, method="walk")
    np.testing.assert_allclose(found["loss"], by_hand(module, data, span), rtol=1e-11)
    plain = losses_at(module, data, span, method="plain")
    assert torch.equal(found["accuracy"], plain["accuracy"])


def test_losses_of_sequences_and_of_numbers_are_those_by_hand() -> None:
    torch.manual_seed(0)
    words = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 9)).double()
    x = torch.randint(9, (12, 7))
    text = Supervised({"train": (x, x.roll(-1, 1))}, CrossEntropy(), CLASSIFICATION)
    span = plane(words)
    expected = losses_at(words, text, span, method="plain")
    found = losses_at(words, text, span, method="walk")
    torch.testing.assert_close(found["loss"], expected["loss"], rtol=1e-11, atol=0)
    numbers = nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 2)).double()
    z = torch.randn(30, 6, dtype=torch.float64)
    targets = torch.randn(30, 2, dtype=torch.float64)
    regression = Supervised({"train": (z, targets)}, SquaredError(), (LOSS,))
    span = plane(numbers)
    result = losses_at(numbers, regression, span, method="walk")["loss"]
    np.testing.assert_allclose(result, by_hand(numbers, regression, span), rtol=1e-11)


@pytest.mark.parametrize("method", ["walk", "stack", "plain"])
def test_a_label_that_is_no_class_is_named(method: Any) -> None:
    module, data = wide(8), images()
    data.data["train"][1][4] = CLASSES
    with pytest.raises(ValueError, match="label 5; cross-entropy takes classes numbered from 0 to 4"):
        losses_at(module, data, plane(module), method=method, metrics=["loss"])


def test_the_method_follows_from_sizes_alone_and_is_told() -> None:
    """At most 8 MiB of weights of 64 points, and 32 KiB of activations (here of 20 examples in double precision)."""
    points: Callable[[nn.Module], Plane] = plane
    for width, expected in ((80, "stack"), (110, "walk")):
        module = wide(width)
        found = losses_at(module, images(), points(module), metrics=["loss"])
        assert found.method == expected, width
    # activations of 20 examples: 16 channels of 7 x 7 numbers take 122.5 KiB
    assert losses_at(conv(), images(), points(conv())).method == "walk"
    module = wide(20)  # whose largest output is the input's 81 numbers, 648 bytes
    assert losses_at(module, images(n=50), points(module)).method == "stack"
    assert losses_at(module, images(n=51), points(module)).method == "walk"
    assert losses_at(module, images(), flat(module)[None]).method == "walk"
    assert losses_at(module, images(), points(module), method="plain").method == "plain"


def test_an_evaluator_gives_in_every_call_what_one_call_gives() -> None:
    module, data = NETWORKS["patches, normed"](), images()
    span = plane(module)
    evaluator = Evaluator(module, data, method="walk")
    expected = losses_at(module, data, span, method="walk")
    listed = torch.stack(list(span))
    for _ in range(2):
        for points in (span, listed, Span(span.vectors, span.coordinates[5:9]), listed[5:9]):
            found = evaluator(points)
            part = expected["loss"][5:9] if len(points) == 4 else expected["loss"]
            torch.testing.assert_close(found["loss"], part, rtol=1e-12, atol=0)
    # vectors that change between calls, also where torch counts no write
    span.vectors.numpy()[1:] *= 0.5
    changed = losses_at(module, data, span, method="walk")["loss"]
    assert torch.equal(evaluator(span)["loss"], changed)
    assert not torch.allclose(changed, expected["loss"])


def test_an_evaluators_module_is_the_module_as_it_was() -> None:
    module, data = NETWORKS["patches, normed"](), images()
    span = plane(module)
    evaluator = Evaluator(module, data)
    expected = losses_at(module, data, span)["loss"]
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.zero_()
    assert torch.equal(evaluator(span)["loss"], expected)
    torch.testing.assert_close(evaluator(torch.stack(list(span)))["loss"], expected, rtol=1e-12, atol=0)
