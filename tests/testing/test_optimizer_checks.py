"""Optimizers with one fault each, which one check of the kit finds, and unusual optimizers that conform."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import thalweg.testing
from thalweg.registry import load_registry
from thalweg.testing import checks

TORCH = """
import os, random
import numpy as np
import torch
import thalweg


class Wrong(torch.optim.Optimizer):
    \"\"\"Gradient descent with something beside.\"\"\"

    def __init__(self, params, lr=0.05):
        super().__init__(params, dict(lr=lr))
        self.prepare()

    def prepare(self):
        pass

    def direction(self, p, group):
        return p.grad

    def before(self):
        pass

    @torch.no_grad()
    def step(self, closure=None):
        self.before()
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * self.direction(p, group))
"""
"""What faults are put into; a fault overrides one of its methods."""

OWN = """
import contextlib
import torch
import thalweg
from thalweg import Hyperparameter, StepReport


class WrongStepper(thalweg.Stepper):
    def __init__(self, module, lr):
        self.lr, self.module = lr, module
        self.prepare()

    def prepare(self):
        pass

    def before(self, objective):
        pass

    def after(self):
        pass

    def step(self, objective):
        self.before(objective)
        objective.backward()
        with torch.no_grad():
            for p in objective.parameters:
                p.sub_(self.lr * p.grad)
        self.after()
        return StepReport()

    def state_dict(self):
        return {"lr": self.lr}

    def load_state_dict(self, state):
        self.lr = state["lr"]


class Wrong(thalweg.Optimizer):
    name, summary = "wrong", "gradient descent with something beside"
    options = (Hyperparameter("lr", 0.05),)

    def build(self, module, hyperparameters, context):
        return WrongStepper(module, hyperparameters["lr"])
"""

STATE, DRAWS, PRECISION = (
    "continues_from_its_state",
    "is_deterministic",
    "keeps_its_state_in_the_precision_of_the_weights",
)
EFFECTS, SEEDS, STACKS = "changes_nothing_but_the_weights", "leaves_the_seeds_alone", "stacks"
RATE, MOVES, EVALUATION = "has_a_learning_rate", "moves_every_parameter", "evaluates_at_the_weights_it_means"
RESTORES, MISFIT = "restores_weights_after_evaluation", "says_what_it_cannot_train"

TORCH_FAULTS = {
    "momentum in an attribute": (
        "def prepare(self): self.m = {}",
        "def direction(self, p, group): m = self.m[p] = 0.9 * self.m.get(p, 0.0) + p.grad; return m",
        {STATE},
        "part at step 5: state_dict lacks something that a step depends on",
    ),
    "a count of steps in an attribute": (
        "def prepare(self): self.k = 0",
        "def before(self): self.k += 1\n    def direction(self, p, group): return p.grad / self.k ** 0.5",
        {STATE},
        "state_dict lacks something that a step depends on",
    ),
    "a count that matters after forty steps": (
        "def prepare(self): self.k = 0",
        "def before(self): self.k += 1\n    def direction(self, p, group): return p.grad / (2 if self.k > 40 else 1)",
        {STATE},
        "part at step 40",
    ),
    "the start in an attribute": (
        "def prepare(self): self.first = {}",
        "def direction(self, p, group): return p.grad + 0.1 * (p - self.first.setdefault(p, p.clone()))",
        {STATE},
        "state_dict lacks something that a step depends on",
    ),
    "a generator of its own": (
        "def prepare(self): self.draw = torch.Generator().manual_seed(0)",
        "def direction(self, p, group): return p.grad + 0.1 * torch.randn(p.shape, generator=self.draw).to(p.dtype)",
        {STATE},
        "state_dict lacks something that a step depends on",
    ),
    "draws that no seed reaches": (
        "def prepare(self): self.draw = random.SystemRandom()",
        "def direction(self, p, group): return p.grad * (1 + self.draw.random())",
        {DRAWS, STATE},
        "expected two runs from one seed to be bitwise equal, and they part at step 0",
    ),
    "numpy's generator seeded by the system": (
        "def prepare(self): self.draw = np.random.default_rng()",
        "def direction(self, p, group): return p.grad * (1 + self.draw.random())",
        {DRAWS, STATE},
        "expected two runs from one seed to be bitwise equal",
    ),
    "a count that outlives the object": (
        "total = 0",
        "def before(self): type(self).total += 1\n    def direction(self, p, group): return p.grad / type(self).total",
        {DRAWS, STATE},
        "nothing outlives a stepper",
    ),
    "state in float32": (
        "",
        (
            "def direction(self, p, group):\n"
            "        m = self.state[p].setdefault('m', torch.zeros(p.shape))\n"
            "        return m.mul_(0.9).add_(p.grad.float()).to(p.dtype)"
        ),
        {PRECISION},
        "the state of a float64 trial to be float64, and it has state.0.m (float32)",
    ),
    "state in bfloat16": (
        "",
        (
            "def direction(self, p, group):\n"
            "        m = self.state[p].setdefault('m', torch.zeros(p.shape, dtype=torch.bfloat16))\n"
            "        return m.mul_(0.9).add_(p.grad.bfloat16()).to(p.dtype)"
        ),
        {PRECISION},
        "state.0.m (bfloat16)",
    ),
    "a curvature that nobody estimates": (
        "",
        (
            "def direction(self, p, group):\n"
            "        h = self.state[p].setdefault('hessian', torch.zeros_like(p))\n"
            "        return p.grad / (h + 1.0)\n\n"
            "    def update_hessian(self):\n"
            "        for p in self.param_groups[0]['params']: self.state[p]['hessian'].lerp_(p.grad.square(), 0.1)"
        ),
        {"calls_what_fills_its_state"},
        "expected 'hessian' of the state to be filled within 30 steps, and it is zero: step() does not call",
    ),
    "gradients left off": (
        "",
        (
            "def step(self, closure=None):\n"
            "        torch.set_grad_enabled(False)\n"
            "        for p in self.param_groups[0]['params']: p.sub_(self.param_groups[0]['lr'] * p.grad)"
        ),
        {EFFECTS},
        "expected torch's grad mode as before, True, and it is False",
    ),
    "another default dtype": (
        "",
        "def before(self): torch.set_default_dtype(torch.float64)",
        # networks that are built afterwards draw other weights
        {EFFECTS, DRAWS, STATE},
        "expected torch's default dtype as before, torch.float32, and it is torch.float64",
    ),
    "seeds of its own": (
        "",
        "def before(self): torch.manual_seed(0)",
        {SEEDS},
        "the steps have seeded it",
    ),
    "a rate without effect": (
        "",
        "def direction(self, p, group): return p.grad / group['lr'] / 100",
        {RATE},
        "lr has no effect",
    ),
    "biases forgotten": (
        "",
        "def direction(self, p, group): return p.grad if p.dim() > 1 else torch.zeros_like(p)",
        {MOVES},
        "expected every parameter to move within 30 steps, and 1.weight, 1.bias, 3.bias did not",
    ),
    "a step of no number": (
        "",
        "def direction(self, p, group): return p.grad / 0.0",
        {MOVES, RATE},
        "expected finite weights",
    ),
    "a state that no file can hold": (
        "",
        "def direction(self, p, group): self.state[p]['f'] = lambda: 0; return p.grad",
        {STATE},
        "expected state_dict to be a value that torch.save can write",
    ),
    "a state that is keyed by what is gone": (
        "def prepare(self): self.m = {}",
        (
            "def before(self): [self.m.setdefault(p, 1.0) for p in self.param_groups[0]['params']]\n"
            "    def state_dict(self): return {id(p): m for p, m in self.m.items()}\n"
            "    def load_state_dict(self, state): self.m = {p: state[id(p)] for p in self.param_groups[0]['params']}"
        ),
        {STATE},
        "expected a new stepper to load the state after 5 steps: KeyError",
    ),
}

ELEMENTWISE = {
    "a look at the dimension": (
        "def direction(self, p, group): return p.grad * (1.0 if p.dim() > 1 else 0.1)",
        "it is not elementwise",
    ),
    "all gradients' norm": (
        "def before(self): torch.nn.utils.clip_grad_norm_(self.param_groups[0]['params'], 0.1)",
        "it is not elementwise",
    ),
    "rows that count from step 25 on": (
        (
            "def direction(self, p, group):\n"
            "        k = self.state[p]['k'] = self.state[p].get('k', 0) + 1\n"
            "        return p.grad if k < 25 else p.grad / (1 + p.grad.norm())"
        ),
        "it is not elementwise",
    ),
    "the first group's rate for all": (
        "def direction(self, p, group): return p.grad * (self.param_groups[0]['lr'] / group['lr'])",
        "each with another lr",
    ),
}

OWN_FAULTS = {
    "inputs that are scaled": (
        "def before(self, objective): objective.batch.inputs.mul_(0.9)",
        {EFFECTS},
        "expected step 0 to leave its batch alone, and the step has changed the inputs",
    ),
    "targets that are smoothed": (
        "def before(self, objective): objective.batch.targets.zero_()",
        {EFFECTS},
        "the step has changed the targets",
    ),
    "data that is written to": (
        "def before(self, objective): objective.problem.data['train'][0].mul_(0.9)",
        {EFFECTS, STATE},
        "expected the data as before after 30 steps, and batch 0 has changed",
    ),
    "a module put into evaluation mode": (
        "def after(self): self.module.eval()",
        {EFFECTS, STATE},
        "expected the training modes as before",
    ),
    "a layer that is frozen": (
        "def after(self): next(self.module.parameters()).requires_grad_(False)",
        {EFFECTS, STATE},
        "expected the requires_grad of parameters as before",
    ),
    "weights that stay swapped where evaluation fails": (
        (
            "@contextlib.contextmanager\n"
            "    def evaluation_weights(self):\n"
            "        with torch.no_grad(): [p.add_(1.0) for p in self.module.parameters()]\n"
            "        yield\n"
            "        with torch.no_grad(): [p.sub_(1.0) for p in self.module.parameters()]"
        ),
        {RESTORES},
        "expected the training weights back after an evaluation that raised",
    ),
    "a list of tensors in float32": (
        "def state_dict(self): return {'lr': self.lr, 'ms': [torch.zeros(2)]}",
        {PRECISION},
        "and it has ms[0] (float32)",
    ),
    "averages that nobody looks at": (
        (
            "def prepare(self):\n"
            "        class Averages(torch.optim.SGD):\n"
            "            def eval(self): [p.data.add_(1.0) for p in self.param_groups[0]['params']]\n"
            "            def train(self): [p.data.sub_(1.0) for p in self.param_groups[0]['params']]\n"
            "        self.optimizer = Averages(self.module.parameters())"
        ),
        {EVALUATION},
        "expected evaluation at the weights that Averages.eval() puts in place",
    ),
    "a rate that cannot be read": (
        (
            "lr = property(lambda self: {}['lr'], lambda self, value: None)\n"
            "    def step(self, objective): self.before(objective); objective.backward(); self.move(objective); "
            "return StepReport()\n"
            "    def move(self, objective): [p.data.sub_(0.05 * p.grad) for p in objective.parameters]\n"
            "    def state_dict(self): return {}\n"
            "    def load_state_dict(self, state): pass"
        ),
        {RATE},
        "expected the stepper to have an lr, or has_lr = False; reading it: KeyError: 'lr'",
    ),
    "gradients that nobody counts": (
        (
            "def step(self, objective):\n"
            "        loss = objective.problem.loss(self.module, objective.batch)\n"
            "        ps = list(self.module.parameters())\n"
            "        for p, g in zip(ps, torch.autograd.grad(loss, ps)): p.data.sub_(self.lr * g)\n"
            "        return StepReport()"
        ),
        {MOVES},
        "expected at least a gradient of 16 examples for each of 3 steps, and 0 gradients",
    ),
}


def failures(tmp_path: Path, source: str, settings: str = "") -> dict[str, str]:
    """What each check that fails says."""
    text = f"{source}\n\n@thalweg.hookimpl\ndef thalweg_register_optimizers(register):\n    register(Wrong{settings})\n"
    (tmp_path / "faulty.py").write_text(text, encoding="utf-8")
    registry = load_registry([tmp_path / "faulty.py"])
    assert registry.plugins[-1].error is None, registry.plugins[-1].error
    found = {}
    for check in checks(registry, plugin="faulty"):
        try:
            check()
        except AssertionError as error:
            found[check.run.__name__] = str(error)
    return found


def torch_class(*methods: str) -> str:
    return TORCH + "".join(f"\n    {method}\n" for method in methods if method)


@pytest.mark.parametrize("fault", TORCH_FAULTS)
def test_a_torch_class_with_a_fault_fails_the_checks_of_that_fault_alone(fault: str, tmp_path: Path) -> None:
    *methods, names, says = TORCH_FAULTS[fault]
    found = failures(tmp_path, torch_class(*methods))
    assert found.keys() == names
    assert any(says in told for told in found.values()), found


@pytest.mark.parametrize("fault", ELEMENTWISE)
def test_what_is_called_elementwise_and_is_not_fails_that_check_alone(fault: str, tmp_path: Path) -> None:
    method, says = ELEMENTWISE[fault]
    found = failures(tmp_path, torch_class(method), ", elementwise=True")
    assert found.keys() == {STACKS}
    assert says in found[STACKS]


@pytest.mark.parametrize("fault", OWN_FAULTS)
def test_a_stepper_with_a_fault_fails_the_checks_of_that_fault_alone(fault: str, tmp_path: Path) -> None:
    method, names, says = OWN_FAULTS[fault]
    stepper, optimizer = OWN.split("class Wrong(")
    found = failures(tmp_path, f"{stepper}    {method}\n\n\nclass Wrong({optimizer}")
    assert found.keys() == names
    assert any(says in told for told in found.values()), found
    assert torch.is_grad_enabled()


RIGHT = {
    "nothing moves in the first ten steps": (
        (
            "def direction(self, p, group):\n"
            "        k = self.state[p]['k'] = self.state[p].get('k', 0) + 1\n"
            "        return p.grad * (k > 10)"
        ),
        ", elementwise=True",
    ),
    "a buffer that is not used, and a method that is": (
        (
            "def direction(self, p, group):\n"
            "        self.prepared(p)\n"
            "        return p.grad\n\n"
            "    def prepared(self, p):\n"
            "        self.state[p].setdefault('buffer', torch.zeros_like(p))"
        ),
        "",
    ),
    "draws from torch's generator": ("def direction(self, p, group): return p.grad * torch.rand(())", ""),
    "draws from numpy's and Python's generators": (
        "def direction(self, p, group): return p.grad * (np.random.rand() + random.random())",
        "",
    ),
    "gradients that are changed in place": ("def direction(self, p, group): return p.grad.sign_().mul_(0.1)", ""),
    "a count of steps in the group": (
        (
            "def before(self):\n"
            "        for group in self.param_groups: group['k'] = group.get('k', 0) + 1\n"
            "    def direction(self, p, group): return p.grad / group['k'] ** 0.5"
        ),
        ", elementwise=True",
    ),
    "a number of float32 as torch counts steps": (
        (
            "def direction(self, p, group):\n"
            "        return p.grad / self.state[p].setdefault('k', torch.tensor(0.0)).add_(1.0).item()"
        ),
        "",
    ),
    "no rate at all": (
        (
            "def __init__(self, params, w=0.05): torch.optim.Optimizer.__init__(self, params, dict(w=w))\n"
            "    @torch.no_grad()\n"
            "    def step(self, closure=None): [p.sub_(0.05 * p.grad) for p in self.param_groups[0]['params']]"
        ),
        "",
    ),
    "gradient centralisation of what has rows": (
        "def direction(self, p, group): return p.grad - p.grad.mean(0) * (p.dim() > 1) / 2",
        "",
    ),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_an_unusual_class_that_is_right_raises_no_false_alarm(kind: str, tmp_path: Path) -> None:
    method, settings = RIGHT[kind]
    assert failures(tmp_path, torch_class(method), settings) == {}


def test_averages_that_are_evaluated_pass(tmp_path: Path) -> None:
    stepper, optimizer = OWN.split("class Wrong(")
    (prepare, _, _) = OWN_FAULTS["averages that nobody looks at"]
    method = (
        f"{prepare}\n"
        "    @contextlib.contextmanager\n"
        "    def evaluation_weights(self):\n"
        "        kept = [p.detach().clone() for p in self.module.parameters()]\n"
        "        self.optimizer.eval()\n"
        "        try:\n"
        "            yield\n"
        "        finally:\n"
        "            for p, old in zip(self.module.parameters(), kept): p.data.copy_(old)"
    )
    assert failures(tmp_path, f"{stepper}    {method}\n\n\nclass Wrong({optimizer}") == {}


def test_no_check_of_the_kit_fails_without_a_sentence() -> None:
    """Pytest rewrites no assertion of an installed package, so a bare one would say nothing."""
    folder = Path(thalweg.testing.__file__).parent
    bare = [
        f"{path.name}:{node.lineno}"
        for path in sorted(folder.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert) and node.msg is None
    ]
    assert bare == []
