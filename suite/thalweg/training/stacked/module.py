"""K modules of one architecture as one module, whose parameters are rows of one tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from thalweg.contracts.calls import called_with
from thalweg.contracts.copies import copied
from thalweg.contracts.stacked import ALIGNMENT, StackedNetwork, Weight
from thalweg.training.direct.common import BLOCK
from thalweg.training.direct.graph import steps_of
from thalweg.training.direct.layer import Multiplying
from thalweg.training.direct.members import MembersReader
from thalweg.training.direct.program import Program


class StackedModule(StackedNetwork):
    """Maps inputs (K, N, ...) of K members in training mode to outputs (K, N, ...).

    The trained parameters of all members are one parameter ``rows`` of shape (D, m, P), with D m = K: D settings of the
    hyperparameters, and m members for each setting, in order. To an elementwise rule, the members of one setting are
    one network that is m times as large. A row holds a member's P numbers, with zeros between parameters, which get no
    gradient.

    Args:
        members: the modules, all of one architecture; their parameters are copied.
        settings: D, the number of settings.
        direct: whether a network with known operations runs as a ``Program``; others run by ``torch.func.vmap``.

    Raises:
        TypeError: the parameters are not real numbers of one precision.
    """

    def __init__(self, members: Sequence[nn.Module], settings: int = 1, direct: bool = True) -> None:
        super().__init__()
        self.members = len(members)
        base = copied(members[0]).train()
        self._base = (base,)  # in a tuple: its parameters are not to be trained
        named = dict(base.named_parameters())
        kinds = {(parameter.dtype, parameter.device) for parameter in named.values()}
        if len(kinds) != 1 or not next(iter(named.values())).is_floating_point():
            raise TypeError("the parameters of a stack are real numbers of one precision, on one device")
        (self._dtype, device) = kinds.pop()
        offsets: dict[str, int] = {}
        step = ALIGNMENT // next(iter(named.values())).element_size()
        end = 0
        for name, parameter in named.items():
            if parameter.requires_grad:
                offsets[name] = end
                end += -(-parameter.numel() // step) * step
        # rows of whole blocks, so that each member's numbers meet the same instructions
        row = torch.zeros(self.members, -(-max(end, 1) // BLOCK) * BLOCK, dtype=self._dtype, device=device)
        self.rows = nn.Parameter(row.view(settings, self.members // settings, -1))
        self._memory = self.rows.detach()
        self.gradient = torch.zeros_like(self._memory)
        """Where the gradient is written, in the shape of ``rows``."""
        self._apart = False
        self._places = {name: (offset, named[name].shape) for name, offset in offsets.items()}
        pieces: dict[str, Weight] = {}
        for name in named:
            stack = torch.stack([member.get_parameter(name).detach() for member in members])
            if name in offsets:
                value, gradient = (self._piece(whole, *self._places[name]) for whole in (self._memory, self.gradient))
                value.copy_(stack)
                pieces[name] = Weight(value, gradient)
            else:
                pieces[name] = Weight(stack, None)
        self.pieces = pieces
        self._buffer_names = [name for name, _ in base.named_buffers()]
        for index, name in enumerate(self._buffer_names):
            self.register_buffer(f"buffer{index}", torch.stack([member.get_buffer(name) for member in members]))
        self._direct = direct
        self.program: Program | None = None
        """The forward and backward pass without autograd; None where the network has other operations."""
        self._build()
        self._vmapped = vmap(lambda state, x: called_with(base, state, x))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (K, N, ...) to (K, N, ...) with a graph; each member's buffers change as they would alone."""
        return self.outputs(self.trained(), inputs)

    @property
    def multiplying(self) -> frozenset[str]:
        """The names of linear layers and convolutions in the program."""
        return frozenset(self.layers)

    @property
    def member(self) -> nn.Module:
        """The first member as it was at the start."""
        return self._base[0]

    @property
    def vectors(self) -> Tensor:
        """The rows (K, P) as the program sees them."""
        return self._memory.view(self.members, -1)

    def trained(self) -> dict[str, Tensor]:
        """The trained parameters (K, ...) by name, with the graph that leads to ``rows``."""
        flat = self.rows.flatten(0, 1)
        return {
            name: flat[:, offset : offset + shape.numel()].view(self.members, *shape)
            for name, (offset, shape) in self._places.items()
        }

    def leaves(self) -> dict[str, Tensor]:
        """The trained parameters (K, ...) as leaves of a new graph, by name; they share the memory of ``rows``."""
        pieces = self.pieces.items()
        return {name: piece.value.detach().requires_grad_() for name, piece in pieces if piece.gradient is not None}

    def outputs(self, leaves: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """The outputs (K, N, ...) at ``leaves``, with a graph."""
        outputs: Tensor = self._vmapped(self._state(leaves), inputs)
        return outputs

    def _state(self, trained: dict[str, Tensor]) -> dict[str, Tensor]:
        fixed = {name: piece.value for name, piece in self.pieces.items() if name not in trained}
        return fixed | trained | self.buffers_by_name

    @property
    def buffers_by_name(self) -> dict[str, Tensor]:
        """Buffers (K, ...) by their names in a member."""
        return dict(zip(self._buffer_names, self.buffers(), strict=True))

    @torch.no_grad()
    def read_rows(self) -> None:
        """Let ``pieces`` and the program see the numbers of ``rows``, where an optimizer has given it other memory.

        The optimizer may still use the memory that ``rows`` had. So from then on the program has memory of its own.
        """
        if self.rows.data_ptr() == self._memory.data_ptr():
            return
        if not self._apart:
            self._apart = True
            self._memory = self.rows.detach().clone()
            for name, (offset, shape) in self._places.items():
                self.pieces[name].value = self._piece(self._memory, offset, shape)
            self._build()
        self._memory.copy_(self.rows.detach())

    @torch.no_grad()
    def write_rows(self) -> None:
        """Put the numbers of ``pieces`` into ``rows``, where the two have memory of their own."""
        if self._apart:
            self.rows.copy_(self._memory)

    def _piece(self, whole: Tensor, offset: int, shape: torch.Size) -> Tensor:
        """A parameter (K, ...) as a view of the rows."""
        row = whole.view(self.members, -1)
        return row[:, offset : offset + shape.numel()].view(self.members, *shape)

    def _build(self) -> None:
        """Read the network as a program, on the present memory."""
        base = self._base[0]
        own: dict[int, Any] = {id(parameter): self.pieces[name] for name, parameter in base.named_parameters()}
        buffers = zip(base.buffers(), self.buffers(), strict=True)
        own |= {id(buffer): stack for buffer, stack in buffers}
        steps = (
            steps_of(base, MembersReader(base, self.members, lambda tensor: own[id(tensor)])) if self._direct else None
        )
        self.program = None if steps is None else Program(steps)
        names = {id(piece): name.rpartition(".")[0] for name, piece in self.pieces.items()}
        layers = [step.layer for step in steps or [] if isinstance(step.layer, Multiplying)]
        self.layers: dict[str, Multiplying] = {names[id(layer.weight)]: layer for layer in layers}
        """The linear layers and convolutions of the program, by name."""

    @torch.no_grad()
    def write(self, member: int, module: nn.Module) -> None:
        """Copy a member's parameters and buffers into a module."""
        own: dict[str, Tensor] = dict(module.named_parameters()) | dict(module.named_buffers())
        stacks = {name: piece.value for name, piece in self.pieces.items()} | self.buffers_by_name
        torch._foreach_copy_([own[name] for name in stacks], [stack[member] for stack in stacks.values()])

    @torch.no_grad()
    def read(self, member: int, state: Mapping[str, Tensor]) -> None:
        """Copy a state dict into a member's row, for an evaluation; ``read_rows`` takes that back where rows differ."""
        stacks = {name: piece.value for name, piece in self.pieces.items()} | self.buffers_by_name
        own = [name for name in stacks if name in state]
        torch._foreach_copy_([stacks[name][member] for name in own], [state[name] for name in own])
