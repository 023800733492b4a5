"""At which curvature torch's optimizers stop being stable, and what they divide the gradient by.

On a quadratic with full batches and the preconditioner P held where it is, an optimizer is a linear recursion in each
eigenvector of P^-1/2 H P^-1/2. It is stable for eigenvalues up to a limit over the learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

PRECONDITIONED = frozenset({"Adam", "AdamW", "RMSprop", "Adagrad"})
"""Classes of ``torch.optim`` whose limit is one of the preconditioned curvature."""


def stability_limit(cls: str, arguments: Mapping[str, Any]) -> float | None:
    """The limit of lr times curvature below which ``torch.optim.<cls>`` is stable; None where it is not known.

    With momentum mu and a = lr times the weight decay, which adds to the curvature where it is a penalty:

        SGD                  2 - a
        SGD, momentum        (2 + 2 mu) / (1 - dampening) - a
        SGD, Nesterov        (2 + 2 mu) / (1 + 2 mu) - a
        RMSprop, Adagrad     2, or 2 + 2 mu; not with a penalty, which is preconditioned too
        Adam, AMSGrad        (2 + 2 beta1) / (1 - beta1); not with a penalty
        AdamW                (2 - a) (1 + beta1) / (1 - beta1)

    The limit of Adam's is that of its heavy ball after bias correction has faded, or with it as part of P as in
    ``preconditioner``. Each is where a root of the recursion's polynomial passes -1.

    Args:
        cls: the class's name.
        arguments: its arguments, ``lr`` among them; those left out count as torch's defaults.

    Source: Cohen et al. 2021, equation 1 and appendix B, for SGD; Cohen et al. 2022, section 3, for Adam.

    >>> stability_limit("SGD", {"lr": 0.1, "momentum": 0.5, "nesterov": True})
    1.5
    """
    lr, decay = arguments.get("lr", 1e-3), arguments.get("weight_decay", 0.0)
    mu = arguments.get("momentum", 0.0)
    if cls == "SGD":
        if arguments.get("nesterov", False):
            return float((2 + 2 * mu) / (1 + 2 * mu) - lr * decay)
        dampening = arguments.get("dampening", 0.0) if mu else 0.0
        return float((2 + 2 * mu) / (1 - dampening) - lr * decay)
    if cls in ("Adam", "AdamW"):
        beta1 = arguments.get("betas", (0.9, 0.999))[0]
        decoupled = cls == "AdamW" or arguments.get("decoupled_weight_decay", False)
        if decay and not decoupled:
            return None
        return float((2 - lr * decay) * (1 + beta1) / (1 - beta1))
    if cls == "RMSprop":
        return None if decay or arguments.get("centered", False) else float(2 + 2 * mu)
    if cls == "Adagrad":
        return None if decay or arguments.get("lr_decay", 0.0) else 2.0
    return None


def preconditioner(optimizer: torch.optim.Optimizer) -> list[Tensor] | None:
    """The diagonal P, one real tensor a trained parameter, such that the last step was -lr P^-1 times a momentum.

        Adam, AdamW    (1 - beta1^t) (sqrt(v / (1 - beta2^t)) + eps): both bias corrections; AMSGrad's with its max of v
        RMSprop        sqrt(v) + eps, which torch does not correct
        Adagrad        sqrt(G) + eps

    None for other classes, before the first step, and for variants that divide by something else.

    Source: Cohen et al. 2022, section 2, for Adam.
    """
    import torch

    cls = type(optimizer)
    name = next((name for name in PRECONDITIONED if cls is getattr(torch.optim, name)), None)
    if name is None:
        return None
    found = []
    for group in optimizer.param_groups:
        if group.get("centered") or group.get("lr_decay"):
            return None
        for parameter in group["params"]:
            if not parameter.requires_grad:
                continue
            state = optimizer.state.get(parameter, {})
            steps = float(state.get("step", 0))
            if not steps:
                return None
            found.append(_diagonal(name, state, group, steps))
    return found


def _diagonal(name: str, state: Mapping[str, Tensor], group: Mapping[str, Any], steps: float) -> Tensor:
    from thalweg.contracts.real import as_real

    eps: float = group["eps"]
    if name == "RMSprop":
        return as_real(state["square_avg"].detach()).sqrt() + eps
    if name == "Adagrad":
        return as_real(state["sum"].detach()).sqrt() + eps
    beta1, beta2 = group["betas"]
    second = as_real(state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"].detach())
    diagonal: Tensor = ((second / (1 - beta2**steps)).sqrt() + eps) * (1 - beta1**steps)
    return diagonal
