"""An operator for SciPy's linear algebra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from thalweg.contracts.real import real_dtype
from thalweg.curvature.operators import Operator

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator


def linear_operator(operator: Operator) -> LinearOperator[Any]:
    """A symmetric ``scipy.sparse.linalg.LinearOperator`` (P, P): ``eigsh`` and ``minres`` take it.

    Vectors travel to the operator's device and back at each product.
    """
    from scipy.sparse.linalg import LinearOperator

    like = torch.empty(0, dtype=real_dtype(operator.parameters), device=operator.parameters[0].device)

    def matvec(vector: NDArray[Any]) -> NDArray[Any]:
        product = operator @ torch.from_numpy(np.ascontiguousarray(vector.reshape(-1))).to(like)
        return product.cpu().numpy()

    return LinearOperator(operator.shape, matvec=matvec, rmatvec=matvec, dtype=like.cpu().numpy().dtype)
