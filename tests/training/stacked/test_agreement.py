"""Networks and losses that a list of operations would get wrong train as they train alone, or alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from probing import ref
from thalweg.contracts import Architecture, Hyperparameter, Optimizer, Shape, StackedStepper, Stepper, StepReport
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.losses import SigmoidCrossEntropy
from thalweg.contracts.supervised import Supervised
from thalweg.registry import Registry
from thalweg.training import assembly
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble, load_problem
from thalweg.training.stacked.stackable import why_alone
from thalweg.training.stacked.train import train_together
from thalweg.trial import Stack, Trial


class Parts(nn.Module):
    """Two layers and what ``way`` makes of them. The head begins at zero, so that first losses show nothing."""

    def __init__(self, way: Callable[[Any, Tensor], Tensor], image: bool = False) -> None:
        super().__init__()
        self.a: nn.Module = nn.Conv2d(1, 3, 3, padding=1) if image else nn.Linear(64, 8)
        self.b: nn.Module = nn.Conv2d(3, 3, 3, padding=1) if image else nn.Linear(8, 8)
        self.relu, self.pool, self.norm = nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.BatchNorm1d(8)
        self.head = nn.Linear(192 if image else 8, 10)
        nn.init.zeros_(self.head.weight)
        self.register_buffer("mean", torch.zeros(8))
        self.unused = nn.Linear(3, 3)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.way(self, x).flatten(1))


def without_graph(net: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        h = torch.relu(net.a(x))
    return net.b(h)


def pooled(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    return net.b(h) + net.pool(h)


def used_again(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    return net.relu(h) + net.b(h)


def added_in_place(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    h.add_(torch.tanh(net.b(h)))
    return h


def gated(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    return h + h[:, :1]


def watched(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    if h.requires_grad:
        h.register_hook(lambda g: g * 0.1)
    return net.b(h)


def averaged(net: Any, x: Tensor) -> Tensor:
    h = net.a(x)
    if net.training:
        net.mean = 0.9 * net.mean + 0.1 * h.detach().mean(0)
    return net.b(h) - net.mean


class Frozen(nn.BatchNorm1d):
    """Batch norm that stays in evaluation mode."""

    def train(self, mode: bool = True) -> Frozen:
        super().train(False)
        return self


def frozen(net: Any, x: Tensor) -> Tensor:
    return net.norm(net.a(x))


class Standardized(nn.Conv2d):
    """A convolution that standardizes its weight, in a method of torch's own name."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(x, weight - weight.mean((1, 2, 3), keepdim=True), bias)


def standardized(net: Any, x: Tensor) -> Tensor:
    return net.b(net.a(x))


WAYS: dict[str, tuple[Callable[..., Tensor], bool]] = {
    way.__name__: (way, way in (pooled, standardized))
    for way in (without_graph, pooled, used_again, added_in_place, gated, watched, averaged, frozen, standardized)
}


def odd(name: str) -> Architecture:
    """An architecture of one of the ways."""
    way, image = WAYS[name]

    class Odd(Architecture):
        def build(self, options: Any, shape: Shape) -> nn.Module:
            net = Parts(way, image)
            if name == "frozen":
                net.norm = Frozen(8)
            if name == "standardized":
                net.b = Standardized(3, 3, 3, padding=1)
            return net

    Odd.name = Odd.summary = name
    return Odd()


def trial(architecture: str, image: bool, **changes: Any) -> Trial:
    values: dict[str, Any] = {
        "problem": ref("digits", layout="image") if image else ref("digits"),
        "architecture": ref(architecture),
        "optimizer": ref("momentum", lr=0.05),
        "budget": Budget(steps=12),
        "evaluate_every": Interval(steps=6),
        "batch_size": 25,
        "dtype": "float64",
        "stack": Stack(size=4, slot=0),
        "seed": 0,
    }
    return Trial(**(values | changes))


@pytest.mark.parametrize("name", WAYS)
def test_a_network_that_operations_do_not_show_trains_as_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    architecture = odd(name)
    monkeypatch.setattr(registry, "architecture", lambda *_: architecture)
    asked = [trial(name, WAYS[name][1], seed=seed, coupled_weight_decay=0.01) for seed in range(3)]
    if why_alone(asked[0], registry) is not None:
        return
    for one, ours in zip(asked, train_together(asked, registry, keep="weights"), strict=True):
        theirs = Training(
            assemble(one.model_copy(update={"stack": None}), registry), [], lambda *_: None, "weights"
        ).run()
        assert ours.status == theirs.status == "done"
        for key, weight in (theirs.weights.final or {}).items():
            assert ours.weights.final is not None
            torch.testing.assert_close(ours.weights.final[key], weight, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(
            torch.tensor(ours.curve["value"].to_numpy()), torch.tensor(theirs.curve["value"].to_numpy())
        )


def test_the_ways_are_told_apart(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = {}
    for name, (_, image) in WAYS.items():
        architecture = odd(name)
        monkeypatch.setattr(registry, "architecture", lambda *_, it=architecture: it)
        reasons[name] = why_alone(trial(name, image), registry)
    alone = {name for name, reason in reasons.items() if reason is not None}
    assert {"watched", "averaged"} <= alone < WAYS.keys()
    assert "otherwise than the network alone" in str(reasons["watched"])


class Weighted(SigmoidCrossEntropy):
    """Positive targets count five times. The gradient's formula is inherited, and is another loss's."""

    def per_example(self, outputs: Tensor, targets: Tensor) -> Tensor:
        weight = torch.full_like(outputs[0], 5.0)
        every = functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none", pos_weight=weight)
        return every.flatten(1).sum(1)


def test_a_loss_that_inherits_another_losss_gradient(registry: Registry) -> None:
    changes = {"problem": ref("digits-autoencoder"), "optimizer": ref("momentum", lr=1e-4)}
    asked = [trial("autoencoder", False, seed=seed, **changes) for seed in range(2)]
    asked = [one.model_copy(update={"architecture": ref("autoencoder", widths=[8, 3])}) for one in asked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "_loaded", {})
        patch.setattr(Supervised, "__init__", _weighted(Supervised.__init__))
        problem = load_problem(asked[0], registry)
        assert isinstance(problem, Supervised)
        assert type(problem.output_loss) is Weighted
        for one, ours in zip(asked, train_together(asked, registry), strict=True):
            theirs = Training(assemble(one.model_copy(update={"stack": None}), registry), [], lambda *_: None).run()
            torch.testing.assert_close(
                torch.tensor(ours.curve["value"].to_numpy()), torch.tensor(theirs.curve["value"].to_numpy())
            )


def _weighted(init: Callable[..., None]) -> Callable[..., None]:
    def build(self: Supervised, data: Any, output_loss: Any, *rest: Any, **named: Any) -> None:
        init(self, data, Weighted(), *rest, **named)

    return build


class Normed(Optimizer):
    """w <- w - lr g / ||g||, for each parameter: not elementwise, and with a form for many members."""

    name = summary = "normed"
    stacks = True
    options = (Hyperparameter("lr", 0.01, "(0, inf)", "learning rate"),)
    wrong = False

    def build(self, module: nn.Module, hyperparameters: Any, context: Any) -> Stepper:
        optimizer = self

        class One(Stepper):
            lr = float(hyperparameters["lr"])

            @torch.no_grad()
            def step(self, objective: Any) -> StepReport:
                objective.backward()
                for parameter in objective.parameters:
                    parameter.sub_(self.lr * parameter.grad / (parameter.grad.norm() + 1e-3))
                return StepReport()

            def state_dict(self) -> dict[str, Any]:
                return {"lr": self.lr}

            def load_state_dict(self, state: dict[str, Any]) -> None:
                self.lr = state["lr"]

        assert optimizer.stacks
        return One()

    def build_stacked(self, module: Any, members: Any, context: Any) -> StackedStepper:
        each = module.members // len(members)
        together = self.wrong

        class Many(StackedStepper):
            def __init__(self) -> None:
                self.lrs = [float(member["lr"]) for member in members]

            @torch.no_grad()
            def step(self, objective: Any) -> StepReport:
                objective.backward()
                for piece in module.pieces.values():
                    if piece.gradient is None:
                        continue
                    flat = piece.gradient.flatten(1)
                    norms = flat.norm().expand(len(flat)) if together else torch.stack([one.norm() for one in flat])
                    rates = torch.tensor(self.lrs, dtype=torch.float64).repeat_interleave(each).to(flat)
                    piece.value.sub_((flat * (rates / (norms + 1e-3)).unsqueeze(1)).view(piece.value.shape))
                return StepReport()

            def state_dict(self) -> dict[str, Any]:
                return {"lrs": self.lrs}

            def load_state_dict(self, state: dict[str, Any]) -> None:
                self.lrs = state["lrs"]

        return Many()


@pytest.mark.parametrize("wrong", [False, True], ids=["right", "wrong"])
def test_an_optimizer_of_whole_tensors_can_say_that_it_stacks(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, wrong: bool
) -> None:
    optimizer = Normed()
    optimizer.wrong = wrong
    monkeypatch.setattr(registry, "optimizer", lambda *_: optimizer)
    asked = [
        trial(
            "mlp",
            False,
            seed=seed,
            optimizer=ref("normed", lr=0.01 * (1 + seed)),
            stack=Stack(size=4, slot=0, rows=True),
        )
        for seed in range(3)
    ]
    reason = why_alone(asked[0], registry)
    if wrong:
        assert "'normed' steps otherwise in a stack" in str(reason)
        return
    assert reason is None
    for one, ours in zip(asked, train_together(asked, registry), strict=True):
        theirs = Training(assemble(one.model_copy(update={"stack": None}), registry), [], lambda *_: None).run()
        torch.testing.assert_close(
            torch.tensor(ours.curve["value"].to_numpy()), torch.tensor(theirs.curve["value"].to_numpy())
        )
