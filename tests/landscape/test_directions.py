from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.landscape.directions import filter_normalized, random_direction
from thalweg.landscape.evaluate import flat, losses_at
from thalweg.testing.small import network, problem


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_each_filter_gets_the_norm_of_its_weights_and_vectors_get_zero() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(3, 4))
    direction = filter_normalized(module, random_direction(module, generator()))
    offset = 0
    for parameter in module.parameters():
        piece = direction[offset : offset + parameter.numel()].view_as(parameter)
        offset += parameter.numel()
        if parameter.dim() > 1:
            torch.testing.assert_close(piece.flatten(1).norm(dim=1), parameter.detach().flatten(1).norm(dim=1))
        else:
            assert float(piece.abs().max()) == 0
    assert offset == len(direction)


def test_a_filter_of_zeros_gets_a_direction_of_zeros() -> None:
    module = nn.Linear(3, 2)
    with torch.no_grad():
        module.weight[0].zero_()
    direction = filter_normalized(module, torch.zeros(8))
    assert torch.equal(direction, torch.zeros(8))


def test_directions_are_drawn_from_the_generator_alone() -> None:
    module = network()
    first, second = random_direction(module, generator()), random_direction(module, generator())
    assert torch.equal(first, second)
    assert not torch.equal(first, random_direction(module, torch.Generator().manual_seed(1)))


def test_the_curve_does_not_change_when_weights_before_batch_norm_are_rescaled() -> None:
    """Li et al. 2018, section 4: the reason for filter normalisation. The raw curve does change."""

    def curves(scale: float) -> tuple[Tensor, Tensor]:
        module, data = network(torch.float64), problem(torch.float64)
        module(data.data["train"][0])  # type: ignore[attr-defined]
        norm = module[1]
        assert isinstance(norm, nn.BatchNorm1d)
        assert isinstance(norm.running_mean, Tensor)
        assert isinstance(norm.running_var, Tensor)
        norm.eps = 1e-30
        with torch.no_grad():
            module[0].weight.mul_(scale)
            module[0].bias.mul_(scale)
            norm.running_mean.mul_(scale)
            norm.running_var.mul_(scale**2)
        raw = random_direction(module, generator())
        t = torch.linspace(-1, 1, 11, dtype=torch.float64)
        at = [flat(module) + t[:, None] * d for d in (filter_normalized(module, raw), raw)]
        return losses_at(module, data, at[0])["loss"], losses_at(module, data, at[1])["loss"]

    (normalised, raw), (normalised_scaled, raw_scaled) = curves(1.0), curves(10.0)
    torch.testing.assert_close(normalised, normalised_scaled, rtol=1e-10, atol=1e-10)
    assert float((raw - raw_scaled).abs().max()) > 1e-2
