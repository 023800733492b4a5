"""The stepper of Muon and AdamW for K members. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thalweg.contracts import StackedStepper, StepReport
from thalweg.contracts.stacked import StackedNetwork, Weight, product
from thalweg.contracts.torch_stepper import TorchRows
from thalweg_plugins.optimizers.structured._muon_stepper import hidden_matrices

if TYPE_CHECKING:
    from thalweg.contracts.objective import Objective

_A, _B, _C = 3.4445, -4.7750, 2.0315
"""The coefficients of Newton-Schulz in ``torch.optim.Muon``, and its number of steps and its eps."""
_STEPS, _EPS = 5, 1e-7


def orthogonalised(matrices: Tensor) -> Tensor:
    """Five steps of Newton-Schulz in bfloat16 on each of the matrices (K, m, n), as ``torch.optim.Muon`` makes them."""
    x = matrices.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.flatten(1).norm(dim=1).clamp(min=_EPS).view(-1, 1, 1)
    for _ in range(_STEPS):
        gram = product(x, x.mT)
        update = product(gram, gram, gram, beta=_B, alpha=_C)
        x = product(update, x, x, beta=_A)
    result: Tensor = x.mT if tall else x
    return result


class StackedMuonStepper(StackedStepper):
    """Muon for the hidden matrices of K members, AdamW for the rest."""

    def __init__(self, module: StackedNetwork, members: Sequence[Mapping[str, Any]]) -> None:
        self.members = [dict(member) for member in members]
        self._each = module.members // len(members)
        member = module.member
        hidden = {id(weight) for weight in hidden_matrices(member)}
        names = [name for name, parameter in member.named_parameters() if id(parameter) in hidden]
        self.weights: list[Weight] = [module.pieces[name] for name in names]
        # AdamW also steps the hidden matrices, which costs little, and Muon puts its own step in their place
        self.rest = TorchRows(torch.optim.AdamW, module, [self._adamw(one) for one in self.members])
        self.momenta: list[Tensor] = []

    @staticmethod
    def _adamw(h: Mapping[str, Any]) -> dict[str, Any]:
        betas = h["adamw_beta1"], h["adamw_beta2"]
        return {"lr": h["adamw_lr"], "betas": betas, "eps": h["adamw_eps"], "weight_decay": h["adamw_weight_decay"]}

    @property
    def lrs(self) -> list[float]:
        """Muon's learning rates. Setting them scales AdamW's in proportion."""
        return [float(member["lr"]) for member in self.members]

    @lrs.setter
    def lrs(self, values: list[float]) -> None:
        shares = [member["adamw_lr"] / member["lr"] if member["lr"] else 0.0 for member in self.members]
        self.rest.lrs = [value * share for value, share in zip(values, shares, strict=True)]
        for member, value, share in zip(self.members, values, shares, strict=True):
            member["lr"], member["adamw_lr"] = value, value * share

    def _number(self, like: Tensor, of: list[float]) -> Tensor:
        column = torch.tensor(of, dtype=torch.float64).repeat_interleave(self._each)
        return column.to(like).view(-1, 1, 1)

    @torch.no_grad()
    def step(self, objective: Objective) -> StepReport:
        """One step of both, on the gradients of the members' batches."""
        before = [weight.value.clone() for weight in self.weights]
        self.rest.step(objective)
        if not self.momenta:
            self.momenta = [torch.zeros_like(weight.value) for weight in self.weights]
        for weight, w, momentum in zip(self.weights, before, self.momenta, strict=True):
            assert weight.gradient is not None
            g, b, w = weight.gradient.flatten(2), momentum.flatten(2), w.flatten(2)
            keep = self._number(g, [float(h["momentum"]) for h in self.members])
            b.lerp_(g, self._number(g, [1 - float(h["momentum"]) for h in self.members]))
            step = orthogonalised(g.lerp(b, keep)).to(w)
            longer = math.sqrt(max(1.0, w.shape[1] / w.shape[2]))
            w.mul_(self._number(g, [1 - h["lr"] * h["weight_decay"] for h in self.members]))
            w.sub_(step * self._number(g, [h["lr"] * longer for h in self.members]))
            weight.value.copy_(w.view(weight.value.shape))
        return StepReport({"muon_matrices": float(len(self.weights))})

    def state_dict(self) -> dict[str, Any]:
        """The hyperparameters, AdamW's state and the momenta."""
        return {"members": self.members, "rest": self.rest.state_dict(), "momenta": self.momenta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        state = copy.deepcopy(state)
        self.members, self.momenta = state["members"], state["momenta"]
        self.rest.load_state_dict(state["rest"])
