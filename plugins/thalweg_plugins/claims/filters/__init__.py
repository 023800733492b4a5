"""Section K: filter normalisation and sharpness; and L6, which shares trials with K3."""

from thalweg_plugins.claims.filters.invariance import K1
from thalweg_plugins.claims.filters.prediction import AdaptiveSharpness, FilterNormalisedSharpness
from thalweg_plugins.claims.filters.scale import ScaleOfWeights
from thalweg_plugins.claims.filters.surfaces import Shortcuts

CLAIMS: tuple[type, ...] = (K1, ScaleOfWeights, FilterNormalisedSharpness, Shortcuts, AdaptiveSharpness)
