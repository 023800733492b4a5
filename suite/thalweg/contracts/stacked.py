"""What an optimizer sees of K networks that train together, and products with bits that no other network changes."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from thalweg.contracts.costs import Counts
from thalweg.contracts.objective import Objective
from thalweg.contracts.products import is_large, matmul


@dataclass
class Weight:
    """A parameter of K members."""

    value: Tensor
    """(K, ...), a view of the memory that trains."""
    gradient: Tensor | None
    """(K, ...), where each backward pass overwrites the gradient; None for a parameter that does not train."""


class StackedNetwork(nn.Module):
    """K networks of one architecture as one module.

    Its parameters have the shapes that ``Optimizer.build_stacked`` names. An optimizer that works on matrices uses
    ``pieces``, which are views of these parameters and of their gradients after ``Objective.backward``.
    """

    pieces: Mapping[str, Weight]
    """Each parameter of K members, by its name in a member."""
    members: int
    """K."""

    @property
    def multiplying(self) -> frozenset[str]:
        """The names of the linear layers and convolutions that ``MembersObjective`` knows inputs and gradients of.

        Empty where the network runs by autograd.
        """
        return frozenset()

    @property
    def member(self) -> nn.Module:
        """One of the networks, to look at its layers and names; its weights do not train."""
        raise NotImplementedError

    @property
    def vectors(self) -> Tensor:
        """(K, P): each member's trained parameters as one vector, a view of the memory that trains.

        Zeros stand between parameters and at a vector's end. Each vector begins at a multiple of ALIGNMENT.
        """
        raise NotImplementedError


class MembersObjective(Objective):
    """The objective of K members. Each evaluation of ``Objective`` is one of every member.

    A method whose members need different numbers of evaluations, such as a line search, asks for ``each``. Methods of
    curvature learn what the gradient of the sum does not tell. What they learn holds for the last call of ``backward``,
    whose intermediate results are kept until the next evaluation. A layer goes by the name that it has in a member, and
    is one of ``StackedNetwork.multiplying``. A convolution's inputs and gradients have L locations for each example,
    and a linear layer's have L positions, or one.
    """

    module: StackedNetwork
    trains: list[bool]
    """Whether a member still trains. The others have diverged or failed: an optimizer may leave them as they are."""
    errors: dict[int, tuple[Exception, Counts]]
    """The members whose step has failed, why, and what was counted of each until then; ``fail`` adds to them."""
    losses: Tensor
    """Each member's mean loss (K,), penalty included."""
    member_outputs: Tensor
    """(K, N, ...)."""

    @abstractmethod
    def each(self, members: Sequence[int]) -> tuple[list[float], Sequence[Tensor]]:
        """The losses of some members at their present weights, and their gradients in the layout of ``vectors``.

        The losses include penalties. The gradients (P,) are new tensors. Only these members' evaluations are counted.
        A step's first evaluation moves the buffers of all members, so it is one of all members that train.
        """

    @abstractmethod
    def fail(self, member: int, error: Exception) -> None:
        """Note that a stepper of the member's own would raise ``error`` here; the first error of a step counts.

        The member ends after the step, with the counts that it has now. Its numbers may be anything from here on. An
        error that the optimizer raises ends all members.
        """

    @abstractmethod
    def layer_inputs(self) -> dict[str, Tensor]:
        """The inputs of each layer as rows (K, N L, in)."""

    @abstractmethod
    def layer_gradients(self, of_outputs: Tensor) -> dict[str, Tensor]:
        """The gradients in each layer's outputs as rows (K, N L, out), from those in the outputs (K, N, ...).

        The backward pass counts as a gradient evaluation. The gradients of the weights stay as they are.
        """

    @abstractmethod
    def output_changes(self, weights: Mapping[str, Tensor]) -> Tensor:
        """J d, the derivative of the outputs (K, N, ...) along changes (K, ...) of parameters, by their names.

        It counts as a curvature product.
        """

    @abstractmethod
    def losses_anew(self) -> Tensor:
        """Each member's mean loss (K,), penalty included, at the present weights. The buffers stay."""


ALIGNMENT = 64
"""Bytes that the address of a member's matrix is a multiple of: a product's bits may depend on it."""


def room(like: Tensor, shape: Sequence[int]) -> Tensor:
    """Empty memory of shape (K, ...), in which each member's part begins at a multiple of ALIGNMENT."""
    k, length = shape[0], math.prod(shape[1:])
    step = ALIGNMENT // like.element_size()
    if length % step == 0:
        return like.new_empty(shape)
    return like.new_empty(k, -(-length // step) * step)[:, :length].view(shape)


def aligned(tensor: Tensor) -> Tensor:
    """The matrices (K, N, M), or a copy in which each member's begins at a multiple of ALIGNMENT, in the same order."""
    step = ALIGNMENT // tensor.element_size()
    if (tensor.stride(0) % step == 0 or len(tensor) == 1) and tensor.storage_offset() % step == 0:
        return tensor
    if tensor.stride(1) == 1 and tensor.stride(2) != 1:  # a product's bits may also depend on the order
        return aligned(tensor.transpose(1, 2)).transpose(1, 2)
    return room(tensor, tensor.shape).copy_(tensor)


def product(one: Tensor, other: Tensor, added: Tensor | None = None, beta: float = 1.0, alpha: float = 1.0) -> Tensor:
    """alpha times the products (K, N, O) of members' matrices, plus beta times what broadcasts to them.

    The bits are those of each member alone. Without ``added``, alpha is 1.
    """
    one, other = aligned(one), aligned(other)
    rows, columns = one.shape[1], other.shape[2]
    if alpha == beta == 1 and is_large(one[0], other[0]):
        out = room(one, (len(one), rows, columns))
        for index in range(len(out)):
            out[index].copy_(matmul(one[index], other[index]))
        return out if added is None else out.add_(added)
    if rows > 1 and columns > 1 and rows * columns * one.element_size() % ALIGNMENT == 0:
        return torch.bmm(one, other) if added is None else torch.baddbmm(added, one, other, beta=beta, alpha=alpha)
    out = room(one, (len(one), rows, columns))
    # a library computes one product of this kind otherwise than several, so each member has a call of its own
    for index in range(len(out)):
        if added is None:
            torch.mm(one[index], other[index], out=out[index])
        else:
            torch.addmm(added[index], one[index], other[index], beta=beta, alpha=alpha, out=out[index])
    return out
