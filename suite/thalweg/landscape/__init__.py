"""The loss at many weight vectors, and the directions between them."""

from thalweg.landscape.directions import filter_normalized, random_direction
from thalweg.landscape.losses_at import Line, Plane, losses_at

__all__ = ["Line", "Plane", "filter_normalized", "losses_at", "random_direction"]
