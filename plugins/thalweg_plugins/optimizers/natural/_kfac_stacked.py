"""The stepper of K-FAC for K members. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thalweg.contracts import StackedReport, StackedStepper
from thalweg.contracts.stacked import MembersObjective, StackedNetwork, product, room
from thalweg.errors import Diverged
from thalweg_plugins.optimizers.natural._kfac import (
    ADAPT_EVERY,
    DECAY,
    DROP,
    SMALLEST,
    TRY_EVERY,
    checked,
    damped,
    exact_output_gradients,
    inverse,
    sampled_output_gradient,
)
from thalweg_plugins.optimizers.natural._kfac_layers import covered_layers
from thalweg_plugins.optimizers.natural._kfac_stacked_layers import MembersLayer, column
from thalweg_plugins.optimizers.natural._kfac_stacked_model import (
    Matrices,
    ModelledSteps,
    StackedQuadraticModel,
    chosen,
)

if TYPE_CHECKING:
    from thalweg.contracts.objective import Objective


class StackedKFACStepper(StackedStepper):
    """The steps of ``KFACStepper`` for each of K members. Numbers of a member, such as its damping, are float64 (K,).

    A member that diverges ends after the step. Its numbers may be anything until then, and touch no other member.
    """

    def __init__(self, module: StackedNetwork, members: Sequence[Mapping[str, Any]]) -> None:
        for name in ("update", "adapt", "labels", "factor_interval", "inverse_interval"):
            if any(member[name] != members[0][name] for member in members):
                raise NotImplementedError(f"members of different {name} train one at a time")
        covered = covered_layers(module.member)
        if not module.multiplying:
            raise NotImplementedError("K-FAC needs the inputs of layers, and the network runs by autograd")
        self.module = module
        self.h = dict(members[0])
        self.layers = [MembersLayer(layer) for layer in covered if layer.name in module.multiplying]
        self.lrs = [float(member["lr"]) for member in members]
        self._each = module.members // len(members)
        self._numbers = {
            name: self._of_members([float(member[name]) for member in members])
            for name in ("lr", "damping", "min_damping", "momentum", "rest_lr", "kl_clip")
        }
        self.t = 0
        self.refreshed = 0
        self.damping = self._numbers["damping"].clone()
        self.gamma: Tensor | None = None
        self.a: dict[str, Tensor] = {}
        self.g: dict[str, Tensor] = {}
        self.inverses: dict[str, tuple[Tensor, Tensor]] = {}
        self.last: dict[str, Tensor] = {}
        """The last step of each layer's matrix (quadratic updates) or its velocity (plain updates)."""
        self.velocity: dict[str, Tensor] = {}
        """Velocities of the parameters that no factor covers."""
        self._diverged: set[int] = set()
        """The members that have diverged in this step."""

    def _of_members(self, values: Sequence[float]) -> Tensor:
        """A number for each member (K,), from one for each entry of hyperparameters."""
        return torch.tensor(values, dtype=torch.float64).repeat_interleave(self._each)

    @property
    def _lr(self) -> Tensor:
        return self._of_members(self.lrs)

    @torch.no_grad()
    def step(self, objective: Objective) -> StackedReport:
        """Update factors, inverses and proposal; step; adapt the damping."""
        assert isinstance(objective, MembersObjective)
        self._diverged = set()
        objective.backward()
        self._end(objective, ~objective.losses.isfinite(), "the loss is not finite")
        gradients = {name: piece.gradient for name, piece in self.module.pieces.items() if piece.gradient is not None}
        if self.t % self.h["factor_interval"] == 0:
            self._refresh(objective)
        if self.gamma is None:
            self.gamma = (self.damping + objective.l2).sqrt()
        if self.t % self.h["inverse_interval"] == 0 or self.t < 3:
            self.inverses = self._inverses(objective, self.gamma)
        by_layer = {layer.name: layer.matrix(gradients) for layer in self.layers}
        make = self._quadratic_step if self.h["update"] == "quadratic" else self._plain_step
        info = make(objective, by_layer, objective.losses.to("cpu", torch.float64))
        covered = {name for layer in self.layers for name in layer.parameters}
        self._first_order({name: gradient for name, gradient in gradients.items() if name not in covered})
        self.t += 1
        return self._report({"damping": self.damping, "gamma": self.gamma, **info})

    def _report(self, info: Mapping[str, Tensor]) -> StackedReport:
        """Numbers of each member. A member whose step has no bound has no predicted KL of its proposal."""
        bounded = (self._numbers["kl_clip"] > 0).tolist()
        rows = zip(*(values.tolist() for values in info.values()), strict=True)
        of_each = [
            {name: value for name, value in zip(info, row, strict=True) if has or name != "proposal_kl"}
            for has, row in zip(bounded, rows, strict=True)
        ]
        return StackedReport(of_each=of_each)

    def _end(self, objective: MembersObjective, where: Tensor, reason: str) -> None:
        """Let some of the members end."""
        if bool(where.any()):
            for index in where.nonzero().flatten().tolist():
                self._fail(objective, index, Diverged(reason))

    def _fail(self, objective: MembersObjective, member: int, error: Diverged) -> None:
        self._diverged.add(member)
        objective.fail(member, error)

    def _refresh(self, objective: MembersObjective) -> None:
        """A <- k A + (1 - k) A_batch with k = min(1 - 1/n, DECAY) at the n-th call, and likewise G."""
        inputs, examples = objective.layer_inputs(), objective.batch.size
        a = {layer.name: layer.input_factor(inputs[layer.name]) for layer in self.layers}
        g: dict[str, Tensor] = {}
        for gradients in self._output_gradients(objective):
            found = objective.layer_gradients(gradients)
            for layer in self.layers:
                rows = found[layer.name]
                factor = product(rows.mT, rows).div_(examples)
                g[layer.name] = g[layer.name].add_(factor) if layer.name in g else factor
        self.refreshed += 1
        keep = min(1 - 1 / self.refreshed, DECAY)
        for running, batch in ((self.a, a), (self.g, g)):
            for name, factor in batch.items():
                running[name] = running[name].mul_(keep).add_(factor.mul_(1 - keep)) if name in running else factor

    def _output_gradients(self, objective: MembersObjective) -> Iterator[Tensor]:
        """Gradients (K, N, ...) of the examples' losses in the outputs; the outer products' mean is the Fisher's."""
        loss, outputs = objective.output_loss, objective.member_outputs
        if self._diverged:  # which have no distribution to draw from
            outputs = outputs.clone()
            outputs[list(self._diverged)] = 0
        if self.h["labels"] == "exact":
            # a decomposition's bits may depend on the address, which a copy fixes
            of_members = [exact_output_gradients(loss, own.clone()) for own in outputs]
            yield from (torch.stack(columns) for columns in zip(*of_members, strict=True))
        else:
            targets = objective.sampled_targets(outputs)
            gradient = sampled_output_gradient(loss, outputs.flatten(0, 1), targets.flatten(0, 1))
            yield gradient.view_as(outputs)

    def _inverses(self, objective: MembersObjective, gamma: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """The inverses of each member's damped factors, by LAPACK one by one; nan for a member that has diverged."""
        found, gammas = {}, gamma.tolist()
        for layer in self.layers:
            a, g = self.a[layer.name], self.g[layer.name]
            pair = room(a, a.shape).fill_(math.nan), room(g, g.shape).fill_(math.nan)
            where = f"of layer {layer.name!r}"
            for index, own in enumerate(gammas):
                if index in self._diverged:
                    continue
                try:
                    factors = damped(checked(a[index], f"A {where}"), checked(g[index], f"G {where}"), own)
                    pair[0][index] = inverse(factors[0], f"A {where}")
                    pair[1][index] = inverse(factors[1], f"G {where}")
                except Diverged as error:
                    self._fail(objective, index, error)
            found[layer.name] = pair
            objective.counts.factor_inversions += 2
        return found

    def _quadratic_step(self, objective: MembersObjective, gradients: Matrices, losses: Tensor) -> dict[str, Tensor]:
        """Step by the combination of proposal and last step that minimises the quadratic model (sections 6.4 and 7)."""
        assert self.gamma is not None
        candidates = [(self.gamma, self.inverses)]
        if self.h["adapt"] and self.t > 0 and self.t % self._try_every == 0:
            factor = DROP ** (TRY_EVERY / 2)
            candidates += [(g, self._inverses(objective, g)) for g in (self.gamma * factor, self.gamma / factor)]
        model = self._model(objective, gradients)
        best: ModelledSteps | None = None
        for gamma, inverses in candidates:
            directions = [_proposal(inverses, gradients)] + ([self.last] if self.last else [])
            found = model.minimise(directions)
            self._end(objective, ~found.finite, "K-FAC's quadratic model is not finite")
            if best is None:
                best = found
                continue
            better = found.change() < best.change()
            best, self.gamma = best.replaced(better, found), torch.where(better, gamma, self.gamma)
            self.inverses = {
                name: (chosen(better, a, self.inverses[name][0]), chosen(better, g, self.inverses[name][1]))
                for name, (a, g) in inverses.items()
            }
        assert best is not None
        lr = self._lr
        scale = lr * self._clip(best.kl * lr * lr)
        self.last = {name: matrix * column(scale, matrix) for name, matrix in best.step.items()}
        self._move(self.last)
        info = {"kl": scale * scale * best.kl}
        if self._adapts:
            info["ratio"] = self._adapt(objective, losses, best.change(scale))
        return info

    @property
    def _adapts(self) -> bool:
        return bool(self.h["adapt"]) and (self.t + 1) % ADAPT_EVERY == 0

    @property
    def _try_every(self) -> int:
        """Steps between trials of gamma: TRY_EVERY rounded down to a multiple of ``inverse_interval``, at least one."""
        interval: int = self.h["inverse_interval"]
        return interval * max(1, TRY_EVERY // interval)

    def _plain_step(self, objective: MembersObjective, gradients: Matrices, losses: Tensor) -> dict[str, Tensor]:
        """v <- momentum v + nu proposal; w <- w + lr v, where nu bounds the proposal's predicted KL."""
        directions = _proposal(self.inverses, gradients)
        lr, momentum = self._lr, self._numbers["momentum"]
        info: dict[str, Tensor] = {}
        if bool(self._numbers["kl_clip"].any()):
            slope = torch.zeros_like(lr)
            for name, gradient in gradients.items():
                slope = slope + (directions[name] * gradient).flatten(1).sum(1).to("cpu", torch.float64)
            # F proposal = -gradient where the factors are exact and undamped
            kl = -0.5 * (lr * lr) * slope
            nu = self._clip(kl)
            info["proposal_kl"] = nu * nu * kl
            directions = {name: matrix.mul_(column(nu, matrix)) for name, matrix in directions.items()}
        for name, matrix in directions.items():
            last = self.last.get(name)
            self.last[name] = matrix if last is None else matrix.add_(last * column(momentum, last))
        move = {name: matrix * column(lr, matrix) for name, matrix in self.last.items()}
        if not self._adapts:
            self._move(move)
            return info
        change = self._model(objective, gradients).along(self.last).change(lr)
        self._move(move)
        return info | {"ratio": self._adapt(objective, losses, change)}

    def _model(self, objective: MembersObjective, gradients: Matrices) -> StackedQuadraticModel:
        return StackedQuadraticModel(self.layers, objective, gradients, self.damping + objective.l2)

    def _clip(self, kl: Tensor) -> Tensor:
        bound = self._numbers["kl_clip"]
        return torch.where((bound > 0) & (kl > bound), (bound / kl).sqrt(), 1.0)

    def _move(self, step: Matrices) -> None:
        for layer in self.layers:
            for name, change in layer.split(step[layer.name]).items():
                self.module.pieces[name].value.add_(change)

    def _adapt(self, objective: MembersObjective, before: Tensor, predicted: Tensor) -> Tensor:
        """Adapt each member's damping to the step's batch by the Levenberg-Marquardt rule (section 6.5).

        Returns:
            The reduction ratios (K,).
        """
        after = objective.losses_anew().to("cpu", torch.float64)
        ratio = torch.where(predicted < 0, (after - before) / predicted, -math.inf)
        factor = DROP**ADAPT_EVERY
        floor = torch.minimum(self.damping, self._numbers["min_damping"].clamp(min=SMALLEST))
        lower, higher = torch.maximum(floor, self.damping * factor), self.damping / factor
        self.damping = torch.where(ratio > 0.75, lower, torch.where(ratio >= 0.25, self.damping, higher))
        if self.h["update"] == "plain":
            self.gamma = (self.damping + objective.l2).sqrt()
        return ratio

    def _first_order(self, gradients: Mapping[str, Tensor]) -> None:
        """v <- momentum v + g; w <- w - rest_lr v. A schedule scales rest_lr as it scales lr."""
        rate, momentum = self._numbers["rest_lr"] * self._lr / self._numbers["lr"], self._numbers["momentum"]
        for name, g in gradients.items():
            v = self.velocity.get(name)
            self.velocity[name] = v = g.clone() if v is None else v.mul_(column(momentum, v)).add_(g)
            self.module.pieces[name].value.sub_(v * column(rate, v))

    _STATE = ("lrs", "t", "refreshed", "damping", "gamma", "a", "g", "inverses", "last", "velocity")

    def state_dict(self) -> dict[str, Any]:
        """Factors, their inverses, the last step, dampings and counters."""
        return {name: getattr(self, name) for name in self._STATE}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a copy of a state, since steps update factors and velocities in place."""
        for name in self._STATE:
            setattr(self, name, copy.deepcopy(state[name]))


def _proposal(inverses: Mapping[str, tuple[Tensor, Tensor]], gradients: Matrices) -> dict[str, Tensor]:
    """-G^-1 grad A^-1 for each layer."""
    found = {}
    for name, gradient in gradients.items():
        a, g = inverses[name]
        found[name] = product(product(g, gradient), a).neg_()
    return found
