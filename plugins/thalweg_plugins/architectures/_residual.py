"""Blocks of the residual networks. Imports torch, so it is imported only when a network is built."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad


def subsample(x: Tensor, stride: int, extra: int) -> Tensor:
    """The shortcut of type A: every ``stride``-th pixel, and ``extra`` more channels of zeros. It has no parameters.

    >>> import torch
    >>> subsample(torch.arange(1.0, 5.0).view(1, 1, 2, 2), 2, 1).flatten().tolist()
    [1.0, 0.0]
    """
    return pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, extra))


def convolution(n_in: int, n_out: int, stride: int, batch_norm: bool) -> list[nn.Module]:
    """A 3x3 convolution that keeps or halves the size, with batch norm or with biases."""
    conv = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=not batch_norm)
    return [conv, nn.BatchNorm2d(n_out)] if batch_norm else [conv]


class Block(nn.Module):
    """relu(f(x) + s(x)): f is two convolutions with a ReLU between, s is the shortcut, or 0 for a plain net."""

    def __init__(self, n_in: int, n_out: int, stride: int, batch_norm: bool, shortcut: bool) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *convolution(n_in, n_out, stride, batch_norm), nn.ReLU(), *convolution(n_out, n_out, 1, batch_norm)
        )
        self.relu = nn.ReLU()
        self.shortcut, self.stride, self.extra = shortcut, stride, n_out - n_in

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) -> (N, n_out, H/stride, W/stride), rounded up."""
        h: Tensor = self.residual(x)
        if self.shortcut:
            h = h + subsample(x, self.stride, self.extra)
        out: Tensor = self.relu(h)
        return out


class PreActivationBlock(nn.Module):
    """x + f(a), a = relu(norm(x)), f = conv, norm, relu, dropout, conv; conv1x1(a) + f(a) where the shape changes."""

    def __init__(self, n_in: int, n_out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.activate = nn.Sequential(nn.BatchNorm2d(n_in), nn.ReLU())
        self.residual = nn.Sequential(
            nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(n_out),
            nn.ReLU(),
            *([nn.Dropout(dropout)] if dropout > 0 else []),
            nn.Conv2d(n_out, n_out, 3, padding=1, bias=False),
        )
        same = n_in == n_out and stride == 1
        self.projection = None if same else nn.Conv2d(n_in, n_out, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, n_in, H, W) -> (N, n_out, H/stride, W/stride), rounded up."""
        a = self.activate(x)
        out: Tensor = (x if self.projection is None else self.projection(a)) + self.residual(a)
        return out
