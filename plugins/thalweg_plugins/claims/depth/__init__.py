"""Section F: what depth does to signals and derivatives at initialization."""

from thalweg_plugins.claims.depth.activations import F3
from thalweg_plugins.claims.depth.jacobian import F1
from thalweg_plugins.claims.depth.uniform import F2

CLAIMS: tuple[type, ...] = (F1, F2, F3)
