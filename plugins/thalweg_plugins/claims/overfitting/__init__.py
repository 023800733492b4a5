"""Claims of section E: where adaptive methods overfit."""

from thalweg_plugins.claims.overfitting.tuned import AdaptiveTestErrors

CLAIMS = (AdaptiveTestErrors,)
