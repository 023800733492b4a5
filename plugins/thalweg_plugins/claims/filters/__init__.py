"""Claims of section K: filter normalisation and sharpness; and L6, which shares their trials."""

from thalweg_plugins.claims.filters.prediction import AdaptiveSharpness, FilterNormalisedSharpness
from thalweg_plugins.claims.filters.scale import ScaleOfWeights
from thalweg_plugins.claims.filters.surfaces import Shortcuts

CLAIMS = (ScaleOfWeights, FilterNormalisedSharpness, Shortcuts, AdaptiveSharpness)
