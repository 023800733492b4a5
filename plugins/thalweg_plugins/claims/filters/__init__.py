"""Section K: filter normalisation and sharpness."""

from thalweg_plugins.claims.filters.invariance import K1

CLAIMS: tuple[type, ...] = (K1,)
