"""Section E: least squares on which adaptive methods overfit, the conditions, and networks."""

from thalweg_plugins.claims.overfitting.conditions import E3
from thalweg_plugins.claims.overfitting.least_norm import E1
from thalweg_plugins.claims.overfitting.signs import E2
from thalweg_plugins.claims.overfitting.tuned import AdaptiveTestErrors

CLAIMS: tuple[type, ...] = (E1, E2, E3, AdaptiveTestErrors)
