from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from thalweg.contracts import BuildContext
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.torch_adapter import TorchOptimizer
from thalweg.contracts.torch_stepper import TorchStepper
from thalweg.registry import Registry
from thalweg.testing.small import Workbench, network, same


class WithoutDefault(torch.optim.Optimizer):
    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})


def test_a_bare_class_keeps_its_own_defaults_and_searches_lr_only() -> None:
    adam = TorchOptimizer(torch.optim.Adam)
    defaults = {option.name: option.default for option in adam.options}
    assert defaults["lr"] == 1e-3
    assert (defaults["beta1"], defaults["beta2"]) == (0.9, 0.999)
    assert not defaults.keys() & {"params", "betas", "fused", "foreach", "maximize", "capturable"}
    assert [option.name for option in adam.options if option.search] == ["lr"]
    assert adam.contract_violations() == []


@pytest.mark.parametrize("cls", [torch.optim.SGD, torch.optim.Adam, torch.optim.NAdam, torch.optim.RMSprop])
def test_an_adapted_class_steps_exactly_as_torch_does(cls: Any, registry: Any) -> None:
    ours = Workbench(registry, "sgd")
    optimizer = TorchOptimizer(cls)
    ours.stepper = optimizer.build(ours.module, resolve(optimizer.options, {}, "x"), BuildContext(0, 64, 16))
    ours.steps(0, 5)
    module, theirs = network(), Workbench(registry, "sgd")
    by_hand = cls(module.parameters())
    for step in range(5):
        batch = theirs.problem.batch("train", step, theirs.draw)
        by_hand.zero_grad()
        theirs.problem.loss(module, batch).backward()
        by_hand.step()
    expected = list(module.state_dict().values())
    # fused and plain kernels round differently
    for a, b in zip(ours.weights(), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_closure_is_given_where_step_requires_one(registry: Any) -> None:
    bench = Workbench(registry, "sgd")
    optimizer = TorchOptimizer(torch.optim.LBFGS, history_size=5)
    values = resolve(optimizer.options, {"max_iter": 3}, "x")
    assert values["history_size"] == 5
    bench.stepper = optimizer.build(bench.module, values, BuildContext(0, 64, 16))
    before = bench.weights()
    bench.steps(0, 1)
    assert not same(before, bench.weights())
    assert bench.objective.counts.gradient_evaluations >= 3


def test_a_missing_default_says_how_to_give_one() -> None:
    with pytest.raises(TypeError, match=r"argument 'lr' of WithoutDefault has no default: .*lr=\.\.\."):
        TorchOptimizer(WithoutDefault)
    assert TorchOptimizer(WithoutDefault, lr=0.1).options[0].default == 0.1


class Odd(torch.optim.SGD):
    """Needs a mode.

    And more that is not for lists.
    """

    def __init__(self, params: Any, mode: str, lr: float | None = None, fused: bool = False) -> None:
        assert mode == "fast"
        assert not fused
        super().__init__(params, lr=lr or 0.1)


def test_what_is_no_number_is_passed_on_and_a_foreign_fused_is_left_alone(registry: Any) -> None:
    with pytest.raises(TypeError, match=r"argument 'lr' of Odd has no default"):
        TorchOptimizer(Odd, mode="fast")
    optimizer = TorchOptimizer(Odd, mode="fast", lr=0.1)
    assert [option.name for option in optimizer.options] == ["lr"]
    assert (optimizer.summary, optimizer.description) == ("Needs a mode.", "Needs a mode.")
    bench = Workbench(registry, "sgd")
    bench.stepper = optimizer.build(bench.module, resolve(optimizer.options, {}, "x"), BuildContext(0, 64, 16))
    bench.steps(0, 1)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="SGD has no argument 'momentun'; it has: lr, momentum"):
        TorchOptimizer(torch.optim.SGD, momentun=0.9)


def test_an_argument_named_as_a_key_of_benchmark_files_is_no_hyperparameter_but_can_be_given() -> None:
    optimizer = TorchOptimizer(torch.optim.Adam, decoupled_weight_decay=True)
    assert "decoupled_weight_decay" not in [option.name for option in optimizer.options]
    stepper: Any = optimizer.build(network(), resolve(optimizer.options, {}, "x"), BuildContext(0, 64, 16))
    assert stepper.optimizer.param_groups[0]["decoupled_weight_decay"] is True


@pytest.mark.parametrize("name", ["lbfgs", "adam", "nadam"])
def test_a_copy_of_module_and_stepper_steps_as_they_do_and_apart_from_them(registry: Registry, name: str) -> None:
    bench = Workbench(registry, name)
    bench.steps(0, 3)
    module, stepper = copy.deepcopy((bench.module, bench.stepper))
    bench.steps(3, 5)
    original = bench.weights()
    copied = Workbench(registry, name)
    copied.module, copied.stepper = module, stepper
    copied.objective = Objective(module, copied.problem, copied.draw)
    copied.steps(3, 5)
    assert same(original, copied.weights())
    assert same(original, bench.weights())


def test_state_that_torch_keeps_in_another_dtype_is_loaded_in_it() -> None:
    parameter = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    stepper = TorchStepper(torch.optim.NAdam([parameter]))
    parameter.grad = torch.ones_like(parameter)
    stepper.optimizer.step()
    other = TorchStepper(torch.optim.NAdam([parameter]))
    other.load_state_dict(copy.deepcopy(stepper.state_dict()))
    (state,), (loaded,) = stepper.optimizer.state.values(), other.optimizer.state.values()
    assert {key: value.dtype for key, value in state.items()} == {key: value.dtype for key, value in loaded.items()}
    assert state["mu_product"].dtype == torch.float32


class Modal(torch.optim.Optimizer):
    """Steps the groups that say so by signs, as the Muon family has two rules."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})
        if not all("signs" in group for group in self.param_groups):
            raise ValueError("give signs in each group")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * (p.grad.sign() if group["signs"] else p.grad))


def test_groups_are_made_from_the_module_where_a_class_wants_more_than_parameters(registry: Any) -> None:
    def groups(module: torch.nn.Module) -> Any:
        return [{"params": [p], "signs": p.dim() > 1} for p in module.parameters()]

    bench = Workbench(registry, "sgd")
    optimizer = TorchOptimizer(Modal, groups=groups)
    bench.stepper = optimizer.build(bench.module, {"lr": 0.1}, BuildContext(0, 64, 16))
    before = [parameter.detach().clone() for parameter in bench.module.parameters()]
    bench.steps(0, 1)
    for old, parameter in zip(before, bench.module.parameters(), strict=True):
        assert parameter.grad is not None
        step = parameter.grad.sign() if parameter.dim() > 1 else parameter.grad
        assert torch.equal(parameter, old - 0.1 * step)
    with pytest.raises(NotImplementedError, match="groups"):
        optimizer.build_stacked(bench.module, [{"lr": 0.1}], BuildContext(0, 64, 16))
    with pytest.raises(TypeError, match=r"give signs in each group\): register\(Modal, groups=lambda module"):
        TorchOptimizer(Modal).build(bench.module, {"lr": 0.1}, BuildContext(0, 64, 16))
    with pytest.raises(TypeError, match="give a function of the module"):
        TorchOptimizer(Modal, groups=[])
