"""Torch's losses on all data, whatever batches the data comes in, against torch's own loss of everything at once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

from thalweg.contracts import Draw, LoadedProblem
from thalweg.contracts.objective import Objective
from thalweg.curvature import GGN, Hessian
from thalweg.look.batches import Batches
from thalweg.look.data import problem_of

N, CLASSES = 20, 3
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(N, 5, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.randint(CLASSES, (N,), generator=GENERATOR)
SOME_IGNORED = torch.where(torch.arange(N) % 4 == 0, -100, LABELS)
REAL = torch.randn(N, CLASSES, generator=GENERATOR, dtype=torch.float64)
SHARES = torch.rand(N, CLASSES, generator=GENERATOR, dtype=torch.float64)
SOFT = SHARES / SHARES.sum(1, keepdim=True)
WEIGHT = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)


def network(last: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, CLASSES), *([last] if last else [])).double()


CASES: dict[str, tuple[nn.Module, Tensor, nn.Module | None]] = {
    "cross-entropy": (nn.CrossEntropyLoss(), LABELS, None),
    "cross-entropy, sum": (nn.CrossEntropyLoss(reduction="sum"), LABELS, None),
    "cross-entropy, weighted": (nn.CrossEntropyLoss(weight=WEIGHT), LABELS, None),
    "cross-entropy, some ignored": (nn.CrossEntropyLoss(), SOME_IGNORED, None),
    "cross-entropy, weighted and ignored": (nn.CrossEntropyLoss(weight=WEIGHT, ignore_index=1), LABELS, None),
    "cross-entropy, one class ignored": (nn.CrossEntropyLoss(ignore_index=1), LABELS, None),
    "cross-entropy, smoothed": (nn.CrossEntropyLoss(label_smoothing=0.1, weight=WEIGHT), LABELS, None),
    "cross-entropy, probabilities": (nn.CrossEntropyLoss(), SOFT, None),
    "negative log-likelihood": (nn.NLLLoss(weight=WEIGHT), LABELS, nn.LogSoftmax(1)),
    "squared error": (nn.MSELoss(), REAL, None),
    "squared error, sum": (nn.MSELoss(reduction="sum"), REAL, None),
    "absolute error": (nn.L1Loss(), REAL, None),
    "Huber": (nn.HuberLoss(delta=0.3), REAL, None),
    "binary cross-entropy": (nn.BCEWithLogitsLoss(), SHARES.round(), None),
    "binary cross-entropy, sum": (nn.BCEWithLogitsLoss(reduction="sum"), SHARES.round(), None),
    "binary cross-entropy, weighted": (nn.BCEWithLogitsLoss(pos_weight=WEIGHT), SHARES.round(), None),
    "Kullback-Leibler": (nn.KLDivLoss(reduction="batchmean"), SOFT, nn.LogSoftmax(1)),
    "Poisson": (nn.PoissonNLLLoss(), SHARES.round(), None),
}


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """A dataset of pairs, read one by one."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


def unequal(x: Tensor, y: Tensor) -> Iterator[list[Tensor]]:
    for start, end in itertools.pairwise((0, 8, 16, 20)):
        yield [x[start:end], y[start:end]]


SOURCES: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "pair": lambda x, y: (x, y),
    "dataset": Pairs,
    "shuffled loader": lambda x, y: DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True),
    "unequal batches": unequal,
}


def objective_of(module: nn.Module, problem: LoadedProblem) -> Objective:
    objective = Objective(module, problem, Draw(0, None))
    objective.begin_step(problem.batch("train", 0, Draw(0, None)), 0)
    return objective


def close(one: Tensor | float, other: Tensor | float) -> None:
    double = torch.float64
    found, expected = torch.as_tensor(one, dtype=double), torch.as_tensor(other, dtype=double)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("case", CASES)
def test_loss_gradient_and_product_are_those_of_all_examples(case: str, source: str) -> None:
    loss, targets, last = CASES[case]
    module = network(last)
    problem = problem_of(module, loss, SOURCES[source](X, targets), None)
    assert problem.sizes == {"train": N}
    expected = loss(module(X), targets)
    close(problem.evaluate(module, "train")["loss"], expected.detach())
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(expected, parameters, create_graph=True)
    objective = objective_of(module, problem)
    value, found = objective.gradient()
    close(value, expected.detach())
    for one, other in zip(found, gradients, strict=True):
        close(one, other.detach())
    v = torch.randn(sum(p.numel() for p in parameters), generator=torch.Generator().manual_seed(2)).double()
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    product = torch.cat([part.flatten() for part in torch.autograd.grad(flat @ v, parameters)])
    close(Hessian(objective) @ v, product)


@pytest.mark.parametrize("case", ["cross-entropy", "cross-entropy, sum", "squared error", "binary cross-entropy, sum"])
def test_the_ggn_is_that_of_the_loss_as_torch_reduces_it(case: str) -> None:
    loss, targets, _ = CASES[case]
    module = network()
    objective = objective_of(module, problem_of(module, loss, (X, targets), None))
    parameters = dict(module.named_parameters())
    jacobian = torch.func.jacrev(lambda p: torch.func.functional_call(module, p, (X,)))(parameters)
    j = torch.cat([part.flatten(2) for part in jacobian.values()], 2).flatten(0, 1).detach()
    outputs = module(X).detach()
    h = torch.func.hessian(lambda z: loss(z.view(N, CLASSES), targets))(outputs.flatten())
    v = torch.randn(j.shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    close(GGN(objective) @ v, j.T @ (h @ (j @ v)))


@pytest.mark.parametrize("case", ["cross-entropy, weighted", "cross-entropy, some ignored", "Huber"])
def test_a_ggn_that_depends_on_the_targets_is_refused(case: str) -> None:
    loss, targets, _ = CASES[case]
    module = network()
    objective = objective_of(module, problem_of(module, loss, (X, targets), None))
    with pytest.raises(TypeError, match="matrix = 'hessian'"):
        _ = GGN(objective) @ torch.ones(sum(p.numel() for p in module.parameters())).double()


def test_functions_and_names_are_torchs_losses() -> None:
    module = network()
    expected = functional.cross_entropy(module(X), LABELS).detach()
    for loss in (functional.cross_entropy, "cross_entropy", nn.CrossEntropyLoss()):
        close(problem_of(module, loss, (X, LABELS), None).evaluate(module, "train")["loss"], expected)


def test_labels_of_32_bits_are_labels() -> None:
    module = network()
    expected = functional.cross_entropy(module(X), LABELS).detach()
    close(problem_of(module, "cross_entropy", (X, LABELS.int()), None).evaluate(module, "train")["loss"], expected)


def test_accuracy_comes_with_labels() -> None:
    module = network()
    found = problem_of(module, "cross_entropy", (X, LABELS), None).evaluate(module, "train")
    assert found["accuracy"] == float((module(X).argmax(1) == LABELS).double().mean())


def test_sequences_in_torchs_layout() -> None:
    torch.manual_seed(0)
    module, x = nn.Conv1d(2, CLASSES, 3, padding=1), torch.randn(6, 2, 5)
    y = torch.randint(CLASSES, (6, 5))
    y[0, :3] = -100
    problem = problem_of(module, "cross_entropy", DataLoader(TensorDataset(x, y), batch_size=4), None)
    expected = functional.cross_entropy(module(x), y)
    assert problem.evaluate(module, "train")["loss"] == pytest.approx(float(expected), rel=1e-6)


class Mean(nn.Module):
    """A loss of one's own, a mean over the batch."""

    reduction = "mean"

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        value = (outputs - targets).square().sum(1)
        return value.mean() if self.reduction == "mean" else value


class Root(Mean):
    """The root of the mean squared error is no mean."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().forward(outputs, targets).sqrt()


class Without(nn.Module):
    """A loss without a reduction."""

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean()


def test_a_loss_of_ones_own_with_reduction() -> None:
    module = network()
    found = problem_of(module, Mean(), unequal(X, REAL), None).evaluate(module, "train")["loss"]
    close(found, Mean()(module(X), REAL).detach())


@pytest.mark.parametrize(
    ("loss", "data", "forward", "says"),
    [
        (Root(), (X, REAL), None, "Root is no mean of its own values with reduction='none'"),
        (Without(), (X, REAL), None, r"Without has reduction = None.*\(module, batch\) -> losses of shape \(N,\)"),
        (
            nn.CrossEntropyLoss,
            (X, LABELS),
            None,
            r"CrossEntropyLoss is a class: give an instance, CrossEntropyLoss\(\)",
        ),
        (nn.MSELoss(reduction="none"), (X, REAL), None, "MSELoss has reduction = 'none'"),
        (nn.MSELoss(), (X, REAL[:, :1]), None, r"outputs have shape \(8, 3\) and the targets \(8, 1\)"),
        (nn.CrossEntropyLoss(), (X, torch.full((N,), -100)), None, "ignores every label"),
        ("cross_entropi", (X, LABELS), None, "no loss 'cross_entropi'; did you mean 'cross_entropy'"),
        (None, (X, LABELS), None, "give a torch loss, one of cross_entropy"),
        (3, (X, LABELS), None, "int is no torch loss"),
        (lambda batch: batch, (X, LABELS), None, "called with module and batch"),
        ("mse", (X, REAL), lambda module, batch: 0, "give loss or forward, and not both"),
        ("mse", None, None, "data: give a pair of tensors"),
        ("mse", X, None, "one tensor has no targets"),
        ("mse", [], None, "it has no batches"),
        ("mse", iter(()), None, "make it anew"),
        ("mse", (X[:0], REAL[:0]), None, "it has no examples"),
        ("mse", (X, REAL[:5]), None, "examples come first in both"),
        ("mse", 5, None, "int is none of a pair of tensors"),
        ("mse", [{"x": X, "y": REAL}], None, r"dict of \(20, 5\), \(20, 3\): forward= makes a loss"),
        (None, [{"x": 1}], lambda module, batch: 0, "a batch of type dict holds no tensor"),
    ],
)
def test_what_does_not_go_together_is_told(loss: Any, data: Any, forward: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        problem_of(network(), loss, data, forward)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (lambda module, batch: module(batch[0]), r"a tensor of shape \(20, 3\) for a batch of 20 examples"),
        (lambda module, batch: module(batch[0])[:7, 0], r"a tensor of shape \(7,\) for a batch of 20 examples"),
        (lambda module, batch: 1.0, "gives float for a batch of 20 examples"),
    ],
)
def test_a_loss_of_module_and_batch_gives_losses_or_their_mean(value: Any, says: str) -> None:
    module = network()
    with pytest.raises(ValueError, match=says):
        problem_of(module, None, [(X, LABELS)], value).evaluate(module, "train")


def masked(module: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The mean over tokens of a mask, and their number."""
    losses = functional.cross_entropy(module(batch["x"]).transpose(1, 2), batch["y"], reduction="none")
    return (losses * batch["mask"]).sum() / batch["mask"].sum(), batch["mask"].sum()


def test_a_mean_over_tokens_is_weighted_by_their_number() -> None:
    module = network()
    x = torch.randn(12, 7, 5, generator=GENERATOR).double()
    y = torch.randint(CLASSES, (12, 7), generator=GENERATOR)
    mask = (torch.arange(7) < torch.randint(1, 8, (12, 1), generator=GENERATOR)).double()
    whole = {"x": x, "y": y, "mask": mask}
    batches = [{key: value[a:b] for key, value in whole.items()} for a, b in ((0, 5), (5, 6), (6, 12))]
    problem = problem_of(module, None, batches, masked)
    assert isinstance(problem, Batches)
    expected, _ = masked(module, whole)
    close(problem.evaluate(module, "train")["loss"], expected.detach())
    close(objective_of(module, problem).gradient()[0], expected.detach())


def test_losses_of_examples_and_their_mean_agree_over_unequal_batches() -> None:
    module = network()
    expected = functional.cross_entropy(module(X), LABELS).detach()

    def losses(module: nn.Module, batch: Any) -> Tensor:
        return functional.cross_entropy(module(batch[0]), batch[1], reduction="none")

    for loss, forward in ((losses, None), (None, losses), (None, lambda m, b: losses(m, b).mean())):
        close(problem_of(module, loss, unequal(X, LABELS), forward).evaluate(module, "train")["loss"], expected)


class Pooled(nn.Module):
    """The mean over a sequence of any length, then a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, CLASSES).double()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.mean(1))
        return out


def test_batches_of_unequal_lengths_stay_batches() -> None:
    module = Pooled()
    batches = [(torch.randn(n, t, 5).double(), torch.arange(n) % CLASSES) for n, t in ((4, 3), (3, 9), (1, 1))]
    problem = problem_of(module, nn.CrossEntropyLoss(weight=WEIGHT), batches, None)
    assert isinstance(problem, Batches)
    outputs, targets = torch.cat([module(x) for x, _ in batches]), torch.cat([y for _, y in batches])
    expected = functional.cross_entropy(outputs, targets, weight=WEIGHT)
    close(problem.evaluate(module, "train")["loss"], expected.detach())


def test_some_examples_are_whole_batches_and_the_same_each_time() -> None:
    problem = problem_of(network(), None, list(unequal(X, LABELS)), lambda m, b: m(b[0])[:, 0])
    some = problem.reduced("train", 9)
    assert some.sizes["train"] in (12, 16)
    assert some.sizes == problem.reduced("train", 9).sizes
    assert problem.reduced("train", 100).sizes == {"train": N}
    assert problem.reduced("train", None, torch.float32).batches[0][0].dtype == torch.float32  # type: ignore[attr-defined]


class Tagger(nn.Module):
    """Classes for each token, in torch's layout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.head(self.embed(tokens)).transpose(1, 2)
        return out


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_batches_of_unequal_lengths_have_losses_of_their_numbers(reduction: str) -> None:
    """Labels for each token, and numbers for each position: the mean is over all of them."""
    torch.manual_seed(0)
    shapes = ((8, 6), (8, 9), (4, 3))
    tagged = [(torch.randint(20, shape), torch.randint(CLASSES, shape)) for shape in shapes]
    tagger = Tagger()
    loss = nn.CrossEntropyLoss(reduction=reduction)
    total = sum(float(functional.cross_entropy(tagger(x), y, reduction="sum")) for x, y in tagged)
    count = sum(y.numel() for _, y in tagged)
    found = problem_of(tagger, loss, tagged, None).evaluate(tagger, "train")["loss"]
    assert found == pytest.approx(total if reduction == "sum" else total / count, rel=1e-5)
    signals = [(torch.randn(n, 2, t), torch.randn(n, 2, t)) for n, t in shapes]
    convolution = nn.Conv1d(2, 2, 3, padding=1)
    for kind in (nn.MSELoss, nn.L1Loss, nn.HuberLoss):
        each = [kind(reduction="sum")(convolution(x), y) for x, y in signals]
        numbers = 1 if reduction == "sum" else sum(y.numel() for _, y in signals)
        found = problem_of(convolution, kind(reduction=reduction), signals, None).evaluate(convolution, "train")["loss"]
        assert found == pytest.approx(float(sum(each)) / numbers, rel=1e-5)
