"""The stepper of L-BFGS for K members. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping, Sequence
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thalweg.contracts import StackedStepper, StepReport
from thalweg.contracts.stacked import JointObjective, StackedNetwork
from thalweg_plugins.optimizers.second_order._search_of_torch import search_of_torch
from thalweg_plugins.optimizers.second_order._wolfe import Point

if TYPE_CHECKING:
    from thalweg.contracts.objective import Objective

Evaluations = Generator[None, tuple[float, Tensor], None]
"""The iterations of a member's step: yields with the weights at a point, and is sent the loss and gradient there."""

TOLERANCE = 1e-60
"""``tolerance_change`` for torch: only a loss or weights that do not change at all end a step early."""

EVALUATIONS = 25
"""The most evaluations of a step, for each iteration."""


class Pairs:
    """The matrix H of the last pairs s = dw, y = dg, as the pairs and their products with each other.

    The two-loop recursion of torch changes a vector 2 n times for n pairs. Its numbers follow from products of the pairs
    with each other and with the gradient alone, so that each new pair and each direction reads the pairs once.
    """

    def __init__(self, most: int, like: Tensor) -> None:
        self._rows = like.new_empty(2 * most, len(like))
        self._slots: list[int] = []
        """The places of the pairs, the oldest pair first; a pair's s is in row 2 slot and its y in the row after it."""
        self._sy: dict[int, list[float]] = {}
        """s'y of a pair's s, by its place, with its own y and the y of each newer pair."""
        self._yy: dict[int, list[float]] = {}
        """The same for y'y."""
        self.scale = 1.0
        """H without pairs is this multiple of I."""

    def add(self, s: Tensor, y: Tensor) -> None:
        """Add a pair, unless s'y is too small, and drop the oldest one where there are too many."""
        sy, yy = torch.dot(y, s), torch.dot(y, y)
        if not sy > 1e-10:
            return
        self.scale = float(sy / yy)
        is_full = 2 * len(self._slots) == len(self._rows)
        slot = self._slots.pop(0) if is_full else len(self._slots)
        products = self._with(y)
        for older in self._slots:
            self._sy[older].append(products[2 * older])
            self._yy[older].append(products[2 * older + 1])
        self._slots.append(slot)
        self._sy[slot], self._yy[slot] = [float(sy)], [float(yy)]
        self._rows[2 * slot].copy_(s)
        self._rows[2 * slot + 1].copy_(y)

    def direction(self, g: Tensor) -> Tensor:
        """-H g by the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4), on coefficients instead of vectors."""
        products = self._with(g)
        slots, n = self._slots, len(self._slots)
        sy, yy = [self._sy[slot] for slot in slots], [self._yy[slot] for slot in slots]
        # from the newest pair to the oldest: q = -g - sum of a y, with a = s'q / s'y
        a = [0.0] * n
        for i in reversed(range(n)):
            a[i] = -(products[2 * slots[i]] + sum(map(mul, sy[i][1:], a[i + 1 :]))) / sy[i][0]
        # y'r for r = scale q
        yr = [-products[2 * slot + 1] for slot in slots]
        for i in range(n):
            yr[i] -= sum(map(mul, yy[i], a[i:]))
            for j in range(i + 1, n):
                yr[j] -= yy[i][j - i] * a[i]
        yr = [self.scale * value for value in yr]
        # from the oldest pair to the newest: r = r + c s, with c = a - y'r / s'y
        coefficients = [0.0] * (2 * n)
        for i, slot in enumerate(slots):
            c = a[i] - yr[i] / sy[i][0]
            for j in range(i + 1, n):
                yr[j] += sy[i][j - i] * c
            coefficients[2 * slot], coefficients[2 * slot + 1] = c, -self.scale * a[i]
        return torch.addmv(g, self._rows[: 2 * n].T, g.new_tensor(coefficients), beta=-self.scale)

    def _with(self, vector: Tensor) -> list[float]:
        """The products of all rows in use with a vector."""
        products: list[float] = torch.mv(self._rows[: 2 * len(self._sy)], vector).tolist()
        return products


class LBFGSMember:
    """One member's iterations, as ``torch.optim.LBFGS`` makes them with a strong-Wolfe search.

    Args:
        h: the member's hyperparameters; ``lr`` can be set.
        like: a vector of the length and precision of the weights.
    """

    def __init__(self, h: Mapping[str, Any], like: Tensor) -> None:
        self.h = dict(h)
        self._number = np.dtype(str(like.dtype).removeprefix("torch.")).type
        self._pairs = Pairs(h["history_size"], like)
        self._last: tuple[Tensor, Tensor] | None = None
        """The step s of the last iteration, and the gradient before it."""

    def step(self, weights: Tensor) -> Evaluations:
        """The iterations of one step on one batch.

        Args:
            weights: the member's weights (P,), which change in place.
        """
        loss, g = yield
        if _is_zero(g):
            return
        left = EVALUATIONS * self.h["max_iter"] - 1
        for _ in range(self.h["max_iter"]):
            alpha = self.h["lr"]
            if self._last is None:
                d = -g
                alpha = min(1.0, 1.0 / self._number(float(g.abs().sum()))) * alpha
            else:
                s, before = self._last
                self._pairs.add(s, g - before)
                d = self._pairs.direction(g)
            start = Point(0, loss, self._slope(g, d), g)
            if start.slope > -TOLERANCE:
                self._last = d * float(alpha), g
                return
            found, tried = yield from self._search(weights, d, alpha, start, left)
            left -= tried
            s = d * float(found.alpha)
            self._last = s, g
            change = found.value - loss
            loss, g = found.value, found.payload
            if left <= 0 or _is_zero(g) or s.abs().max() <= TOLERANCE or abs(change) < TOLERANCE:
                return

    def _search(
        self, weights: Tensor, d: Tensor, alpha: Any, start: Point, most: int
    ) -> Generator[None, tuple[float, Tensor], tuple[Point, int]]:
        """Go to the point that the line search finds; also returns the number of points that it tried."""
        origin = weights.clone()
        search = search_of_torch(alpha, start, lambda: self._number(float(d.abs().max())), most)
        alpha, tried = next(search), 0
        while True:
            torch.add(origin, d, alpha=float(alpha), out=weights)
            loss, g = yield
            tried += 1
            point = Point(alpha, loss, self._slope(g, d), g)
            try:
                alpha = search.send(point)
            except StopIteration as stop:
                found: Point = stop.value
                if found is not point:
                    torch.add(origin, d, alpha=float(found.alpha), out=weights)
                return found, tried

    def _slope(self, g: Tensor, d: Tensor) -> Any:
        return self._number(float(torch.dot(g, d)))

    def state(self) -> dict[str, Any]:
        """The learning rate, the last iteration and the pairs."""
        return {"lr": self.h["lr"], "last": self._last, "pairs": vars(self._pairs)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``."""
        self.h["lr"], self._last = state["lr"], state["last"]
        vars(self._pairs).update(state["pairs"])


def _is_zero(g: Tensor) -> bool:
    """Whether all numbers are zero; their squares may be too small for the precision."""
    return float(torch.dot(g, g)) == 0 and not bool(g.any())


class StackedLBFGSStepper(StackedStepper):
    """L-BFGS for K members.

    Each member makes iterations of its own. In each round the members move to the points that they want evaluated, and
    one pass evaluates all of them. A member whose step is over waits until the others are done.
    """

    def __init__(self, module: StackedNetwork, members: Sequence[Mapping[str, Any]]) -> None:
        self._module = module
        self._each = module.members // len(members)
        self.members = [LBFGSMember(members[index // self._each], row) for index, row in enumerate(module.vectors)]

    @property
    def lrs(self) -> list[float]:
        """The learning rate of each entry of hyperparameters."""
        return [float(member.h["lr"]) for member in self.members[:: self._each]]

    @lrs.setter
    def lrs(self, values: list[float]) -> None:
        for index, member in enumerate(self.members):
            member.h["lr"] = values[index // self._each]

    @torch.no_grad()
    def step(self, objective: Objective) -> StepReport:
        """The iterations of all members that train, each on its own batch."""
        assert isinstance(objective, JointObjective)
        going = [index for index, trains in enumerate(objective.trains) if trains]
        steps = {index: self.members[index].step(self._module.vectors[index]) for index in going}
        for step in steps.values():
            next(step)
        with np.errstate(all="ignore"):
            while steps:
                going = list(steps)
                for index, loss, g in zip(going, *objective.each(going), strict=True):
                    try:
                        steps[index].send((loss, g))
                    except StopIteration:
                        del steps[index]
        return StepReport()

    def state_dict(self) -> dict[str, Any]:
        """Each member's state."""
        return {"members": [member.state() for member in self.members]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        for member, own in zip(self.members, copy.deepcopy(state["members"]), strict=True):
            member.load(own)
