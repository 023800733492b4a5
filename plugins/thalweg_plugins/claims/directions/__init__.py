"""Section J: the loss along random and gradient directions."""

from thalweg_plugins.claims.directions.last_layer import J1
from thalweg_plugins.claims.directions.roughness import FirstLayer, GradientDirection

CLAIMS: tuple[type, ...] = (J1, FirstLayer, GradientDirection)
