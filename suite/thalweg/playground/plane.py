"""The loss of a network restricted to a plane, as a function that optimizers can step on.

Imports torch, so it is imported where paths are computed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from thalweg.contracts.analytic import AnalyticFunction
from thalweg.errors import UserError
from thalweg.playground.requests import Plane

Floats = NDArray[np.float64]


class LeftGridError(Exception):
    """A point lies outside of the grid, where nothing is known about the loss."""


def plane_function(plane: Plane) -> AnalyticFunction:
    """The loss on the plane, interpolated between the points of its grid, as a function of (x, y).

    The function is the bicubic spline s through the losses L_ij; on a log scale it is exp(s), with s through log L_ij.
    So it has two continuous derivatives. Evaluation outside of the grid raises ``LeftGridError``.

    Source: de Boor 2001, chapter XVII, tensor products; "not-a-knot" at the edges: chapter IV.

    Raises:
        UserError: the grid has fewer than two rows or columns, or a loss that cannot be interpolated.
    """
    x, y, losses = np.array(plane.x), np.array(plane.y), np.array(plane.losses)
    if losses.ndim != 2 or min(losses.shape) < 2:
        raise UserError("a plane needs a grid of two rows and two columns at least")
    if wrong := int((~np.isfinite(losses)).sum()):
        raise UserError(f"{wrong} of {losses.size} points of the plane have no finite loss, so it has no interpolant")
    if plane.log and not (losses > 0).all():
        raise UserError("the plane has a loss of zero or below, whose logarithm cannot be interpolated")
    s = _spline(x, y, np.log(losses) if plane.log else losses)
    start = torch.tensor(plane.start, dtype=torch.float64)
    return AnalyticFunction((lambda p: s(p).exp()) if plane.log else s, lambda _: start)


def _spline(x: Floats, y: Floats, values: Floats) -> Callable[[Tensor], Tensor]:
    """The spline through values (m, n) at (x_j, y_i), as a function (2,) -> scalar with derivatives of any order.

    In the cell of (x_j, y_i) it is sum_ab c_abij (x - x_j)^a (y - y_i)^b.
    """
    # splines are linear in the values, so the spline in y of the coefficients in x is the one of the tensor product
    along_x = CubicSpline(x, values.T).c[::-1]
    along_y = CubicSpline(y, along_x, axis=2).c[::-1]
    # from (b, i, a, j)
    c = torch.from_numpy(np.ascontiguousarray(along_y.transpose(1, 3, 2, 0)))

    def s(p: Tensor) -> Tensor:
        at_x, at_y = p.tolist()
        if not (x[0] <= at_x <= x[-1] and y[0] <= at_y <= y[-1]):
            raise LeftGridError
        j = min(int(np.searchsorted(x, at_x, "right")), len(x) - 1) - 1
        i = min(int(np.searchsorted(y, at_y, "right")), len(y) - 1) - 1
        return _powers(p[0] - x[j]) @ c[i, j] @ _powers(p[1] - y[i])

    return s


def _powers(u: Tensor) -> Tensor:
    """1, u, u^2, u^3 by products: torch's second derivative of 0 ** 0 is nan, and grid points have u = 0."""
    square = u * u
    return torch.stack([torch.ones_like(u), u, square, square * u])
