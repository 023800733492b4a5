"""Reasons that several architectures give for not fitting, as ends of sentences. Does not import torch."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg import Shape


def inputs(shape: Shape) -> str:
    """The inputs of a problem of this shape, in words."""
    match shape.input:
        case (length,):
            return f"vectors of {length} numbers"
        case (channels, length):
            return f"sequences of length {length} with {channels} channel{'s' * (channels > 1)}"
        case _:
            return "arrays of size " + "x".join(map(str, shape.input))


def no_image(shape: Shape, smallest: int) -> str | None:
    """Why inputs are no images of at least ``smallest`` x ``smallest``; None when they are."""
    if len(shape.input) != 3:
        others = "'convnet' or 'mlp'" if len(shape.input) == 2 else "'mlp'"
        return f"it takes images (channels, height, width), and this problem gives {inputs(shape)}: use {others}"
    _, height, width = shape.input
    if min(height, width) < smallest:
        return f"it takes images of at least {smallest}x{smallest}, and this problem gives {height}x{width}"
    return None


def no_depth(depth: int, extra: int) -> str | None:
    """A message for a depth that is not 6n + ``extra``, with the two nearest valid depths; None for a valid depth."""
    over = (depth - extra) % 6
    return f"depth = {depth} is not 6n + {extra}: use {depth - over} or {depth - over + 6}" if over else None


def no_heads(dim: int, heads: int) -> str | None:
    """A message where the number of heads does not divide the dimension; None where it does."""
    if dim % heads == 0:
        return None
    return f"heads = {heads} does not divide dim = {dim}: use {either(divisors(dim))}"


def divisors(number: int) -> list[int]:
    """All divisors up to a thousand, in order. Nobody uses more heads or larger patches.

    >>> divisors(28)
    [1, 2, 4, 7, 14, 28]
    """
    return [divisor for divisor in range(1, min(number, 1000) + 1) if number % divisor == 0]


def either(numbers: Sequence[int]) -> str:
    """The choices as a phrase.

    >>> either([9, 11, 16])
    '9, 11 or 16'
    """
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}" if first else last
