"""Losses as functions of a module's output."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn import functional


class OutputLoss(ABC):
    """A loss l(z, y) of outputs z and targets y that is the negative log-likelihood of a model p(y|z).

    Then the Hessian of l with respect to z does not depend on y and is the Fisher information of p(y|z).
    """

    @abstractmethod
    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example, shape (N,)."""

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over examples, a scalar."""
        return self.per_example(outputs, targets).mean()

    @abstractmethod
    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Targets drawn from the model's own p(y|z), one an example."""

    @abstractmethod
    def hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """For each example the Hessian of l with respect to its output, times its vector; shape of ``outputs``."""


class CrossEntropy(OutputLoss):
    """l(z, y) = -log softmax(z)_y for logits z of shape (N, C) and class indices y of shape (N,)."""

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """-log softmax(z)_y, in nats."""
        return functional.cross_entropy(outputs, targets, reduction="none")

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean in one fused call."""
        return functional.cross_entropy(outputs, targets)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Classes drawn from softmax(z)."""
        probabilities = outputs.detach().softmax(-1).to(generator.device)
        return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1).to(outputs.device)

    def hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """(diag p - p p') v with p = softmax(z)."""
        p = outputs.softmax(-1)
        pv = p * vectors
        return pv - p * pv.sum(-1, keepdim=True)


class SquaredError(OutputLoss):
    """l(z, y) = 1/2 ||z - y||^2 for outputs and targets of shape (N, ...): unit-variance Gaussian up to a constant."""

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Half the squared norm of the residual."""
        return 0.5 * (outputs - targets).flatten(1).square().sum(1)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Normal with mean z and unit variance."""
        noise = torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype)
        return outputs.detach() + noise.to(outputs.device)

    def hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """The identity times v."""
        return vectors
