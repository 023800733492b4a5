"""The stepper of L-BFGS for K members. Imports torch, so it is imported only when a stepper is built."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Mapping, Sequence
from operator import mul
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thalweg.contracts import StackedStepper, StepReport
from thalweg.contracts.stacked import MembersObjective, StackedNetwork
from thalweg.errors import Diverged
from thalweg_plugins.optimizers.second_order._search_of_torch import search_of_torch
from thalweg_plugins.optimizers.second_order._wolfe import Point

if TYPE_CHECKING:
    from thalweg.contracts.objective import Objective

Evaluations = Generator[None, tuple[float, Tensor], None]
"""The iterations of a member's step: yields with the weights at a point, and is sent the loss and gradient there."""

LEAST_CURVATURE = 1e-10
"""The least s'y of a pair, as in torch."""


class Pairs:
    """The matrix H of the last pairs s = dw, y = dg, as the pairs and their products with each other.

    torch's two-loop recursion changes one vector twice for each pair. Here the recursion runs on products, which are
    numbers: those of the pairs with each other, and with the gradient. So a direction reads the pairs twice, once for
    the products and once for the sum.

    Args:
        most: the largest number of pairs.
        like: a vector of the length and precision of the pairs.
    """

    def __init__(self, most: int, like: Tensor) -> None:
        # a pair's s and y are neighbours; one more pair is a candidate
        self._rows = like.new_empty(2 * most + 2, len(like))
        self._largest = torch.finfo(like.dtype).max
        self._places: list[int] = []
        """The rows of each s, from the oldest pair to the newest; y is in the next row."""
        self._free = 0
        """The row of the candidate's s."""
        self._used = 0
        """Rows that hold numbers."""
        self._sy: list[list[float]] = []
        """s'y of each s with the y of its own pair and of each newer one."""
        self._ys: list[list[float]] = []
        """y's of each y with the s of each older pair."""
        self._yy: list[list[float]] = []
        """y'y of each y with the y of all pairs."""
        self.scale = 1.0
        """H without pairs is this multiple of I."""

    @property
    def count(self) -> int:
        """The number of pairs."""
        return len(self._places)

    def add(self, s: Tensor, g: Tensor, before: Tensor) -> None:
        """Add the pair of s and y = g - before, unless s'y is too small. Too many pairs drop the oldest."""
        own = self._free
        y = torch.sub(g, before, out=self._rows[own + 1])
        self._rows[own].copy_(s)
        self._used = max(self._used, own + 2)
        products = self._with(y)
        sy, yy = products[own], products[own + 1]
        if not sy > LEAST_CURVATURE:
            self._rows[own : own + 2].zero_()
            return
        self.scale = sy / yy if yy * self._largest > sy else math.inf
        if len(self._places) < len(self._rows) // 2 - 1:
            self._free = own + 2
        else:
            self._free = self._places.pop(0)
            del self._sy[0], self._ys[0], self._yy[0]
            for products_of_y in (*self._ys, *self._yy):
                del products_of_y[0]
        for i, row in enumerate(self._places):
            self._sy[i].append(products[row])
            self._yy[i].append(products[row + 1])
        self._ys.append([products[row] for row in self._places])
        self._yy.append([*(products[row + 1] for row in self._places), yy])
        self._sy.append([sy])
        self._places.append(own)

    def direction(self, g: Tensor) -> Tensor:
        """-H g by the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4), where q and r are sums of vectors."""
        products, places, n = self._with(g), self._places, len(self._places)
        # from the newest pair to the oldest: q = -g - sum of a y, with a = s'q / s'y
        a = [0.0] * n
        for i in reversed(range(n)):
            own, *newer = self._sy[i]
            a[i] = -(products[places[i]] + sum(map(mul, newer, a[i + 1 :]))) / own
        # from the oldest pair to the newest: r = scale q + sum of c s, with c = a - y'r / s'y
        c: list[float] = []
        for i in range(n):
            yq = -products[places[i] + 1] - sum(map(mul, self._yy[i], a))
            c.append(a[i] - (self.scale * yq + sum(map(mul, self._ys[i], c))) / self._sy[i][0])
        factors = [0.0] * self._used
        for i, row in enumerate(places):
            factors[row], factors[row + 1] = c[i], -self.scale * a[i]
        return torch.addmv(g, self._rows[: self._used].T, g.new_tensor(factors), beta=-self.scale)

    def _with(self, vector: Tensor) -> list[float]:
        """The products of all rows with a vector."""
        products: list[float] = torch.mv(self._rows[: self._used], vector).tolist()
        return products


class LBFGSMember:
    """One member's iterations, as ``torch.optim.LBFGS`` makes them with a strong-Wolfe search.

    Args:
        h: torch's arguments for the member; ``lr`` can be set.
        like: a vector of the length and precision of the weights.
    """

    def __init__(self, h: Mapping[str, Any], like: Tensor) -> None:
        self.h = dict(h)
        self._number = np.dtype(str(like.dtype).removeprefix("torch.")).type
        self._largest = torch.finfo(like.dtype).max
        self._pairs = Pairs(h["history_size"], like)
        self._last: tuple[Tensor, Tensor] | None = None
        """The step s of the last iteration, and the gradient before it."""
        self._length_is_tensor = False
        """Whether torch keeps the last length as a tensor: only the first length of a search is Python's number."""

    def step(self, weights: Tensor) -> Evaluations:
        """The iterations of one step on one batch.

        Args:
            weights: the member's weights (P,), which change in place.
        """
        loss, g = yield
        flat, still = self.h["tolerance_grad"], self.h["tolerance_change"]
        if _is_within(g, flat):
            return
        left = self.h["max_eval"] - 1
        for _ in range(self.h["max_iter"]):
            alpha = self.h["lr"]
            if self._last is None:
                d = -g
                alpha = min(1.0, 1.0 / self._number(float(g.abs().sum()))) * alpha
            else:
                s, before = self._last
                self._pairs.add(s, g, before)
                d = self._pairs.direction(g)
            start = Point(0, loss, self._slope(g, d), g)
            if start.slope > -still:
                self._last, self._length_is_tensor = (d * float(alpha), g), isinstance(alpha, np.generic)
                return
            found, tried = yield from self._search(weights, d, alpha, start, left)
            left -= tried
            s = d * float(found.alpha)
            self._last, self._length_is_tensor = (s, g), isinstance(found.alpha, np.generic)
            change = found.value - loss
            loss, g = found.value, found.payload
            if left <= 0 or abs(change) < still or _is_within(g, flat) or _is_within(s, still):
                return

    def _search(
        self, weights: Tensor, d: Tensor, alpha: Any, start: Point, most: int
    ) -> Generator[None, tuple[float, Tensor], tuple[Point, int]]:
        """Go to the point that the line search finds; also returns the number of points that it tried."""
        origin = weights.clone()
        search = search_of_torch(alpha, start, lambda: self._number(float(d.abs().max())), most)
        alpha, tried = next(search), 0
        while True:
            if self._largest < abs(float(alpha)) < math.inf:
                raise Diverged("a step's length is no number any more")
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

    def bytes_of_torch(self, parameters: int) -> int:
        """The bytes of the state that ``torch.optim.LBFGS`` would have: all its tensors, numbers included."""
        if self._last is None:
            return 0
        n = self._pairs.count
        numbers = 2 * n + (n > 0) + self._length_is_tensor
        return int(self._last[0].element_size() * (2 * (n + 1) * parameters + numbers))

    def state(self) -> dict[str, Any]:
        """The learning rate, the last iteration and the pairs."""
        own = {"lr": self.h["lr"], "last": self._last, "length_is_tensor": self._length_is_tensor}
        return own | {"pairs": vars(self._pairs)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``."""
        self.h["lr"], self._last, self._length_is_tensor = state["lr"], state["last"], state["length_is_tensor"]
        vars(self._pairs).update(state["pairs"])


def _is_within(vector: Tensor, bound: float) -> bool:
    """Whether no number is larger than a bound. The sum of squares is faster, but small squares are rounded to zero."""
    within = 2 * len(vector) * bound**2
    return float(torch.dot(vector, vector)) <= within and bool(vector.abs().max() <= bound)


class StackedLBFGSStepper(StackedStepper):
    """L-BFGS for K members, or for D settings that K/D neighbours share; ``members`` holds torch's arguments.

    Each member makes iterations of its own. In each round the members move to the points that they want evaluated, and
    one pass evaluates all of them. A member whose step is over waits until the others are done.
    """

    def __init__(self, module: StackedNetwork, members: Sequence[Mapping[str, Any]]) -> None:
        self._module = module
        self._parameters = sum(p.numel() for p in module.member.parameters())  # torch's vectors hold frozen ones, too
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

    def member_bytes(self, member: int) -> int:
        """The bytes of torch's state of one member."""
        return self.members[member].bytes_of_torch(self._parameters)

    @torch.no_grad()
    def step(self, objective: Objective) -> StepReport:
        """The iterations of all members that train, each on its own batch."""
        assert isinstance(objective, MembersObjective)
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
                    except Exception as error:  # ends this member, as it would end the trial alone
                        objective.fail(index, error)
                        del steps[index]
        return StepReport()

    def state_dict(self) -> dict[str, Any]:
        """Each member's state."""
        return {"members": [member.state() for member in self.members]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        for member, own in zip(self.members, copy.deepcopy(state["members"]), strict=True):
            member.load(own)
