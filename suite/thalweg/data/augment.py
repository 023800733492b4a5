"""Random changes of training images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def crop_and_flip(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Each image padded with zeros, cropped to its size at a random place, and mirrored with probability 1/2.

    This is the usual augmentation of CIFAR (He et al. 2016, "Deep residual learning for image recognition", section
    4.2). The draw of an image is one integer, uniform over the (2 padding + 1)^2 places times 2.

    Args:
        images: shape (N, C, H, W), already scaled; the padding is zero in this scale.
        generator: a generator on the CPU, so that the draws are equal on every device.
        padding: pixels added on each side.

    Returns:
        Shape (N, C, H, W), on the device of ``images``.

    >>> image = torch.arange(4.0).view(1, 1, 2, 2)
    >>> drawn = [crop_and_flip(image, torch.Generator().manual_seed(seed), padding=0) for seed in range(8)]
    >>> sorted({tuple(one.flatten().tolist()) for one in drawn})
    [(0.0, 1.0, 2.0, 3.0), (1.0, 0.0, 3.0, 2.0)]
    """
    n, channels, height, width = images.shape
    places = 2 * padding + 1
    draw = torch.randint(2 * places**2, (n,), generator=generator).to(images.device)
    flip, top, left = draw % 2, draw // 2 // places, draw // 2 % places
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    columns = left[:, None] + torch.where(flip[:, None] == 1, columns.flip(0), columns)
    padded = functional.pad(images, (padding,) * 4)
    strips = padded.gather(2, rows[:, None, :, None].expand(n, channels, height, width + 2 * padding))
    return strips.gather(3, columns[:, None, None, :].expand(n, channels, height, width))
