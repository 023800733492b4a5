"""Torch optimizer classes of every kind: with groups, modes, closures, graphs and states."""

from __future__ import annotations

import copy
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from thalweg.contracts import Draw
from thalweg.contracts.objective import Objective
from thalweg.contracts.torch_stepper import TorchStepper, load_state
from thalweg.testing.small import network, problem


def at_work(stepper_of: Any, dtype: torch.dtype = torch.float64, **given: Any) -> tuple[TorchStepper, Objective]:
    module = network(dtype)
    objective = Objective(module, problem(dtype), Draw(0, 16))
    return TorchStepper(stepper_of(module), **given), objective


def steps(stepper: TorchStepper, objective: Objective, first: int, last: int) -> None:
    for step in range(first, last):
        objective.begin_step(objective.problem.batch("train", step, Draw(0, 16)), step)
        stepper.step(objective)


def weights(objective: Objective) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in objective.parameters]


class Plain(Optimizer):
    """Gradient descent, at the rate of each group."""

    def __init__(self, params: Any, lr: Any = 0.1, **defaults: Any) -> None:
        super().__init__(params, {"lr": lr, **defaults})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad)


def grouped(module: nn.Module, first: float, second: float) -> Optimizer:
    matrices = [p for p in module.parameters() if p.dim() > 1]
    vectors = [p for p in module.parameters() if p.dim() < 2]
    return Plain([{"params": vectors, "lr": first}, {"params": matrices, "lr": second}])


@pytest.mark.parametrize(("first", "second"), [(0.3, 0.1), (0.1, 0.3), (0.0, 0.1), (0.1, 0.0), (0.1, 0.1)])
def test_groups_keep_the_ratios_of_their_rates(first: float, second: float) -> None:
    stepper, objective = at_work(lambda module: grouped(module, first, second))
    leading = first or second
    assert stepper.lr == leading
    stepper.lr = leading
    assert [group["lr"] for group in stepper.optimizer.param_groups] == [first, second]
    stepper.lr = leading / 2
    assert [group["lr"] for group in stepper.optimizer.param_groups] == pytest.approx(
        [first / 2, second / 2], rel=1e-15
    )
    stepper.lr = 0.0
    stepper.lr = leading
    assert [group["lr"] for group in stepper.optimizer.param_groups] == [first, second]
    vectors = [p for p in objective.parameters if p.dim() < 2]
    assert stepper.rates(vectors) == [first] * len(vectors)
    before = weights(objective)
    steps(stepper, objective, 0, 1)
    for old, parameter in zip(before, objective.parameters, strict=True):
        expected = old - (second if parameter.dim() > 1 else first) * parameter.grad
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-14, atol=0)


def test_a_rate_that_is_a_tensor_is_filled_in_place() -> None:
    rate = torch.tensor(0.25, dtype=torch.float64)
    stepper, _ = at_work(lambda module: Plain(module.parameters(), lr=rate))
    stepper.lr = 0.125
    assert stepper.optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == stepper.lr == 0.125


def test_without_a_rate_there_is_none_to_read_or_set() -> None:
    class Rateless(Plain):
        def __init__(self, params: Any) -> None:
            Optimizer.__init__(self, params, {})

    stepper, _ = at_work(lambda module: Rateless(module.parameters()))
    assert getattr(stepper, "lr", None) is None
    with pytest.raises(AttributeError, match="Rateless has no learning rate"):
        stepper.lr = 1.0


class Twice(Plain):
    """Takes the gradient after half a step, by a closure that the signature calls optional."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        with torch.enable_grad():
            closure()
        old = [p.clone() for group in self.param_groups for p in group["params"]]
        super().step()
        with torch.enable_grad():
            closure()
        for p, before in zip((p for group in self.param_groups for p in group["params"]), old, strict=True):
            p.copy_(before - self.param_groups[0]["lr"] * p.grad)


class LateTwice(Twice):
    """Asks for its closure after it has moved weights and kept a state."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            group["lr"] = group["lr"] * 1.0
            for p in group["params"]:
                self.state[p]["count"] = self.state[p].get("count", 0) + 1
        if closure is None:
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(1.0)
            raise ValueError("this optimizer needs a closure")
        super().step(closure)


@pytest.mark.parametrize("cls", [Twice, LateTwice])
@pytest.mark.parametrize("asked", [None, True])
def test_a_closure_is_found_out_and_two_gradients_are_counted(cls: Any, asked: Any) -> None:
    stepper, objective = at_work(lambda module: cls(module.parameters()), closure=asked)
    by_hand, theirs = at_work(lambda module: Plain(module.parameters()))
    steps(stepper, objective, 0, 3)
    assert objective.counts.gradient_evaluations == 6
    assert objective.counts.examples == 6 * 16
    if cls is LateTwice:
        counts = {state["count"] for state in stepper.optimizer.state.values()}
        assert counts == {3}
    del by_hand
    for step in range(3):
        theirs.begin_step(theirs.problem.batch("train", step, Draw(0, 16)), step)
        before = weights(theirs)
        theirs.backward()
        with torch.no_grad():
            for p in theirs.parameters:
                p.sub_(0.1 * p.grad)
        theirs.backward()
        with torch.no_grad():
            for p, old in zip(theirs.parameters, before, strict=True):
                p.copy_(old - 0.1 * p.grad)
    for ours, other in zip(objective.parameters, theirs.parameters, strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-12, atol=1e-14)


def test_a_closure_with_gradients_in_place_is_called_so_when_asked_for() -> None:
    class Both(Plain):
        @torch.no_grad()
        def step(self, closure: Any = None) -> None:
            first = [p.grad.clone() for group in self.param_groups for p in group["params"]]
            with torch.enable_grad():
                closure()
            for p, grad in zip((p for group in self.param_groups for p in group["params"]), first, strict=True):
                assert torch.equal(p.grad, grad)
            super().step()

    stepper, objective = at_work(lambda module: Both(module.parameters()), closure="with gradients")
    steps(stepper, objective, 0, 2)
    assert objective.counts.gradient_evaluations == 4
    unasked, objective = at_work(lambda module: Both(module.parameters()))
    with pytest.raises(TypeError, match=r"register\(Both, closure='with gradients'\)"):
        steps(unasked, objective, 0, 1)


class Curved(Plain):
    """Divides by the row sums of the Hessian."""

    def step(self, closure: Any = None) -> None:
        parameters = [p for group in self.param_groups for p in group["params"]]
        gradients = [p.grad for p in parameters]
        rows = torch.autograd.grad(gradients, parameters, [torch.ones_like(p) for p in parameters])
        with torch.no_grad():
            for p, grad, row in zip(parameters, gradients, rows, strict=True):
                p.sub_(self.param_groups[0]["lr"] * grad / (1 + row.abs()))


def test_gradients_keep_their_graph_where_asked_for_and_one_line_says_how() -> None:
    stepper, objective = at_work(lambda module: Curved(module.parameters()), create_graph=True)
    before = weights(objective)
    steps(stepper, objective, 0, 1)
    assert all(parameter.grad is None for parameter in objective.parameters)
    other, theirs = at_work(lambda module: Plain(module.parameters()))
    del other
    theirs.begin_step(theirs.problem.batch("train", 0, Draw(0, 16)), 0)
    loss, gradients = theirs.loss(), []
    gradients = torch.autograd.grad(loss, theirs.parameters, create_graph=True)
    rows = torch.autograd.grad(gradients, theirs.parameters, [torch.ones_like(g) for g in gradients])
    for parameter, old, grad, row in zip(objective.parameters, before, gradients, rows, strict=True):
        torch.testing.assert_close(
            parameter.detach(), old - 0.1 * grad.detach() / (1 + row.abs()), rtol=1e-12, atol=1e-15
        )
    unasked, objective = at_work(lambda module: Curved(module.parameters()))
    with pytest.raises(TypeError, match=r"register\(Curved, create_graph=True\)"):
        steps(unasked, objective, 0, 1)


class Averages(Plain):
    """Averages its weights; ``eval()`` puts the mean in, by a sum that rounding does not undo."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr, train_mode=False)

    @torch.no_grad()
    def train(self) -> None:
        self._swap(True, -1.0)

    @torch.no_grad()
    def eval(self) -> None:
        self._swap(False, 1.0)

    def _swap(self, mode: bool, sign: float) -> None:
        for group in self.param_groups:
            if group["train_mode"] != mode:
                for p in group["params"]:
                    if "far" in self.state[p]:
                        p.add_(self.state[p]["far"], alpha=sign / 3)
                group["train_mode"] = mode

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        if not self.param_groups[0]["train_mode"]:
            raise RuntimeError("call train() first")
        before = [p.clone() for group in self.param_groups for p in group["params"]]
        super().step()
        for p, old in zip((p for group in self.param_groups for p in group["params"]), before, strict=True):
            self.state[p]["far"] = (old - p) * 7


def test_modes_are_called_and_training_goes_on_from_the_very_weights() -> None:
    stepper, objective = at_work(lambda module: Averages(module.parameters()), torch.float32)
    assert stepper.averages
    calm, theirs = at_work(lambda module: Averages(module.parameters()), torch.float32)
    with stepper.evaluation_weights():
        pass  # before a step there is nothing to average
    for step in range(5):
        steps(stepper, objective, step, step + 1)
        training = weights(objective)
        with stepper.evaluation_weights():
            seen = weights(objective)
        for now, before, evaluated in zip(objective.parameters, training, seen, strict=True):
            assert torch.equal(now, before)
            torch.testing.assert_close(evaluated, before + stepper.optimizer.state[now]["far"] / 3)
        assert not torch.equal(training[0], seen[0])
        steps(calm, theirs, step, step + 1)
    assert all(torch.equal(a, b) for a, b in zip(objective.parameters, theirs.parameters, strict=True))


def test_evaluation_weights_come_back_after_an_exception_and_modes_can_be_turned_off() -> None:
    stepper, objective = at_work(lambda module: Averages(module.parameters()))
    steps(stepper, objective, 0, 2)
    before = weights(objective)
    with pytest.raises(KeyError), stepper.evaluation_weights():
        raise KeyError("evaluation failed")
    assert all(torch.equal(a, b) for a, b in zip(objective.parameters, before, strict=True))
    unmoved, objective = at_work(lambda module: Averages(module.parameters()), modes=False)
    with pytest.raises(RuntimeError, match=r"call train\(\) first"):
        steps(unmoved, objective, 0, 1)


def test_a_state_is_loaded_as_it_was_saved() -> None:
    class Keeps(Plain):
        @torch.no_grad()
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    self.state[p] = {
                        "nested": [torch.ones(2, dtype=torch.float32), (torch.ones(1, dtype=torch.float16),)],
                        "word": "abc,abd->cd",
                        "count": 3,
                        "single": torch.ones(3, dtype=torch.float32),
                        "double": torch.ones(3, dtype=torch.float64),
                        "none": None,
                    }

    stepper, objective = at_work(lambda module: Keeps(module.parameters()))
    steps(stepper, objective, 0, 1)
    state = copy.deepcopy(stepper.state_dict())
    fresh, _ = at_work(lambda module: Keeps(module.parameters()))
    load_state(fresh.optimizer, state)
    for ours, theirs in zip(fresh.optimizer.state.values(), stepper.optimizer.state.values(), strict=True):
        assert ours["word"] == theirs["word"]
        assert ours["none"] is None
        assert ours["nested"][0].dtype == torch.float32
        assert ours["nested"][1][0].dtype == torch.float16
        assert (ours["single"].dtype, ours["double"].dtype) == (torch.float32, torch.float64)
        assert ours["single"] is not theirs["single"]


class Coded(Tensor):
    """A matrix that claims float32 and is made of 8-bit codes with a scale for each row."""

    codes: Tensor
    scale: Tensor

    @staticmethod
    def __new__(cls, codes: Tensor, scale: Tensor) -> Coded:
        made: Coded = Tensor._make_wrapper_subclass(cls, codes.shape, dtype=torch.float32)  # type: ignore[attr-defined]
        made.codes, made.scale = codes, scale
        return made

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["codes", "scale"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError  # to weigh a state is not to compute with it


def test_a_state_weighs_what_it_is_made_of() -> None:
    class Stateful(Plain):
        pass

    stepper, objective = at_work(lambda module: Stateful(module.parameters()))
    codes, scale = torch.zeros(64, 64, dtype=torch.uint8), torch.zeros(64)
    sparse = torch.sparse_coo_tensor(torch.tensor([[3, 900]]), torch.ones(2), (1000,))
    state = stepper.optimizer.state
    one, two, three = objective.parameters[:3]
    state[one] = {"momentum": Coded(codes, scale)}
    state[two] = {"rows": sparse}
    state[three] = {"momentum": scale}  # counted once, although the codes have the same tensor
    expected = 64 * 64 + 64 * 4 + 2 * (8 + 4)
    assert stepper.state_bytes() == expected
    repeated, compressed = torch.ones(1).expand(1000), torch.eye(10).to_sparse_csr()
    nested: list[Any] = [{repeated}, deque([np.zeros(3)]), "word", 3]
    nested.append(nested)
    state[three] |= {"repeated": repeated, "nested": nested, "compressed": compressed}
    expected += 4 + 3 * 8 + 11 * 8 + 10 * 8 + 10 * 4
    assert stepper.state_bytes() == expected
    # a buffer and its parts are one memory, and so is the part that stands there twice under other names
    flat = torch.zeros(100)
    state[three] |= {"flat": flat, "parts": list(flat.split(10)), "again": flat.view(10, 10)}
    assert stepper.state_bytes() == expected + 100 * 4
    del state[three]["flat"], state[three]["again"]
    state[three]["parts"] = [flat[:30], flat[50:60], flat[20:30]]
    assert stepper.state_bytes() == expected + 40 * 4
    state[three]["parts"] = [flat[::2], flat[1::2], flat[1::2]]
    assert stepper.state_bytes() == expected + 100 * 4
    shared = np.zeros(8)
    state[three]["parts"] = [shared, shared[:], torch.from_numpy(shared), np.broadcast_to(np.zeros(1), 1000)]
    assert stepper.state_bytes() == expected + 8 * 8 + 8

    class Projector:
        __slots__ = ("matrix",)

    projector = Projector()
    projector.matrix = torch.zeros(5)  # type: ignore[attr-defined]
    state[three]["parts"] = [projector, SimpleNamespace(moment=torch.zeros(7), network=objective.module, weight=one)]
    assert stepper.state_bytes() == expected + 12 * 4
