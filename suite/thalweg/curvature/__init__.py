"""Curvature of an objective: products with its Hessian, GGN and Fisher matrices, and algorithms that use products."""

from thalweg.curvature.cg import CGResult, conjugate_gradients
from thalweg.curvature.chain import ChainHessian, hessian
from thalweg.curvature.density import Density, quadratures, smoothed, spectral_density, width
from thalweg.curvature.eigenpairs import Eigenpairs, extreme_eigenpairs
from thalweg.curvature.lanczos import Tridiagonal, lanczos, random_start
from thalweg.curvature.operators import (
    GGN,
    EmpiricalFisher,
    Fisher,
    Hessian,
    MCFisher,
    Operator,
    OutputOperator,
)
from thalweg.curvature.per_example import ExampleGradients, example_gradients, examples_at_once
from thalweg.curvature.scipy_operator import linear_operator
from thalweg.curvature.trace import TraceEstimate, hutch_plus_plus, hutchinson, rademacher
from thalweg.curvature.vectors import flat, pieces

__all__ = [
    "GGN",
    "CGResult",
    "ChainHessian",
    "Density",
    "Eigenpairs",
    "EmpiricalFisher",
    "ExampleGradients",
    "Fisher",
    "Hessian",
    "MCFisher",
    "Operator",
    "OutputOperator",
    "TraceEstimate",
    "Tridiagonal",
    "conjugate_gradients",
    "example_gradients",
    "examples_at_once",
    "extreme_eigenpairs",
    "flat",
    "hessian",
    "hutch_plus_plus",
    "hutchinson",
    "lanczos",
    "linear_operator",
    "pieces",
    "quadratures",
    "rademacher",
    "random_start",
    "smoothed",
    "spectral_density",
    "width",
]
