"""What must stay as it was when a trial was put together: which parameters there are, and which of them train.

The optimizer was built with them, and so were gradients, weight decay and checkpoints. Torch would go on without a
word where a network makes a parameter in its forward pass, swaps one for another, or thaws one in mid-training: the
optimizer would not know of it, or find gradients that nobody had set to zero.
"""

from __future__ import annotations

from torch import nn


class Steady:
    """The parameters of a module as they were.

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
        """ValueError where another parameter than at first is trained; quick enough for every step."""
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
