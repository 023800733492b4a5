"""Rewrites of a module's graph that save work where the module is evaluated at many weight vectors."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode

from thalweg.landscape.layers import First, Folded, Narrow, Unfolded

_WORTH = 32
"""The fewest inputs to each output of a first layer for which the sum in its place costs less."""

_NARROW = 12
"""Up to this many outputs of a linear layer W x' is faster than x W' (by 2 on 1797 examples of 128 numbers)."""


@dataclass(frozen=True)
class Rewritten:
    """What took the first layer's place: a sum over its outputs at spanning vectors, or a product with patches."""

    place: nn.Module | None = None
    """The module that is called with the inputs."""
    first: First | None = None
    unfolded: Unfolded | None = None


def rewrite(graph: fx.Graph, module: nn.Module, steady: bool) -> Rewritten:
    """Replace layers of a traced module by faster ones of equal outputs. The graph still names all layers.

    ``First`` and ``Unfolded`` compute what their layer computes until they are given outputs or inputs.

    Args:
        steady: whether batch norm's running statistics never change.
    """
    rectify_in_place(graph, module)
    name = first_layer(graph, module)
    layer = None if name is None else module.get_submodule(name)
    sums = layer is not None and layer.weight[0].numel() >= _WORTH  # type: ignore[index]
    fold_batch_norm(graph, module, name if sums else None, steady)
    found = Rewritten()
    if name is not None and sums:
        first = First(module.get_submodule(name))
        module.set_submodule(name, first)
        found = Rewritten(first, first=first)
    elif name is not None and isinstance(layer, nn.Conv2d) and _unfolds(layer):
        unfolded, place = Unfolded(layer), module.get_submodule(name)
        if isinstance(place, Folded):
            place.layer = unfolded
        else:
            place = unfolded
            module.set_submodule(name, place)
        found = Rewritten(place, unfolded=unfolded)
    multiply_from_the_left(graph, module)
    return found


def _unfolds(layer: nn.Conv2d) -> bool:
    """Whether the patches of a convolution's inputs take at most twice as much memory as its outputs."""
    padded = layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return layer.groups == 1 and padded and layer.weight[0].numel() <= 2 * layer.out_channels


class _Tracer(fx.Tracer):
    """Notes whether a forward pass switches autocast, which a graph does not record."""

    def __init__(self) -> None:
        super().__init__()
        self.outside = _autocast()
        self.switches = False

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        self.switches |= _autocast() != self.outside
        return super().create_node(*args, **kwargs)


class _Computed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes whether a function computes with tensors. In a trace the results become constants of the graph."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen = True
        return func(*args, **(kwargs or {}))


def traced(module: nn.Module) -> tuple[fx.Graph | None, bool]:
    """The graph of the module's forward pass, and whether running the graph can replace the pass.

    The graph is None where the pass branches on data or switches autocast. Running the graph gives other outputs where
    the pass computes with weights that the graph does not know.
    """
    graph = _chain(module)
    if graph is not None:
        return graph, True
    tracer = _Tracer()
    try:
        with _Computed() as computed:
            graph = tracer.trace(module)
    except Exception:  # a forward pass may fail in any way on a proxy for its input
        return None, False
    return (None, False) if tracer.switches else (graph, not computed.seen)


def unhooked(layer: nn.Module) -> bool:
    """Whether a layer is of torch's own class and has no hooks, so that its ``forward`` is its call."""
    hooks = layer._forward_hooks or layer._forward_pre_hooks
    return not hooks and type(layer).__module__.startswith("torch.nn.modules.")


def _autocast() -> tuple[bool, ...]:
    return tuple(torch.is_autocast_enabled(device) for device in ("cpu", "cuda"))


def _chain(module: nn.Module) -> fx.Graph | None:
    """The graph of an ``nn.Sequential`` of torch's own layers, twenty times as fast as tracing; None of others."""
    names: list[str] = []

    def walk(part: nn.Module, name: str) -> bool:
        if type(part) is nn.Sequential and unhooked(part):
            return all(walk(child, f"{name}.{key}".lstrip(".")) for key, child in part._modules.items() if child)
        names.append(name)
        return bool(name) and unhooked(part) and not part._modules

    if not walk(module, ""):
        return None
    graph = fx.Graph()
    node = graph.placeholder("x")
    for name in names:
        node = graph.call_module(name, (node,))
    graph.output(node)
    return graph


def multiply_from_the_left(graph: fx.Graph, module: nn.Module) -> None:
    """Replace linear layers with few outputs by ``Narrow``."""
    for name in {str(node.target) for node in graph.nodes if node.op == "call_module"}:
        layer = module.get_submodule(name)
        if isinstance(layer, nn.Linear) and layer.out_features <= _NARROW and _plain(graph, name, layer):
            module.set_submodule(name, Narrow(layer))


def _plain(graph: fx.Graph, name: str, layer: nn.Module) -> bool:
    """Whether a layer is of torch's own class, without hooks, parametrizations or other uses of its weights."""
    own = type(layer).__module__.startswith("torch.nn.modules.")
    hooked = any((layer._forward_hooks, layer._forward_pre_hooks, layer._buffers, list(layer.children())))
    read = any(node.op == "get_attr" and str(node.target).startswith(f"{name}.") for node in graph.nodes)
    return own and not hooked and not read and set(layer._parameters) == {"weight", "bias"}


def takes_channels_last(graph: fx.Graph, module: nn.Module) -> bool:
    """Whether a module has convolutions of images, and no view that needs the usual memory order."""
    views = any(node.op == "call_method" and node.target == "view" for node in graph.nodes)
    return not views and any(isinstance(layer, nn.Conv2d) for layer in module.modules())


def _once(graph: fx.Graph, node: fx.Node) -> bool:
    """Whether the module of a node is called by this node only."""
    return node.op == "call_module" and sum(other.target == node.target for other in graph.nodes) == 1


def first_layer(graph: fx.Graph, module: nn.Module) -> str | None:
    """The name of the linear layer or convolution that takes the inputs; None if another layer takes them."""
    for node in graph.nodes:
        if node.op != "call_module":
            continue
        layer = module.get_submodule(str(node.target))
        if isinstance(layer, nn.Flatten | nn.Identity):
            continue
        name = str(node.target)
        affine = isinstance(layer, nn.Linear | _ConvNd) and _plain(graph, name, layer)
        return name if affine and _once(graph, node) and _is_input(node.args[0], module) else None
    return None


def _is_input(node: object, module: nn.Module) -> bool:
    """Whether a node is the module's inputs, perhaps in another shape."""
    if not isinstance(node, fx.Node):
        return False
    if node.op == "call_module" and isinstance(module.get_submodule(str(node.target)), nn.Flatten | nn.Identity):
        return _is_input(node.args[0], module)
    if node.op == "call_method" and node.target in ("flatten", "view", "reshape"):
        return _is_input(node.args[0], module)
    return node.op == "placeholder"


def fold_batch_norm(graph: fx.Graph, module: nn.Module, but: str | None, steady: bool) -> None:
    """Fold each batch norm with fixed statistics into the layer before it."""
    for node in graph.nodes:
        before = node.args[0] if node.args else None
        if not (isinstance(before, fx.Node) and before.target != but and _once(graph, node) and _once(graph, before)):
            continue
        norm, layer = (module.get_submodule(str(one.target)) for one in (node, before))
        plain = isinstance(layer, nn.Linear | _ConvNd) and not getattr(layer, "transposed", False)
        plain = plain and _plain(graph, str(before.target), layer)
        fixed = isinstance(norm, _BatchNorm) and not norm.training and norm.running_mean is not None
        fixed = fixed and not norm._forward_hooks and not norm._forward_pre_hooks
        if plain and fixed and len(before.users) == 1:
            module.set_submodule(str(before.target), Folded(layer, norm, steady))  # type: ignore[arg-type]
            module.set_submodule(str(node.target), nn.Identity())


def rectify_in_place(graph: fx.Graph, module: nn.Module) -> None:
    """Make each ReLU work in place whose input is a fresh tensor that no other node reads."""
    for node in graph.nodes:
        before = node.args[0] if node.args else None
        if not (isinstance(before, fx.Node) and _once(graph, node) and len(before.users) == 1):
            continue
        relu = module.get_submodule(str(node.target))
        if before.op == "call_module":
            maker = module.get_submodule(str(before.target))
            made = isinstance(maker, nn.Linear | _ConvNd | _BatchNorm) and not maker._forward_hooks
        else:
            made = before.op == "call_function" and before.target in (operator.add, torch.add)
        if isinstance(relu, nn.ReLU) and made and not relu._forward_hooks and not relu._forward_pre_hooks:
            relu.inplace = True
