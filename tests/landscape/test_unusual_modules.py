"""Modules for which saving work would change the numbers: hooks, parametrizations, weights with other readers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, spectral_norm

from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.landscape.evaluate import Evaluator, Line, Method, flat, losses_at


def data() -> Supervised:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(24, 40, generator=generator, dtype=torch.float64)
    y = torch.randint(5, (24,), generator=generator)
    return Supervised({"train": (x, y)}, CrossEntropy(), CLASSIFICATION)


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Linear(40, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Linear(40, 20), nn.ReLU(), nn.Linear(20, 5)]
    return nn.Sequential(*layers).double()


def hooked(layer: int, before: bool) -> nn.Module:
    module = plain()
    if before:
        module[layer].register_forward_pre_hook(lambda _, args: (0.5 * args[0],))
    else:
        module[layer].register_forward_hook(lambda _, __, output: output.sin())
    return module


def changed(layer: int, change: Callable[[Any], Any]) -> nn.Module:
    module = plain()
    module[layer] = change(module[layer])
    return module


class Tied(nn.Module):
    """The second layer is the first one's transpose."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.out = nn.Linear(40, 9), nn.Linear(40, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        result: Tensor = self.out(nn.functional.linear(h, self.a.weight.T))
        return result + nn.functional.linear(torch.tanh(x), self.out.weight)


class Recurrent(nn.Module):
    """Has no rule for several points in one pass."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.out = nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        states: Tensor = self.lstm(x.view(-1, 5, 8))[0]
        out: Tensor = self.out(states[:, -1])
        return out


class Inverted(nn.Linear):
    """A subclass with a forward pass of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, 1 / (1 + self.weight**2), self.bias)


def half(layer: Any) -> Any:
    return prune.random_unstructured(layer, "weight", 0.5)


MODULES: dict[str, Callable[[], nn.Module]] = {
    **{f"hook on {i}": lambda i=i: hooked(i, before=False) for i in range(6)},  # type: ignore[misc]
    **{f"pre-hook on {i}": lambda i=i: hooked(i, before=True) for i in range(6)},  # type: ignore[misc]
    **{f"pruned {i}": lambda i=i: changed(i, half) for i in (0, 3, 5)},  # type: ignore[misc]
    **{f"weight norm {i}": lambda i=i: changed(i, parametrizations.weight_norm) for i in (0, 5)},  # type: ignore[misc]
    "spectral norm": lambda: changed(0, parametrizations.spectral_norm),
    "spectral norm by hook": lambda: changed(5, spectral_norm),
    "subclass": lambda: changed(0, lambda _: Inverted(40, 40).double()),
    "weights read elsewhere": lambda: Tied().double(),
    "recurrent": lambda: Recurrent().double(),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("method", ["auto", "walk"])
@pytest.mark.parametrize("spanned", [True, False])
def test_losses_are_those_of_the_module_itself(name: str, method: Method, spanned: bool) -> None:
    torch.manual_seed(1)
    module, problem = MODULES[name]().eval(), data()
    x, y = problem.data["train"]
    with torch.no_grad():
        module(x)
    center = flat(module)
    line = Line(center, center + 0.1 * torch.randn_like(center), (0.0, 0.3, 0.7, 1.0))
    points: Any = line if spanned else torch.stack(list(line))
    expected = []
    for point in line:
        walker = copy.deepcopy(module)
        nn.utils.vector_to_parameters(point, walker.parameters())
        with torch.no_grad():
            expected.append(float(nn.functional.cross_entropy(walker(x), y)))
    found = losses_at(module, problem, points, method=method, metrics=["loss"])["loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_work_is_saved_on_usual_modules() -> None:
    """The comparison with the plain way must not fail where nothing is unusual."""
    module, problem = plain().eval(), data()
    center = flat(module)
    line = Line(center, 2 * center, (0.0, 0.3, 1.0))
    evaluator = Evaluator(module, problem, metrics=["loss"])
    given = evaluator.program
    assert evaluator(line).method == "stack"
    assert evaluator.program is given
    assert given.first is not None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_norm": "runing"}, "no batch_norm 'runing'; did you mean 'running'"),
        ({"method": "stacked"}, "no method 'stacked'; did you mean 'stack'"),
        ({"examples": 0}, "examples of 1 or more"),
        ({"examples": -3}, "examples of 1 or more"),
        ({"metrics": ()}, "needs a metric"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: dict[str, Any], said: str) -> None:
    module = plain()
    with pytest.raises(ValueError, match=said):
        losses_at(module, data(), flat(module)[None], **settings)
