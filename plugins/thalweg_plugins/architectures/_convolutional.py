"""The initialization of convolutional architectures. Imports torch, so it is imported only when one is built."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def he_normal(module: nn.Module, *kinds: type[nn.Module]) -> None:
    """Set normal weights of variance 2/fan_in and zero biases in layers of these kinds (He et al. 2015, equation 10).

    >>> layer = nn.Conv2d(3, 16, 3)
    >>> he_normal(layer, nn.Conv2d)
    >>> bool(layer.bias.any())
    False
    """
    for layer in module.modules():
        if isinstance(layer, kinds):
            nn.init.kaiming_normal_(layer.get_parameter("weight"), nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.get_parameter("bias"))
