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
    """One covered layer: a matrix W (out, in) with its bias as a last column, where it has one.

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
        """Where its parameters are among the objective's."""
        self.shapes: list[torch.Size] = [parameter.shape for parameter in owned]

    def inputs(self, x: Tensor) -> Tensor:
        """One row for each example and location: (N L, in), with a one appended for the bias."""
        x = x.to(self.module.weight.dtype)  # in mixed precision it may have come in another
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
        """One row for each example and location: (N L, out)."""
        g = g.to(self.module.weight.dtype)
        if not isinstance(self.module, nn.Linear):
            g = g.flatten(2).transpose(1, 2)
        return g.reshape(-1, g.shape[-1])

    def matrix(self, tensors: Sequence[Tensor]) -> Tensor:
        """Its parameters' tensors (gradients, say), picked from the objective's, as one matrix (out, in + bias)."""
        weight = tensors[self.places[0]].flatten(1)
        return torch.cat([weight, tensors[self.places[1]].unsqueeze(1)], 1) if self.has_bias else weight

    def split(self, matrix: Tensor) -> list[Tensor]:
        """A matrix of that shape back into tensors shaped as its parameters."""
        weight = matrix[:, :-1] if self.has_bias else matrix
        if weight.shape != self.shapes[0]:
            weight = weight.reshape(self.shapes[0])
        return [weight, matrix[:, -1]] if self.has_bias else [weight]


def covered_layers(module: nn.Module) -> list[Layer]:
    """Every Linear and convolution that K-FAC can factor, in the module's order.

    Left out are subclasses that compute something else, grouped convolutions, other paddings than zeros, and frozen
    and complex weights.

    Raises:
        UserError: there is none; or a layer's weight is used in two places, or computed from other parameters (as by
            pruning): the gradient of what is trained is then no product of one a and g.
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
                    f"kfac: {name}.{key} is computed from other parameters (by pruning, say), which its factors do not "
                    "cover: remove what computes it, or take another optimizer"
                )
        for key, parameter in layer.named_parameters(recurse=False):
            if owners[id(parameter)] > 1:
                raise UserError(f"kfac: {name}.{key} is tied to another layer's, which its factors do not cover")
        layers.append(Layer(name, layer, parameters))
    if not layers:
        raise UserError("kfac: the network has no Linear or convolution layer that it covers")
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
    """What one forward pass of the module put into its covered layers, and where to find the gradients of outputs."""

    def __init__(self) -> None:
        self.inputs: dict[str, Tensor] = {}
        """The factor A of each layer: the mean of a a' over examples and locations."""
        self.edges: dict[str, GradientEdge] = {}

    def output_factors(self, layers: Sequence[Layer], outputs: Tensor, output_gradients: Tensor) -> dict[str, Tensor]:
        """The factor G of each layer: sum over examples and locations of g g', divided by the number of examples.

        g is the gradient in the layer's output of one example's loss, whose gradient in the network's outputs (N, ...)
        is given.
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
    """While active, forward passes of the layers are recorded.

    Raises:
        UserError: a layer is used twice in one pass.
    """
    record = Recording()

    def hook(layer: Layer) -> Any:
        def after(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if layer.name in record.edges:
                raise UserError(f"kfac: layer {layer.name!r} is used twice in a pass, which its factors do not cover")
            with torch.no_grad(), torch.autocast(output.device.type, enabled=False):
                rows = layer.inputs(args[0])
                record.inputs[layer.name] = second_moment(rows, len(rows))
            # the edge and not the tensor, which a later module may overwrite in place
            record.edges[layer.name] = get_gradient_edge(output)

        return after

    handles = [layer.module.register_forward_hook(hook(layer)) for layer in layers]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()
