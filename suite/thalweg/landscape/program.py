"""A copy of a module, rewritten for fast evaluation at many weight vectors on fixed inputs."""

from __future__ import annotations

import operator

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call, vmap
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from thalweg.contracts.real import real_count, shaped
from thalweg.landscape.points import running_statistics

_WORTH = 32
"""The fewest inputs to each output of a first layer for which the sum in its place costs less."""

_NARROW = 12
"""Up to this many outputs of a linear layer W x' is faster than x W' (by 2 on 1797 examples of 128 numbers)."""


class Program:
    """The outputs of a module at weight vectors, for fixed inputs.

    Values that do not change from point to point are computed once, and passes over the activations are saved:

    - on a line or a plane the first layer is affine in the point, so it is evaluated at the spanning vectors alone:
      X (sum_j c_j W_j) = sum_j c_j (X W_j);
    - batch norm with fixed statistics is folded into the convolution or linear layer before it;
    - a ReLU works in place if no other node reads its input;
    - images are stored with channels last, for which convolutions and pooling on a CPU are faster;
    - a linear layer with few outputs multiplies from the left, where matrix products are faster that way.

    Args:
        module: a copy, which is modified, in the mode for evaluation.
        with_statistics: whether points hold batch norm's running statistics after the parameters.
        optimized: whether to save work; the outputs then agree up to rounding.
    """

    def __init__(self, module: nn.Module, with_statistics: bool = False, optimized: bool = True) -> None:
        self.module = module
        targets: list[Tensor] = [*self.module.parameters()]
        if with_statistics:
            targets += running_statistics(self.module)
        self._sizes = [real_count(target) for target in targets]
        self.size = sum(self._sizes)
        self._first: _First | None = None
        graph = _traced(self.module) if optimized else None
        if graph is not None:
            _rectify_in_place(graph, self.module)
            first = _first_layer(graph, self.module)
            _fold_batch_norm(graph, self.module, but=first)
            if first is not None:
                self._first = _First(self.module.get_submodule(first))
                self.module.set_submodule(first, self._first)
            _multiply_from_the_left(graph, self.module)
        last = graph is not None and _takes_channels_last(graph, self.module)
        self._format = torch.channels_last if last else torch.contiguous_format
        self.module.to(memory_format=self._format)  # type: ignore[call-overload]
        names = {id(t): name for name, t in [*self.module.named_parameters(), *self.module.named_buffers()]}
        self._targets = {names[id(target)]: target for target in targets}
        self._inputs = torch.empty(0)
        self._flat: Tensor | None = None
        alike = len({target.dtype for target in targets}) == 1 and not targets[0].is_complex()
        if alike and all(target.is_contiguous() for target in targets):
            # all parameters are views of one vector, so that one copy writes a point
            self._flat = torch.cat([target.detach().reshape(-1) for target in targets])
            for target, piece in zip(targets, self._pieces(self._flat), strict=True):
                target.data = piece

    def prepare(self, inputs: Tensor, vectors: Tensor | None, busiest: int = 0) -> None:
        """Fix the inputs, and the vectors (m, P) that span the points.

        Args:
            inputs: shape (N, ...).
            vectors: None for points without a span.
            busiest: the number of the vector whose coordinate changes most often from point to point.
        """
        self._inputs = inputs.to(memory_format=self._format) if inputs.dim() == 4 else inputs
        if self._first is not None:
            self._first.outputs = None
            if vectors is not None:
                self._first.begin(self._outputs_of_first(self._first, vectors), busiest)

    def _outputs_of_first(self, first: _First, vectors: Tensor) -> Tensor:
        """The first layer's outputs at each vector: shape (m, N, ...)."""
        seen: list[Tensor] = []
        with first.layer.register_forward_pre_hook(lambda _, args: seen.append(args[0])):
            self.module(self._inputs)
        own = {id(target): name for name, target in first.layer.named_parameters()}
        outputs = []
        for vector in vectors:
            pieces = zip(self._targets.values(), self._pieces(vector), strict=True)
            state = {own[id(target)]: piece for target, piece in pieces if id(target) in own}
            outputs.append(functional_call(first.layer, state, seen[0]))
        return torch.stack(outputs)

    def at(self, point: Tensor, coordinates: tuple[float, ...]) -> Tensor:
        """The outputs (N, ...) at a point (P,). With ``vectors``, the point's m coordinates are needed too."""
        self.put(point)
        if self._first is not None:
            self._first.coordinates = coordinates
        outputs: Tensor = self.module(self._inputs)
        return outputs

    def put(self, point: Tensor) -> None:
        """Write a point (P,) into the module."""
        if self._flat is not None:
            self._flat.copy_(point)
        else:
            torch._foreach_copy_([*self._targets.values()], self._pieces(point))

    def at_all(self, points: Tensor, coordinates: Tensor | None) -> Tensor:
        """The outputs (K, N, ...) at points (K, P) with coordinates (K, m), in one pass."""
        parts = torch.split(points, self._sizes, 1)
        state = {name: shaped(part, target) for (name, target), part in zip(self._targets.items(), parts, strict=True)}

        def one(state: dict[str, Tensor], coordinates: Tensor | None) -> Tensor:
            if self._first is not None and coordinates is not None:
                self._first.coordinates = coordinates
            outputs: Tensor = functional_call(self.module, state, self._inputs)
            return outputs

        outputs: Tensor = vmap(one, (0, None if coordinates is None else 0))(state, coordinates)
        return outputs

    def _pieces(self, vector: Tensor) -> list[Tensor]:
        parts = torch.split(vector, self._sizes)
        return [shaped(part, target) for part, target in zip(parts, self._targets.values(), strict=True)]


class _First(nn.Module):
    """A first layer, or in its place the sum over j of c_j F_j, with the layer's outputs F_j at m spanning vectors."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.outputs: Tensor | None = None
        self.coordinates: Tensor | tuple[float, ...] = ()

    def begin(self, outputs: Tensor, busiest: int) -> None:
        """Use the outputs F (m, N, ...) from now on."""
        self.outputs, self._busiest = outputs, busiest
        self._others: tuple[float, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        if self.outputs is None:
            out: Tensor = self.layer(x)
            return out
        if isinstance(self.coordinates, Tensor):
            return (self.coordinates @ self.outputs.flatten(1)).view(self.outputs.shape[1:])
        c, j = self.coordinates, self._busiest
        if self._others != c[:j] + c[j + 1 :]:
            # on a plane this sum is valid for a whole row
            self._others = c[:j] + c[j + 1 :]
            quiet = [i for i in range(len(c)) if i != j]
            self._base = sum((c[i] * self.outputs[i] for i in quiet[1:]), c[quiet[0]] * self.outputs[quiet[0]])
        return torch.add(self._base, self.outputs[j], alpha=c[j])


class _Narrow(nn.Module):
    """A linear layer that computes (W x')' for inputs in rows."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 2:
            out: Tensor = self.layer(x)
            return out
        product = self.layer.weight @ x.T
        return (product if self.layer.bias is None else product + self.layer.bias[:, None]).T.contiguous()


class _Folded(nn.Module):
    """A convolution or linear layer and the batch norm after it, as one layer: s W x + (s (b - mean) + beta)."""

    def __init__(self, layer: _ConvNd | nn.Linear, norm: _BatchNorm) -> None:
        super().__init__()
        self.layer, self.norm = layer, norm

    def forward(self, x: Tensor) -> Tensor:
        layer, norm = self.layer, self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        if isinstance(layer, nn.Linear) and x.dim() > 2:
            # on sequences, batch norm after a linear layer normalises positions instead of the layer's outputs
            out: Tensor = norm(layer(x))
            return out
        scale = torch.rsqrt(norm.running_var + norm.eps)
        if norm.affine:
            scale = scale * norm.weight
        shift = -norm.running_mean if layer.bias is None else layer.bias - norm.running_mean
        bias = scale * shift + norm.bias if norm.affine else scale * shift
        weight = layer.weight * scale.view(-1, *[1] * (layer.weight.dim() - 1))
        if isinstance(layer, nn.Linear):
            return functional.linear(x, weight, bias)
        return layer._conv_forward(x, weight, bias)


def _multiply_from_the_left(graph: fx.Graph, module: nn.Module) -> None:
    """Replace linear layers with few outputs by ``_Narrow``."""
    for name in {str(node.target) for node in graph.nodes if node.op == "call_module"}:
        layer = module.get_submodule(name)
        if isinstance(layer, nn.Linear) and layer.out_features <= _NARROW and _plain(graph, name, layer):
            module.set_submodule(name, _Narrow(layer))


def _plain(graph: fx.Graph, name: str, layer: nn.Module) -> bool:
    """Whether a layer is of torch's own class, without hooks, parametrizations or other uses of its weights."""
    own = type(layer).__module__.startswith("torch.nn.modules.")
    hooked = any((layer._forward_hooks, layer._forward_pre_hooks, layer._buffers, list(layer.children())))
    read = any(node.op == "get_attr" and str(node.target).startswith(f"{name}.") for node in graph.nodes)
    return own and not hooked and not read and set(layer._parameters) == {"weight", "bias"}


def _traced(module: nn.Module) -> fx.Graph | None:
    """The graph of the module's forward pass; None where the pass branches on data."""
    try:
        return fx.Tracer().trace(module)
    except Exception:  # a forward pass may fail in any way on a proxy for its input
        return None


def _takes_channels_last(graph: fx.Graph, module: nn.Module) -> bool:
    """Whether a module has convolutions of images, and no view that needs the usual memory order."""
    views = any(node.op == "call_method" and node.target == "view" for node in graph.nodes)
    return not views and any(isinstance(layer, nn.Conv2d) for layer in module.modules())


def _once(graph: fx.Graph, node: fx.Node) -> bool:
    """Whether the module of a node is called by this node only."""
    return node.op == "call_module" and sum(other.target == node.target for other in graph.nodes) == 1


def _first_layer(graph: fx.Graph, module: nn.Module) -> str | None:
    """The name of the linear layer or convolution that takes the inputs; None where replacing it does not pay."""
    for node in graph.nodes:
        if node.op != "call_module":
            continue
        layer = module.get_submodule(str(node.target))
        if isinstance(layer, nn.Flatten | nn.Identity):
            continue
        name = str(node.target)
        affine = isinstance(layer, nn.Linear | _ConvNd) and _plain(graph, name, layer)
        worth = affine and layer.weight[0].numel() >= _WORTH  # type: ignore[index]
        return name if worth and _once(graph, node) and _is_input(node.args[0], module) else None
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


def _fold_batch_norm(graph: fx.Graph, module: nn.Module, but: str | None) -> None:
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
            module.set_submodule(str(before.target), _Folded(layer, norm))  # type: ignore[arg-type]
            module.set_submodule(str(node.target), nn.Identity())


def _rectify_in_place(graph: fx.Graph, module: nn.Module) -> None:
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
