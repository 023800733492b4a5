"""Section J: the loss along random and gradient directions."""

from thalweg_plugins.claims.directions.last_layer import J1

CLAIMS: tuple[type, ...] = (J1,)
