"""K-FAC's quadratic model of each of K members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.contracts.stacked import MembersObjective, product, room
from thalweg_plugins.optimizers.natural._kfac_stacked_layers import MembersLayer, column

Matrices = Mapping[str, Tensor]
"""A matrix of each member (K, out, in + bias), by the name of its layer."""


@dataclass(frozen=True)
class ModelledSteps:
    """A step d of each member and the terms of the quadratic model at d, float64 (K,) on the CPU."""

    step: Matrices
    slope: Tensor
    """g'd."""
    curvature: Tensor
    """d'(F + damping I) d."""
    kl: Tensor
    """1/2 d'F d: the predicted KL of the step."""
    finite: Tensor
    """Whether the model is finite."""

    def change(self, scale: Tensor | float = 1.0) -> Tensor:
        """M(scale d) - M(0)."""
        return scale * self.slope + 0.5 * (scale * scale) * self.curvature

    def replaced(self, where: Tensor, other: ModelledSteps) -> ModelledSteps:
        """The other's step for some of the members."""
        return ModelledSteps(
            {name: torch.where(_over(where, own), other.step[name], own) for name, own in self.step.items()},
            *(
                torch.where(where, theirs, ours)
                for ours, theirs in (
                    (self.slope, other.slope),
                    (self.curvature, other.curvature),
                    (self.kl, other.kl),
                    (self.finite, other.finite),
                )
            ),
        )


def chosen(where: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Matrices (K, n, n) of ``one`` for some of the members, of ``other`` for the rest, each member's aligned."""
    return room(one, one.shape).copy_(torch.where(_over(where, one), one, other))


def _over(where: Tensor, like: Tensor) -> Tensor:
    return where.to(like.device).view(-1, *[1] * (like.dim() - 1))


class StackedQuadraticModel:
    """M(d) - M(0) = g'd + 1/2 d'(F + damping I) d of each member, with the exact Fisher matrix F of its batch.

    Args:
        layers: the covered layers.
        objective: after ``backward`` at the point.
        gradients: g.
        damping: a number for each member (K,).
    """

    def __init__(
        self, layers: Sequence[MembersLayer], objective: MembersObjective, gradients: Matrices, damping: Tensor
    ) -> None:
        self.layers = layers
        self.objective = objective
        self.gradients = gradients
        self.damping = damping
        self._hessian = objective.output_loss.hessian_at(objective.member_outputs.flatten(0, 1).contiguous())

    def minimise(self, directions: Sequence[Matrices]) -> ModelledSteps:
        """The linear combination of the directions with the smallest M(d), for each member."""
        fisher, square, slope = self._forms(directions)
        matrix = fisher + self.damping.view(-1, 1, 1) * square
        finite = matrix.isfinite().flatten(1).all(1) & slope.isfinite().all(1)
        if not bool(finite.all()):
            matrix = torch.where(finite.view(-1, 1, 1), matrix, torch.eye(len(directions), dtype=matrix.dtype))
        weights = -(torch.linalg.pinv(matrix, hermitian=True) * slope.unsqueeze(1)).sum(2)
        pairs = weights.unsqueeze(1) * weights.unsqueeze(2)
        step = {}
        for layer in self.layers:
            first, *rest = (
                d[layer.name] * column(w, d[layer.name]) for w, d in zip(weights.T, directions, strict=True)
            )
            step[layer.name] = first.add_(rest[0]) if rest else first
        return ModelledSteps(
            step,
            (slope * weights).sum(1),
            (matrix * pairs).flatten(1).sum(1),
            0.5 * (fisher * pairs).flatten(1).sum(1),
            finite,
        )

    def along(self, step: Matrices) -> ModelledSteps:
        """The quadratic model's terms at given steps."""
        fisher, square, slope = (form.flatten() for form in self._forms([step]))
        curvature = fisher + self.damping * square
        return ModelledSteps(step, slope, curvature, 0.5 * fisher, curvature.isfinite())

    def _forms(self, directions: Sequence[Matrices]) -> tuple[Tensor, Tensor, Tensor]:
        """For directions d_i: d_i'F d_j (K, n, n), d_i'd_j (K, n, n) and g'd_i (K, n), in float64 on the CPU."""
        changes = [self._changes(direction) for direction in directions]
        pulled = [self._hessian(change) for change in changes]
        k, n = len(self.damping), self.objective.member_outputs.shape[1]
        fisher = product(_rows(k, changes), _rows(k, pulled).mT).div_(n)
        vectors = self._vectors([*directions, self.gradients])
        inner = product(vectors[:, :-1], vectors.mT)
        fisher, inner = (form.to("cpu", torch.float64) for form in (fisher, inner))
        return fisher, inner[:, :, :-1], inner[:, :, -1]

    def _vectors(self, of_all: Sequence[Matrices]) -> Tensor:
        """Matrices of all layers as rows (K, n, P)."""
        sizes = [self.gradients[layer.name][0].numel() for layer in self.layers]
        like = self.gradients[self.layers[0].name]
        vectors = room(like, (len(like), len(of_all), sum(sizes)))
        for row, matrices in zip(vectors.unbind(1), of_all, strict=True):
            for part, layer in zip(torch.split(row, sizes, 1), self.layers, strict=True):
                part.copy_(matrices[layer.name].flatten(1))
        return vectors

    def _changes(self, direction: Matrices) -> Tensor:
        """J d (K N, ...). It is half of a product with F, and counts as one."""
        pieces: dict[str, Tensor] = {}
        for layer in self.layers:
            pieces |= layer.split(direction[layer.name])
        return self.objective.output_changes(pieces).flatten(0, 1)


def _rows(members: int, tensors: Sequence[Tensor]) -> Tensor:
    """Tensors of K members as rows (K, n, P)."""
    flat = [tensor.reshape(members, 1, -1) for tensor in tensors]
    return torch.cat(flat, 1, out=room(flat[0], (members, len(flat), flat[0].shape[2])))
