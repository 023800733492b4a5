"""Claims of section J: random and gradient directions."""

from thalweg_plugins.claims.directions.roughness import FirstLayer, GradientDirection

CLAIMS = (FirstLayer, GradientDirection)
