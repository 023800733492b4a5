"""Claims of section I: the line from start to finish."""

from thalweg_plugins.claims.line.shape import Convex, Monotone, OtherLines

CLAIMS = (Monotone, Convex, OtherLines)
