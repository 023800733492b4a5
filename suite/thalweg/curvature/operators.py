"""Matrices (P, P) over all parameters of an objective, given by their products with vectors.

A complex parameter counts as its real and imaginary parts; derivatives are with respect to these real numbers.

An operator belongs to one point and one batch. It builds its graph once, and every product reuses the graph. Batch norm
in training mode is differentiated through its batch statistics, and its buffers change as the objective changes them.
Attention is computed by its plain formula, and so is weight normalisation for the Hessian: see
``thalweg.contracts.derivatives``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from thalweg.contracts.derivatives import (
    ONCE,
    WRONG_IN_WEIGHTS,
    check_differentiable,
    math_attention,
    twice_differentiable,
)
from thalweg.contracts.objective import Objective
from thalweg.contracts.real import as_real, real_count, real_dtype
from thalweg.curvature.vectors import flat

CHUNK = 256
"""The most products that are computed at once."""
NUMBERS = 2**21
"""On a CPU, the most numbers in the vectors and activations of all products at once, so that they stay in its cache."""
FEWEST = 8
"""On a CPU, products of which fewer than this fit are computed one by one, which then takes less time."""


class Operator(ABC):
    """A symmetric matrix over the objective's parameters. ``operator @ v`` is its product with a vector (P,)."""

    kind: Literal["hvp", "ggnvp"] = "hvp"
    """What a product counts as, and costs: see ``thalweg.contracts.objective.Counts``."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self.parameters = objective.parameters
        self.size = sum(map(real_count, self.parameters))

    @property
    def shape(self) -> tuple[int, int]:
        """(P, P)."""
        return self.size, self.size

    def __matmul__(self, vector: Tensor) -> Tensor:
        """The product with one vector (P,); counted as one curvature product."""
        if vector.shape != (self.size,):
            raise ValueError(f"shape mismatch: expected ({self.size},), got {tuple(vector.shape)}")
        self._count(1)
        with self.objective.going_back():
            return self._products(vector.unsqueeze(0)).squeeze(0)

    def products(self, vectors: Tensor) -> Tensor:
        """The products with each row of (K, P), as rows; counted as K curvature products.

        A CPU computes as many at once as fit into its cache, which depends on the sizes of network and batch.
        """
        if vectors.dim() != 2 or vectors.shape[1] != self.size:
            raise ValueError(f"shape mismatch: expected (K, {self.size}), got {tuple(vectors.shape)}")
        return self._in_chunks(vectors, self._at_once() if len(vectors) > 1 else 1)

    def dense(self) -> Tensor:
        """The matrix itself (P, P), by P products, for small networks. The result is symmetric to the last bit."""
        where = self.parameters[0].device
        matrix = self._in_chunks(torch.eye(self.size, dtype=real_dtype(self.parameters), device=where), CHUNK)
        return (matrix + matrix.T) / 2

    def _in_chunks(self, vectors: Tensor, chunk: int) -> Tensor:
        self._count(len(vectors))
        found = torch.empty_like(vectors)
        with self.objective.going_back():
            for at in range(0, len(vectors), chunk):
                found[at : at + chunk] = self._products(vectors[at : at + chunk])
        return found

    def _at_once(self) -> int:
        """How many products are computed at once."""
        if self.parameters[0].device.type != "cpu":
            return CHUNK
        fits = NUMBERS // (self.size + self._activations)
        return min(fits, CHUNK) if fits >= FEWEST else 1

    def _count(self, products: int) -> None:
        """Count products with the matrix."""
        self.objective.counts.add_products(self.kind, products, self.objective.batch.size)

    @cached_property
    def _activations(self) -> int:
        """The numbers in the outputs of all modules without parts, from a forward pass that nothing counts."""
        numbers = 0

        def count(_: nn.Module, __: object, output: object) -> None:
            nonlocal numbers
            numbers += output.numel() if isinstance(output, Tensor) else 0

        parts = [part for part in self.objective.module.modules() if not any(part.children())]
        handles = [part.register_forward_hook(count) for part in parts]
        try:
            with torch.no_grad():
                self.objective.observer().loss()
        finally:
            for handle in handles:
                handle.remove()
        return numbers

    @abstractmethod
    def _products(self, vectors: Tensor) -> Tensor:
        """Products with the rows of (K, P), which are not counted here."""


def _backward(outputs: Tensor, inputs: Sequence[Tensor], vectors: Tensor, create_graph: bool = False) -> Tensor:
    """v' d outputs / d inputs for each v of (K, *outputs.shape), as rows (K, P)."""
    alone = len(vectors) == 1  # the usual case, and quicker without vmap
    try:
        found = torch.autograd.grad(
            outputs,
            inputs,
            vectors[0] if alone else vectors,
            retain_graph=True,
            create_graph=create_graph,
            is_grads_batched=not alone,
            materialize_grads=True,
        )
    except RuntimeError:
        if alone:
            raise
        # an operation that vmap does not know how to batch: group norm of vectors, say
        return torch.cat([_backward(outputs, inputs, vector.unsqueeze(0), create_graph) for vector in vectors])
    # an input that the outputs do not depend on has one zero for all
    shared = [alone or g.dim() == x.dim() for g, x in zip(found, inputs, strict=True)]
    rows = [_rows(as_real(g), 1 if one else len(vectors)) for g, one in zip(found, shared, strict=True)]
    return torch.cat([row.expand(len(vectors), -1) for row in rows], dim=1)


def _rows(numbers: Tensor, count: int) -> Tensor:
    return numbers.reshape(count, -1)


class Hessian(Operator):
    """The matrix of second derivatives of the objective's loss, its penalty included: H v = d(g'v)/dw.

    The operator also has the ``loss`` and the ``gradient`` (P,) at the point. Its construction counts as one gradient
    evaluation. ValueError where an operation has no second derivative.

    Source: Pearlmutter 1994, Fast exact multiplication by the Hessian.
    """

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        objective.counts.add_gradient(objective.batch.size)
        with torch.enable_grad():
            with twice_differentiable():
                loss = objective.loss()
            with objective.going_back():
                gradients = torch.autograd.grad(loss, self.parameters, create_graph=True, materialize_grads=True)
            check_differentiable(gradients, ONCE | WRONG_IN_WEIGHTS)
            self._gradient = flat(gradients)
        self.loss, self.gradient = loss.detach(), self._gradient.detach()

    def _products(self, vectors: Tensor) -> Tensor:
        if not self._gradient.requires_grad:  # a linear loss
            return torch.zeros_like(vectors)
        return _backward(self._gradient, self.parameters, vectors)


class OutputOperator(Operator):
    """J' M J / N (+ l2 I), with J the Jacobian of the N examples' outputs and M a matrix for each example's output.

    ``outputs`` (N, ...) are the outputs at the point, with their graph. ``objective.gradient(operator.outputs)`` gives
    loss and gradient without a second forward pass. Outputs that the caller passes must be computed under
    ``math_attention``. J v takes two backward passes, one of which all products share. Source: Schraudolph 2002.
    """

    kind = "ggnvp"
    penalised = True
    """Whether the objective's penalty is part of the matrix."""

    def __init__(self, objective: Objective, outputs: Tensor | None = None) -> None:
        super().__init__(objective)
        with torch.enable_grad():
            with math_attention():
                self.outputs = objective.outputs() if outputs is None else outputs
            self._dummy = torch.zeros_like(self.outputs, requires_grad=True)
            with objective.going_back():
                transposed = torch.autograd.grad(
                    self.outputs, self.parameters, self._dummy, create_graph=True, materialize_grads=True
                )
            check_differentiable(transposed, ONCE)
            self._transposed = flat(transposed)

    def jacobian_products(self, vectors: Tensor) -> Tensor:
        """J v for each row v of ``vectors`` (K, P): shape ``(K, *outputs.shape)``."""
        return _backward(self._transposed, [self._dummy], vectors).view(len(vectors), *self.outputs.shape)

    def _products(self, vectors: Tensor) -> Tensor:
        changes = self.jacobian_products(vectors)
        pulled = torch.stack([self._middle(change) for change in changes])
        products = _backward(self.outputs, self.parameters, pulled / len(self.outputs))
        return products + self.objective.l2 * vectors if self.penalised and self.objective.l2 else products

    @abstractmethod
    def _middle(self, changes: Tensor) -> Tensor:
        """M v for each example, v of the outputs' shape."""


class GGN(OutputOperator):
    """The generalised Gauss-Newton matrix J' H_l J / N + l2 I, H_l the Hessian of the loss in the outputs."""

    @cached_property
    def _of_outputs(self) -> Callable[[Tensor], Tensor]:
        return self.objective.output_loss.hessian_at(self.outputs.detach())

    def _middle(self, changes: Tensor) -> Tensor:
        return self._of_outputs(changes)


class Fisher(GGN):
    """The exact Fisher matrix J' F_l J / N, with F_l the information of the model's p(y|z). It ignores the targets.

    For sequences, loss and matrix are means over the T positions: the matrix is 1/T of the sequence's information.
    """

    penalised = False


class _Rank(OutputOperator):
    """The mean over draws and examples of g g', with g the gradient of one example's loss at given targets."""

    penalised = False
    _residuals: Tensor
    """dl/dz of each draw and example, shape (S, N, numbers in an output)."""

    def _residual(self, targets: Tensor) -> Tensor:
        """dl/dz for each example at these targets."""
        return self.objective.output_loss.gradient(self.outputs, targets).flatten(1)

    @property
    def _scale(self) -> float:
        """T for sequences: the square of a mean over T positions has 1/T^2, and ``Fisher`` has 1/T."""
        return math.sqrt(self.objective.output_loss.positions(self.outputs))

    def _middle(self, changes: Tensor) -> Tensor:
        inner = torch.einsum("snd,nd->sn", self._residuals, changes.flatten(1))
        return torch.einsum("snd,sn->nd", self._residuals, inner).view_as(changes) / len(self._residuals)


class MCFisher(_Rank):
    """The Fisher matrix from targets drawn from the model. Its mean is ``Fisher``; errors fall as samples^-1/2."""

    def __init__(self, objective: Objective, samples: int = 1, outputs: Tensor | None = None) -> None:
        super().__init__(objective, outputs)
        drawn = [self._residual(objective.sampled_targets(self.outputs, sample)) for sample in range(samples)]
        self._residuals = torch.stack(drawn) * self._scale


class EmpiricalFisher(_Rank):
    """The mean of g g' over the examples with their true targets, which is not the Fisher matrix.

    Source: Kunstner, Balles & Hennig 2019, Limitations of the empirical Fisher approximation.
    """

    def __init__(self, objective: Objective, outputs: Tensor | None = None) -> None:
        super().__init__(objective, outputs)
        self._residuals = self._residual(objective.targets)[None] * self._scale
