"""The forward pass of a traced module as a list of steps, without the calls of modules between them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn

from thalweg.contracts.products import linear
from thalweg.landscape.layers import First, Folded, Narrow, Unfolded
from thalweg.landscape.rewrite import unhooked

_Step = tuple[Callable[..., Any], list[int], int, list[int]]
"""A function, the registers of its arguments, the register of its result, and the registers that are free then."""


class Straight:
    """The outputs of a traced module, for weights that are changed in place.

    Args:
        graph: the graph of the module's forward pass, with one input and one output.
        module: the module with the layers that the graph names.

    Raises:
        ValueError: the graph has other inputs or outputs.
    """

    def __init__(self, graph: fx.Graph, module: nn.Module) -> None:
        nodes = list(graph.nodes)
        places = [node for node in nodes if node.op == "placeholder"]
        (output,) = (node for node in nodes if node.op == "output")
        if len(places) != 1 or not isinstance(output.args[0], fx.Node):
            raise ValueError("the graph needs one input and one output")
        register = {places[0]: 0}
        self._constants: list[Any] = [None]
        steps: list[tuple[Callable[..., Any], list[int], int]] = []
        late = _rectified_after_pooling(graph, module)
        for node in nodes:
            if node.op in ("placeholder", "output"):
                continue
            if node.op == "get_attr":
                register[node] = len(self._constants)
                self._constants.append(_attribute(module, str(node.target)))
                continue
            layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
            if node in late or (layer is not None and _does_nothing(layer) and _one_argument(node)):
                register[node] = register[node.args[0]]
                continue
            function = _function(node, layer)
            if node.args and node.args[0] in late:
                function = partial(_then_rectify, function)
            register[node] = len(self._constants)
            self._constants.append(None)
            steps.append((function, [register[each] for each in node.all_input_nodes], register[node]))
        self._result = register[output.args[0]]
        self._steps = self._with_frees(steps)

    def _with_frees(self, steps: list[tuple[Callable[..., Any], list[int], int]]) -> list[_Step]:
        """The steps, each with the registers that no later step reads. Freed tensors make room in the cache."""
        last = {place: number for number, (_, read, written) in enumerate(steps) for place in (*read, written)}
        kept = {self._result} | {i for i, value in enumerate(self._constants) if value is not None}
        frees: list[list[int]] = [[] for _ in steps]
        for place, number in last.items():
            if place not in kept:
                frees[number].append(place)
        return [(*step, free) for step, free in zip(steps, frees, strict=True)]

    def __call__(self, inputs: Tensor) -> Tensor:
        """The outputs (N, ...). They may lie in a tensor that the next call overwrites."""
        registers = self._constants.copy()
        registers[0] = inputs
        for function, read, written, free in self._steps:
            registers[written] = function(*[registers[place] for place in read])
            for place in free:
                registers[place] = None
        result: Tensor = registers[self._result]
        return result


def _attribute(module: nn.Module, target: str) -> Any:
    found: Any = module
    for name in target.split("."):
        found = getattr(found, name)
    return found


def _one_argument(node: fx.Node) -> bool:
    return len(node.args) == 1 and isinstance(node.args[0], fx.Node) and not node.kwargs


def _does_nothing(layer: nn.Module) -> bool:
    """Whether a layer returns its input."""
    dropout = isinstance(layer, nn.modules.dropout._DropoutNd) and not layer.training
    return unhooked(layer) and (isinstance(layer, nn.Identity) or dropout)


def _function(node: fx.Node, layer: nn.Module | None) -> Callable[..., Any]:
    """The function of a node's input nodes, in the order of ``node.all_input_nodes``."""
    if layer is not None:
        called = _of_layer(layer)
    elif node.op == "call_method":
        called = partial(_method, str(node.target))
    else:
        assert callable(node.target)
        called = node.target
    inputs = node.all_input_nodes
    if list(node.args) == inputs and not node.kwargs:
        return called

    def with_constants(*values: Any) -> Any:
        given = dict(zip(inputs, values, strict=True))
        return called(*fx.map_arg(node.args, given.__getitem__), **fx.map_arg(node.kwargs, given.__getitem__))

    return with_constants


def _method(name: str, owner: Any, *args: Any, **kwargs: Any) -> Any:
    return getattr(owner, name)(*args, **kwargs)


def _of_layer(layer: nn.Module) -> Callable[..., Any]:
    """What a layer computes, without the work around a module's call where no hook needs it."""
    if isinstance(layer, Narrow) and layer.layer.bias is not None:
        return partial(_narrow, layer, layer.layer.weight.detach(), layer.layer.bias.detach()[:, None])
    if isinstance(layer, First | Narrow | Folded | Unfolded):
        return layer.forward
    if not unhooked(layer):
        return layer
    if type(layer) is nn.Linear and set(layer._parameters) == {"weight", "bias"}:
        return partial(_linear, layer.weight, layer.bias)
    if type(layer) is nn.ReLU:
        return torch.relu_ if layer.inplace else torch.relu
    if type(layer) is nn.MaxPool2d and _halves(layer):
        return partial(_halved, layer)
    return layer.forward


def _narrow(layer: Narrow, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    return torch.addmm(bias, weight, x.t()).t() if x.dim() == 2 else layer(x)


def _linear(weight: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    return linear(x, weight, bias)


def _halves(layer: nn.MaxPool2d) -> bool:
    """Whether max-pooling takes the largest of each 2 by 2 numbers."""
    pair = all(size in (2, (2, 2)) for size in (layer.kernel_size, layer.stride))
    plain = layer.padding in (0, (0, 0)) and layer.dilation in (1, (1, 1))
    return pair and plain and not layer.ceil_mode and not layer.return_indices


def _halved(layer: nn.MaxPool2d, x: Tensor) -> Tensor:
    """Max-pooling of 2 by 2 numbers as two maxima, which for channels last takes half the time of torch's kernel."""
    even = x.dim() == 4 and x.device.type == "cpu" and x.shape[2] % 2 == x.shape[3] % 2 == 0
    if not even or not x.is_contiguous(memory_format=torch.channels_last):
        out: Tensor = layer.forward(x)
        return out
    rows = torch.maximum(x[:, :, 0::2], x[:, :, 1::2])
    return torch.maximum(rows[..., 0::2], rows[..., 1::2])


def _then_rectify(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    return torch.relu_(function(x))


def _rectified_after_pooling(graph: fx.Graph, module: nn.Module) -> set[fx.Node]:
    """The ReLUs that only a max-pooling reads: the pooling can come first, and leaves a fourth of the numbers."""
    found = set()
    for node in graph.nodes:
        if node.op != "call_module" or not _one_argument(node) or len(node.users) != 1:
            continue
        (user,) = node.users
        relu = module.get_submodule(str(node.target))
        pooling = module.get_submodule(str(user.target)) if user.op == "call_module" and _one_argument(user) else None
        if type(relu) is nn.ReLU and unhooked(relu) and type(pooling) is nn.MaxPool2d and unhooked(pooling):
            found |= set() if pooling.return_indices else {node}
    return found
