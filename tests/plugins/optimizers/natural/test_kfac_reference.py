"""K-FAC against an independent implementation in NumPy, with factors by hand and the dense Fisher matrix."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from thalweg.contracts import BuildContext, Draw
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.curvature import Fisher, flat
from thalweg.registry import Registry
from thalweg.testing.small import network, problem, same

Vector = NDArray[np.float64]
L2 = 0.01
STEPS = 45


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def stepper(registry: Registry, module: nn.Module, **given: Any) -> Any:
    optimizer = registry.optimizer("kfac")
    return optimizer.build(module, resolve(optimizer.options, given, "kfac"), BuildContext(0, 64, 16))


def softmax(z: Vector) -> Vector:
    p = np.exp(z - z.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)  # type: ignore[no-any-return]


class Reference:
    """Martens & Grosse 2015 for a tanh network with cross-entropy: each layer one matrix (out, in + 1), bias last."""

    def __init__(self, module: nn.Sequential, l2: float, **h: Any) -> None:
        layers = [layer for layer in module if isinstance(layer, nn.Linear)]
        self.w = [torch.cat([layer.weight, layer.bias[:, None]], 1).detach().numpy().copy() for layer in layers]
        self.h, self.l2, self.t = h, l2, 0
        self.damping = h["damping"]
        self.gamma = math.sqrt(self.damping + l2)
        self.a: list[Vector] = []
        self.g: list[Vector] = []
        self.inverses: list[tuple[Vector, Vector]] = []
        self.last: Vector | None = None
        self.ratio: float | None = None

    def outputs(self, x: Vector) -> tuple[list[Vector], Vector]:
        """Each layer's inputs with a one at the end, and the logits."""
        inputs, h = [], x
        for place, w in enumerate(self.w):
            inputs.append(np.hstack([np.tanh(h) if place else h, np.ones((len(x), 1))]))
            h = inputs[-1] @ w.T
        return inputs, h

    def loss(self, x: Vector, y: NDArray[np.int64]) -> float:
        p = softmax(self.outputs(x)[1])
        penalty = sum(float((w**2).sum()) for w in self.w)
        return float(-np.log(p[np.arange(len(y)), y]).mean()) + 0.5 * self.l2 * penalty

    def inverted(self, gamma: float) -> list[tuple[Vector, Vector]]:
        found: list[tuple[Any, Any]] = []
        for a, g in zip(self.a, self.g, strict=True):
            pi = math.sqrt((np.trace(a) / len(a)) / (np.trace(g) / len(g)))
            found.append(
                (np.linalg.inv(a + pi * gamma * np.eye(len(a))), np.linalg.inv(g + gamma / pi * np.eye(len(g))))
            )
        return found

    def step(self, x: Vector, y: NDArray[np.int64]) -> None:
        h, n = self.h, len(x)
        loss = self.loss(x, y)
        inputs, z = self.outputs(x)
        p = softmax(z)
        middle = np.stack([np.diag(row) - np.outer(row, row) for row in p])
        # derivatives (n, logits, out) of the logits with respect to each layer's outputs, from the last layer down
        back = [np.broadcast_to(np.eye(z.shape[1]), (n, z.shape[1], z.shape[1]))]
        for place in range(len(self.w) - 1, 0, -1):
            slope = 1 - inputs[place][:, :-1] ** 2
            back.insert(0, (back[0] @ self.w[place][:, :-1]) * slope[:, None, :])
        residual = p - np.eye(z.shape[1])[y]
        gradient = [
            np.einsum("nc,nco,ni->oi", residual, b, a) / n + self.l2 * w
            for b, a, w in zip(back, inputs, self.w, strict=True)
        ]
        jacobian = np.concatenate(
            [np.einsum("nco,ni->ncoi", b, a).reshape(n, z.shape[1], -1) for b, a in zip(back, inputs, strict=True)], 2
        )
        fisher = np.einsum("ncp,ncd,ndq->pq", jacobian, middle, jacobian, optimize=True) / n
        model = fisher + (self.damping + self.l2) * np.eye(len(fisher))
        g = np.concatenate([part.ravel() for part in gradient])

        new_a = [a.T @ a / n for a in inputs]
        new_g = [np.einsum("nco,ncd,ndq->oq", b, middle, b) / n for b in back]
        keep = min(1 - 1 / (self.t + 1), 0.95)
        self.a = [keep * a + (1 - keep) * b for a, b in zip(self.a or new_a, new_a, strict=True)]
        self.g = [keep * a + (1 - keep) * b for a, b in zip(self.g or new_g, new_g, strict=True)]
        if self.t < 3 or self.t % h["inverse_interval"] == 0:
            self.inverses = self.inverted(self.gamma)

        def proposal(inverses: list[tuple[Vector, Vector]]) -> Vector:
            parts = [-g @ part @ a for (a, g), part in zip(inverses, gradient, strict=True)]
            return np.concatenate([part.ravel() for part in parts])

        if h["update"] == "quadratic":
            gammas = [self.gamma]
            if self.t in (20, 40):
                gammas += [self.gamma * 0.95**10, self.gamma / 0.95**10]
            tried = []
            for gamma in gammas:
                inverses = self.inverses if gamma == self.gamma else self.inverted(gamma)
                basis = np.stack([proposal(inverses), *([] if self.last is None else [self.last])], 1)
                d = -basis @ np.linalg.solve(basis.T @ model @ basis, basis.T @ g)
                tried.append((float(g @ d + 0.5 * d @ model @ d), gamma, inverses, d))
            _, self.gamma, self.inverses, d = min(tried, key=lambda one: one[0])
            move = h["lr"] * d
            kl = 0.5 * float(move @ fisher @ move)
            if h["kl_clip"] and kl > h["kl_clip"]:
                move = move * math.sqrt(h["kl_clip"] / kl)
            self.last = move
        else:
            d = proposal(self.inverses)
            # F d = -g where the factors are the Fisher matrix
            kl = 0.5 * float((h["lr"] * d) @ (h["lr"] * -g))
            if h["kl_clip"] and kl > h["kl_clip"]:
                d = d * math.sqrt(h["kl_clip"] / kl)
            self.last = d if self.last is None else h["momentum"] * self.last + d
            move = h["lr"] * self.last
        at = 0
        for place, w in enumerate(self.w):
            self.w[place] = w + move[at : at + w.size].reshape(w.shape)
            at += w.size
        self.ratio = None
        if self.t % 5 == 4:
            predicted = float(g @ move + 0.5 * move @ model @ move)
            # momentum may lead up, which no damping has promised
            self.ratio = (self.loss(x, y) - loss) / predicted if predicted < 0 else -math.inf
            if self.ratio > 0.75:
                self.damping = max(min(self.damping, self.h["min_damping"]), self.damping * 0.95**5)
            elif self.ratio < 0.25:
                self.damping /= 0.95**5
            if h["update"] == "plain":
                self.gamma = math.sqrt(self.damping + self.l2)
        self.t += 1


SETTINGS = [
    pytest.param({"kl_clip": 0.0, "damping": 1e-4, "inverse_interval": 5}, id="unbounded"),
    pytest.param({"kl_clip": 0.05, "damping": 0.02, "inverse_interval": 20}, id="bounded"),
    pytest.param({"damping": 0.02, "min_damping": 0.009, "inverse_interval": 5}, id="floor"),
    pytest.param({"kl_clip": 3e-3, "damping": 0.02, "lr": 0.5, "inverse_interval": 5}, id="half-as-long"),
    pytest.param({"kl_clip": 0.0, "damping": 0.1, "lr": 0.5, "inverse_interval": 20}, id="half-as-long-unbounded"),
    pytest.param({"update": "plain", "kl_clip": 1e-2, "damping": 1e-3, "lr": 0.5, "inverse_interval": 5}, id="plain"),
    pytest.param({"update": "plain", "kl_clip": 0.03, "damping": 0.1, "lr": 0.1, "inverse_interval": 20}, id="slow"),
]


@pytest.mark.parametrize("given", SETTINGS)
def test_training_equals_the_reference(registry: Registry, given: dict[str, Any]) -> None:
    module, data, draw = mlp(), problem(torch.float64), Draw(0, 16)
    h = {"update": "quadratic", "lr": 1.0, "momentum": 0.9, "min_damping": 0.0, "kl_clip": 0.0, **given}
    reference = Reference(module, L2, **h)
    kfac = stepper(registry, module, labels="exact", factor_interval=1, adapt=True, **h)
    it = Objective(module, data, draw, l2=L2)
    dampings, gammas = [kfac.damping], [kfac.gamma]
    for step in range(STEPS):
        batch = data.batch("train", step, draw)
        assert batch.inputs is not None
        assert batch.targets is not None
        it.begin_step(batch, step)
        info = kfac.step(it).info
        reference.step(batch.inputs.numpy(), batch.targets.numpy())
        # rounding errors grow from step to step: after 45 the weights, of order 1, are found to differ by up to 1e-11
        assert kfac.damping == pytest.approx(reference.damping, rel=1e-12)
        assert kfac.gamma == pytest.approx(reference.gamma, rel=1e-12)
        assert info.get("ratio") == (None if reference.ratio is None else pytest.approx(reference.ratio, rel=1e-8))
        found = [torch.cat([layer.weight, layer.bias[:, None]], 1) for layer in module if isinstance(layer, nn.Linear)]
        for ours, theirs in zip(found, reference.w, strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=1e-9)
        last = np.concatenate([kfac.last[name].numpy().ravel() for name in ("0", "2", "4")])
        assert reference.last is not None
        np.testing.assert_allclose(last, reference.last, rtol=0, atol=1e-8 * float(np.abs(reference.last).max()))
        dampings.append(kfac.damping)
        gammas.append(kfac.gamma)
    # what is to be compared happened: the first gamma is set in the first step
    assert len(set(dampings)) > 3
    assert len(set(gammas[1:])) >= 3


def test_a_bound_holds_on_the_step_as_it_is_taken(registry: Registry) -> None:
    """1/2 d'F d of what the weights moved by, at lr 0.5: as bounded, and where nothing bounds it."""
    for bound, lr in ((1e-3, 0.5), (1e-3, 1.0), (0.0, 0.5)):
        module, data, draw = mlp(), problem(torch.float64), Draw(0, 16)
        kfac = stepper(registry, module, labels="exact", kl_clip=bound, lr=lr, damping=1e-3)
        it = Objective(module, data, draw)
        for step in range(3):
            it.begin_step(data.batch("train", step, draw), step)
            fisher, before = Fisher(it.observer()).dense(), flat(it.parameters).detach().clone()
            info = kfac.step(it).info
            d = flat(it.parameters).detach() - before
            kl = float(0.5 * d @ fisher @ d)
            assert kl == pytest.approx(info["kl"], rel=1e-8)
            assert kl == pytest.approx(bound, rel=1e-8) if bound else kl > 1e-3


@pytest.mark.parametrize("update", ["quadratic", "plain"])
def test_sampled_factors_of_sequences_have_the_scale_of_the_fisher_matrix(registry: Registry, update: str) -> None:
    """A linear layer at weights of zero: every draw's gradient is as long, and the factors are the Fisher matrix."""
    n, positions, classes = 200, 8, 3
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(n, positions, 4, generator=generator, dtype=torch.float64)
    y = torch.randint(classes, (n, positions), generator=generator)
    module, draw = nn.Linear(4, classes, bias=False).double(), Draw(0, None)
    nn.init.zeros_(module.weight)
    data = Supervised({"train": (x, y)}, CrossEntropy(), CLASSIFICATION)
    it = Objective(module, data, draw)
    it.begin_step(data.batch("train", 0, draw), 0)
    fisher = Fisher(it.observer()).dense()
    kfac = stepper(registry, module, update=update, labels="sampled")
    kfac.step(it)
    (a,), (g,) = kfac.a.values(), kfac.g.values()
    assert float(a.trace() * g.trace()) == pytest.approx(float(fisher.trace()), rel=1e-10)
    # 1600 draws: relative errors about 1/40
    assert float((torch.kron(g, a) - fisher).norm() / fisher.norm()) < 0.1


@pytest.mark.parametrize("cut", [3, 7, 20, 21, 25])
@pytest.mark.parametrize("given", [{"inverse_interval": 5}, {"update": "plain", "lr": 0.3, "factor_interval": 3}],
                         ids=["quadratic", "plain"])  # fmt: skip
def test_training_that_is_cut_goes_on_as_if_it_were_not(registry: Registry, given: dict[str, Any], cut: int) -> None:
    """To the last bit, with layers that factors cover and others."""
    data, draw = problem(torch.float64), Draw(0, 16)

    def train(module: nn.Module, kfac: Any, start: int, stop: int) -> None:
        it = Objective(module, data, draw, l2=L2)
        for step in range(start, stop):
            it.begin_step(data.batch("train", step, draw), step)
            kfac.step(it)

    h = {"damping": 0.02, "kl_clip": 0.01, "labels": "exact", **given}
    module = network(torch.float64)
    kfac = stepper(registry, module, **h)
    train(module, kfac, 0, cut)
    again = copy.deepcopy(module)
    other = stepper(registry, again, **h)
    other.load_state_dict(copy.deepcopy(kfac.state_dict()))
    train(module, kfac, cut, STEPS)
    train(again, other, cut, STEPS)
    assert same(list(module.state_dict().values()), list(again.state_dict().values()))
    assert (kfac.damping, kfac.gamma) == (other.damping, other.gamma)
    assert kfac.damping != 0.02
