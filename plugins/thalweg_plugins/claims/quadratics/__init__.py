"""Claims of section A: quadratics and quasi-Newton methods."""

from thalweg_plugins.claims.quadratics.lbfgs import QuasiNewtonTrains

CLAIMS = (QuasiNewtonTrains,)
