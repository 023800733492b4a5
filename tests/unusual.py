"""Unusual networks, and their weights as real numbers, computed by hand."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised

INPUTS, CLASSES, EXAMPLES = 6, 3, 12


def data(dtype: torch.dtype = torch.float64) -> Supervised:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(EXAMPLES, INPUTS, generator=generator, dtype=torch.float64).to(dtype)
    return Supervised({"train": (x, torch.arange(EXAMPLES) % CLASSES)}, CrossEntropy(), CLASSIFICATION)


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(INPUTS, 5), nn.Tanh(), nn.Linear(5, CLASSES))


def frozen() -> nn.Module:
    """A network whose body is not trained."""
    net = nn.Sequential(nn.Linear(INPUTS, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, CLASSES))
    net[0].requires_grad_(False)
    return net


def biases() -> nn.Module:
    """A network of which only biases are trained."""
    net = plain()
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name.endswith("bias"))
    return net


class Vectors(nn.Module):
    """Scales inputs, sums them in threes, and adds a vector. It has no matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(INPUTS))
        self.shift = nn.Parameter(torch.randn(CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale).view(-1, CLASSES, INPUTS // CLASSES).sum(2) + self.shift


class Keeps(nn.Module):
    """Keeps its last result as an attribute, in a list and in an object."""

    def __init__(self) -> None:
        super().__init__()
        self.net = plain()
        self.hidden: Tensor | None = None
        self.all: list[dict[str, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = self.net[0](x)
        self.all = [{"hidden": self.hidden}]
        out: Tensor = self.net[2](self.net[1](self.hidden))
        return out


class Spectral(nn.Module):
    """A complex weight for each frequency, and a complex number."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Parameter(torch.randn(INPUTS // 2 + 1, dtype=torch.complex64))
        self.mixes = nn.Parameter(torch.randn(2, INPUTS // 2 + 1, dtype=torch.complex64))
        self.turn = nn.Parameter(torch.tensor(0.5 + 0.8j))
        self.out = nn.Linear(2 * INPUTS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.fft.rfft(x)[:, None] * self.f * self.mixes * self.turn
        out: Tensor = self.out(torch.tanh(torch.fft.irfft(seen, n=INPUTS)).flatten(1))
        return out


class Counts(nn.Module):
    """Has extra state that is no tensor and changes the outputs."""

    def __init__(self, extra: Any = None) -> None:
        super().__init__()
        self.net = plain()
        self.extra: Any = {"times": [2, 0.5], "name": "two"} if extra is None else extra

    def get_extra_state(self) -> Any:
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        self.extra = state

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x) * self.extra["times"][0]
        return out


class Attends(nn.Module):
    """Torch's fused attention over the inputs as a sequence of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(2, 12), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.view(len(x), 1, INPUTS // 2, 2)).chunk(3, -1)
        out: Tensor = self.out(torch.tanh(functional.scaled_dot_product_attention(q, k, v)[:, 0].mean(1)))
        return out


def pruned() -> nn.Module:
    net = nn.Sequential(nn.Linear(INPUTS, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, CLASSES))
    prune.random_unstructured(net[2], "weight", 0.5)
    return net


def weight_norm_by_hook() -> nn.Module:
    net = plain()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(net[0])
    return net


def parametrized() -> nn.Module:
    net = plain()
    parametrizations.weight_norm(net[0])
    parametrizations.spectral_norm(net[2])
    return net


def transposed() -> nn.Module:
    """A network whose weights are not contiguous in memory."""
    net = plain()
    net[0].weight = nn.Parameter(torch.randn(INPUTS, 5).t())
    assert not net[0].weight.is_contiguous()
    return net


class Mixed(nn.Module):
    """A network whose head has half the precision of its body."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(INPUTS, 5), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.body(x)).to(self.head.weight.dtype))
        return out.to(x.dtype)


KINDS: dict[str, Callable[[], nn.Module]] = {
    "plain": plain,
    "frozen": frozen,
    "biases": biases,
    "vectors": Vectors,
    "keeps": Keeps,
    "complex": Spectral,
    "extra-state": Counts,
    "attends": Attends,
    "pruned": pruned,
    "weight-norm-by-hook": weight_norm_by_hook,
    "parametrized": parametrized,
    "transposed": transposed,
}


def built(kind: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A network after a forward pass in training mode, with the graph, as in the middle of training."""
    torch.manual_seed(0)
    module = KINDS[kind]()

    def precise(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(dtype.to_complex())
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    module._apply(precise)
    module(data(dtype).data["train"][0])
    return module


def numbers(tensors: Sequence[Tensor]) -> Tensor:
    """All real numbers in one vector, by hand."""
    found: list[float] = []
    for tensor in tensors:
        for value in tensor.detach().resolve_conj().flatten().tolist():
            found += [value.real, value.imag] if tensor.is_complex() else [value]
    return torch.tensor(found, dtype=torch.float64)


def put(module: nn.Module, vector: Tensor, trained: bool = False) -> None:
    """Write the numbers of a vector into all parameters, or into the trained parameters, by hand."""
    values = iter(vector.tolist())
    with torch.no_grad():
        for parameter in module.parameters():
            if trained and not parameter.requires_grad:
                continue
            count = parameter.numel()
            if parameter.is_complex():
                entries: list[Any] = [complex(next(values), next(values)) for _ in range(count)]
            else:
                entries = [next(values) for _ in range(count)]
            parameter.copy_(torch.tensor(entries, dtype=parameter.dtype).view(parameter.shape))


def fresh(kind: str, module: nn.Module) -> nn.Module:
    """A new network of this kind with equal state, in float64."""
    other = built(kind)
    state = {
        name: value.to(other.state_dict()[name].dtype) if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in module.state_dict().items()
    }
    other.load_state_dict(state)
    return other.eval()


def loss(module: nn.Module) -> Tensor:
    """The loss of all examples."""
    x, y = data().data["train"]
    return functional.cross_entropy(module(x), y)
