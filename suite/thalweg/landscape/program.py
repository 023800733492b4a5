"""A copy of a module, prepared for evaluation at many weight vectors on fixed inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn import functional
from torch.nn.modules.conv import _ConvNd

from thalweg.contracts.calls import called_with
from thalweg.contracts.real import real_count, shaped
from thalweg.landscape.layers import Combination, First
from thalweg.landscape.points import running_statistics
from thalweg.landscape.rewrite import Rewritten, rewrite, takes_channels_last, traced
from thalweg.landscape.straight import Straight


class Program:
    """The outputs of a module at weight vectors, for fixed inputs.

    ``save_work`` computes once what does not change from point to point, and saves passes over the activations:

    - on a line or a plane the first layer is affine in the point, so it is evaluated at the spanning vectors alone:
      X (sum_j c_j W_j) = sum_j c_j (X W_j);
    - the weights of a row of a plane have a sum in common, which is computed once for the row;
    - batch norm with fixed statistics is folded into the convolution or linear layer before it;
    - a ReLU works in place if no other node reads its input, and comes after the max-pooling that follows it;
    - images are stored with channels last, for which convolutions and pooling on a CPU are faster;
    - a linear layer with few outputs multiplies from the left, where matrix products are faster that way;
    - no module is called where the graph of the forward pass says which functions the module calls.

    Args:
        module: a copy, which is modified, in the mode for evaluation.
        with_statistics: whether points hold batch norm's running statistics after the parameters.
    """

    def __init__(self, module: nn.Module, with_statistics: bool = False) -> None:
        self.module, self._with_statistics = module, with_statistics
        self._run: Callable[[Tensor], Tensor] = module
        targets: list[Tensor] = [*module.parameters()]
        if with_statistics:
            targets += running_statistics(module)
        self._list = targets
        self._sizes = [real_count(target) for target in targets]
        self.size = sum(self._sizes)
        self._inputs = torch.empty(0)
        self._format = torch.contiguous_format
        self._flat: Tensor | None = None
        self._in_order = True
        self._weights: Combination | None = None
        self.saves_work = False
        self.first: First | None = None
        self._rewritten = Rewritten()

    def save_work(self) -> None:
        """Rewrite the module. The outputs then agree with the former outputs up to rounding."""
        self.saves_work = True
        graph, complete = traced(self.module)
        if graph is not None:
            self._rewritten = rewrite(graph, self.module, steady=not self._with_statistics)
            self.first = self._rewritten.first
            if takes_channels_last(graph, self.module):
                self._format = torch.channels_last
                self.module.to(memory_format=self._format)  # type: ignore[call-overload]
        self._flat = self._one_vector()
        self._in_order = all(target.is_contiguous() for target in self._list)
        if graph is not None and complete:
            self._run = Straight(graph, self.module)

    def _one_vector(self) -> Tensor | None:
        """One vector that all targets become views of, so that one sum writes a point; None where views do not fit.

        The numbers of each target keep their order in memory.
        """
        alike = len({target.dtype for target in self._list}) == 1 and not self._list[0].is_complex()
        if not alike or not all(target.is_contiguous() or _channels_last(target) for target in self._list):
            return None
        vector = torch.empty(self.size, dtype=self._list[0].dtype, device=self._list[0].device)
        for target, view in zip(self._list, self._views(vector), strict=True):
            view.copy_(target.detach())
            target.data = view
        return vector

    def _views(self, vector: Tensor) -> list[Tensor]:
        """The parts of a vector in the shapes of the targets and in their order in memory."""
        return [
            part.view(target.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
            if not target.is_contiguous()
            else part.view(target.shape)
            for part, target in zip(torch.split(vector, self._sizes), self._list, strict=True)
        ]

    def prepare(self, inputs: Tensor, vectors: Tensor | None) -> None:
        """Fix the inputs, and the vectors (m, P) that span the points.

        Args:
            inputs: shape (N, ...).
            vectors: None for points without a span.
        """
        self._inputs = inputs.to(memory_format=self._format) if inputs.dim() == 4 else inputs
        self._weights = None
        if self._rewritten.unfolded is not None:
            self._rewritten.unfolded.begin(self._inputs_of_first())
        if self.first is not None:
            self.first.outputs = None
            if vectors is not None:
                self.first.begin(self._outputs_of_first(self.first, vectors))
        if vectors is not None and self._flat is not None:
            unread = self._unread()
            self._weights = Combination(self._in_memory_order(vectors)[:, unread:], self._flat[unread:])

    def turn(self, busiest: int) -> None:
        """Say which vector's coordinate changes most often from one point to the next."""
        if self._weights is not None:
            self._weights.turn(busiest)
        if self.first is not None and self.first.outputs is not None:
            self.first.sum.turn(busiest)

    def _unread(self) -> int:
        """How many numbers at the beginning of a point belong to the first layer, whose weights are not read."""
        if self.first is None or self.first.outputs is None:
            return 0
        # a parameter that a later layer shares is read there
        uses = Counter(id(p) for part in self.module.modules() for p in part._parameters.values() if p is not None)
        own = {id(parameter) for parameter in self.first.parameters() if uses[id(parameter)] == 1}
        size = 0
        for target, numbers in zip(self._list, self._sizes, strict=True):
            if id(target) not in own:
                break
            size += numbers
        return size

    def _in_memory_order(self, vectors: Tensor) -> Tensor:
        """Vectors (m, P) with their numbers in the order in which the targets keep them."""
        if self._in_order:
            return vectors
        ordered = torch.empty_like(vectors)
        for row, vector in zip(ordered, vectors, strict=True):
            for view, piece in zip(self._views(row), self._pieces(vector), strict=True):
                view.copy_(piece)
        return ordered

    def _inputs_of_first(self) -> Tensor:
        """What the first layer is given: the inputs, perhaps in another shape."""
        seen: list[Tensor] = []

        def stop(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            seen.append(args[0])
            raise _ReachedError

        assert self._rewritten.place is not None
        with self._rewritten.place.register_forward_pre_hook(stop), suppress(_ReachedError):
            self.module(self._inputs)
        return seen[0]

    def _outputs_of_first(self, first: First, vectors: Tensor) -> Tensor:
        """The first layer's outputs at each vector: shape (m, N, ...)."""
        inputs, layer = self._inputs_of_first(), first.layer
        own = [next(i for i, target in enumerate(self._list) if target is weight) for weight in layer.parameters()]
        parts = torch.split(vectors, self._sizes, 1)
        states = zip(*[parts[i].reshape(len(vectors), *self._list[i].shape) for i in own], strict=True)
        return torch.stack([_affine(layer, inputs, *state) for state in states])

    def at(self, point: Tensor) -> Tensor:
        """The outputs (N, ...) at a point (P,), for points without a span."""
        self.put(point)
        return self._run(self._inputs)

    def along(self, coordinates: tuple[float, ...], point: Callable[[], Tensor]) -> Tensor:
        """The outputs (N, ...) at m coordinates, which may lie in a tensor that the next call overwrites.

        Args:
            point: computes the point (P,), for modules whose parameters are no views of one vector.
        """
        if self._weights is not None:
            self._weights(coordinates)
        else:
            self.put(point())
        if self.first is not None:
            self.first.at[0] = coordinates
        return self._run(self._inputs)

    def put(self, point: Tensor) -> None:
        """Write a point (P,) into the module."""
        if self._flat is not None and self._in_order:
            self._flat.copy_(point)
        else:
            torch._foreach_copy_(self._list, self._pieces(point))

    def at_all(self, points: Tensor, coordinates: Tensor | None) -> Tensor:
        """The outputs (K, N, ...) at points (K, P) with coordinates (K, m), in one pass."""
        names = {id(t): name for name, t in [*self.module.named_parameters(), *self.module.named_buffers()]}
        parts = torch.split(points, self._sizes, 1)
        state = {names[id(target)]: shaped(part, target) for target, part in zip(self._list, parts, strict=True)}

        def one(state: dict[str, Tensor], coordinates: Tensor | None) -> Tensor:
            if self.first is not None and coordinates is not None:
                self.first.at[0] = coordinates
            outputs: Tensor = called_with(self.module, state, self._inputs)
            return outputs

        outputs: Tensor = vmap(one, (0, None if coordinates is None else 0))(state, coordinates)
        return outputs

    def _pieces(self, vector: Tensor) -> list[Tensor]:
        parts = torch.split(vector, self._sizes)
        return [shaped(part, target) for part, target in zip(parts, self._list, strict=True)]


class _ReachedError(Exception):
    """The first layer was reached, so the rest of the forward pass can be left out."""


def _affine(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The outputs of a linear layer or a convolution with other weights."""
    if isinstance(layer, _ConvNd):
        out: Tensor = layer._conv_forward(x, weight, bias)
        return out
    return functional.linear(x, weight, bias)


def _channels_last(target: Tensor) -> bool:
    return target.dim() == 4 and target.is_contiguous(memory_format=torch.channels_last)
