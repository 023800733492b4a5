"""Section C: what adaptive rules compute, how their steps behave on small functions, and how they train networks."""

from thalweg_plugins.claims.adaptive.constant import C2
from thalweg_plugins.claims.adaptive.formula import C1
from thalweg_plugins.claims.adaptive.noise import C3
from thalweg_plugins.claims.adaptive.oscillation import C6
from thalweg_plugins.claims.adaptive.tuned import AdamAgainstMomentum, RMSPropBeatsAdaGrad

CLAIMS: tuple[type, ...] = (C1, C2, C3, RMSPropBeatsAdaGrad, AdamAgainstMomentum, C6)
