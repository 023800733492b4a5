"""A small vision transformer."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd, prod
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._misfits import divisors, either, no_heads, no_image

if TYPE_CHECKING:
    from torch import nn


class ViT(Architecture):
    """Square patches, embedded linearly with learned positions, go through pre-norm transformer blocks.

    The output is linear in the mean over patches, in place of the paper's class token (its appendix compares both). A
    block's MLP has 4 dim hidden units. GELU is exact, and the network has no dropout. Weights start Glorot-uniform.
    """

    name = "vit"
    summary = "small vision transformer: patches, learned positions, pre-norm blocks, mean over patches"
    equation = "h = E patches + positions;  h <- h + attention(norm h), h <- h + mlp(norm h);  z = W mean(norm h) + b"
    source = "Dosovitskiy et al. 2021, equations 1-4, with the mean over patches in place of the class token"
    tasks = ("classification", "regression")
    options = (
        Option("patch", 4, "[1, inf)", "height and width of a patch; must divide the image's"),
        Option("dim", 64, "[1, inf)", "length of a patch's vector"),
        Option("depth", 4, "[1, inf)", "blocks"),
        Option("heads", 4, "[1, inf)", "attention heads of each block; must divide dim"),
    )

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits images that consist of whole patches."""
        if reason := super().misfit(options, shape) or no_image(shape, 1):
            return reason
        _, height, width = shape.input
        patch, common = options["patch"], gcd(height, width)
        if common % patch:
            return f"patch = {patch} does not divide height {height} and width {width}: use {either(divisors(common))}"
        return no_heads(options["dim"], options["heads"])

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """The transformer."""
        from thalweg_plugins.architectures._transformer import VisionTransformer

        return VisionTransformer(shape.input, prod(shape.output), **options)
