"""Reconstruction of handwritten digits from a narrow code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thalweg import LoadedProblem, Metric, Problem, Shape
from thalweg.contracts import LoadContext
from thalweg.contracts.budget import Budget, Target
from thalweg.contracts.problem import Split
from thalweg_plugins.problems._starting import mean_pixel
from thalweg_plugins.problems._targets import baseline


class DigitsAutoencoder(Problem):
    """Reconstruction of the 1,797 images of ``digits``, with equal splits. Inputs and targets are the pixels in [0, 1].

    The loss is the sigmoid cross-entropy summed over the 64 pixels, in nats. ``squared_error`` is the squared error of
    the reconstruction.
    """

    stacks = True
    name = "digits-autoencoder"
    summary = "reconstruct 1,797 real handwritten digits of 8x8 pixels from a narrow code"
    equation = "mean of -sum_j y_j log s(z_j) + (1 - y_j) log(1 - s(z_j));  squared error: mean of ||s(z) - y||^2"
    source = "Alpaydin & Kaynak 1998; loss and error as in Martens & Grosse 2015, section 13"
    licence = "CC BY 4.0"
    normalisation = "pixels divided by 16"
    metrics = (Metric("squared_error", "lower", "log"), Metric("loss", "lower", "log"))
    budget = Budget(epochs=50)
    target = Target(metric="squared_error", value=1.02)
    target_source = baseline("autoencoder, widths 48, 24, 8")

    def shape(self, options: Mapping[str, Any]) -> Shape:
        """64 pixels in and out."""
        return Shape("autoencoding", (64,), (64,))

    def starting_level(self, options: Mapping[str, Any], metric: str) -> float | None:
        """Of the mean pixel of the 1,797 images, 0.3053 with deviation 0.3760, as the answer to every pixel."""
        return mean_pixel(64, 0.3053, 0.3760, metric)

    def sizes(self, options: Mapping[str, Any]) -> dict[Split, int]:
        """1,347 and 450."""
        return {"train": 1347, "test": 450}

    def load(self, options: Mapping[str, Any], context: LoadContext) -> LoadedProblem:
        """Split and scale."""
        from thalweg.contracts.losses import SigmoidCrossEntropy
        from thalweg.contracts.supervised import Supervised
        from thalweg_plugins.problems._sklearn_digits import digits

        pixels = {
            split: x.to(context.device, context.dtype) for split, (x, _) in digits(context.validation_fraction).items()
        }
        return Supervised({split: (x, x) for split, x in pixels.items()}, SigmoidCrossEntropy(), self.metrics)
