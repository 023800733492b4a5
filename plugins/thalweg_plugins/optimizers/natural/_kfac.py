"""The stepper of K-FAC. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.contracts import Stepper, StepReport
from thalweg.contracts.derivatives import math_attention
from thalweg.contracts.losses import OutputLoss
from thalweg.contracts.objective import Objective
from thalweg.curvature import Fisher, flat
from thalweg.errors import Diverged
from thalweg_plugins.optimizers.natural._kfac_layers import Layer, Recording, covered_layers, recording

DECAY = 0.95
"""Decay rate of the factors' running averages from the 20th batch on; earlier averages are means (MG15, section 5)."""
FLOOR = 1e-10
"""Smaller mean eigenvalues of a factor count as this one, so that a dead layer's damping stays finite."""
ADAPT_EVERY = 5
"""Steps between adaptations of the damping: T1."""
TRY_EVERY = 20
"""Steps between adaptations of the factors' own damping: T2."""
DROP = 19 / 20
"""The factor on the damping per step: omega_1 = DROP^T1, omega_2 = DROP^(T2 / 2)."""
SMALLEST = 1e-8
"""The smallest damping."""


def damped(a: Tensor, g: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """A + pi gamma I and G + gamma / pi I with pi = sqrt(mean eigenvalue of A / mean eigenvalue of G) (section 6.3).

    Each factor is damped by at least SMALLEST, unless gamma is 0.
    """
    if gamma == 0:
        return a, g
    sizes = [max(float(factor.trace()) / len(factor), FLOOR) for factor in (a, g)]
    pi = math.sqrt(sizes[0] / sizes[1])
    identities = [torch.eye(len(factor), dtype=factor.dtype, device=factor.device) for factor in (a, g)]
    return a + max(pi * gamma, SMALLEST) * identities[0], g + max(gamma / pi, SMALLEST) * identities[1]


def inverse(factor: Tensor, where: str) -> Tensor:
    """The inverse by Cholesky, in float64 where float32 fails; Diverged where float64 fails too."""
    for dtype in dict.fromkeys((factor.dtype, torch.float64)):
        root, failed = torch.linalg.cholesky_ex(factor.to(dtype))
        if not int(failed):
            return torch.cholesky_inverse(root).to(factor.dtype)
    raise Diverged(f"K-FAC's factor {where} is singular")


def checked(factor: Tensor, where: str) -> Tensor:
    """The factor; Diverged where it is not finite."""
    if not bool(factor.sum().isfinite()):
        raise Diverged(f"K-FAC's factor {where} is not finite")
    return factor


def exact_output_gradients(loss: OutputLoss, outputs: Tensor) -> Iterator[Tensor]:
    """Gradients (N, C) whose outer products sum to each example's Hessian in its outputs: columns of a matrix root."""
    z = outputs.detach()
    basis = torch.eye(z[0].numel(), dtype=z.dtype, device=z.device).view(-1, 1, *z.shape[1:])
    hessian = torch.stack([loss.hessian_product(z, e.expand_as(z)).flatten(1) for e in basis], dim=-1)
    values, vectors = torch.linalg.eigh(hessian)
    roots = vectors * values.clamp(min=0).sqrt().unsqueeze(1)
    return (roots[..., column].reshape(z.shape) for column in range(roots.shape[-1]))


class KFACStepper(Stepper):
    """The stepper of ``kfac``. Section numbers refer to Martens & Grosse 2015 (MG15)."""

    def __init__(self, module: nn.Module, hyperparameters: Mapping[str, Any]) -> None:
        self.h = dict(hyperparameters)
        self.lr = self.h["lr"]
        self.layers = covered_layers(module)
        self.t = 0
        self.refreshed = 0
        self.damping = self.h["damping"]
        self.gamma: float | None = None
        self.a: dict[str, Tensor] = {}
        self.g: dict[str, Tensor] = {}
        self.inverses: dict[str, tuple[Tensor, Tensor]] = {}
        self.last: dict[str, Tensor] = {}
        """A matrix for each layer: the last step (quadratic updates) or the velocity (plain updates)."""
        self.velocity: dict[int, Tensor] = {}
        """Velocities of the parameters that no factor covers."""

    def step(self, objective: Objective) -> StepReport:
        """Update factors, inverses and proposal; step; adapt the damping."""
        refresh = self.t % self.h["factor_interval"] == 0
        # products with the exact Fisher differentiate twice; plain steps make no such products
        models = self.h["update"] == "quadratic" or self._adapts
        with (
            recording(self.layers) if refresh else nullcontext() as record,
            math_attention() if models else nullcontext(),
        ):
            outputs = objective.outputs()
        loss, gradients = objective.gradient(outputs)
        if not bool(loss.isfinite()):
            raise Diverged("the loss is not finite")
        if record is not None:
            self._refresh(objective, outputs, record)
        if self.gamma is None:
            self.gamma = math.sqrt(self.damping + objective.l2)
        if self.t % self.h["inverse_interval"] == 0 or self.t < 3:
            self.inverses = self._inverses(objective, self.gamma)
        factored = [layer for layer in self.layers if layer.name in self.inverses]
        by_layer = {layer.name: layer.matrix(gradients) for layer in factored}
        if self.h["update"] == "quadratic":
            info = self._quadratic_step(objective, outputs, by_layer, float(loss))
        else:
            info = self._plain_step(objective, outputs, by_layer, float(loss))
        covered = {place for layer in factored for place in layer.places}
        self._first_order(objective, gradients, [place for place in range(len(gradients)) if place not in covered])
        self.t += 1
        return StepReport({"damping": self.damping, "gamma": self.gamma, **info})

    def _refresh(self, objective: Objective, outputs: Tensor, record: Recording) -> None:
        """A <- k A + (1 - k) A_batch with k = min(1 - 1/n, DECAY) at the n-th call, and likewise G."""
        loss = objective.output_loss
        columns = (
            exact_output_gradients(loss, outputs)
            if self.h["labels"] == "exact"
            else [sampled_output_gradient(loss, outputs, objective.sampled_targets(outputs))]
        )
        output_factors: dict[str, Tensor] = {}
        for column in columns:
            objective.counts.add_pull(objective.batch.size)
            for name, factor in record.output_factors(self.layers, outputs, column).items():
                output_factors[name] = output_factors[name] + factor if name in output_factors else factor
        self.refreshed += 1
        keep = min(1 - 1 / self.refreshed, DECAY)
        for running, batch in ((self.a, record.inputs), (self.g, output_factors)):
            known = [name for name in output_factors if name in running]
            if known:
                torch._foreach_lerp_([running[name] for name in known], [batch[name] for name in known], 1 - keep)
            running.update({name: batch[name] for name in output_factors if name not in running})

    def _inverses(self, objective: Objective, gamma: float) -> dict[str, tuple[Tensor, Tensor]]:
        found = {}
        for layer in self.layers:
            if layer.name in self.g:
                where = f"of layer {layer.name!r}"
                factors = checked(self.a[layer.name], f"A {where}"), checked(self.g[layer.name], f"G {where}")
                a, g = damped(*factors, gamma)
                found[layer.name] = (inverse(a, f"A {where}"), inverse(g, f"G {where}"))
                objective.counts.factor_inversions += 2
        return found

    def _quadratic_step(
        self, objective: Objective, outputs: Tensor, gradients: Mapping[str, Tensor], loss: float
    ) -> dict[str, float]:
        """Step by the combination of proposal and last step that minimises the quadratic model (sections 6.4 and 7)."""
        model = QuadraticModel(self.layers, objective, outputs, gradients, self.damping + objective.l2)
        candidates = [(self.gamma, self.inverses)]
        if self.h["adapt"] and self.t > 0 and self.t % self._try_every == 0:
            factor = DROP ** (TRY_EVERY / 2)
            candidates += [(g, self._inverses(objective, g)) for g in (self.gamma * factor, self.gamma / factor)]
        found = []
        last = {name: self.last.get(name, torch.zeros_like(g)) for name, g in gradients.items()}
        for gamma, inverses in candidates:
            directions = [proposal(inverses, gradients)] + ([last] if self.last else [])
            found.append((model.minimise(directions), gamma, inverses))
        best, self.gamma, self.inverses = min(found, key=lambda one: one[0].change())
        scale = self.lr * self._clip(best.kl * self.lr**2)
        self.last = {name: scale * matrix for name, matrix in best.step.items()}
        self._move(objective, self.last)
        info = {"kl": scale**2 * best.kl}
        if self._adapts:
            info["ratio"] = self._adapt(objective, loss, best.change(scale))
        return info

    @property
    def _adapts(self) -> bool:
        return bool(self.h["adapt"]) and (self.t + 1) % ADAPT_EVERY == 0

    @property
    def _try_every(self) -> int:
        """Steps between trials of gamma: TRY_EVERY rounded down to a multiple of ``inverse_interval``, at least one."""
        interval: int = self.h["inverse_interval"]
        return interval * max(1, TRY_EVERY // interval)

    def _plain_step(
        self, objective: Objective, outputs: Tensor, gradients: Mapping[str, Tensor], loss: float
    ) -> dict[str, float]:
        """v <- momentum v + nu proposal; w <- w + lr v, where nu bounds the proposal's predicted KL."""
        directions = proposal(self.inverses, gradients)
        kl = 0.0
        if self.h["kl_clip"]:
            # F proposal = -gradient where the factors are exact and undamped
            kl = -0.5 * self.lr**2 * sum(float((directions[name] * g).sum()) for name, g in gradients.items())
        nu, momentum = self._clip(kl), self.h["momentum"]
        for name, matrix in directions.items():
            if nu != 1:
                matrix.mul_(nu)
            self.last[name] = matrix.add_(self.last[name], alpha=momentum) if name in self.last else matrix
        info = {"proposal_kl": nu**2 * kl} if self.h["kl_clip"] else {}
        if not self._adapts:
            self._move(objective, self.last, self.lr)
            return info
        model = QuadraticModel(self.layers, objective, outputs, gradients, self.damping + objective.l2)
        change = model.along(self.last).change(self.lr)
        self._move(objective, self.last, self.lr)
        return info | {"ratio": self._adapt(objective, loss, change)}

    def _clip(self, kl: float) -> float:
        bound = self.h["kl_clip"]
        return math.sqrt(bound / kl) if bound and kl > bound else 1.0

    @torch.no_grad()
    def _move(self, objective: Objective, step: Mapping[str, Tensor], scale: float = 1.0) -> None:
        moving = [layer for layer in self.layers if layer.name in step]
        parameters: list[Tensor] = [objective.parameters[place] for layer in moving for place in layer.places]
        pieces = [piece for layer in moving for piece in layer.split(step[layer.name])]
        torch._foreach_add_(parameters, pieces, alpha=scale)

    @torch.no_grad()
    def _adapt(self, objective: Objective, before: float, predicted: float) -> float:
        """Adapt the damping to the step's batch by the Levenberg-Marquardt rule (section 6.5).

        Returns:
            The reduction ratio.
        """
        after = float(objective.loss())
        ratio = (after - before) / predicted if predicted < 0 else -math.inf
        factor = DROP**ADAPT_EVERY
        if ratio > 0.75:
            floor = min(self.damping, max(SMALLEST, self.h["min_damping"]))
            self.damping = max(floor, self.damping * factor)
        elif not ratio >= 0.25:
            self.damping /= factor
        if self.h["update"] == "plain":
            self.gamma = math.sqrt(self.damping + objective.l2)
        return ratio

    @torch.no_grad()
    def _first_order(self, objective: Objective, gradients: list[Tensor], places: list[int]) -> None:
        """v <- momentum v + g; w <- w - rest_lr v. A schedule scales rest_lr as it scales lr."""
        rate = self.h["rest_lr"] * self.lr / self.h["lr"]
        for place in places:
            v = self.velocity.get(place)
            v = gradients[place].clone() if v is None else v.mul_(self.h["momentum"]).add_(gradients[place])
            self.velocity[place] = v
            objective.parameters[place].sub_(v, alpha=rate)

    _STATE = ("lr", "t", "refreshed", "damping", "gamma", "a", "g", "inverses", "last", "velocity")

    def state_dict(self) -> dict[str, Any]:
        """Factors, their inverses, the last step, damping and counters."""
        return {name: getattr(self, name) for name in self._STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a copy of a state, since steps update factors and velocities in place."""
        for name in self._STATE:
            setattr(self, name, copy.deepcopy(state[name]))


def sampled_output_gradient(loss: OutputLoss, outputs: Tensor, targets: Tensor) -> Tensor:
    """The gradient of each example's loss in its outputs (N, ...) at targets drawn from the model.

    For sequences the gradient is multiplied by sqrt(T): the square of a mean over T positions has 1/T of the scale of
    ``thalweg.curvature.Fisher``.
    """
    return loss.gradient(outputs, targets) * math.sqrt(loss.positions(outputs))


def proposal(inverses: Mapping[str, tuple[Tensor, Tensor]], gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """-G^-1 grad A^-1 for each layer."""
    return {name: -(inverses[name][1] @ gradient @ inverses[name][0]) for name, gradient in gradients.items()}


@dataclass(frozen=True)
class ModelledStep:
    """A step d and the terms of the quadratic model at d."""

    step: Mapping[str, Tensor]
    slope: float
    """g'd."""
    curvature: float
    """d'(F + damping I) d."""
    kl: float
    """1/2 d'F d: the predicted KL of the step."""

    def change(self, scale: float = 1.0) -> float:
        """M(scale d) - M(0)."""
        return scale * self.slope + 0.5 * scale**2 * self.curvature


class QuadraticModel:
    """M(d) - M(0) = g'd + 1/2 d'(F + damping I) d in the covered parameters, with the batch's exact Fisher matrix F."""

    def __init__(
        self,
        layers: list[Layer],
        objective: Objective,
        outputs: Tensor,
        gradients: Mapping[str, Tensor],
        damping: float,
    ) -> None:
        self.layers = [layer for layer in layers if layer.name in gradients]
        self.objective = objective
        self.gradients = gradients
        self.damping = damping
        self.fisher = Fisher(objective, outputs)
        self._loss = objective.output_loss

    def _changes(self, direction: Mapping[str, Tensor]) -> Tensor:
        """J d. It is half of a product with F, and counts as one."""
        self.objective.counts.add_products("jvp", 1, self.objective.batch.size)
        pieces = [torch.zeros_like(parameter) for parameter in self.objective.parameters]
        for layer in self.layers:
            for place, piece in zip(layer.places, layer.split(direction[layer.name]), strict=True):
                pieces[place] = piece
        return self.fisher.jacobian_products(flat(pieces).unsqueeze(0)).squeeze(0)

    def _inner(self, x: Mapping[str, Tensor], y: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([(x[layer.name] * y[layer.name]).sum() for layer in self.layers]).sum()

    def _forms(self, directions: Sequence[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        """For directions d_i: d_i'F d_j, d_i'd_j and g'd_i, in float64 on the CPU."""
        changes = [self._changes(direction) for direction in directions]
        z = self.fisher.outputs.detach()
        pulled = [self._loss.hessian_product(z, change) for change in changes]
        n = len(directions)
        fisher = torch.stack([(changes[i] * pulled[j]).sum() / len(z) for i in range(n) for j in range(n)])
        square = torch.stack([self._inner(directions[i], directions[j]) for i in range(n) for j in range(n)])
        slope = torch.stack([self._inner(self.gradients, direction) for direction in directions])
        fisher, square, slope = (x.to("cpu", torch.float64) for x in (fisher, square, slope))
        return fisher.view(n, n), square.view(n, n), slope

    def minimise(self, directions: Sequence[Mapping[str, Tensor]]) -> ModelledStep:
        """The linear combination of the directions with the smallest M(d); Diverged where M is not finite."""
        fisher, square, slope = self._forms(directions)
        matrix = fisher + self.damping * square
        if not bool(torch.isfinite(matrix).all() and torch.isfinite(slope).all()):
            raise Diverged("K-FAC's quadratic model is not finite")
        weights = -torch.linalg.pinv(matrix, hermitian=True) @ slope
        step = {}
        for layer in self.layers:
            parts = [float(w) * d[layer.name] for w, d in zip(weights, directions, strict=True)]
            step[layer.name] = torch.stack(parts).sum(0)
        return ModelledStep(
            step, float(slope @ weights), float(weights @ matrix @ weights), float(0.5 * weights @ fisher @ weights)
        )

    def along(self, step: Mapping[str, Tensor]) -> ModelledStep:
        """The quadratic model's terms at a given step."""
        fisher, square, slope = self._forms([step])
        curvature = float(fisher + self.damping * square)
        return ModelledStep(step, float(slope), curvature, 0.5 * float(fisher))
