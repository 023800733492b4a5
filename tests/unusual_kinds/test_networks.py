"""Networks of unusual kinds: each trains as in a loop by hand, or is refused with the reason."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from handmade import BATCH, CLASSES, EPOCH, INPUTS, Parts, examples, farthest, loaded, mlp, sgd_by_hand, start
from thalweg import Hyperparameter, Optimizer, Stepper, StepReport
from thalweg.contracts import Draw
from thalweg.contracts.objective import Objective
from thalweg.curvature import GGN, Hessian
from thalweg.landscape import flat, losses_at
from thalweg.registry import Registry
from thalweg.training import hidden
from thalweg.training.stacked.train import train_together
from thalweg.training.statistics import statistics_at
from thalweg.trial import Stack

ROUNDING = 1e-12
"""Thirty steps in float64, whose sums may be added up in another order."""


class Body(nn.Module):
    """A body with batch norm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(INPUTS, 5), nn.BatchNorm1d(5), nn.Tanh())
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.body(x))
        return out


class Recomputed(Body):
    """Goes forward through its body once more in each backward pass, and so through its batch norm."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(checkpoint(self.body, x, use_reentrant=False))
        return out


class Twice(Optimizer):
    """Two gradients a step, of which the second one counts."""

    name, summary, equation, source = "twice", "for tests", "w <- w - lr g", "none"
    options = (Hyperparameter("lr", 0.1, "(0, inf)", "learning rate"),)

    def build(self, module: nn.Module, hyperparameters: Any, context: Any) -> Stepper:
        return TwiceStepper(hyperparameters["lr"])


class TwiceStepper(Stepper):
    def __init__(self, lr: float) -> None:
        self.lr = lr

    def step(self, objective: Objective) -> StepReport:
        objective.gradient()
        _, gradient = objective.gradient()
        with torch.no_grad():
            for p, g in zip(objective.parameters, gradient, strict=True):
                p -= self.lr * g
        return StepReport()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


@pytest.mark.parametrize("optimizer", ["sgd", Twice()], ids=["sgd", "two gradients"])
def test_a_checkpointed_batch_norm_advances_once_a_step(registry: Registry, optimizer: Any) -> None:
    training, trained = Parts(registry, Recomputed, optimizer).trained(lr=0.1)
    assert trained.status == "done"
    assert training.it.module.body[1].num_batches_tracked == 5 * EPOCH
    assert farthest(training.it.module, sgd_by_hand(Body, 0.1)) < ROUNDING


def test_curvature_of_a_checkpointed_network_leaves_its_statistics() -> None:
    found = []
    data = loaded()
    for kind in (Body, Recomputed):
        module = start(kind)
        objective = Objective(module, data, Draw(0, BATCH), advances_buffers=False)
        objective.begin_step(data.batch("train", 0, Draw(0, BATCH)), 0)
        size = sum(p.numel() for p in module.parameters())
        vectors = torch.randn(2, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        found.append([Hessian(objective).products(vectors), GGN(objective).products(vectors), objective.gradient()[0]])
        assert module.get_buffer("body.1.num_batches_tracked") == 0
        assert torch.equal(module.get_buffer("body.1.running_mean"), torch.zeros(5, dtype=torch.float64))
    for plain, recomputed in zip(*found, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=0, atol=ROUNDING)


class Late(nn.Module):
    """Creates its head in its first forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(INPUTS, 5)
        self.head: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.body(x))
        if self.head is None:
            self.head = nn.Linear(5, CLASSES, dtype=x.dtype)
        out: Tensor = self.head(h)
        return out


class Thaws(nn.Module):
    """Trains its body from the second epoch on, or only until then."""

    def __init__(self, at_first: bool) -> None:
        super().__init__()
        self.net, self.epochs, self.at_first = mlp(), 0, at_first
        self.net[0].requires_grad_(at_first)

    def train(self, mode: bool = True) -> Thaws:
        super().train(mode)
        self.epochs += mode
        if self.epochs > 2:
            self.net[0].requires_grad_(not self.at_first)
        return self

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Rebuilt(nn.Module):
    """Has a new head in each evaluation, with the old one's numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def eval(self) -> Rebuilt:
        super().eval()
        self.net[2].weight = nn.Parameter(self.net[2].weight.detach().clone())
        return self

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class Merges(nn.Module):
    """Adds a product of two narrow matrices to a frozen weight: by itself in training, merged in evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, INPUTS), requires_grad=False)
        self.a, self.b = nn.Parameter(torch.randn(2, INPUTS)), nn.Parameter(torch.zeros(CLASSES, 2))
        self.merged = False

    def train(self, mode: bool = True) -> Merges:
        super().train(mode)
        if self.merged == mode:
            self.weight.data += (-1 if mode else 1) * self.b.data @ self.a.data
            self.merged = not mode
        return self

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight if self.merged else self.weight + self.b @ self.a)


class Remembers(nn.Module):
    """Subtracts a running mean that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(INPUTS, CLASSES)
        self.mean: Any = 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        out: Tensor = self.out(x - self.mean)
        return out


class Cools(nn.Module):
    """Divides its outputs by a temperature that falls with each pass in training."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.passes = nn.Linear(INPUTS, CLASSES), 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += self.training
        out: Tensor = self.out(x) * (1 + 0.1 * self.passes)
        return out


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (Late, r"head.weight is a parameter that the optimizer does not know: make it in build"),
        (lambda: Thaws(False), r"net.0.weight is trained since: .* requires_grad must stay"),
        (lambda: Thaws(True), r"net.0.weight is no longer trained: .* requires_grad must stay"),
        (Rebuilt, r"net.2.weight is another parameter than the one that the optimizer trains"),
        (Merges, r"Merges.eval\(\) writes into the weights"),
        (Remembers, r"network Remembers depends on more than its state_dict \(mean\).*register_buffer"),
        (Cools, r"network Cools depends on more than its state_dict \(passes\)"),
    ],
    ids=["late", "thaws", "freezes", "rebuilt", "merges", "remembers", "cools"],
)
def test_what_would_be_another_network_is_refused_by_name(
    registry: Registry, network: Callable[[], nn.Module], said: str
) -> None:
    _, trained = Parts(registry, network).trained(lr=0.1)
    assert trained.status == "failed"
    assert "\n" not in trained.reason
    assert re.search(said, trained.reason), trained.reason


def test_a_stack_of_networks_with_hidden_state_is_refused_too(registry: Registry) -> None:
    parts: Any = Parts(registry, Cools)
    trials = [parts.trial(lr=0.1, seed=seed, stack=Stack(size=4, slot=0)) for seed in range(2)]
    assert ["passes" in one.reason for one in train_together(trials, parts)] == [True, True]


def test_lazy_layers_without_a_size_are_refused_and_train_with_one(registry: Registry) -> None:
    def lazy(sized: bool) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that lazy modules are new
            net = nn.Sequential(nn.LazyLinear(5), nn.Tanh(), nn.LazyLinear(CLASSES))
        if sized:
            net(torch.zeros(2, INPUTS))
        return net

    with pytest.raises(TypeError, match="has no shape yet: give lazy layers their sizes"):
        Parts(registry, lambda: lazy(False)).trained()
    training, _ = Parts(registry, lambda: lazy(True)).trained(lr=0.1)
    assert farthest(training.it.module, sgd_by_hand(lambda: lazy(True), 0.1)) < ROUNDING


def test_losses_at_refuses_weights_that_evaluation_would_change() -> None:
    module = Merges().double()
    assert losses_at(module, loaded(), flat(module)[None])["loss"].isfinite()  # b = 0: nothing is added
    with torch.no_grad():
        module.b.fill_(1.0)
    with pytest.raises(ValueError, match=r"Merges.eval\(\) writes into the weights"):
        losses_at(module, loaded(), flat(module)[None])


class Instances(nn.Module):
    """Instance norm that keeps statistics of the training examples."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 3, padding=1)
        self.norm = nn.InstanceNorm1d(4, affine=True, track_running_stats=True)
        self.out = nn.Linear(4 * INPUTS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(torch.tanh(self.norm(self.conv(x[:, None]))).flatten(1))
        return out


def instance_moments(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Means over examples of each example's mean and unbiased variance over positions."""
    h = module.conv(x[:, None])
    return h.mean(2).mean(0), h.var(2).mean(0)


def test_tracked_instance_norm_has_the_mean_over_batches_at_averaged_weights(registry: Registry) -> None:
    training, trained = Parts(registry, Instances, "schedule-free-adamw").trained(lr=0.05)
    assert trained.status == "done"
    it = training.it
    data, draw = loaded(), Draw(it.draw.seed_for("statistics"), BATCH)
    with it.stepper.evaluation_weights(), torch.no_grad():
        batches = [data.batch("train", t, draw).inputs for t in range(EPOCH)]
        expected = [
            torch.stack(m).mean(0) for m in zip(*(instance_moments(it.module, x) for x in batches), strict=True)
        ]
        with statistics_at(it, True):
            torch.testing.assert_close(it.module.norm.running_mean, expected[0], rtol=ROUNDING, atol=ROUNDING)
            torch.testing.assert_close(it.module.norm.running_var, expected[1], rtol=ROUNDING, atol=ROUNDING)


def test_tracked_instance_norm_is_re_estimated_at_each_point(registry: Registry) -> None:
    module, other = start(Instances), start(Instances, seed=1)
    x, y = examples()
    found = losses_at(module, loaded(), torch.stack([flat(module), flat(other)]), batch_norm="re-estimated")["loss"]
    for value, at in zip(found, (module, other), strict=True):
        with torch.no_grad():
            mean, variance = instance_moments(at, x)  # all examples fit into one batch
            h = (at.conv(x[:, None]) - mean[:, None]) / (variance[:, None] + at.norm.eps).sqrt()
            h = h * at.norm.weight[:, None] + at.norm.bias[:, None]
            expected = functional.cross_entropy(at.out(torch.tanh(h).flatten(1)), y)
        assert float(value) == pytest.approx(float(expected), rel=ROUNDING)


class OwnNorm(nn.Module):
    """Batch norm written anew, with buffers of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(5))
        self.register_buffer("spread", torch.ones(5))

    def forward(self, h: Tensor) -> Tensor:
        if not self.training:
            return (h - self.get_buffer("centre")) / self.get_buffer("spread")
        centre, spread = h.mean(0), h.std(0) + 1e-3
        with torch.no_grad():
            self.get_buffer("centre").lerp_(centre, 0.1)
            self.get_buffer("spread").lerp_(spread, 0.1)
        return (h - centre) / spread


def own_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, 5), OwnNorm(), nn.Tanh(), nn.Linear(5, CLASSES))


def test_a_norm_of_ones_own_trains_and_is_refused_where_weights_are_averaged(registry: Registry) -> None:
    training, trained = Parts(registry, own_norm).trained(lr=0.1)
    expected = sgd_by_hand(own_norm, 0.1)
    assert farthest(training.it.module, expected) < ROUNDING
    x, y = examples("train")
    loss = functional.cross_entropy(expected.eval()(x), y).item()
    assert trained.summary["final"]["train"]["loss"] == pytest.approx(loss, rel=ROUNDING)
    _, refused = Parts(registry, own_norm, "schedule-free-adamw").trained(lr=0.1)
    assert refused.status == "failed"
    assert "1 (OwnNorm) keeps statistics of the weights that train" in refused.reason


class FixedNorm(Body):
    """Batch norm whose statistics were found before and stay."""

    def __init__(self) -> None:
        super().__init__()
        self.body[1].running_mean.fill_(0.3)
        self.body[1].running_var.fill_(2.0)
        self.body[1].eval()

    def train(self, mode: bool = True) -> FixedNorm:
        super().train(mode)
        self.body[1].eval()
        return self


def test_statistics_that_training_keeps_fixed_stay_so_at_averaged_weights(registry: Registry) -> None:
    _, trained = Parts(registry, FixedNorm, "schedule-free-adamw").trained(lr=0.05)
    assert trained.weights.final is not None
    assert torch.equal(trained.weights.final["body.1.running_mean"], torch.full((5,), 0.3).double())
    x, y = examples()
    module = start(FixedNorm)
    module.load_state_dict(trained.weights.final)
    module.eval()
    loss = functional.cross_entropy(module(x), y).item()
    assert trained.summary["final"]["train"]["loss"] == pytest.approx(loss, rel=ROUNDING)


class Sparse(nn.Module):
    """An embedding whose gradient holds only the rows that were looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(10, 4, sparse=True), nn.Linear(4 * INPUTS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = (x.abs() * 3).long().clamp(max=9)
        out: Tensor = self.out(self.table(tokens).flatten(1))
        return out


class Dense(Sparse):
    def __init__(self) -> None:
        super().__init__()
        self.table.sparse = False


def test_sparse_gradients_train_as_dense_ones_and_are_not_clipped(registry: Registry) -> None:
    training, trained = Parts(registry, Sparse).trained(lr=0.1)
    assert trained.status == "done"
    assert farthest(training.it.module, sgd_by_hand(Dense, 0.1)) < ROUNDING
    _, clipped = Parts(registry, Sparse).trained(lr=0.1, clip_norm=0.5)
    assert clipped.reason == "ValueError: clip_norm takes dense gradients: build embeddings with sparse=False"
    for optimizer, recipe in (("momentum", {"coupled_weight_decay": 0.1}), ("schedule-free-adamw", {}), ("lion", {})):
        ends = [Parts(registry, kind, optimizer).trained(**recipe) for kind in (Sparse, Dense)]
        assert [one.status for _, one in ends] == ["done", "done"]
        assert farthest(*(training.it.module for training, _ in ends)) < ROUNDING


class TwoPrecisions(nn.Module):
    """One list of weights, used in the precision that they have and in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.randn(INPUTS, 5) / 2, torch.randn(5, CLASSES) / 2])

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.weights
        low = torch.tanh(x.to(first.dtype) @ first) @ second
        return (low.double() + torch.tanh(x.double() @ first.double()) @ second.double()) / 2


def test_weights_that_are_used_in_two_precisions_keep_their_own(registry: Registry) -> None:
    """Bitwise: the same operations on the same numbers."""
    training, trained = Parts(registry, TwoPrecisions, Plain).trained(lr=0.1, dtype="float32")
    assert trained.status == "done"
    module, data, draw = start(TwoPrecisions).float(), loaded(), Draw(0, BATCH)
    for t in range(5 * EPOCH):
        batch = data.batch("train", t, draw)
        assert batch.targets is not None
        loss = functional.cross_entropy(module(batch.inputs), batch.targets)
        with torch.no_grad():
            for p, g in zip(module.parameters(), torch.autograd.grad(loss, list(module.parameters())), strict=True):
                assert g.dtype == torch.float32
                p.sub_(0.1 * g)
    assert farthest(training.it.module, module) == 0


class Plain(torch.optim.Optimizer):
    """w <- w - lr g."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            p.sub_(self.param_groups[0]["lr"] * p.grad)


def test_rounding_of_a_loss_near_zero_is_no_hidden_state() -> None:
    """A cross-entropy of 1e-7 in float32 is a difference of numbers around one: two roundings of it are one loss."""
    eps = torch.finfo(torch.float32).eps
    assert hidden._equal(torch.tensor(0.0), torch.tensor(2 * eps))
    assert not hidden._equal(torch.tensor(0.0), torch.tensor(1e-4))
    assert not hidden._equal(torch.tensor(1.0), torch.tensor(1.001))
