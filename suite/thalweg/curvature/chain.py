"""The Hessian of a chain of layers, by Pearlmutter's formulas in place of a graph.

A product on autograd's graph takes fresh memory for every result, and goes through the derivatives of every backward
operation. Here tangents go forward and back through the layers, in memory that all products share, and the matrix
products are nine tenths of the time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from thalweg.contracts.losses import CrossEntropy, SigmoidCrossEntropy, SquaredError
from thalweg.contracts.objective import Objective
from thalweg.contracts.supervised import Supervised
from thalweg.curvature.chain_layers import AveragePool, Convolution, Layer, MaxPool, kind_of
from thalweg.curvature.operators import Hessian, Operator
from thalweg.curvature.vectors import pieces

Product = Callable[[Tensor], Tensor]

PIECE = 2**22
"""The most numbers that the activations of one piece of the examples hold: 16 MiB in float32."""

MANY = 32
"""A graph takes less time where at least as many products are computed at once."""


def hessian(objective: Objective) -> Hessian | ChainHessian:
    """The Hessian of an objective, with its ``loss`` and ``gradient``, by the fastest exact products.

    A chain of known layers on a CPU has ``ChainHessian``, anything else ``Hessian``. The two differ by rounding.
    """
    modules = _chain(objective)
    if modules is None:
        return Hessian(objective)
    try:
        return ChainHessian(objective, modules)
    except _OtherShapesError:
        return Hessian(objective)


class _OtherShapesError(Exception):
    """A layer does not keep the examples apart, or takes inputs without a dimension for examples."""


class ChainHessian(Operator):
    """The Hessian of a mean loss of examples over the outputs of a chain of layers: H v = R(dL/dw).

    R is the derivative along v. R goes forward through the layers and, after the loss's Hessian, back. The examples are
    taken in pieces. ``loss`` and ``gradient`` (P,) are at the point.

    Source: Pearlmutter 1994, Fast exact multiplication by the Hessian, section 3.
    """

    def __init__(self, objective: Objective, modules: list[nn.Module]) -> None:
        super().__init__(objective)
        objective.counts.add_gradient(objective.batch.size)
        objective.counts.examples += objective.batch.size
        self._places = _places(modules, objective)
        # nothing below the first layer with a free parameter has a tangent
        self._first = min(i for i, places in enumerate(self._places) if any(place is not None for place in places))
        self.loss = self.parameters[0].new_zeros(()).detach()
        self._numbers = 0
        with torch.no_grad():
            self._pieces = [self._piece(modules, part) for part in self._parts(modules)]

    def _parts(self, modules: list[nn.Module]) -> Iterator[slice]:
        """Equal slices of the examples."""
        inputs, n = self.objective.batch.inputs, self.objective.batch.size
        assert inputs is not None
        numbers, h = inputs[0].numel(), inputs[:1].clone()  # a first layer may work in place
        for module in modules:
            kind = kind_of(module)
            spatial = issubclass(kind or Layer, Convolution | MaxPool | AveragePool)
            if spatial and h.dim() != int(type(module).__name__[-2]) + 2:
                raise _OtherShapesError
            before, h = h, module(h)
            if h.dim() < 2 or before.dim() < 2 or len(h) != 1:
                raise _OtherShapesError
            numbers += h.numel()
        count = min(n, max(1, round(n * numbers / PIECE)))
        return (slice(*ends) for ends in pairwise(n * i // count for i in range(count + 1)))

    def _piece(self, modules: list[nn.Module], part: slice) -> tuple[list[Layer], Product]:
        """The layers for some examples, after a pass forward and back, and products with the loss's Hessian."""
        it = self.objective
        assert it.batch.inputs is not None
        h, share = it.batch.inputs[part], 1 / it.batch.size
        layers = []
        for module in modules:
            kind = kind_of(module)
            assert kind is not None
            layers.append(kind(module))
            h = layers[-1].forward(h)
            self._numbers += h.numel()
        targets = it.targets[part]
        self.loss += it.output_loss.per_example(h, targets).sum() * share
        d: Tensor | None = it.output_loss.gradient(h, targets) * share
        for i in range(len(layers) - 1, self._first - 1, -1):
            assert d is not None
            d = layers[i].backward(d, last=i == self._first)
        return layers, it.output_loss.hessian_at(h)

    @functools.cached_property
    def gradient(self) -> Tensor:
        """The loss's gradient (P,)."""
        found = self.parameters[0].new_zeros(self.size).detach()
        into = self._cut(found)
        with torch.no_grad():
            for layers, _ in self._pieces:
                for layer, places in list(zip(layers, into, strict=True))[self._first :]:
                    layer.gradient(places)
        return found

    @functools.cached_property
    def _activations(self) -> int:
        return self._numbers

    @functools.cached_property
    def _graph(self) -> Hessian:
        return Hessian(self.objective)

    def _in_chunks(self, vectors: Tensor, chunk: int) -> Tensor:
        """Where many products fit into the processor's cache, a graph computes them at once in less time."""
        if len(vectors) > 1 and self._at_once() >= MANY:
            return self._graph._in_chunks(vectors, chunk)
        return super()._in_chunks(vectors, 1)

    def _cut(self, vector: Tensor) -> list[list[Tensor | None]]:
        """The part of a vector (P,) that belongs to each parameter of each layer."""
        parts = pieces(vector, self.parameters)
        return [[None if place is None else parts[place] for place in places] for places in self._places]

    @torch.no_grad()
    def _products(self, vectors: Tensor) -> Tensor:
        found = torch.zeros_like(vectors)
        for vector, into in zip(vectors, found, strict=True):
            self._product(self._cut(vector), self._cut(into))
        return found

    def _product(self, v: list[list[Tensor | None]], into: list[list[Tensor | None]]) -> None:
        """Add H v."""
        share = 1 / self.objective.batch.size
        for layers, middle in self._pieces:
            r: Tensor | None = None
            for i in range(self._first, len(layers)):
                r = layers[i].tangent(r, v[i])
            assert r is not None
            e: Tensor | None = middle(r).mul_(share)
            for i in range(len(layers) - 1, self._first - 1, -1):
                assert e is not None
                e = layers[i].tangent_back(e, v[i], into[i], last=i == self._first)


def _places(modules: list[nn.Module], objective: Objective) -> list[list[int | None]]:
    """For each parameter of each layer its number among the objective's parameters; None where it is not free."""
    number = {id(parameter): i for i, parameter in enumerate(objective.parameters)}
    return [
        [None if parameter is None else number.get(id(parameter)) for parameter in module._parameters.values()]
        or [None, None]
        for module in modules
    ]


def _chain(objective: Objective) -> list[nn.Module] | None:
    """The layers, where the objective's loss is one of torch's losses of a chain of known layers; else None."""
    problem, batch, parameters = objective.problem, objective.batch, objective.parameters
    plain = (
        isinstance(problem, Supervised)
        and type(problem).loss is Supervised.loss
        and type(problem).outputs is Supervised.outputs
        and type(problem.output_loss) in (CrossEntropy, SigmoidCrossEntropy, SquaredError)
        and not objective.l2
        and not objective.mixed
    )
    if not plain or batch.inputs is None or not parameters or not batch.size:
        return None
    if torch_modules._has_any_global_hook():  # type: ignore[no-untyped-call]
        return None
    tensors, dtype = [batch.inputs, *parameters], batch.inputs.dtype
    if not dtype.is_floating_point or any(type(p) is not nn.Parameter for p in parameters):
        return None
    if any(x.dtype != dtype or x.device.type != "cpu" or x.layout is not torch.strided for x in tensors):
        return None
    modules = list(_layers(objective.module))
    owned = [id(parameter) for module in modules if module is not None for parameter in module.parameters()]
    if None in modules or len(set(map(id, modules))) < len(modules) or len(set(owned)) < len(owned):
        return None
    known = [module for module in modules if module is not None]
    return known if {id(p) for p in parameters} <= set(owned) and all(map(kind_of, known)) else None


def _layers(module: nn.Module) -> Iterator[nn.Module | None]:
    """The layers of nested sequences in order; None for a module that something watches or changes."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    if any(hooks) or "forward" in vars(module):
        yield None
    elif type(module) is nn.Sequential:
        for part in module:
            yield from _layers(part)
    else:
        yield module
