"""Curvature of an objective: products with its Hessian, GGN and Fisher matrices, and what can be done with products."""

from thalweg.curvature.operators import (
    GGN,
    EmpiricalFisher,
    Fisher,
    Hessian,
    MCFisher,
    Operator,
    OutputOperator,
)
from thalweg.curvature.vectors import flat, pieces

__all__ = [
    "GGN",
    "EmpiricalFisher",
    "Fisher",
    "Hessian",
    "MCFisher",
    "Operator",
    "OutputOperator",
    "flat",
    "pieces",
]
