"""Reads a module as operations: the steps of a program, in order."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import Graph, Node, Tracer
from torch.nn.modules import module as hooks

from thalweg.contracts.copies import copied
from thalweg.training.direct.layer import Layer, is_of

_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)


@dataclass(frozen=True)
class Step:
    """A layer, and the places of its inputs among the results of earlier steps; place 0 is the network's input."""

    layer: Layer
    inputs: tuple[int, ...]


class UnknownError(Exception):
    """The module does something that no layer here does."""


def steps_of(module: nn.Module, reader: Reader) -> list[Step] | None:
    """The steps of a network; None where the network does what no layer here does.

    Known are linear layers, convolutions, max pooling, means over pixels, batch norm, layer norm, flattening,
    elementwise activations, sums, and shortcuts that subsample. The module's ``forward`` may be any Python that
    ``torch.fx`` can follow, in training mode and in evaluation mode alike.

    Args:
        module: the network, in training mode.
        reader: makes the steps.
    """
    graph = graph_of(module)
    if graph is None:
        return None
    try:
        for node in graph.nodes:
            reader.read(node)
    except UnknownError:
        return None
    return reader.steps


def graph_of(module: nn.Module) -> Graph | None:
    """The operations of a module; None where they are not fixed, or where a call does more than ``forward``."""
    if not all(plain(part) for part in module.modules()):
        return None
    if all(type(part) is nn.Sequential for part in module.modules() if next(part.children(), None) is not None):
        return _chain(module)
    try:
        copy = copied(module)
    except Exception:  # a module may hold what cannot be copied
        return None
    graphs = [_traced(copy, training) for training in (True, False)]
    if graphs[0] is None or graphs[1] is None or str(graphs[0]) != str(graphs[1]):
        return None
    return graphs[0]


def plain(part: nn.Module) -> bool:
    """Whether a call of the module runs its ``forward`` and nothing else, on parameters that are plain tensors."""
    return not (
        part._forward_hooks
        or part._forward_pre_hooks
        or part._backward_hooks
        or part._backward_pre_hooks
        or hooks._global_forward_hooks
        or hooks._global_forward_pre_hooks
        or hooks._global_backward_hooks
        or hooks._global_backward_pre_hooks
        or "forward" in vars(part)
        or "parametrizations" in part._modules
    )


def _chain(module: nn.Module) -> Graph:
    """The graph of nested sequential modules, without a trace."""
    graph = Graph()
    value = graph.placeholder("inputs")
    for name, part in module.named_modules(remove_duplicate=False):
        if type(part) is not nn.Sequential:
            value = graph.call_module(name, (value,)) if name else graph.call_module("", (value,))
    graph.output(value)
    return graph


def _traced(module: nn.Module, training: bool) -> Graph | None:
    """The graph by a symbolic call; None where the call fails, or leaves its mark on the module."""
    try:
        module.train(training)
        before = [_settings(part) for part in module.modules()]
        graph = Tracer().trace(module)
    except Exception:  # the forward pass looks at numbers, or at what else a trace does not have
        return None
    return graph if before == [_settings(part) for part in module.modules()] else None


def _settings(part: nn.Module) -> dict[str, str]:
    """The attributes of a module besides its parts, as text."""
    kept = ("_parameters", "_buffers", "_modules")
    return {name: repr(value) for name, value in vars(part).items() if name not in kept}


class Reader(ABC):
    """Makes a step of each node of a graph.

    Args:
        module: the network that the graph was read from.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.steps: list[Step] = []
        self._at: dict[Node, int] = {}
        self._sides: list[int | None] = [None]
        self._used: set[int] = set()

    @property
    def parameters(self) -> set[int]:
        """The identities of all parameters that steps use."""
        return self._used

    @abstractmethod
    def layer(self, layer: Any, place: int) -> int | None:
        """Add the steps of one of torch's modules on the value at a place; the result's place, or None if unknown."""

    @abstractmethod
    def relu(self, place: int) -> int:
        """Add a ReLU."""

    @abstractmethod
    def flattened(self, place: int) -> int:
        """Add a flattening of every example."""

    @abstractmethod
    def added(self, first: int, second: int, alpha: float) -> int:
        """Add a sum of two values, the second times alpha."""

    @abstractmethod
    def subsampled(self, place: int, strides: tuple[int, ...], extra: tuple[int, int]) -> int:
        """Add a subsampling of pixels by strides, with ``extra`` channels of zeros before and after."""

    @abstractmethod
    def ended(self, place: int) -> int:
        """The place of the network's result, which the last step gives."""

    def read(self, node: Node) -> None:
        """Add the steps of a node."""
        if node.op == "placeholder":
            if self._at:
                raise UnknownError("two inputs")
            self._at[node] = 0
        elif node.op == "output":
            (value,) = node.args
            if not isinstance(value, Node) or value not in self._at:
                raise UnknownError("not one output")
            if self.ended(self._at[value]) != len(self.steps):
                raise UnknownError("a result that is not the last")
        elif node.op == "call_module" and isinstance(node.target, str) and not node.kwargs:
            self._module(node, self.module.get_submodule(node.target))
        elif node.op in ("call_function", "call_method"):
            self._function(node)
        else:
            raise UnknownError(node.op)

    def _module(self, node: Node, layer: Any) -> None:
        for part in layer.parameters(recurse=False):
            if id(part) in self._used:
                raise UnknownError("a parameter in two places, whose gradients add up")
            self._used.add(id(part))
        place = self._place(node)
        if is_of(layer, nn.Identity):
            self._at[node] = place
        elif is_of(layer, nn.Flatten):
            self._flatten(node, place, layer.start_dim, layer.end_dim)
        else:
            found = self.layer(layer, place)
            if found is None:
                raise UnknownError(type(layer).__name__)
            self._at[node] = found

    def add(self, layer: Layer, *inputs: int, sides: int | None = None) -> int:
        """Add a step; its place. ``sides`` is the number of an image's dimensions, where the layer shows it."""
        self.steps.append(Step(layer, inputs))
        self._sides.append(sides or self._sides[inputs[0]])
        return len(self.steps)

    def _place(self, node: Node, index: int = 0) -> int:
        value = node.args[index]
        if not isinstance(value, Node):
            raise UnknownError("a number for a tensor")
        return self._at[value]

    def _flatten(self, node: Node, place: int, start: object, end: object) -> None:
        if (start, end) != (1, -1):
            raise UnknownError("another flattening")
        self._at[node] = self.flattened(place)

    def _function(self, node: Node) -> None:
        """The steps of a function of torch, or of a tensor's method."""
        target, arguments, named = node.target, node.args[1:], dict(node.kwargs)
        if target in (torch.add, operator.add, operator.iadd, "add", "add_") and len(arguments) == 1:
            alpha = named.pop("alpha", 1)
            if named or not isinstance(alpha, int | float):
                raise UnknownError("another sum")
            self._at[node] = self.added(self._place(node), self._place(node, 1), float(alpha))
        elif target in (torch.relu, nn.functional.relu, "relu") and not arguments and not any(named.values()):
            self._at[node] = self.relu(self._place(node))
        elif target in (torch.flatten, "flatten"):
            start = arguments[0] if arguments else named.pop("start_dim", 0)
            end = arguments[1] if len(arguments) > 1 else named.pop("end_dim", -1)
            if named:
                raise UnknownError("another flattening")
            self._flatten(node, self._place(node), start, end)
        elif target is operator.getitem and len(arguments) == 1:
            self._sliced(node, arguments[0])
        elif target is nn.functional.pad:
            self._padded(node, arguments, named)
        else:
            raise UnknownError(str(target))

    def _sliced(self, node: Node, index: Any) -> None:
        """x[:, :, ::s, ::s]."""
        everything = slice(None, None, None)
        if not isinstance(index, tuple) or len(index) not in (3, 4) or index[:2] != (everything, everything):
            raise UnknownError("another slice")
        if self._sides[self._place(node)] != len(index) - 2:
            raise UnknownError("a slice of other dimensions")
        strides = []
        for one in index[2:]:
            if not isinstance(one, slice) or one.start is not None or one.stop is not None:
                raise UnknownError("another slice")
            strides.append(1 if one.step is None else one.step)
        if not all(isinstance(stride, int) and stride > 0 for stride in strides):
            raise UnknownError("another slice")
        self._at[node] = self.subsampled(self._place(node), tuple(strides), (0, 0))

    def _padded(self, node: Node, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Channels of zeros: ``pad(x, (0, 0, 0, 0, before, after))``."""
        if len(arguments) != 1 or named.get("mode", "constant") != "constant" or named.get("value"):
            raise UnknownError("another padding")
        widths = arguments[0]
        if len(widths) not in (4, 6) or any(widths[:-2]) or not all(isinstance(w, int) and w >= 0 for w in widths):
            raise UnknownError("another padding")
        if self._sides[self._place(node)] != len(widths) // 2 - 1:
            raise UnknownError("a padding of other dimensions")
        strides = (1,) * (len(widths) // 2 - 1)
        self._at[node] = self.subsampled(self._place(node), strides, (widths[-2], widths[-1]))
