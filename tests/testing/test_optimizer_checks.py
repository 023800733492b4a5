"""Optimizers with one fault each, which a named check of the kit finds, and unusual optimizers that conform."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from testing.optimizer_faults import FAULTS, TORCH, Fault
from thalweg.registry import load_registry
from thalweg.testing import checks
from thalweg.testing.kit import CHECKS


def failures(tmp_path: Path, source: str) -> dict[str, str]:
    """What each check that fails says."""
    (tmp_path / "faulty.py").write_text(source, encoding="utf-8")
    registry = load_registry([tmp_path / "faulty.py"])
    assert registry.plugins[-1].error is None, registry.plugins[-1].error
    found = {}
    for check in checks(registry, plugin="faulty"):
        try:
            check()
        except AssertionError as error:
            found[check.condition.name] = str(error)
    assert torch.is_grad_enabled()
    return found


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_fails_the_checks_of_that_fault_alone(fault: Fault, tmp_path: Path) -> None:
    found = failures(tmp_path, fault.source(fault.body))
    assert found.keys() == fault.checks, found
    assert any(fault.says in told for told in found.values()), found


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_its_twin_without_the_fault_passes_every_check(fault: Fault, tmp_path: Path) -> None:
    assert failures(tmp_path, fault.source(fault.twin)) == {}


def test_every_check_of_optimizers_has_a_fault() -> None:
    caught = set().union(*(fault.checks for fault in FAULTS.values()))
    assert {one.name for one in CHECKS["optimizers"]} - caught == {"contract"}


RIGHT = {
    "nothing moves in the first ten steps": (
        """
def direction(self, p, group):
    k = self.state[p]['k'] = self.state[p].get('k', 0) + 1
    return p.grad * (k > 10)
""",
        ", elementwise=True",
    ),
    "a buffer that is not used, and a method that is": (
        """
def direction(self, p, group):
    self.prepared(p)
    return p.grad

def prepared(self, p):
    self.state[p].setdefault('buffer', torch.zeros_like(p))
""",
        "",
    ),
    "gradients that are changed in place": ("def direction(self, p, group): return p.grad.sign_().mul_(0.1)", ""),
    "a number of float32 as torch counts steps": (
        """
def direction(self, p, group):
    return p.grad / self.state[p].setdefault('k', torch.tensor(0.0)).add_(1.0).item()
""",
        "",
    ),
    "draws in float32": ("def direction(self, p, group): return p.grad + 0.01 * torch.randn(p.shape)", ""),
    "no rate at all": (
        """
def __init__(self, params, w=0.05): torch.optim.Optimizer.__init__(self, params, dict(w=w))
@torch.no_grad()
def step(self, closure=None):
    [p.sub_(0.05 * p.grad) for p in self.param_groups[0]['params'] if p.grad is not None]
""",
        "",
    ),
    "gradient centralisation of what has rows": (
        "def direction(self, p, group): return p.grad - p.grad.mean(0) * (p.dim() > 1) / 2 if p.dim() else p.grad",
        "",
    ),
    "a closure that is called twice": (
        """
def step(self, closure):
    for _ in range(2):
        with torch.enable_grad(): closure()
        with torch.no_grad():
            for p in self.param_groups[0]['params']:
                if p.grad is not None: p.sub_(self.param_groups[0]['lr'] * p.grad)
""",
        "",
    ),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_an_unusual_class_that_is_right_raises_no_false_alarm(kind: str, tmp_path: Path) -> None:
    body, settings = RIGHT[kind]
    assert failures(tmp_path, Fault("", set(), "", body, settings, TORCH).source(body)) == {}


def test_a_class_that_calls_its_closure_twice_is_counted_twice(tmp_path: Path) -> None:
    from thalweg.testing.small import Workbench

    body, _ = RIGHT["a closure that is called twice"]
    (tmp_path / "twice.py").write_text(Fault("", set(), "", body).source(body), encoding="utf-8")
    bench = Workbench(load_registry([tmp_path / "twice.py"]), "wrong")
    bench.steps(0, 5)
    assert (bench.objective.counts.gradient_evaluations, bench.objective.counts.examples) == (10, 160)
