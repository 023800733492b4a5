"""Optimizers of unusual kinds: each makes the steps of a loop by hand, or is refused with the reason."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from handmade import BATCH, EPOCH, Parts, by_hand, examples, farthest, loaded, mlp, start
from probing import ref
from thalweg.contracts import Draw
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.schedule import Schedule
from thalweg.errors import UserError
from thalweg.registry import Registry
from thalweg.training.alone import Training
from thalweg.training.assembly import active_probes, assemble
from thalweg.training.continuing import cannot_continue
from thalweg.training.copies import copied_stepper
from thalweg.training.rate import check_rate
from thalweg.training.stacked.stack import CannotStackError
from thalweg.training.stacked.stackable import why_alone
from thalweg.training.stacked.train import train_together
from thalweg.trial import ProbeRequest, Stack

ROUNDING = 1e-12
"""Thirty steps in float64, whose sums may be added up in another order."""


def gradients(module: nn.Module, x: Tensor, y: Tensor, penalty: float = 0.0) -> list[Tensor]:
    loss = functional.cross_entropy(module(x), y)
    loss = loss + penalty / 2 * torch.stack([p.square().sum() for p in module.parameters()]).sum()
    return list(torch.autograd.grad(loss, list(module.parameters())))


class PerWeight(torch.optim.Optimizer):
    """A base class of this file's optimizers, whose ``one`` moves a parameter."""

    def __init__(self, params: Any, lr: float = 0.05) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                self.one(p, group["lr"], self.state[p])

    def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
        raise NotImplementedError


class Swaps(PerWeight):
    """Puts a new tensor into ``p.data``, and keeps the last gradient itself, no copy of it."""

    def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
        last = state.get("last")
        state["last"] = p.grad
        assert p.grad is not None
        p.data = p.data - lr * (p.grad if last is None else p.grad + 0.5 * last)


COSINE = Schedule(name="cosine")


@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"decoupled_weight_decay": 0.3},
        {"coupled_weight_decay": 0.3, "clip_norm": 0.2, "schedule": COSINE},
    ],
    ids=["plain", "decoupled", "coupled, clipped, cosine"],
)
def test_new_tensors_and_kept_gradients_follow_every_recipe(registry: Registry, recipe: dict[str, Any]) -> None:
    module = start(mlp)
    last: list[Tensor] = []

    def step(t: int, x: Tensor, y: Tensor) -> None:
        nonlocal last
        found = gradients(module, x, y, recipe.get("coupled_weight_decay", 0.0))
        if "clip_norm" in recipe:
            norm = torch.cat([g.flatten() for g in found]).norm()
            found = [g * min(1.0, float(recipe["clip_norm"] / (norm + 1e-6))) for g in found]
        lr = 0.05 * ((1 + math.cos(math.pi * t / (5 * EPOCH))) / 2 if "schedule" in recipe else 1)
        with torch.no_grad():
            for index, (p, g) in enumerate(zip(module.parameters(), found, strict=True)):
                before = p.clone()
                p -= lr * (g + 0.5 * last[index] if last else g)
                p -= lr * recipe.get("decoupled_weight_decay", 0.0) * before
        last = found

    by_hand(module, step)
    training, trained = Parts(registry, mlp, Swaps).trained(**recipe)
    assert trained.status == "done"
    assert farthest(training.it.module, module) < ROUNDING


class Lookahead(PerWeight):
    """Wraps momentum; each fifth step goes half-way from slow weights to fast ones (Zhang et al. 2019)."""

    def __init__(self, params: Any, lr: float = 0.05) -> None:
        params = list(params)
        super().__init__(params, lr)
        self.inner = torch.optim.SGD(params, lr=lr, momentum=0.9)
        self.param_groups = self.inner.param_groups

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for p in self.param_groups[0]["params"]:
            if not self.state[p]:
                self.state[p].update(slow=p.clone(), steps=0)
        self.inner.step()
        super().step()

    def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
        state["steps"] += 1
        if state["steps"] % 5 == 0:
            p.copy_(state["slow"].lerp_(p, 0.5))


class Whole(Lookahead):
    """Lookahead with all of its state in ``state_dict``."""

    def state_dict(self) -> Any:
        return {**super().state_dict(), "inner": self.inner.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict({key: state[key] for key in ("state", "param_groups")})
        self.inner.load_state_dict(state["inner"])
        self.param_groups = self.inner.param_groups


class Severed(Lookahead):
    """Lookahead without momentum; after loading, it no longer shares groups with the optimizer that it wraps."""

    def __init__(self, params: Any, lr: float = 0.05) -> None:
        super().__init__(params, lr)
        self.inner.param_groups[0]["momentum"] = 0.0


class Deaf(Lookahead):
    """Lookahead that never shares groups with the optimizer that it wraps."""

    def __init__(self, params: Any, lr: float = 0.05) -> None:
        super().__init__(params, lr)
        self.param_groups = [dict(group) for group in self.inner.param_groups]


@pytest.mark.parametrize("cosine", [False, True])
def test_a_wrapper_is_the_loop_by_hand_also_under_a_schedule(registry: Registry, cosine: bool) -> None:
    module = start(mlp)
    slow = [p.detach().clone() for p in module.parameters()]
    velocity = [torch.zeros_like(p) for p in slow]

    def step(t: int, x: Tensor, y: Tensor) -> None:
        lr = 0.05 * ((1 + math.cos(math.pi * t / (5 * EPOCH))) / 2 if cosine else 1)
        found = gradients(module, x, y)
        with torch.no_grad():
            for p, g, v, s in zip(module.parameters(), found, velocity, slow, strict=True):
                p -= lr * v.mul_(0.9).add_(g)
                if t % 5 == 4:
                    p.copy_(s.add_(0.5 * (p - s)))

    by_hand(module, step)
    training, trained = Parts(registry, mlp, Whole).trained(schedule=COSINE if cosine else Schedule())
    assert trained.status == "done"
    assert farthest(training.it.module, module) < ROUNDING


def test_a_rate_that_does_not_reach_the_steps_is_refused_with_a_schedule(registry: Registry) -> None:
    class Copies(PerWeight):
        """Copies the rate into each weight's state, and never looks at it again."""

        def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
            assert p.grad is not None
            p.sub_(state.setdefault("rate", lr) * p.grad)

    class Decides(PerWeight):
        """Has a schedule of its own, which overwrites the rate in each step."""

        @torch.no_grad()
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            self.calls = getattr(self, "calls", 0) + 1
            self.param_groups[0]["lr"] = 0.1 / self.calls
            super().step()

        def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
            assert p.grad is not None
            p.sub_(lr * p.grad)

    for cls, named in ((Deaf, "deaf"), (Copies, "copies"), (Decides, "decides")):
        parts: Any = Parts(registry, mlp, cls)
        check_rate(parts.trial(), parts)
        with pytest.raises(UserError, match=f"optimizer '{named}' steps as before when its lr is halved"):
            check_rate(parts.trial(schedule=COSINE), parts)
    for kind in (Whole, Swaps):
        parts = Parts(registry, mlp, kind)
        check_rate(parts.trial(schedule=COSINE), parts)


def test_a_wrapper_that_loses_the_schedule_when_loaded_cannot_be_continued(registry: Registry) -> None:
    parts: Any = Parts(registry, mlp, Severed)
    assert cannot_continue(parts.trial(), parts, 30) is None
    assert "makes other steps after its state was saved and loaded" in str(
        cannot_continue(parts.trial(schedule=COSINE), parts, 30)
    )
    whole: Any = Parts(registry, mlp, Whole)
    assert cannot_continue(whole.trial(schedule=COSINE), whole, 30) is None


def test_a_wrapper_that_is_whole_goes_on_to_the_bit(registry: Registry) -> None:
    parts = Parts(registry, mlp, Whole)
    training, _ = parts.trained(schedule=COSINE)
    broken = parts.training(schedule=COSINE)
    kept: list[bytes] = []

    class Checkpoint:
        due = True

        def save(self, state: dict[str, Any]) -> None:
            file = io.BytesIO()
            torch.save(state, file)
            kept.append(file.getvalue())

    broken.checkpoint = Checkpoint()  # type: ignore[assignment]
    broken.run()
    again = parts.training(schedule=COSINE)
    again.restore(torch.load(io.BytesIO(kept[1]), weights_only=False))
    assert again.run().status == "done"
    assert farthest(again.it.module, training.it.module) == 0


class Splits(torch.optim.SGD):
    """Gives its last parameter a group and a rate of its own at the third step."""

    def __init__(self, params: Any, lr: float = 0.05) -> None:
        super().__init__(params, lr)

    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        self.state["calls"] = self.state.get("calls", 0) + 1  # type: ignore[index, call-overload]
        if self.state["calls"] == 3:  # type: ignore[index, comparison-overlap]
            self.add_param_group({"params": [self.param_groups[0]["params"].pop()], "lr": 0.5})
        return super().step()


def test_groups_that_are_made_in_mid_training_follow_no_schedule(registry: Registry) -> None:
    module = start(mlp)

    def step(t: int, x: Tensor, y: Tensor) -> None:
        found = gradients(module, x, y)
        with torch.no_grad():
            for index, (p, g) in enumerate(zip(module.parameters(), found, strict=True)):
                p -= (0.5 if index == 3 and t >= 2 else 0.05) * g

    by_hand(module, step)
    training, trained = Parts(registry, mlp, Splits).trained()
    assert trained.status == "done"
    assert farthest(training.it.module, module) < ROUNDING
    _, refused = Parts(registry, mlp, Splits).trained(schedule=COSINE)
    assert refused.status == "failed"
    assert "Splits has 2 parameter groups with a rate and was built with 1" in refused.reason


class Skips(PerWeight):
    """Adds up two gradients for each step."""

    def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
        assert p.grad is not None
        state["sum"] = state.get("sum", 0) + p.grad
        state["calls"] = state.get("calls", 0) + 1
        if state["calls"] % 2 == 0:
            p.sub_(lr * state.pop("sum"))


def test_steps_that_are_skipped_decay_all_the_same_and_are_selected_by_validation(registry: Registry) -> None:
    module = start(mlp)
    sums = [torch.zeros_like(p) for p in module.parameters()]
    best: list[tuple[float, int, float]] = []

    def evaluate(done: int) -> None:
        (x, y), (tx, ty) = examples("valid"), examples("test")
        with torch.no_grad():
            accuracy = (module(x).argmax(1) == y).double().mean().item()
            best.append((accuracy, -done, functional.cross_entropy(module(tx), ty).item()))

    def step(t: int, x: Tensor, y: Tensor) -> None:
        found = gradients(module, x, y)
        with torch.no_grad():
            for p, g, s in zip(module.parameters(), found, sums, strict=True):
                before, total = p.clone(), s.add_(g)
                if t % 2:
                    p -= 0.5 * total
                    s.zero_()
                p -= 0.5 * 0.01 * before
        evaluate(t + 1)

    evaluate(0)
    by_hand(module, step)
    parts = Parts(registry, mlp, Skips)
    training, trained = parts.trained(lr=0.5, decoupled_weight_decay=0.01, evaluate_every=Interval(steps=1))
    assert farthest(training.it.module, module) < ROUNDING
    _, at, loss = max(best)
    assert trained.summary["selected_step"] == -at
    assert trained.summary["final"]["test"]["loss"] == pytest.approx(loss, rel=ROUNDING)


class Noisy(PerWeight):
    """Langevin dynamics: noise from torch's own generator, from the 71st step on."""

    def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
        assert p.grad is not None
        state["calls"] = state.get("calls", 0) + 1
        p.sub_(lr * p.grad)
        if state["calls"] > 70:
            p.add_(0.01 * torch.randn_like(p))


def test_noise_that_begins_late_is_the_trials_own_and_is_refused_in_a_stack(registry: Registry) -> None:
    module = start(mlp)

    def step(t: int, x: Tensor, y: Tensor) -> None:
        found = gradients(module, x, y)
        with torch.no_grad():
            for p, g in zip(module.parameters(), found, strict=True):
                p -= 0.05 * g
                if t >= 70:
                    p += 0.01 * torch.randn_like(p)

    with torch.random.fork_rng():
        torch.manual_seed(Draw(0, None).seed_for("global"))
        by_hand(module, step, 90)
    parts: Any = Parts(registry, mlp, Noisy, elementwise=True)
    training, _ = parts.trained(budget=Budget(steps=90))
    assert farthest(training.it.module, module) < ROUNDING
    trials = [parts.trial(budget=Budget(steps=90), seed=seed, stack=Stack(size=4, slot=0)) for seed in range(2)]
    with pytest.raises(CannotStackError, match="draws random numbers in its steps"):
        train_together(trials, parts)


class Large(PerWeight):
    """Takes the sign of gradients of 500 numbers and more."""

    def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
        assert p.grad is not None
        p.sub_(lr * (p.grad.sign() if p.numel() >= 500 else p.grad))


class Deep(PerWeight):
    """Takes the sign of gradients of more than three dimensions."""

    def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
        assert p.grad is not None
        p.sub_(lr * (p.grad.sign() if p.dim() > 3 else p.grad))


class Plain(PerWeight):
    def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
        assert p.grad is not None
        p.sub_(lr * p.grad)


def wide() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 40), nn.Tanh(), nn.Linear(40, 3))


def pixels() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize(("cls", "network"), [(Large, wide), (Deep, pixels)], ids=["large", "deep"])
def test_what_looks_at_a_tensors_size_or_dimensions_trains_alone(registry: Registry, cls: Any, network: Any) -> None:
    for rule, reason in ((cls, "is not elementwise"), (Plain, None)):
        parts: Any = Parts(registry, network, rule, elementwise=True)
        found = why_alone(parts.trial(stack=Stack(size=8, slot=0)), parts)
        assert (reason in found) if reason else found is None


class OneBuffer(torch.optim.Optimizer):
    """Keeps all weights as views of one vector and steps that."""

    def __init__(self, params: Any, lr: float = 0.05) -> None:
        super().__init__(params, {"lr": lr})
        self.parts = self.param_groups[0]["params"]
        self.vector = torch.cat([p.detach().flatten() for p in self.parts])
        at = 0
        for p in self.parts:
            p.data = self.vector[at : at + p.numel()].view_as(p)
            at += p.numel()

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.vector.sub_(self.param_groups[0]["lr"] * torch.cat([p.grad.flatten() for p in self.parts]))


def test_weights_that_are_views_of_one_vector_train_and_are_kept_from_probes(registry: Registry) -> None:
    """A copy of the optimizer would step a vector of its own, which no copy of the network sees."""
    module = start(mlp)

    def step(t: int, x: Tensor, y: Tensor) -> None:
        found = gradients(module, x, y)
        with torch.no_grad():
            for p, g in zip(module.parameters(), found, strict=True):
                p -= 0.05 * g

    by_hand(module, step)
    training, trained = Parts(registry, mlp, OneBuffer).trained()
    assert trained.status == "done"
    assert farthest(training.it.module, module) < ROUNDING
    it = training.it
    assert copied_stepper(it.stepper, it.module, start(mlp)) is None
    request = ProbeRequest(label="shift", probe=ref("covariate-shift", every=10))
    parts: Any = Parts(registry, mlp, OneBuffer)
    probed = Training(assemble(parts.trial(), parts), active_probes((request,), registry), lambda *_: None).run()
    assert probed.status == "done"
    assert "the optimizer cannot be copied" in probed.probe_failures[request.key].line
    plain = Parts(registry, mlp, Plain).training().it
    assert copied_stepper(plain.stepper, plain.module, start(mlp)) is not None


@pytest.mark.parametrize("rows", [False, True], ids=["shared settings", "settings of each"])
def test_a_stack_sees_the_tensors_that_are_put_into_data(registry: Registry, rows: bool) -> None:
    parts: Any = Parts(registry, mlp, Swaps, elementwise=True)
    stack = Stack(size=4, slot=0, rows=rows)
    assert why_alone(parts.trial(stack=stack), parts) is None
    stacked = train_together([parts.trial(seed=seed, stack=stack) for seed in range(2)], parts, keep="weights")
    for seed, one in enumerate(stacked):
        _, alone = parts.trained(seed=seed)
        assert one.weights.final is not None
        assert alone.weights.final is not None
        for name, weight in alone.weights.final.items():
            torch.testing.assert_close(one.weights.final[name], weight, rtol=0, atol=ROUNDING)


class Averages(PerWeight):
    """The mean of all iterates from the eleventh on (Izmailov et al. 2018), put in place by ``eval``."""

    def one(self, p: Tensor, lr: float, state: dict[str, Any]) -> None:
        assert p.grad is not None
        p.sub_(lr * p.grad)
        count = state["count"] = state.get("count", 0) + 1
        state["mean"] = p.clone() if count <= 11 else state["mean"] + (p - state["mean"]) / (count - 10)

    def eval(self) -> None:
        for p in self.param_groups[0]["params"]:
            self.state[p]["kept"] = p.clone()
            p.copy_(self.state[p]["mean"])

    def train(self) -> None:
        for p in self.param_groups[0]["params"]:
            if "kept" in self.state[p]:
                p.copy_(self.state[p].pop("kept"))


def normed() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))


def test_averages_and_their_statistics_are_those_by_hand_alone_and_in_a_stack(registry: Registry) -> None:
    module = start(normed)
    mean: list[Tensor] = []

    def step(t: int, x: Tensor, y: Tensor) -> None:
        nonlocal mean
        found = gradients(module, x, y)
        with torch.no_grad():
            for p, g in zip(module.parameters(), found, strict=True):
                p -= 0.05 * g
            now = [p.clone() for p in module.parameters()]
        mean = now if t <= 10 else [m + (p - m) / (t - 9) for m, p in zip(mean, now, strict=True)]

    by_hand(module, step)
    parts: Any = Parts(registry, normed, Averages, elementwise=True)
    training, trained = parts.trained()
    assert farthest(training.it.module, module) < ROUNDING
    data, draw = loaded(), Draw(Draw(0, BATCH).seed_for("statistics"), BATCH)
    w, b, scale, shift, out, bias = mean
    hidden = [data.batch("train", t, draw).inputs @ w.T + b for t in range(EPOCH)]
    centre, spread = (torch.stack(found).mean(0) for found in ([h.mean(0) for h in hidden], [h.var(0) for h in hidden]))
    (stacked,) = train_together([parts.trial(stack=Stack(size=4, slot=0))], parts, keep="weights")
    for one in (trained, stacked):
        assert one.weights.final is not None
        expected = (w, b, scale, shift, centre, spread, out, bias)
        values = [value for name, value in one.weights.final.items() if "num_batches" not in name]
        for value, right in zip(values, expected, strict=True):
            torch.testing.assert_close(value, right, rtol=0, atol=ROUNDING)
    x, y = examples()
    h = torch.tanh((x @ w.T + b - centre) / (spread + 1e-5).sqrt() * scale + shift)
    loss = functional.cross_entropy(h @ out.T + bias, y).item()
    assert trained.summary["final"]["train"]["loss"] == pytest.approx(loss, rel=ROUNDING)


class Backtracks(PerWeight):
    """Halves its step until the loss falls, through a closure, and returns nothing."""

    def step(self, closure: Any) -> None:  # type: ignore[override]
        before, lr = closure(), self.param_groups[0]["lr"]
        parameters = self.param_groups[0]["params"]
        kept = [(p, p.detach().clone(), p.grad) for p in parameters]
        for _ in range(5):
            with torch.no_grad():
                for p, w, g in kept:
                    p.copy_(w - lr * g)
            if closure() < before:
                break
            lr /= 2


def test_a_closure_that_is_called_several_times_advances_statistics_once(registry: Registry) -> None:
    module = start(normed)
    calls = 0

    def step(t: int, x: Tensor, y: Tensor) -> None:
        nonlocal calls
        parameters = list(module.parameters())
        before = functional.cross_entropy(module(x), y)
        found = torch.autograd.grad(before, parameters)
        statistics = [buffer.clone() for buffer in module.buffers()]
        kept, lr = [p.detach().clone() for p in parameters], 4.0
        calls += 1
        for _ in range(5):
            with torch.no_grad():
                for p, w, g in zip(parameters, kept, found, strict=True):
                    p.copy_(w - lr * g)
                calls += 1
                if functional.cross_entropy(module(x), y) < before:
                    break
            lr /= 2
        for buffer, value in zip(module.buffers(), statistics, strict=True):
            buffer.copy_(value)

    by_hand(module, step)
    training, trained = Parts(registry, normed, Backtracks).trained(lr=4.0)
    assert trained.status == "done"
    assert farthest(training.it.module, module) < ROUNDING
    assert trained.summary["gradient_evaluations"] == calls > 2 * 5 * EPOCH
