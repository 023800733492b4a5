"""Claims of section H: residual networks."""

from thalweg_plugins.claims.residual.degradation import Degradation

CLAIMS = (Degradation,)
