from __future__ import annotations

import pytest
import torch
from torch import Tensor

from thalweg.data.augment import crop_and_flip


def one_by_one(images: Tensor, generator: torch.Generator, padding: int) -> Tensor:
    """The same draws, applied to one image after the other by slicing."""
    places = 2 * padding + 1
    _, _, height, width = images.shape
    results = []
    for image, draw in zip(images, torch.randint(2 * places**2, (len(images),), generator=generator), strict=True):
        place, flip = divmod(int(draw), 2)
        top, left = divmod(place, places)
        large = torch.zeros(image.shape[0], height + 2 * padding, width + 2 * padding, dtype=image.dtype)
        large[:, padding : padding + height, padding : padding + width] = image
        crop = large[:, top : top + height, left : left + width]
        results.append(crop.flip(2) if flip else crop)
    return torch.stack(results)


@pytest.mark.parametrize("shape", [(64, 3, 32, 32), (5, 1, 6, 9), (1, 2, 4, 4)])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_it_is_the_loop_over_images(shape: tuple[int, ...], padding: int) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    batched = crop_and_flip(images, torch.Generator().manual_seed(1), padding)
    torch.testing.assert_close(batched, one_by_one(images, torch.Generator().manual_seed(1), padding), rtol=0, atol=0)


def test_every_place_and_both_directions_are_equally_likely() -> None:
    # an image with a single mark in its middle: where it goes tells the draw, but for the mirror
    n = 40_000
    image = torch.zeros(1, 1, 3, 3)
    image[0, 0, 1, 1] = 1.0
    drawn = crop_and_flip(image.expand(n, 1, 3, 3), torch.Generator().manual_seed(0), padding=1)
    # mean of n draws of probability 1/9: standard deviation 0.0016, and five of them are allowed
    torch.testing.assert_close(drawn.mean((0, 1)), torch.full((3, 3), 1 / 9), rtol=0, atol=0.008)
    half = torch.tensor([[1.0, 0.0]]).view(1, 1, 1, 2).expand(n, 1, 1, 2)
    mirrored = crop_and_flip(half, torch.Generator().manual_seed(0), padding=0)
    assert abs(float(mirrored[..., 0].mean()) - 0.5) < 0.0125


def test_the_draws_are_those_of_the_generator_alone() -> None:
    images = torch.randn(8, 3, 8, 8)
    first = crop_and_flip(images, torch.Generator().manual_seed(3))
    torch.manual_seed(99)
    assert torch.equal(first, crop_and_flip(images, torch.Generator().manual_seed(3)))
    assert not torch.equal(first, crop_and_flip(images, torch.Generator().manual_seed(4)))
