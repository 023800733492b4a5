"""Section A: what Newton's method, momentum and quasi-Newton methods do on quadratics, and L-BFGS on a network."""

from thalweg_plugins.claims.quadratics.bfgs import A3
from thalweg_plugins.claims.quadratics.deep_networks import QuasiNewtonTrains
from thalweg_plugins.claims.quadratics.lbfgs import A4
from thalweg_plugins.claims.quadratics.momentum import A2
from thalweg_plugins.claims.quadratics.newton import A1

CLAIMS: tuple[type, ...] = (A1, A2, A3, A4, QuasiNewtonTrains)
