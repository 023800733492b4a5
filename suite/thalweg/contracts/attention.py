"""Attention where more than a gradient is taken."""

from __future__ import annotations

from contextlib import AbstractContextManager

from torch.nn.attention import SDPBackend, sdpa_kernel


def math_attention() -> AbstractContextManager[None]:
    """While active, torch computes attention by its plain formula, softmax(Q K' / sqrt(d)) V, operation by operation.

    Its fused kernels have a gradient and no more: no second derivative, and no forward mode. What was computed under
    this has both. Values differ from a fused kernel's by rounding. For ``scaled_dot_product_attention`` and the modules
    built on it, such as ``nn.MultiheadAttention``.
    """
    return sdpa_kernel(SDPBackend.MATH)
