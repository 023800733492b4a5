"""How products of float32 numbers are computed while a trial trains or is measured."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from thalweg.trial import Trial


@contextmanager
def products_of(trial: Trial) -> Iterator[None]:
    """While active, matrix products and convolutions on CUDA round their factors to TF32 (10 bits) or not at all.

    The trial decides, because torch's defaults differ between matrix products and convolutions. Mixed precision belongs
    to the objective, because only training computes with it.
    """
    backends: Any = torch.backends
    places = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "tf32" if trial.precision == "tf32" else "ieee"
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
