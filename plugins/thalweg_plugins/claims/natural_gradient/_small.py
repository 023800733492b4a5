"""The network and data of section B. Imports torch, so it is imported only when a claim is measured."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts import Optimizer
from thalweg.contracts.calls import called_with
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.curvature import flat, pieces
from thalweg_plugins.claims.stepping import Steps, loaded
from thalweg_plugins.optimizers.first_order.sgd import SGD
from thalweg_plugins.problems.digits import Digits

POINTS = 500
FIRST_STEPS = 200


class Pinned(nn.Module):
    """8-6-10 with tanh. The last logit is 0, so that every direction in the logits changes a probability."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(8, 6), nn.Linear(6, 9)

    def forward(self, x: Tensor) -> Tensor:
        """Nine logits and a zero."""
        z: Tensor = self.out(torch.tanh(self.hidden(x)))
        return torch.cat([z, z.new_zeros(len(z), 1)], 1)


class Reparametrised(nn.Module):
    """A module with parameters theta(phi), as a function of phi."""

    def __init__(self, module: nn.Module, theta: Callable[[Tensor], Tensor], phi: Tensor) -> None:
        super().__init__()
        self.phi = nn.Parameter(phi)
        self.theta = theta
        self._hidden = (module,)  # in a tuple, so that the module's parameters are not registered here

    def forward(self, x: Tensor) -> Tensor:
        """The module's outputs at theta(phi)."""
        (module,) = self._hidden
        names, like = zip(*module.named_parameters(), strict=True)
        weights = dict(zip(names, pieces(self.theta(self.phi), like), strict=True))
        outputs: Tensor = called_with(module, weights, x)
        return outputs


@dataclass(frozen=True)
class Case:
    """The data and the network of a seed."""

    problem: Supervised
    module: nn.Module

    @property
    def w(self) -> Tensor:
        """The weights (117,)."""
        return flat(self.module.parameters()).detach()

    def logits(self, w: Tensor) -> Tensor:
        """The outputs (500, 10) at weights (117,), differentiable."""
        names, like = zip(*self.module.named_parameters(), strict=True)
        weights = dict(zip(names, pieces(w, like), strict=True))
        found: Tensor = called_with(self.module, weights, self.problem.data["train"][0])
        return found

    def loss(self, w: Tensor) -> Tensor:
        """The mean cross-entropy at weights w."""
        return nn.functional.cross_entropy(self.logits(w), self.problem.data["train"][1])

    def divergence(self, w: Tensor) -> Tensor:
        """The mean KL(p at the network's weights || p at w)."""
        log_p = self.logits(self.w).log_softmax(1).detach()
        return (log_p.exp() * (log_p - self.logits(w).log_softmax(1))).sum(1).mean()

    def run(self, optimizer: Optimizer, module: nn.Module | None = None, **hyperparameters: Any) -> Steps:
        """A registered optimizer on the full batch, with its first batch drawn; the network itself is not changed."""
        run = Steps(optimizer, self.problem, module or copy.deepcopy(self.module), **hyperparameters)
        run.begin()
        return run

    def stepped(self, optimizer: Optimizer, **hyperparameters: Any) -> Tensor:
        """The change of the weights in one step."""
        run = self.run(optimizer, **hyperparameters)
        run.step()
        return run.w - self.w


def case(seed: int) -> Case:
    """500 digits of 8 principal components, drawn by the seed, and the network after 200 steps of gradient descent."""
    digits = loaded(Digits(), components=8)
    assert isinstance(digits, Supervised)
    x, y = digits.data["train"]
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(x), generator=generator)[:POINTS]
    problem = Supervised({"train": (x[rows], y[rows])}, CrossEntropy(), CLASSIFICATION)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = Pinned().double()
    Steps(SGD(), problem, module, lr=0.5).step(FIRST_STEPS)
    return Case(problem, module)
