"""Section B: the natural gradient on a network small enough for exact matrices, and K-FAC in training."""

from thalweg_plugins.claims.natural_gradient.budget import B4
from thalweg_plugins.claims.natural_gradient.invariance import B3
from thalweg_plugins.claims.natural_gradient.kfac import FewerIterations, HeldOutLoss
from thalweg_plugins.claims.natural_gradient.labels import B2
from thalweg_plugins.claims.natural_gradient.steepest import B1

CLAIMS: tuple[type, ...] = (B1, B2, B3, B4, FewerIterations, HeldOutLoss)
