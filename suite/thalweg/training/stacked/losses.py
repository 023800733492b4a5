"""The losses of K members and their gradients with respect to the outputs, without autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.contracts.losses import CrossEntropy, OutputLoss
from thalweg.training.direct.common import BLOCK


def losses_and_gradient(loss: OutputLoss, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Each member's mean loss (K,), and the gradient of their sum with respect to the outputs.

    Args:
        loss: the loss of an output.
        outputs: (K, N, ...).
        targets: (K, N, ...).
    """
    k, n = outputs.shape[:2]
    if type(loss) is CrossEntropy and outputs.dim() == 3 and targets.shape == (k, n):
        return cross_entropy(outputs, targets)
    flat, aims = outputs.flatten(0, 1), targets.flatten(0, 1)
    losses = loss.per_example(flat, aims).view(k, n).mean(1)
    return losses, _gradient(loss, flat, aims).view_as(outputs).div_(n)


def _gradient(loss: OutputLoss, outputs: Tensor, targets: Tensor) -> Tensor:
    """The gradient of each example's loss: the loss's own formula, unless a subclass has changed the loss since."""
    own, of = (next(cls for cls in type(loss).__mro__ if name in vars(cls)) for name in ("gradient", "per_example"))
    if issubclass(own, of):
        return loss.gradient(outputs, targets)
    return OutputLoss.gradient(loss, outputs, targets)


def cross_entropy(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of each member (K,), and (softmax - one-hot) / N in the shape of the outputs (K, N, C).

    With the classes before the examples, one instruction works on the same class of many examples. torch's own
    softmax takes the classes last, which takes three times as long for ten classes.
    """
    n = outputs.shape[1]
    at = targets.long().unsqueeze(1)
    z = outputs.transpose(1, 2)
    z = apart(z) if z[0].numel() % BLOCK else z.clone(memory_format=torch.contiguous_format)
    z.sub_(z.amax(1, keepdim=True))
    of_target = z.gather(1, at)
    total = z.exp_().sum(1, keepdim=True)
    losses = (total.log() - of_target).mean((1, 2))
    z.div_(total.mul_(n)).scatter_add_(1, at, z.new_full((1, 1, 1), -1 / n).expand_as(at))
    return losses, z.transpose(1, 2)


def apart(z: Tensor) -> Tensor:
    """A copy with a gap after each member's numbers, so that kernels begin anew at every member."""
    length = z[0].numel()
    gap = BLOCK + -length % BLOCK
    return z.new_empty(len(z), length + gap)[:, :length].view(z.shape).copy_(z)
