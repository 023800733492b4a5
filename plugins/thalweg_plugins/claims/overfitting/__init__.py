"""Section E: least squares on which adaptive methods overfit, and the conditions."""

from thalweg_plugins.claims.overfitting.conditions import E3
from thalweg_plugins.claims.overfitting.least_norm import E1
from thalweg_plugins.claims.overfitting.signs import E2

CLAIMS: tuple[type, ...] = (E1, E2, E3)
