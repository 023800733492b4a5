"""Trials of any network, optimizer or problem, and equal trainings by hand, for tests of unusual parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import thalweg
from probing import ref
from thalweg import Shape
from thalweg.contracts import Draw, LoadContext, LoadedProblem
from thalweg.contracts.budget import Budget
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.registry import Registry
from thalweg.training import assembly
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble
from thalweg.training.randomness import seeded
from thalweg.training.trained import Trained
from thalweg.trial import Trial

INPUTS, CLASSES, EXAMPLES, BATCH = 6, 3, 48, 8
EPOCH = EXAMPLES // BATCH


def examples(split: str = "train") -> tuple[Tensor, Tensor]:
    """Random inputs (N, 6) in float64 and classes (N,)."""
    g = torch.Generator().manual_seed({"train": 0, "valid": 1, "test": 2}[split])
    n = EXAMPLES if split == "train" else 12
    return torch.randn(n, INPUTS, generator=g, dtype=torch.float64), torch.randint(CLASSES, (n,), generator=g)


def loaded(splits: Sequence[Any] = ("train", "valid", "test"), loss: CrossEntropy | None = None) -> Supervised:
    return Supervised({split: examples(split) for split in splits}, loss or CrossEntropy(), CLASSIFICATION)


class OwnProblem(thalweg.Problem):
    """The problem that ``make`` returns, by default three classes of random vectors."""

    name, summary, metrics, stacks = "own", "for tests", CLASSIFICATION, True

    def __init__(self, make: Callable[[], LoadedProblem] = loaded) -> None:
        self.make = make

    def shape(self, options: Any) -> Shape:
        return Shape("classification", (INPUTS,), (CLASSES,))

    def sizes(self, options: Any) -> Any:
        return {"train": EXAMPLES}

    def load(self, options: Any, context: LoadContext) -> LoadedProblem:
        return self.make()


class OwnNetwork(thalweg.Architecture):
    name, summary = "own", "for tests"

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self.make = make

    def build(self, options: Any, shape: Shape) -> nn.Module:
        return self.make()


class Parts:
    """A registry with a given network, optimizer and problem, and the built-in registry's other components."""

    def __init__(
        self,
        registry: Registry,
        network: Callable[[], nn.Module],
        optimizer: str | type[torch.optim.Optimizer] | thalweg.Optimizer = "sgd",
        problem: Callable[[], LoadedProblem] = loaded,
        **settings: Any,
    ) -> None:
        self._registry = registry
        if isinstance(optimizer, type):
            optimizer = TorchOptimizer(optimizer, **settings)
        self._optimizer = registry.optimizer(optimizer) if isinstance(optimizer, str) else optimizer
        self._network, self._problem = OwnNetwork(network), OwnProblem(problem)
        assembly._loaded.clear()  # forgets the data of other tests' problems of this name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)

    def problem(self, name: str) -> thalweg.Problem:
        return self._problem

    def architecture(self, name: str) -> thalweg.Architecture:
        return self._network

    def optimizer(self, name: str) -> thalweg.Optimizer:
        return self._optimizer

    def trial(self, lr: float | None = None, **given: Any) -> Trial:
        """A trial, by default in float64, with five epochs in batches of 8."""
        options = {} if lr is None else {"lr": lr}
        settings: dict[str, Any] = {
            "problem": ref("own"),
            "architecture": ref("own"),
            "optimizer": ref(self._optimizer.name, **options),
            "budget": Budget(epochs=5),
            "batch_size": BATCH,
            "dtype": "float64",
            "seed": 0,
        }
        return Trial(**(settings | given))

    def training(self, lr: float | None = None, **given: Any) -> Training:
        """An assembled training that has not run."""
        trial = self.trial(lr, **given)
        with seeded(Draw(trial.seed, None).seed_for("global")):
            return Training(assemble(trial, self), [], lambda *_: None, "weights")  # type: ignore[arg-type]

    def trained(self, lr: float | None = None, **given: Any) -> tuple[Training, Trained]:
        training = self.training(lr, **given)
        with seeded(Draw(0, None).seed_for("global")):
            return training, training.run()


def start(network: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """The network at the initial weights of a trial with this seed."""
    with torch.random.fork_rng():
        torch.manual_seed(Draw(seed, BATCH).seed_for("init"))
        return network().double()


def by_hand(module: nn.Module, step: Callable[[int, Tensor, Tensor], None], steps: int = 5 * EPOCH) -> nn.Module:
    """Call ``step`` with each step's number and batch; return the module after the last step."""
    data, draw = loaded(), Draw(0, BATCH)
    for t in range(steps):
        batch = data.batch("train", t, draw)
        assert batch.inputs is not None
        assert batch.targets is not None
        step(t, batch.inputs, batch.targets)
    return module


def sgd_by_hand(network: Callable[[], nn.Module], lr: float, steps: int = 5 * EPOCH) -> nn.Module:
    """w <- w - lr g."""
    module = start(network)

    def step(t: int, x: Tensor, y: Tensor) -> None:
        parameters = [p for p in module.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(functional.cross_entropy(module(x), y), parameters)
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                p -= lr * g

    return by_hand(module, step, steps)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, 5), nn.Tanh(), nn.Linear(5, CLASSES))


def farthest(one: nn.Module, other: nn.Module) -> float:
    """The largest difference between two modules in a weight or a buffer."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)
