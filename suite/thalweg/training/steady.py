"""Checks that a network keeps the parameters, and trains those, with which the trial began.

The optimizer, weight decay and checkpoints were built for these parameters. A network may make a parameter in its
forward pass, replace one, or begin to train a frozen one. torch raises no error then: the optimizer would not know the
parameter, or would find a gradient that nobody had set to zero.
"""

from __future__ import annotations

from torch import nn


class Steady:
    """Remembers the parameters of a module, and compares.

    >>> net = nn.Linear(2, 1)
    >>> steady = Steady(net)
    >>> steady.check()
    >>> _ = net.bias.requires_grad_(False)
    >>> steady.check_trained()
    Traceback (most recent call last):
    ...
    ValueError: bias is no longer trained: what trains is fixed when a trial begins, and requires_grad must stay
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._named = list(module.named_parameters())
        self._trained = [parameter.requires_grad for _, parameter in self._named]

    def check_trained(self) -> None:
        """ValueError where other parameters are trained than at first. Quick enough for every step."""
        if [parameter.requires_grad for _, parameter in self._named] == self._trained:
            return
        name, parameter = next(
            pair for pair, before in zip(self._named, self._trained, strict=True) if pair[1].requires_grad != before
        )
        what = "trained since" if parameter.requires_grad else "no longer trained"
        raise ValueError(f"{name} is {what}: what trains is fixed when a trial begins, and requires_grad must stay")

    def check(self) -> None:
        """ValueError where the module has other parameters than at first, or trains others."""
        self.check_trained()
        now = list(self._module.named_parameters())
        if [(name, id(one)) for name, one in now] == [(name, id(one)) for name, one in self._named]:
            return
        before, after = dict(self._named), dict(now)
        for name in after:
            if name not in before:
                raise ValueError(f"{name} is a parameter that the optimizer does not know: make it in build, not later")
        for name in before:
            if name not in after:
                raise ValueError(f"{name} is a parameter no longer: a network must keep those that it was built with")
        name = next((name for name in after if after[name] is not before[name]), next(iter(after)))
        raise ValueError(
            f"{name} is another parameter than the one that the optimizer trains: write into it, and keep it"
        )
