"""Reads a module as operations of K members: the nodes of a program, in order."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, Node, Tracer
from torch.nn.modules import module as hooks
from torch.nn.utils import parametrize

from thalweg.training.stacked import layers
from thalweg.training.stacked.layers import Layer, is_of

Find = Callable[[Tensor], Any]
"""Maps a member's parameter to the ``Weight`` of K members, and a member's buffer to their buffer (K, ...)."""

_GLOBAL_HOOKS = (
    "_global_forward_hooks",
    "_global_forward_pre_hooks",
    "_global_backward_hooks",
    "_global_backward_pre_hooks",
)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_MAX_POOLS: dict[type[nn.Module], int] = {nn.MaxPool1d: 1, nn.MaxPool2d: 2}
_MEANS: dict[type[nn.Module], int] = {nn.AdaptiveAvgPool1d: 1, nn.AdaptiveAvgPool2d: 2}


@dataclass(frozen=True)
class Step:
    """A layer, and the places of its inputs among the results of earlier steps; place 0 is the network's input."""

    layer: Layer
    inputs: tuple[int, ...]


class _UnknownError(Exception):
    """The module does something that no layer here does."""


def steps_of(module: nn.Module, members: int, find: Find) -> list[Step] | None:
    """The steps of K members of a network; None where the network does what no layer here does.

    Known are linear layers, convolutions, max pooling, means over pixels, batch norm, layer norm, flattening,
    elementwise activations, sums, and shortcuts that subsample. The module's ``forward`` may be any Python that
    ``torch.fx`` can follow, in training mode and in evaluation mode alike.

    Args:
        module: one member, in training mode.
        members: K.
        find: where the weights of all members are.
    """
    graph = graph_of(module)
    if graph is None:
        return None
    reader = _Reader(module, members, find)
    try:
        for node in graph.nodes:
            reader.read(node)
    except _UnknownError:
        return None
    return reader.steps


def graph_of(module: nn.Module) -> Graph | None:
    """The operations of a module; None where they are not fixed, or where a call does more than ``forward``."""
    if not all(_plain(part) for part in module.modules()) or _has_global_hooks():
        return None
    if all(type(part) is nn.Sequential for part in module.modules() if next(part.children(), None) is not None):
        return _chain(module)
    graphs = [_traced(module, training) for training in (True, False)]
    if graphs[0] is None or graphs[1] is None or str(graphs[0]) != str(graphs[1]):
        return None
    return graphs[0]


def _plain(part: nn.Module) -> bool:
    """Whether a call of the module runs its ``forward`` and nothing else, on parameters that are plain tensors."""
    own: tuple[Mapping[int, object], ...] = (
        part._forward_hooks, part._forward_pre_hooks, part._backward_hooks, part._backward_pre_hooks,
    )  # fmt: skip
    return not any(own) and not parametrize.is_parametrized(part) and "forward" not in vars(part)


def _has_global_hooks() -> bool:
    return any(getattr(hooks, name) for name in _GLOBAL_HOOKS)


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
    """The graph by a symbolic call of a copy; None where the call fails, or leaves its mark on the module."""
    module = copy.deepcopy(module).train(training)
    before = [_settings(part) for part in module.modules()]
    try:
        graph = Tracer().trace(module)
    except Exception:  # the forward pass looks at numbers, or at what else a trace does not have
        return None
    return graph if before == [_settings(part) for part in module.modules()] else None


def _settings(part: nn.Module) -> dict[str, str]:
    """The attributes of a module besides its parts, as text."""
    kept = ("_parameters", "_buffers", "_modules")
    return {name: repr(value) for name, value in vars(part).items() if name not in kept}


class _Reader:
    """Makes a step of each node, and changes the layout of activations where a step wants another one."""

    def __init__(self, module: nn.Module, members: int, find: Find) -> None:
        self.module, self.members, self.find = module, members, find
        self.steps: list[Step] = []
        self._at: dict[Node, int] = {}
        self._channels: list[bool] = [False]
        self._sides: list[int | None] = [None]
        self._used: set[int] = set()

    def read(self, node: Node) -> None:
        """Add the steps of a node."""
        if node.op == "placeholder":
            if self._at:
                raise _UnknownError("two inputs")
            self._at[node] = 0
        elif node.op == "output":
            (value,) = node.args
            if not isinstance(value, Node) or value not in self._at:
                raise _UnknownError("not one output")
            end = self._rows(self._at[value])
            if end != len(self.steps):  # the program's result is the last step's
                self._add(layers.Same(_same), end)
        elif node.op == "call_module" and isinstance(node.target, str) and not node.kwargs:
            self._module(node, self.module.get_submodule(node.target))
        elif node.op in ("call_function", "call_method"):
            self._function(node)
        else:
            raise _UnknownError(node.op)

    def _place(self, node: Node, index: int = 0) -> int:
        value = node.args[index]
        if not isinstance(value, Node):
            raise _UnknownError("a number for a tensor")
        return self._at[value]

    def _add(self, layer: Layer, *inputs: int, channels: bool = False, sides: int | None = None) -> int:
        """Add a step; ``sides`` is the number of an image's dimensions, where the layer shows it."""
        if isinstance(layer, layers.Elementwise):
            layer.members, layer.channels = self.members, channels
        self.steps.append(Step(layer, inputs))
        self._channels.append(channels)
        self._sides.append(sides or self._sides[inputs[0]])
        return len(self.steps)

    def _rows(self, place: int) -> int:
        """The place of a value as rows (K, N, ...)."""
        k = self.members
        if not self._channels[place]:
            return place
        return self._add(
            layers.Same(lambda h: h.view(len(h), k, -1, *h.shape[2:]).transpose(0, 1), lambda g, _: _to_channels(g)),
            place,
        )

    def _images(self, place: int) -> int:
        """The place of a value as channels (N, K C, ...)."""
        k = self.members
        if self._channels[place]:
            return place
        return self._add(
            layers.Same(
                _to_channels, lambda g, shape: g.view(len(g), k, -1, *g.shape[2:]).transpose(0, 1).reshape(shape)
            ),
            place,
            channels=True,
        )

    def _module(self, node: Node, layer: Any) -> None:
        """The steps of a module of torch."""
        for part in layer.parameters(recurse=False):
            if id(part) in self._used:
                raise _UnknownError("a parameter in two places, whose gradients add up")
            self._used.add(id(part))
        place = self._place(node)
        made = layers.elementwise(layer)
        if made is not None:
            self._at[node] = self._add(made, place, channels=self._channels[place])
        elif is_of(layer, nn.Identity):
            self._at[node] = place
        elif is_of(layer, nn.Flatten):
            self._flatten(node, place, layer.start_dim, layer.end_dim)
        elif is_of(layer, nn.Linear):
            self._at[node] = self._add(layers.Dense(*self._weights(layer)), self._rows(place))
        elif is_of(layer, nn.LayerNorm):
            if len(layer.normalized_shape) != 1 or layer.weight is None or layer.bias is None:
                raise _UnknownError("a layer norm of another kind")
            weight, bias = self._weights(layer)
            self._at[node] = self._add(layers.LayerNorm(layer, weight, bias), self._rows(place))
        elif any(is_of(layer, kind) for kind in _CONVOLUTIONS) and layers.pads_evenly(layer):
            sides = len(layer.kernel_size)
            if place == 0 and layer.groups == 1 and layer.weight[0].numel() <= layers.Unfolded.MOST:
                first = layers.Unfolded(*self._weights(layer), layer)
                self._at[node] = self._add(first, place, channels=True, sides=sides)
            else:
                grouped = layers.Convolution(*self._weights(layer), layer, self.members)
                self._at[node] = self._add(grouped, self._images(place), channels=True, sides=sides)
        elif type(layer) in _MAX_POOLS and not layer.return_indices:
            pool = layers.MaxPool(layer, _MAX_POOLS[type(layer)])
            self._at[node] = self._add(pool, self._images(place), channels=True)
        elif type(layer) in _MEANS and layer.output_size in (1, (1, 1)):
            mean = layers.Mean(_MEANS[type(layer)])
            self._at[node] = self._add(mean, self._images(place), channels=True)
        elif type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d):
            self._batch_norm(node, place, layer)
        else:
            raise _UnknownError(type(layer).__name__)

    def _weights(self, layer: Any) -> tuple[Any, Any]:
        return self.find(layer.weight), None if layer.bias is None else self.find(layer.bias)

    def _batch_norm(self, node: Node, place: int, layer: Any) -> None:
        if layer.momentum is None or not layer.track_running_stats:
            raise _UnknownError("a batch norm of another kind")
        weight, bias = (None if one is None else self.find(one) for one in (layer.weight, layer.bias))
        buffers = (self.find(one) for one in (layer.running_mean, layer.running_var, layer.num_batches_tracked))
        kind = layers.BatchNorm if self._channels[place] else layers.BatchNormOfRows
        made = kind(layer, weight, bias, *buffers)
        self._at[node] = self._add(made, place, channels=self._channels[place])

    def _flatten(self, node: Node, place: int, start: object, end: object) -> None:
        if (start, end) != (1, -1):
            raise _UnknownError("another flattening")
        k = self.members
        if not self._channels[place]:
            self._at[node] = self._add(layers.Same(lambda h: h.flatten(2), lambda g, shape: g.reshape(shape)), place)
            return
        self._at[node] = self._add(
            layers.Same(
                lambda h: h.reshape(len(h), k, -1).transpose(0, 1),
                lambda g, shape: g.transpose(0, 1).reshape(shape),
            ),
            place,
        )

    def _function(self, node: Node) -> None:
        """The steps of a function of torch, or of a tensor's method."""
        target, arguments, named = node.target, node.args[1:], dict(node.kwargs)
        if target in (torch.add, operator.add, operator.iadd, "add", "add_") and len(arguments) == 1:
            alpha = named.pop("alpha", 1)
            if named or not isinstance(alpha, int | float):
                raise _UnknownError("another sum")
            places = self._place(node), self._place(node, 1)
            channels = any(self._channels[place] for place in places)
            places = tuple(self._images(place) if channels else place for place in places)  # type: ignore[assignment]
            self._at[node] = self._add(layers.Add(float(alpha)), *places, channels=channels)
        elif target in (torch.relu, nn.functional.relu, "relu") and not arguments and not any(named.values()):
            place = self._place(node)
            relu = layers.elementwise(nn.ReLU())
            assert relu is not None
            self._at[node] = self._add(relu, place, channels=self._channels[place])
        elif target in (torch.flatten, "flatten"):
            start = arguments[0] if arguments else named.pop("start_dim", 0)
            end = arguments[1] if len(arguments) > 1 else named.pop("end_dim", -1)
            if named:
                raise _UnknownError("another flattening")
            self._flatten(node, self._place(node), start, end)
        elif target is operator.getitem and len(arguments) == 1:
            self._sliced(node, arguments[0])
        elif target is nn.functional.pad:
            self._padded(node, arguments, named)
        else:
            raise _UnknownError(str(target))

    def _sliced(self, node: Node, index: Any) -> None:
        """x[:, :, ::s, ::s]."""
        everything = slice(None, None, None)
        if not isinstance(index, tuple) or len(index) not in (3, 4) or index[:2] != (everything, everything):
            raise _UnknownError("another slice")
        if self._sides[self._place(node)] != len(index) - 2:
            raise _UnknownError("a slice of other dimensions")
        strides = []
        for one in index[2:]:
            if not isinstance(one, slice) or one.start is not None or one.stop is not None:
                raise _UnknownError("another slice")
            strides.append(1 if one.step is None else one.step)
        if not all(isinstance(stride, int) and stride > 0 for stride in strides):
            raise _UnknownError("another slice")
        made = layers.Subsample(self.members, tuple(strides), (0, 0))
        self._at[node] = self._add(made, self._images(self._place(node)), channels=True)

    def _padded(self, node: Node, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Channels of zeros: ``pad(x, (0, 0, 0, 0, before, after))``."""
        if len(arguments) != 1 or named.get("mode", "constant") != "constant" or named.get("value"):
            raise _UnknownError("another padding")
        widths = arguments[0]
        if len(widths) not in (4, 6) or any(widths[:-2]) or not all(isinstance(w, int) and w >= 0 for w in widths):
            raise _UnknownError("another padding")
        if self._sides[self._place(node)] != len(widths) // 2 - 1:
            raise _UnknownError("a padding of other dimensions")
        made = layers.Subsample(self.members, (1,) * (len(widths) // 2 - 1), (widths[-2], widths[-1]))
        self._at[node] = self._add(made, self._images(self._place(node)), channels=True)


def _same(h: Tensor) -> Tensor:
    return h


def _to_channels(h: Tensor) -> Tensor:
    """(K, N, C, ...) -> (N, K C, ...)."""
    return h.transpose(0, 1).flatten(1, 2)
