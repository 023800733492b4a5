"""Networks on digits, and the Hessian's products, traces and densities of other libraries on them.

Versions: hessian-eigenthings 1.0.0a5, nngeom 0.2.0, landscaper 1.3.1, curvlinops-for-pytorch 3.0.1, pyhessian 0.1.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thalweg.contracts import Draw
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.curvature import flat, pieces

STEPS = 50
"""Steps of Lanczos' method."""


def mlp() -> nn.Module:
    layers = [nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(nn.Flatten(), *layers)


def convnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


def loss_of_digits(build: Callable[[], nn.Module], examples: int = 1797) -> Objective:
    """The cross-entropy of a network in evaluation mode on digits."""
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    inputs = torch.tensor(x / 16 - 0.3, dtype=torch.float32).view(-1, 1, 8, 8)[:examples]
    data = Supervised({"train": (inputs, torch.tensor(y)[:examples])}, CrossEntropy(), CLASSIFICATION)
    made = Objective(build().eval(), data, Draw(0, None))
    made.begin_step(data.batch("train", 0, Draw(0, None)), 0)
    return made


class Peer:
    """The Hessian by another library: its product with a vector (P,), and 50 steps of Lanczos' method."""

    def __init__(self, it: Objective) -> None:
        self.module, self.parameters = it.module, it.parameters
        self.batch = (it.batch.inputs, it.batch.targets)

    def product(self, vector: Tensor) -> Tensor:
        raise NotImplementedError

    def density(self) -> object:
        """Nodes and weights of one start vector at least."""
        raise NotImplementedError


def _loss(module: nn.Module, batch: Any) -> Tensor:
    return nn.functional.cross_entropy(module(batch[0]), batch[1])


class HessianEigenthings(Peer):
    """Smooths on a grid as large as ours."""

    def __init__(self, it: Objective) -> None:
        super().__init__(it)
        pytest.importorskip("hessian_eigenthings")
        from hessian_eigenthings.operators.hessian import HessianOperator

        self.operator = HessianOperator(self.module, [self.batch], _loss)

    def product(self, vector: Tensor) -> Tensor:
        found: Tensor = self.operator.matvec(vector)
        return found

    def density(self) -> object:
        from hessian_eigenthings.algorithms.spectral_density import spectral_density

        return spectral_density(self.operator, num_runs=1, lanczos_steps=STEPS, num_grid_points=401, seed=0)

    def trace(self, samples: int) -> float:
        from hessian_eigenthings.algorithms.trace import hutchinson

        return float(hutchinson(self.operator, num_samples=samples, seed=0).estimate)


class Nngeom(Peer):
    """Eigenvalues alone, without weights."""

    def __init__(self, it: Objective) -> None:
        super().__init__(it)
        self.nngeom = pytest.importorskip("nngeom")
        self.model = self.nngeom.Model(self.module, loss_fn=_loss)

    def product(self, vector: Tensor) -> Tensor:
        return torch.from_numpy(self.model.hvp(self.batch, vector.numpy())).float()

    def density(self) -> object:
        return self.nngeom.lanczos_spectrum(self.model, self.batch, m=STEPS, seed=0)


class _LikePyHessian(Peer):
    def product(self, vector: Tensor) -> Tensor:
        return flat(self._product(pieces(vector, self.parameters))).detach()

    def _product(self, vector: list[Tensor]) -> list[Tensor]:
        raise NotImplementedError


class Landscaper(_LikePyHessian):
    def __init__(self, it: Objective) -> None:
        super().__init__(it)
        hessian = pytest.importorskip("landscaper.hessian", exc_type=ImportError)
        self.hessian = hessian.PyHessian(self.module, nn.CrossEntropyLoss(), [self.batch], "cpu")

    def _product(self, vector: list[Tensor]) -> list[Tensor]:
        found: list[Tensor] = self.hessian.hv_product(vector)[1]
        return found

    def density(self) -> object:
        return self.hessian.density(STEPS)


class PyHessian(_LikePyHessian):
    """Keeps the graph of its first gradient. It calls torch.eig, which is gone: a shim gives it."""

    def __init__(self, it: Objective) -> None:
        super().__init__(it)
        self.pyhessian = pytest.importorskip("pyhessian")
        self.once = self._made()

    def _made(self) -> Any:
        return self.pyhessian.hessian(self.module, nn.CrossEntropyLoss(), data=self.batch, cuda=False)

    def _product(self, vector: list[Tensor]) -> list[Tensor]:
        from pyhessian.utils import hessian_vector_product

        found: list[Tensor] = hessian_vector_product(self.once.gradsH, self.once.params, vector)
        return found

    def density(self) -> object:
        def eig(matrix: Tensor, eigenvectors: bool) -> tuple[Tensor, Tensor]:
            values, vectors = torch.linalg.eigh(matrix)
            return torch.stack([values, torch.zeros_like(values)], 1), vectors

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "eig", eig, raising=False)
            return self._made().density(STEPS)


class Curvlinops(Peer):
    """The interval of the density is given, which it would search for."""

    def __init__(self, it: Objective) -> None:
        super().__init__(it)
        self.curvlinops = pytest.importorskip("curvlinops")

    def _operator(self) -> Any:
        return self.curvlinops.HessianLinearOperator(
            self.module, nn.CrossEntropyLoss(), self.parameters, [self.batch], check_deterministic=False
        )

    def product(self, vector: Tensor) -> Tensor:
        found: Tensor = self._operator() @ vector
        return found

    def density(self) -> object:
        return self.curvlinops.lanczos_approximate_spectrum(
            self._operator(), STEPS, num_points=401, boundaries=(-1.0, 10.0)
        )


PEERS: dict[str, type[Peer]] = {
    "hessian-eigenthings": HessianEigenthings,
    "nngeom": Nngeom,
    "landscaper": Landscaper,
    "curvlinops": Curvlinops,
    "pyhessian": PyHessian,
}


def peer(name: str, it: Objective) -> Peer:
    """A peer, quiet; skips the test where it is not installed."""
    with contextlib.redirect_stdout(io.StringIO()):
        return PEERS[name](it)


def matrix_products(it: Objective) -> Callable[[], None]:
    """The products of weights, tangents and activations in one product with the Hessian of an MLP or a convnet.

    A layer z = W a has W Ra and V a; backwards W'Rd and V'd; and for the weights Rd a' and d Ra'. The first layer has
    no Ra, and needs no gradient of its input.
    """
    layers = [layer for layer in it.module.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    seen: list[tuple[Tensor, Tensor]] = []
    handles = [layer.register_forward_hook(lambda _, args, z: seen.append((args[0], z))) for layer in layers]
    with torch.no_grad():
        it.module(it.batch.inputs)
    for handle in handles:
        handle.remove()

    def gradients(layer: nn.Linear | nn.Conv2d, a: Tensor, z: Tensor, inputs: bool) -> None:
        if isinstance(layer, nn.Linear):
            z.T @ a
            if inputs:
                z @ layer.weight
        else:
            torch.ops.aten.convolution_backward(
                z, a, layer.weight, None, layer.stride, layer.padding, layer.dilation, False, [0, 0], 1,
                [inputs, True, False],
            )  # fmt: skip

    def run() -> None:
        with torch.no_grad():
            for number, (layer, (a, z)) in enumerate(zip(layers, seen, strict=True)):
                for _ in range(2 if number else 1):
                    layer(a)
                    gradients(layer, a, z, number > 0)

    return run
