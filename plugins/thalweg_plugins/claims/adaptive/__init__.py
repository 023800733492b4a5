"""Section C: what adaptive rules compute, and how their steps behave on small functions."""

from thalweg_plugins.claims.adaptive.constant import C2
from thalweg_plugins.claims.adaptive.formula import C1
from thalweg_plugins.claims.adaptive.noise import C3
from thalweg_plugins.claims.adaptive.oscillation import C6

CLAIMS: tuple[type, ...] = (C1, C2, C3, C6)
