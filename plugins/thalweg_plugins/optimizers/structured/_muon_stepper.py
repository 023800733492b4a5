"""The stepper of Muon and AdamW. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from thalweg.contracts import Stepper, StepReport
from thalweg.contracts.torch_stepper import fused_if_possible

if TYPE_CHECKING:
    from thalweg.contracts.objective import Objective

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def hidden_matrices(module: nn.Module) -> list[Tensor]:
    """The weights of linear and convolutional layers between the input layer and the output layer: see ``muon``.

    Weights that are computed, as by pruning, are no parameters and are left out.
    """
    layers = [layer for layer in module.modules() if _is_trained(layer)]
    trained: set[Tensor] = {parameter for parameter in module.parameters() if parameter.requires_grad}
    weights = [layer.weight for layer in layers if isinstance(layer, _LAYERS + _EMBEDDINGS)]
    excluded = {layer.weight for layer in layers if isinstance(layer, _EMBEDDINGS)} | set(weights[:1])
    if layers and isinstance(layers[-1], _LAYERS):
        excluded.add(layers[-1].weight)
    hidden = trained - excluded
    return [weight for weight in dict.fromkeys(weights) if weight in hidden]


def _is_trained(layer: nn.Module) -> bool:
    """Whether a parameter of the layer is trained, or one from which a parametrized layer computes its weight."""
    parametrized = isinstance(layer, _LAYERS + _EMBEDDINGS)
    return any(parameter.requires_grad for parameter in layer.parameters(recurse=parametrized))


class MuonStepper(Stepper):
    """Muon for the hidden matrices, AdamW for the rest."""

    def __init__(self, module: nn.Module, h: Mapping[str, Any]) -> None:
        self.weights = hidden_matrices(module)
        hidden = set(self.weights)
        others = [p for p in module.parameters() if p.requires_grad and p not in hidden]
        self._matrices = [nn.Parameter(weight.detach().flatten(1)) for weight in self.weights]
        self.optimizers: list[torch.optim.Optimizer] = []
        if self._matrices:
            self.optimizers.append(
                torch.optim.Muon(
                    self._matrices, lr=h["lr"], momentum=h["momentum"], weight_decay=h["weight_decay"], nesterov=True
                )
            )
        if others:
            self.optimizers.append(
                torch.optim.AdamW(
                    others,
                    lr=h["adamw_lr"],
                    betas=(h["adamw_beta1"], h["adamw_beta2"]),
                    eps=h["adamw_eps"],
                    weight_decay=h["adamw_weight_decay"],
                    **fused_if_possible(torch.optim.AdamW, module),
                )
            )
        self._lr = h["lr"]
        self._adamw_share = h["adamw_lr"] / h["lr"]

    @property
    def lr(self) -> float:
        """Muon's learning rate. Setting it scales AdamW's learning rate in proportion."""
        return float(self._lr)

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = value
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = value if isinstance(optimizer, torch.optim.Muon) else value * self._adamw_share

    def step(self, objective: Objective) -> StepReport:
        """One step of Muon and one of AdamW, on one gradient."""
        objective.backward()
        for matrix, weight in zip(self._matrices, self.weights, strict=True):
            # a new view of the weight's storage at each step, since copying module and stepper breaks the old view
            matrix.data = weight.detach().flatten(1)
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        for optimizer in self.optimizers:
            optimizer.step()
        for matrix, weight in zip(self._matrices, self.weights, strict=True):
            if matrix.data_ptr() != weight.data_ptr():  # flattening copied a weight in another memory order
                weight.data.copy_(matrix.data.view(weight.shape))
        return StepReport({"muon_matrices": float(len(self.weights))})

    def state_dict(self) -> dict[str, Any]:
        """The learning rate and torch's own states."""
        return {"lr": self._lr, "optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self._lr = state["lr"]
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
