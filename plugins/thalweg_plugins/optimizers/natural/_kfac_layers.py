"""The layers that K-FAC covers: their inputs and output gradients, and the two factors made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional

from thalweg.errors import UserError

COVERED = (nn.Linear, nn.Conv1d, nn.Conv2d)


class Layer:
    """One covered layer: its matrix W (out, in), with the bias as last column where the layer has a bias.

    A convolution's W is its kernel flattened to (out, channels * kernel), applied to patches at L locations.
    """

    def __init__(self, name: str, module: nn.Module, parameters: Sequence[nn.Parameter]) -> None:
        self.name = name
        self.module: Any = module
        place = {id(parameter): index for index, parameter in enumerate(parameters)}
        bias = self.module.bias
        self.has_bias = bias is not None and id(bias) in place
        owned: list[Any] = [module.weight, bias] if self.has_bias else [module.weight]
        self.places = [place[id(parameter)] for parameter in owned]
        """The positions of the layer's parameters among the objective's parameters."""
        self.shapes: list[torch.Size] = [parameter.shape for parameter in owned]

    def inputs(self, x: Tensor) -> Tensor:
        """The layer's inputs, one row for each example and location: (N L, in), with a one appended for the bias."""
        x = x.to(self.module.weight.dtype)  # mixed precision may give another dtype
        if not isinstance(self.module, nn.Linear):
            one_dimensional = isinstance(self.module, nn.Conv1d)
            settings = [self.module.dilation, self.module.padding, self.module.stride]
            kernel = self.module.kernel_size
            if one_dimensional:
                x, kernel = x.unsqueeze(-2), (1, *kernel)
                settings = [(neutral, *value) for neutral, value in zip((1, 0, 1), settings, strict=True)]
            x = functional.unfold(x, kernel, *settings).transpose(1, 2)
        rows = x.reshape(-1, x.shape[-1])
        return functional.pad(rows, (0, 1), value=1.0) if self.has_bias else rows

    def output_gradients(self, g: Tensor) -> Tensor:
        """The gradients in the layer's outputs, one row for each example and location: (N L, out)."""
        g = g.to(self.module.weight.dtype)
        if not isinstance(self.module, nn.Linear):
            g = g.flatten(2).transpose(1, 2)
        return g.reshape(-1, g.shape[-1])

    def matrix(self, tensors: Sequence[Tensor]) -> Tensor:
        """The layer's tensors as a matrix (out, in + bias); ``tensors`` has one for each parameter of the objective."""
        weight = tensors[self.places[0]].flatten(1)
        return torch.cat([weight, tensors[self.places[1]].unsqueeze(1)], 1) if self.has_bias else weight

    def split(self, matrix: Tensor) -> list[Tensor]:
        """A matrix (out, in + bias) as tensors in the shapes of the layer's parameters."""
        weight = matrix[:, :-1] if self.has_bias else matrix
        if weight.shape != self.shapes[0]:
            weight = weight.reshape(self.shapes[0])
        return [weight, matrix[:, -1]] if self.has_bias else [weight]


def covered_layers(module: nn.Module) -> list[Layer]:
    """Every Linear and convolution that K-FAC can factor, in the module's order.

    K-FAC leaves out subclasses that compute something else, grouped convolutions, paddings other than zeros, and frozen
    and complex weights.

    Raises:
        UserError: the module has no such layer; or two layers share a weight; or a weight is computed from other
            parameters, as by pruning. The gradient of a shared or computed weight is no product of one a and one g.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    owners = Counter(id(p) for _, m in module.named_modules(remove_duplicate=False) for p in m._parameters.values())
    layers = []
    for name, layer in module.named_modules():
        if type(layer) not in COVERED or not _can_be_factored(layer):
            continue
        for key in ("weight", "bias"):
            value = getattr(layer, key)
            if value is not None and key not in layer._parameters and value.requires_grad:
                raise UserError(
                    f"kfac: {name}.{key} is computed from other parameters, as by pruning; K-FAC does not cover "
                    "such weights: remove the computation, or use another optimizer"
                )
        for key, parameter in layer.named_parameters(recurse=False):
            if owners[id(parameter)] > 1:
                raise UserError(f"kfac: {name}.{key} is shared with another layer; K-FAC does not cover tied weights")
        layers.append(Layer(name, layer, parameters))
    if not layers:
        raise UserError("kfac: the network has no Linear or convolution layer that K-FAC covers")
    return layers


def _can_be_factored(layer: Any) -> bool:
    if not layer.weight.requires_grad or layer.weight.is_complex():
        return False
    if isinstance(layer, nn.Linear):
        return True
    return bool(layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str))


def second_moment(rows: Tensor, count: int) -> Tensor:
    """The sum of x x' over the rows of (M, d), divided by ``count``: (d, d)."""
    return torch.addmm(rows.new_empty(1), rows.T, rows, beta=0, alpha=1 / count)


class Recording:
    """The covered layers' inputs in one forward pass, and the edges at which their outputs' gradients arrive."""

    def __init__(self) -> None:
        self.inputs: dict[str, Tensor] = {}
        """The factor A of each layer: the mean of a a' over examples and locations."""
        self.edges: dict[str, GradientEdge] = {}

    def output_factors(self, layers: Sequence[Layer], outputs: Tensor, output_gradients: Tensor) -> dict[str, Tensor]:
        """The factor G of each layer: the sum of g g' over examples and locations, divided by the number of examples.

        g is the gradient of one example's loss in the layer's output. ``output_gradients`` (N, ...) are the gradients
        of the examples' losses in the network's outputs.
        """
        seen = [layer for layer in layers if layer.name in self.edges]
        edges = [self.edges[layer.name] for layer in seen]
        if not edges:
            return {}
        found = torch.autograd.grad(outputs, edges, output_gradients, retain_graph=True, allow_unused=True)
        factors = {}
        for layer, gradient in zip(seen, found, strict=True):
            if gradient is not None:
                g = layer.output_gradients(gradient)
                factors[layer.name] = second_moment(g, len(outputs))
        return factors


@contextmanager
def recording(layers: Sequence[Layer]) -> Iterator[Recording]:
    """Record the layers' forward pass inside the context.

    Raises:
        UserError: a layer is used twice in one pass.
    """
    record = Recording()

    def hook(layer: Layer) -> Any:
        def after(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if layer.name in record.edges:
                raise UserError(f"kfac: layer {layer.name!r} is used twice in a pass, which K-FAC does not cover")
            with torch.no_grad(), torch.autocast(output.device.type, enabled=False):
                rows = layer.inputs(args[0])
                record.inputs[layer.name] = second_moment(rows, len(rows))
            # the edge, since a later module may overwrite the tensor in place
            record.edges[layer.name] = get_gradient_edge(output)

        return after

    handles = [layer.module.register_forward_hook(hook(layer)) for layer in layers]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()
