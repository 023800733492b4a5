"""Modules of the transformers. Imports torch, so it is imported only when a transformer is built."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Attention(nn.Module):
    """Self-attention of several heads, (N, T, dim) -> (N, T, dim): softmax(Q K' / sqrt(d)) V with d = dim / heads.

    With ``causal`` position t attends to positions up to t. The code uses products and a softmax, since fused attention
    has no second derivatives.
    """

    def __init__(self, dim: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(dim, 3 * dim)
        self.project = nn.Linear(dim, dim)

    def forward(self, h: Tensor) -> Tensor:
        """Attend, concatenate the heads, project."""
        n, length, dim = h.shape
        q, k, v = self.qkv(h).view(n, length, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.mT / (dim // self.heads) ** 0.5
        if self.causal:
            later = torch.ones(length, length, dtype=torch.bool, device=h.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        out: Tensor = self.project((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, length, dim))
        return out


class Block(nn.Module):
    """h <- h + attention(norm(h)), then h <- h + mlp(norm(h)) with 4 dim hidden units and GELU."""

    def __init__(self, dim: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, causal)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, h: Tensor) -> Tensor:
        """(N, T, dim) -> (N, T, dim)."""
        h = h + self.attention(self.norm1(h))
        out: Tensor = h + self.mlp(self.norm2(h))
        return out


class VisionTransformer(nn.Module):
    """Images (N, C, H, W) -> (N, n_out): embedded patches and their positions, blocks, norm, mean, linear output.

    Weights start Glorot-uniform, biases at zero, position embeddings normal with deviation 0.02.
    """

    def __init__(self, image: tuple[int, ...], n_out: int, patch: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        channels, height, width = image
        self.patches = nn.Unfold(patch, stride=patch)
        self.embed = nn.Linear(channels * patch**2, dim)
        self.positions = nn.Parameter(torch.empty(height // patch * (width // patch), dim))
        self.blocks = nn.Sequential(*[Block(dim, heads, causal=False) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, n_out)
        nn.init.normal_(self.positions, std=0.02)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """One vector of outputs for each image."""
        h = self.embed(self.patches(x).mT) + self.positions
        out: Tensor = self.head(self.norm(self.blocks(h)).mean(1))
        return out


class LanguageModel(nn.Module):
    """Tokens (N, T) -> logits of each next token (N, T, vocabulary): embeddings, causal blocks, norm, linear output.

    With ``tied`` the output's weights are the token embeddings. Weights start normal with deviation 0.02, and 0.02 /
    sqrt(2 depth) in the last layer of each residual branch; a block has two branches. Biases start at zero.
    """

    def __init__(self, vocabulary: int, length: int, dim: int, depth: int, heads: int, tied: bool) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, dim)
        self.positions = nn.Parameter(torch.empty(length, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads, causal=True) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = None if tied else nn.Linear(dim, vocabulary, bias=False)
        nn.init.normal_(self.positions, std=0.02)
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear | nn.Embedding):
                ends_a_branch = name.endswith(("attention.project", "mlp.2"))
                nn.init.normal_(layer.weight, std=0.02 / (2 * depth) ** 0.5 if ends_a_branch else 0.02)
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """A vector of logits at each position. Sequences may be shorter than the declared length."""
        h: Tensor = self.norm(self.blocks(self.tokens(x) + self.positions[: x.shape[1]]))
        logits: Tensor = h @ self.tokens.weight.T if self.head is None else self.head(h)
        return logits
