"""A small causal transformer that predicts each next token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thalweg import Architecture, Option, Shape
from thalweg_plugins.architectures._misfits import no_heads

if TYPE_CHECKING:
    from torch import nn


class CharTransformer(Architecture):
    """GPT-2's architecture at the size of nanoGPT's examples: pre-norm blocks, causal attention, learned positions.

    A block's MLP has 4 dim hidden units. GELU is exact, and the network has no dropout. Weights start normal with
    deviation 0.02, and 0.02 / sqrt(2 depth) in the last layer of each residual branch.
    """

    name = "char-transformer"
    summary = "small causal transformer for sequences of tokens, as in nanoGPT"
    equation = "h = tokens + positions;  h <- h + attention(norm h), h <- h + mlp(norm h), depth times;  z = W norm(h)"
    source = "Radford et al. 2019 (GPT-2), section 2.3; Karpathy, nanoGPT, model.py"
    tasks = ("language",)
    options = (
        Option("dim", 64, "[1, inf)", "length of a token's vector"),
        Option("depth", 2, "[1, inf)", "blocks"),
        Option("heads", 4, "[1, inf)", "attention heads of each block; must divide dim"),
        Option("tied", True, summary="whether the output's weights are the token embeddings"),
    )

    def misfit(self, options: Mapping[str, Any], shape: Shape) -> str | None:
        """Fits sequences of tokens."""
        return super().misfit(options, shape) or no_heads(options["dim"], options["heads"])

    def build(self, options: Mapping[str, Any], shape: Shape) -> nn.Module:
        """The transformer, for sequences of at most the problem's length."""
        from thalweg_plugins.architectures._transformer import LanguageModel

        (length,), vocabulary = shape.input, shape.output[-1]
        return LanguageModel(vocabulary, length, **options)
