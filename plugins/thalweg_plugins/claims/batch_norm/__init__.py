"""Claims of section G: batch normalization."""

from thalweg_plugins.claims.batch_norm.smoothness import CovariateShift, Smoothness
from thalweg_plugins.claims.batch_norm.training import Generalization, GradientsByLayer, NoisyBatchNorm, Reliability

CLAIMS = (Reliability, CovariateShift, NoisyBatchNorm, Smoothness, GradientsByLayer, Generalization)
