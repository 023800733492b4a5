"""An operator as SciPy's linear algebra takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from thalweg.contracts.real import as_real
from thalweg.curvature.operators import Operator

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator


def linear_operator(operator: Operator) -> LinearOperator[Any]:
    """A symmetric ``scipy.sparse.linalg.LinearOperator`` (P, P): ``eigsh`` and ``minres`` take it.

    Vectors travel to the operator's device and back at each product.
    """
    from scipy.sparse.linalg import LinearOperator

    like = as_real(operator.parameters[0].detach())

    def matvec(vector: NDArray[Any]) -> NDArray[Any]:
        product = operator @ torch.from_numpy(np.ascontiguousarray(vector.reshape(-1))).to(like)
        return product.cpu().numpy()

    dtype = torch.empty(0, dtype=like.dtype).numpy().dtype
    return LinearOperator(operator.shape, matvec=matvec, rmatvec=matvec, dtype=dtype)
