"""Claims of section C: adaptive rules."""

from thalweg_plugins.claims.adaptive.tuned import AdamAgainstMomentum, RMSPropBeatsAdaGrad

CLAIMS = (RMSPropBeatsAdaGrad, AdamAgainstMomentum)
