"""Losses of torch as functions of outputs and targets that weigh every example alike, whatever batches data comes in.

The mean that torch takes over a batch depends on the batch where labels have weights or are ignored. Here the mean is
taken over all examples: each example's loss is divided by the mean weight of all examples.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from thalweg.contracts.losses import CrossEntropy, OutputLoss, SigmoidCrossEntropy, SquaredError
from thalweg.errors import unknown

NAMES: dict[str, Callable[[], nn.Module]] = {
    "cross_entropy": nn.CrossEntropyLoss,
    "nll": nn.NLLLoss,
    "mse": nn.MSELoss,
    "l1": nn.L1Loss,
    "smooth_l1": nn.SmoothL1Loss,
    "huber": nn.HuberLoss,
    "binary_cross_entropy": nn.BCELoss,
    "binary_cross_entropy_with_logits": nn.BCEWithLogitsLoss,
    "poisson_nll": nn.PoissonNLLLoss,
    "kl_div": nn.KLDivLoss,
}
"""The losses that a name gives, with torch's defaults."""

_FUNCTIONS: dict[Callable[..., Tensor], str] = {
    functional.cross_entropy: "cross_entropy",
    functional.nll_loss: "nll",
    functional.mse_loss: "mse",
    functional.l1_loss: "l1",
    functional.smooth_l1_loss: "smooth_l1",
    functional.huber_loss: "huber",
    functional.binary_cross_entropy: "binary_cross_entropy",
    functional.binary_cross_entropy_with_logits: "binary_cross_entropy_with_logits",
    functional.poisson_nll_loss: "poisson_nll",
    functional.kl_div: "kl_div",
}

_LABELLED = (nn.CrossEntropyLoss, nn.NLLLoss)
"""Losses whose targets may be class indices, with a weight for each class and a label that is ignored."""


def module_of(loss: Any) -> nn.Module | None:
    """The torch loss that is meant by a module, a function of ``torch.nn.functional`` or a name; None by anything else.

    Raises:
        ValueError: no loss has this name.
    """
    if isinstance(loss, str):
        if loss not in NAMES:
            raise ValueError(f"loss: {unknown('loss', loss, NAMES)}")
        return NAMES[loss]()
    if isinstance(loss, type) and issubclass(loss, nn.Module):
        raise ValueError(f"loss: {loss.__name__} is a class: give an instance, {loss.__name__}()")
    if isinstance(loss, nn.Module):
        return loss
    named = _FUNCTIONS.get(loss) if callable(loss) else None
    return NAMES[named]() if named else None


class Each(OutputLoss):
    """factor l(z, y) for a torch loss l without its reduction, summed over the numbers of an example.

    Args:
        loss: the torch loss.
        factor: so that the mean over all examples is the loss of all data.
    """

    def __init__(self, loss: nn.Module, factor: float) -> None:
        self.each: Any = unreduced(loss)
        self.factor = factor
        self.name = type(loss).__name__

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example, shape (N,)."""
        return self.factor * summed(self.each, outputs, targets)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """No further metrics."""
        return {}

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """TypeError: the loss is not known to be a log-likelihood."""
        raise TypeError(f"{self.name} as given here is no plain log-likelihood, so it has no Fisher matrix")

    def hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """TypeError: the second derivative is not known to be free of the targets."""
        said = f"the GGN of {self.name} as given here may depend on the targets"
        raise TypeError(f"{said}: take matrix = 'hessian'")


class Multiple(OutputLoss):
    """factor l(z, y) for a log-likelihood l: its GGN is a multiple too, and it has no Fisher matrix of its own."""

    def __init__(self, loss: OutputLoss, factor: float) -> None:
        self.loss = loss
        self.factor = factor

    def check_targets(self, targets: Tensor) -> None:
        """As the loss itself."""
        self.loss.check_targets(targets)

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of each example, shape (N,)."""
        return self.factor * self.loss.per_example(outputs, targets)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """As the loss itself."""
        return self.loss.scores(outputs, targets)

    def sample(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """TypeError: the Fisher matrix is of the log-likelihood, and not of a multiple."""
        raise TypeError("a sum or a mean over several numbers is a multiple of the log-likelihood: take matrix = 'ggn'")

    def hessian_product(self, outputs: Tensor, vectors: Tensor) -> Tensor:
        """The multiple of the product."""
        return self.factor * self.loss.hessian_product(outputs, vectors)


def unreduced(loss: nn.Module) -> nn.Module:
    """A copy of a torch loss that gives the loss of each number.

    Raises:
        ValueError: the loss is no mean or sum.
    """
    name, reduction = type(loss).__name__, getattr(loss, "reduction", None)
    if reduction not in ("mean", "sum", "batchmean"):
        raise ValueError(
            f"loss: {name} has reduction = {reduction!r}, and the mean or the sum over examples is needed: give a "
            "torch loss with reduction='mean' or 'sum', or a function (module, batch) -> losses of shape (N,)"
        )
    made: Any = copy.deepcopy(loss)
    made.reduction = "none"
    return made  # type: ignore[no-any-return]


def takes_labels(loss: nn.Module) -> bool:
    """Whether whole targets are class indices, which torch takes in 64 bits alone."""
    return isinstance(loss, _LABELLED)


def summed(each: Any, outputs: Tensor, targets: Tensor) -> Tensor:
    """The sum over the numbers of each example, shape (N,), of a loss without reduction.

    Raises:
        ValueError: shapes do not go together.
    """
    name = type(each).__name__
    if not isinstance(outputs, Tensor):
        raise ValueError(
            f"the module returns {type(outputs).__name__} and no tensor: give a function (module, batch) -> losses of "
            "shape (N,) as loss"
        )
    if not isinstance(each, (*_LABELLED, nn.MultiMarginLoss)) and outputs.shape != targets.shape:
        raise ValueError(
            f"{name}: the outputs have shape {tuple(outputs.shape)} and the targets {tuple(targets.shape)}; torch "
            "would broadcast them, which is hardly meant"
        )
    if any(buffer.is_floating_point() and buffer.dtype != outputs.dtype for buffer in each.buffers()):
        each.to(outputs.dtype)
    values: Tensor = each(outputs, targets)
    if values.dim() == 0 or len(values) != len(targets):
        raise ValueError(f"{name} gives losses of shape {tuple(values.shape)} for {len(targets)} examples")
    return values.flatten(1).sum(1) if values.dim() > 1 else values


def weight_of(loss: nn.Module, values: Tensor, targets: Tensor) -> float:
    """What torch divides the sum over a batch by.

    Args:
        loss: the torch loss.
        values: the loss of each number, of some examples.
        targets: the targets of the same examples.
    """
    if getattr(loss, "reduction", "") == "batchmean":
        return float(len(targets))
    if isinstance(loss, _LABELLED) and not targets.is_floating_point():
        counted = targets != loss.ignore_index
        if loss.weight is None:
            return float(counted.sum())
        return float(loss.weight.double().cpu()[targets[counted].cpu()].sum())
    if isinstance(loss, nn.CrossEntropyLoss):
        # targets are probabilities with the classes in the second place
        return float(targets.numel() // targets.shape[1])
    return float(values.numel())


def output_loss(loss: nn.Module, outputs: Tensor, targets: Sequence[Tensor]) -> OutputLoss:
    """The loss of each example, scaled so that its mean over all examples is the loss of all data.

    Args:
        loss: a torch loss that reduces by mean or sum.
        outputs: the outputs for the first few examples.
        targets: the targets of all examples, in one tensor or in several of different shapes.

    Raises:
        ValueError: the loss has no such form, or shapes do not go together.
    """
    each, n = unreduced(loss), sum(map(len, targets))
    name = type(loss).__name__
    some = next(one for one in targets if len(one))[: len(outputs)]
    with torch.no_grad():
        summed(each, outputs, some)
        values = each(outputs, some)
        told, found = loss(outputs, some), values.double().sum()
        if loss.reduction == "sum":
            factor, expected = float(n), found
        else:
            total = sum(_weight_of_all(loss, values, some, one) for one in targets)
            if total == 0:
                raise ValueError(f"loss: {name} ignores every label")
            factor, expected = n / total, found / weight_of(loss, values, some)
    rough = 1e-3 if outputs.dtype in (torch.float32, torch.float64) else 3e-2
    if bool(told.isfinite()) and not torch.allclose(told.double(), expected, rtol=rough, atol=1e-6):
        raise ValueError(
            f"loss: {name} is no mean of its own values with reduction='none': give a function (module, batch) -> "
            "losses of shape (N,)"
        )
    return _log_likelihood(loss, outputs, targets, factor) or Each(loss, factor)


def _weight_of_all(loss: nn.Module, values: Tensor, some: Tensor, targets: Tensor) -> float:
    """What torch divides a sum over all these targets by; ``values`` are those of ``some`` targets."""
    if isinstance(loss, _LABELLED) or getattr(loss, "reduction", "") == "batchmean":
        return weight_of(loss, values, targets)
    if values.shape == some.shape:
        return float(targets.numel())
    return values.numel() / len(some) * len(targets)


def _log_likelihood(loss: nn.Module, outputs: Tensor, targets: Sequence[Tensor], factor: float) -> OutputLoss | None:
    """The loss as thalweg's own, which has a GGN; None where it has other terms."""
    if type(loss) is nn.CrossEntropyLoss:
        plain = loss.weight is None and loss.label_smoothing == 0.0 and outputs.dim() == 2
        counted = all(bool(((one >= 0) & (one != loss.ignore_index)).all()) for one in targets)
        if plain and counted and not any(one.is_floating_point() for one in targets):
            return CrossEntropy() if factor == 1.0 else Multiple(CrossEntropy(), factor)
    if len({one.shape[1:] for one in targets}) > 1:
        return None
    if type(loss) is nn.MSELoss:
        return SquaredError(factor)
    if type(loss) is nn.BCEWithLogitsLoss and loss.weight is None and loss.pos_weight is None:
        return SigmoidCrossEntropy() if factor == 1.0 else Multiple(SigmoidCrossEntropy(), factor)
    return None
