"""Checks of an optimizer on networks with unusual weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.errors import Diverged
from thalweg.registry import Registry
from thalweg.testing.condition import DoesNotApply, condition, expect
from thalweg.testing.small import Workbench, network
from thalweg.training.randomness import seeded

STEPS = 10


@condition(
    finds="weights that are changed though they are frozen, as by weight decay",
    means="a frozen layer is trained after all, so the trial is of another experiment than the one that was asked for",
)
def leaves_frozen_weights_alone(registry: Registry, name: str) -> None:
    """Ten steps do not change a parameter whose requires_grad is False, with weight decay where there is one."""
    with seeded(0):
        module = network()
        frozen = module.get_parameter("0.weight").requires_grad_(False)
        before = frozen.detach().clone()
        decays = [option.name for option in registry.optimizer(name).options if option.name == "weight_decay"]
        try:
            Workbench(registry, name, module=module, given=dict.fromkeys(decays, 0.1)).path(0, STEPS)
        except Exception as error:
            raise DoesNotApply(f"it does not train such a network ({type(error).__name__}: {error})") from error
    expect(torch.equal(before, frozen), f"a frozen weight as before after {STEPS} steps", "it has changed")


@condition(
    finds="steps that fail or are not finite where a gradient is zero, such as g / |g|",
    means="trials on networks with unused weights fail or diverge, which says nothing about the method",
)
def stays_finite_where_a_gradient_is_zero(registry: Registry, name: str) -> None:
    """A parameter without any influence on the loss, whose gradient is zero, leaves the training finite."""
    for module in (_Spare(spare=False), _Spare(spare=True)):
        with seeded(0):
            bench = Workbench(registry, name, module=module)
            try:
                bench.steps(0, STEPS)
                finite = all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())
            except Diverged:
                finite = False
        if finite:
            continue
        if not module.has_spare:
            raise DoesNotApply(f"it diverges within {STEPS} steps at its defaults")
        expect(False, "finite weights where a gradient is zero", "weights that are not finite")


@condition(
    finds="a step that fails or is not finite for weights of 0, 1, 3 or 4 dimensions",
    means="trials of convolutional networks, or of networks with single numbers as weights, fail",
)
def takes_weights_of_any_shape(registry: Registry, name: str) -> None:
    """Ten steps train a network with a single number, kernels of 3 and 4 dimensions, vectors and a matrix."""
    with seeded(0):
        module = _Shapes()
        bench = Workbench(registry, name, module=module)
        try:
            bench.steps(0, STEPS)
        except Diverged as error:
            raise DoesNotApply(f"it diverges within {STEPS} steps at its defaults") from error
    for label, parameter in module.named_parameters():
        finite = bool(torch.isfinite(parameter).all())
        expect(finite, f"finite weights after {STEPS} steps", f"{label} of shape {tuple(parameter.shape)} is not")


class _Spare(nn.Module):
    """A small network, and a parameter that the network does not use."""

    def __init__(self, spare: bool) -> None:
        super().__init__()
        self.has_spare = spare
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        if spare:
            self.spare = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to (n, 3)."""
        outputs: Tensor = self.body(x)
        return outputs


class _Shapes(nn.Module):
    """Kernels of 4 and of 3 dimensions, a matrix, vectors and a single number."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.image, self.sequence = nn.Conv2d(1, 4, 2), nn.Conv1d(4, 4, 2)
            self.last = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """(n, 6) to (n, 3)."""
        h = torch.tanh(self.image(x.view(-1, 1, 2, 3))).flatten(2)
        outputs: Tensor = self.last(torch.tanh(self.sequence(h)).flatten(1)) * self.scale
        return outputs
