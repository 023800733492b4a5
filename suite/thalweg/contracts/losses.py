"""Losses as functions of a module's output."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional


class OutputLoss(ABC):
    """A loss l(z, y) of outputs z and targets y that is the negative log-likelihood of a model p(y|z).

    Then the Hessian of l with respect to z does not depend on y and is the Fisher information of p(y|z). A loss that is
    a multiple of the log-likelihood says so. Examples come first in z and y. Nothing is broadcast: shapes that do not
    go together are a ValueError.
    """

    def check_targets(self, targets: Tensor) -> None:
        """ValueError where the loss does not take such targets. Called once, with all targets of a split."""
        return

    @abstractmethod
    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example, shape (N,)."""

    def per_example_of_each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example, shape (K, N), for K outputs (K, N, ...) of the same N examples."""
        repeated = targets.repeat(len(outputs), *[1] * (targets.dim() - 1))
        return self.per_example(outputs.flatten(0, 1), repeated).view(len(outputs), -1)

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over examples, a scalar."""
        return self.per_example(outputs, targets).mean()

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Further metrics of each example, shape (N,) each, by name; their means over a split are reported."""
        return {}

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """dl/dz of each example's loss, in the outputs' shape."""
        leaf = outputs.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self.per_example(leaf, targets).sum(), leaf)[0]

    def positions(self, outputs: Tensor) -> int:
        """How many positions of an example the loss is a mean over: more than 1 for sequences."""
        return 1

    @abstractmethod
    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Targets drawn from the model's own p(y|z), one an example."""

    @abstractmethod
    def hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """For each example the Hessian of l with respect to its output, times its vector; shape of ``outputs``."""

    def hessian_at(self, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """The function vectors -> ``hessian_product(outputs, vectors)``, for many vectors at the same outputs."""
        return lambda vectors: self.hessian_product(outputs, vectors)

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """KL(p(.|outputs) || p(.|others)) of each example, shape (N,), scaled as the loss is."""
        raise NotImplementedError(f"{type(self).__name__} does not say how far two of its distributions are apart")


class CrossEntropy(OutputLoss):
    """l(z, y) = -log softmax(z)_y for logits z of shape (N, C) and class indices y of shape (N,).

    For sequences, with z of shape (N, T, C) and y of shape (N, T), the loss is the mean over the T positions. So the
    loss is 1/T of the negative log-likelihood, and its Hessian is 1/T of the Fisher information. The classes always
    come last, also where T = C; torch's layout (N, C, T) must be transposed.

    Every label counts. Torch leaves those of -100 out of loss and gradient; a Fisher matrix over drawn labels cannot
    know which those were. They are refused, as are class probabilities in place of labels.
    """

    def check_targets(self, targets: Tensor) -> None:
        """ValueError unless targets are whole numbers that are not below zero."""
        _whole_numbers(targets)
        lowest = int(targets.min()) if targets.numel() else 0
        if lowest < 0:
            raise ValueError(_label_error(lowest, ""))

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """-log softmax(z)_y, in nats."""
        return self._computed(outputs, targets, "none").view(len(targets), -1).mean(1)

    def per_example_of_each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """-log softmax(z)_y. Few classes come first in memory, which makes a softmax of many rows fast."""
        own = type(self).per_example is CrossEntropy.per_example and type(self)._computed is CrossEntropy._computed
        if not own or outputs.dim() != 3 or targets.shape != outputs.shape[1:2] or outputs.shape[2] > _FEW_CLASSES:
            return super().per_example_of_each(outputs, targets)
        _whole_numbers(targets)
        log_p = outputs.transpose(1, 2).contiguous().log_softmax(1)
        places = targets.long() * len(targets) + torch.arange(len(targets), device=targets.device)
        try:
            return log_p.flatten(1).index_select(1, places).neg_()
        except (IndexError, RuntimeError):  # a label that is no class, which the other way names
            return super().per_example_of_each(outputs, targets)

    def mean(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean in one fused call."""
        return self._computed(outputs, targets, "mean")

    def _computed(self, outputs: Tensor, targets: Tensor, reduction: str) -> Tensor:
        """torch's cross-entropy, made to ignore no label."""
        _classes_last(outputs, targets)
        logits, labels = (outputs, targets) if outputs.dim() == 2 else (outputs.flatten(0, -2), targets.flatten())
        labels = labels if labels.dtype == torch.int64 else labels.long()
        try:
            return functional.cross_entropy(logits, labels, reduction=reduction, ignore_index=_NO_LABEL)
        except IndexError as error:
            classes = logits.shape[-1]
            wrong = labels[(labels < 0) | (labels >= classes)]
            raise ValueError(_label_error(int(wrong[0]), f" to {classes - 1}")) from error

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``accuracy``: 1 where the class has the largest logit, else 0; for sequences the mean over positions."""
        _classes_last(outputs, targets)
        right = (outputs.argmax(-1) == targets).double()
        return {"accuracy": right if right.dim() == 1 else right.view(len(targets), -1).mean(1)}

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Classes drawn from softmax(z)."""
        probabilities = outputs.detach().softmax(-1).flatten(0, -2).to(generator.device)
        drawn = torch.multinomial(probabilities, 1, generator=generator)
        return drawn.view(outputs.shape[:-1]).to(outputs.device)

    def hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """(diag p - p p') v with p = softmax(z); for sequences that over T at each position."""
        return _softmax_hessian(outputs.softmax(-1), self.positions(outputs))(vectors)

    def hessian_at(self, outputs: Tensor) -> Callable[[Tensor], Tensor]:
        """The same products, with softmax(z) computed once."""
        if type(self).hessian_product is not CrossEntropy.hessian_product:  # a subclass has its own
            return super().hessian_at(outputs)
        return _softmax_hessian(outputs.softmax(-1), self.positions(outputs))

    def positions(self, outputs: Tensor) -> int:
        """T for logits of shape (N, T, C)."""
        return outputs[0, ..., 0].numel()

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """sum_y p_y (log p_y - log q_y); for sequences the mean over positions."""
        log_p, log_q = outputs.log_softmax(-1), others.log_softmax(-1)
        return (log_p.exp() * (log_p - log_q)).sum(-1).view(len(outputs), -1).mean(1)


_FEW_CLASSES = 128
"""Up to this many classes it pays to put the classes first in memory."""

_NO_LABEL = torch.iinfo(torch.int64).min
"""The label that cross-entropy ignores, in place of -100. So torch refuses -100 as a label out of range."""


def _softmax_hessian(p: Tensor, positions: int) -> Callable[[Tensor], Tensor]:
    def product(vectors: Tensor) -> Tensor:
        pv = p * vectors
        return (pv - p * pv.sum(-1, keepdim=True)) / positions

    return product


def _whole_numbers(targets: Tensor) -> None:
    if targets.is_floating_point() or targets.is_complex():
        what = f"targets are {targets.dtype} of shape {tuple(targets.shape)}"
        raise ValueError(f"cross-entropy takes class indices, and {what}: class probabilities are not supported")


def _classes_last(outputs: Tensor, targets: Tensor) -> None:
    """ValueError unless z is (..., C) and y (...)."""
    if targets.dtype != torch.int64:
        _whole_numbers(targets)
    if outputs.dim() < 2 or targets.shape != outputs.shape[:-1]:
        shapes = f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
        raise ValueError(
            f"shape mismatch: {shapes}; cross-entropy takes outputs (N, C) with targets (N,), "
            "or (N, T, C) with (N, T): classes last"
        )


def _label_error(label: int, end: str) -> str:
    why = ", with which torch marks what it ignores: leave those examples out" if label == -100 else ""
    return f"label {label}{why}; cross-entropy takes classes numbered from 0{end}, and each counts"


def _same_shape(name: str, outputs: Tensor, targets: Tensor) -> None:
    """ValueError unless z and y are real and of one shape."""
    if outputs.shape != targets.shape:
        shapes = f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
        raise ValueError(f"shape mismatch: {shapes}; {name} takes two of one shape, and broadcasts nothing")
    if outputs.is_complex() or targets.is_complex():
        raise ValueError(f"{name} takes real numbers: let the module give real and imaginary parts as outputs")


class SigmoidCrossEntropy(OutputLoss):
    """l(z, y) = -sum_j [y_j log s(z_j) + (1 - y_j) log(1 - s(z_j))], s(z) = 1 / (1 + e^-z), targets y in [0, 1].

    z and y have shape (N, D). The loss of autoencoders on pixels (Martens & Grosse 2015, section 13).
    """

    def check_targets(self, targets: Tensor) -> None:
        """ValueError unless targets lie in [0, 1]. Targets that are nan pass, and the trial diverges."""
        low, high = (float(end) for end in targets.aminmax()) if targets.numel() else (0.0, 1.0)
        if low < 0 or high > 1:
            raise ValueError(f"targets from {low:g} to {high:g}; sigmoid cross-entropy takes targets in [0, 1]")

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over the D outputs, in nats."""
        _same_shape("sigmoid cross-entropy", outputs, targets)
        return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").flatten(1).sum(1)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``squared_error``: ||s(z) - y||^2, the error that papers on autoencoders report."""
        _same_shape("sigmoid cross-entropy", outputs, targets)
        return {"squared_error": (outputs.sigmoid() - targets).flatten(1).square().sum(1)}

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Zeros and ones, each one with probability s(z)."""
        probabilities = outputs.detach().sigmoid().to(generator.device)
        uniform = torch.rand(probabilities.shape, generator=generator, dtype=probabilities.dtype)
        # half the time of torch.bernoulli on a CPU
        return uniform.lt_(probabilities).to(outputs.device)

    def gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """s(z) - y."""
        _same_shape("sigmoid cross-entropy", outputs, targets)
        return outputs.detach().sigmoid().sub_(targets)

    def hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """s(z) (1 - s(z)) v, elementwise."""
        s = outputs.sigmoid()
        return s * (1 - s) * vectors

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """sum_j s(z_j) (log s(z_j) - log s(z'_j)) + the same for 1 - s, with log s(z) = -log(1 + e^-z)."""
        s, difference = outputs.sigmoid(), outputs - others
        # log s(z) = z + log s(-z), so that both terms share log s(-z) - log s(-z')
        log_ratio = functional.logsigmoid(-outputs) - functional.logsigmoid(-others)
        return (s * difference + log_ratio).flatten(1).sum(1)


class SquaredError(OutputLoss):
    """l(z, y) = weight ||z - y||^2 for outputs and targets of shape (N, ...).

    Up to a constant the negative log-likelihood of a Gaussian around z with variance 1 / (2 weight) in each number.
    """

    def __init__(self, weight: float = 0.5) -> None:
        self.weight = weight

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The weighted squared norm of the residual."""
        _same_shape("the squared error", outputs, targets)
        return self.weight * (outputs - targets).flatten(1).square().sum(1)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Normal with mean z and variance 1 / (2 weight)."""
        noise = torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype)
        return outputs.detach() + noise.to(outputs.device) * math.sqrt(0.5 / self.weight)

    def hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """2 weight v."""
        return 2 * self.weight * vectors

    def kl(self, outputs: Tensor, others: Tensor) -> Tensor:
        """weight ||z - z'||^2: two Gaussians of the same variance."""
        return self.per_example(outputs, others)
