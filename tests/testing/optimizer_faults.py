"""Optimizers with one fault each, beside twins without the fault."""

from __future__ import annotations

from dataclasses import dataclass

TORCH = '''
import os, random
import numpy as np
import torch
import thalweg


class Wrong(torch.optim.Optimizer):
    """Gradient descent with something beside."""

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
                if p.grad is not None:
                    p.sub_(group["lr"] * self.direction(p, group))

    BODY

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(WrongSETTINGS)
'''
"""A torch class. The body of a fault or a twin overrides its methods."""

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

    BODY


class Wrong(thalweg.Optimizer):
    name, summary = "wrong", "gradient descent with something beside"
    options = (Hyperparameter("lr", 0.05),)

    def build(self, module, hyperparameters, context):
        return WrongStepper(module, hyperparameters["lr"])


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Wrong)
"""
"""An optimizer with a stepper of its own. The body overrides methods of the stepper."""


@dataclass(frozen=True)
class Fault:
    """An optimizer with a fault: the checks that see it, and what one of them says."""

    body: str
    checks: set[str]
    """Every check that fails."""
    says: str
    twin: str
    """The body of an optimizer that does the same without the fault. It passes all checks."""
    settings: str = ""
    """Further arguments of ``register``."""
    base: str = TORCH

    def source(self, body: str) -> str:
        """The plugin file with a body."""
        lines = [line.rstrip() for line in body.strip("\n").splitlines()]
        indented = "\n".join(f"    {line}" if line else "" for line in lines).strip()
        return self.base.replace("BODY", indented or "pass").replace("SETTINGS", self.settings)


STATE, DRAWS, GRAPH = "continues_from_its_state", "is_deterministic", "keeps_no_graph"
PRECISION, ROUNDS = "keeps_its_state_in_the_precision_of_the_weights", "computes_in_the_precision_of_the_weights"
EFFECTS, SEEDS, STACKS = "changes_nothing_but_the_weights", "leaves_the_seeds_alone", "stacks"
RATE, SCHEDULE, MOVES = "has_a_learning_rate", "follows_a_schedule", "moves_every_parameter"
CALLS, COSTS = "calls_what_fills_its_state", "counts_what_it_evaluates"
EVALUATION, RESTORES = "evaluates_at_the_weights_it_means", "restores_weights_after_evaluation"
OFTEN, MISFIT = "trains_alike_however_often_it_is_evaluated", "says_what_it_cannot_train"
FROZEN, ZERO = "leaves_frozen_weights_alone", "stays_finite_where_a_gradient_is_zero"
SHAPES = "takes_weights_of_any_shape"

COUNT_IN_GROUP = """
def before(self):
    for group in self.param_groups: group['k'] = group.get('k', 0) + 1
def direction(self, p, group): return p.grad / LENGTH
"""
MOMENTUM = """
def direction(self, p, group):
    m = self.state[p].setdefault('m', torch.zeros_like(p))
    return m.mul_(0.9).add_(p.grad)
"""

HIDDEN_STATE = {
    "momentum in an attribute": Fault(
        """
def prepare(self): self.m = {}
def direction(self, p, group): m = self.m[p] = 0.9 * self.m.get(p, 0.0) + p.grad; return m
""",
        {STATE},
        "part at step 5: state_dict lacks something that a step depends on",
        MOMENTUM,
    ),
    "a count of steps in an attribute": Fault(
        """
def prepare(self): self.k = 0
def before(self): self.k += 1
def direction(self, p, group): return p.grad / self.k ** 0.5
""",
        {STATE},
        "state_dict lacks something that a step depends on",
        COUNT_IN_GROUP.replace("LENGTH", "group['k'] ** 0.5"),
    ),
    "a count that matters after forty steps": Fault(
        """
def prepare(self): self.k = 0
def before(self): self.k += 1
def direction(self, p, group): return p.grad / (2 if self.k > 40 else 1)
""",
        {STATE},
        "part at step 40",
        COUNT_IN_GROUP.replace("LENGTH", "(2 if group['k'] > 40 else 1)"),
    ),
    "the start in an attribute": Fault(
        """
def prepare(self): self.first = {}
def direction(self, p, group): return p.grad + 0.1 * (p - self.first.setdefault(p, p.clone()))
""",
        {STATE},
        "state_dict lacks something that a step depends on",
        "def direction(self, p, group): return p.grad + 0.1 * (p - self.state[p].setdefault('first', p.clone()))",
    ),
    "a generator of its own": Fault(
        """
def prepare(self): self.draw = torch.Generator().manual_seed(0)
def direction(self, p, group): return p.grad + 0.1 * torch.randn(p.shape, generator=self.draw).to(p.dtype)
""",
        {STATE},
        "state_dict lacks something that a step depends on",
        "def direction(self, p, group): return p.grad + 0.1 * torch.randn(p.shape).to(p.dtype)",
    ),
    "a state that no file can hold": Fault(
        "def direction(self, p, group): self.state[p]['f'] = lambda: 0; return p.grad",
        {STATE},
        "expected a state_dict that torch.save can write",
        "def direction(self, p, group): self.state[p]['f'] = 'zero'; return p.grad",
    ),
    "a state that is keyed by what is gone": Fault(
        """
def prepare(self): self.m = {}
def before(self): [self.m.setdefault(p, 1.0) for p in self.param_groups[0]['params']]
def state_dict(self): return {id(p): m for p, m in self.m.items()}
def load_state_dict(self, state): self.m = {p: state[id(p)] for p in self.param_groups[0]['params']}
""",
        {STATE},
        "expected a new stepper to load the state after 5 steps; found: KeyError",
        "def before(self): [self.state[p].setdefault('m', 1.0) for p in self.param_groups[0]['params']]",
    ),
    "a running mean that keeps its graph": Fault(
        """
def step(self, objective):
    loss = objective.loss()
    gradients = torch.autograd.grad(loss, objective.parameters, create_graph=True, materialize_grads=True)
    objective.counts.add_gradient(objective.batch.size)
    old = getattr(self, 'mean', None) or [torch.zeros_like(g) for g in gradients]
    self.mean = [0.5 * m + 0.5 * g for m, g in zip(old, gradients)]
    for p, g in zip(objective.parameters, gradients): p.data.sub_(self.lr * g.detach())
    return StepReport()
""",
        {GRAPH},
        "expected no graph after a step; found: the state of shape",
        """
def step(self, objective):
    _, gradients = objective.gradient()
    for p, g in zip(objective.parameters, gradients): p.data.sub_(self.lr * g)
    return StepReport()
""",
        base=OWN,
    ),
    "gradients that keep their graph": Fault(
        """
def step(self, objective):
    objective.backward(create_graph=True)
    for p in objective.parameters: p.data.sub_(self.lr * p.grad.detach())
    return StepReport()
""",
        {GRAPH},
        "found: a gradient of shape",
        """
def step(self, objective):
    objective.backward(create_graph=True)
    for p in objective.parameters:
        p.data.sub_(self.lr * p.grad.detach())
        p.grad = None
    return StepReport()
""",
        base=OWN,
    ),
}

RANDOMNESS = {
    "draws that no seed reaches": Fault(
        """
def prepare(self): self.draw = random.SystemRandom()
def direction(self, p, group): return p.grad * (1 + self.draw.random())
""",
        {DRAWS, STATE, OFTEN},
        "expected two runs from one seed to be bitwise equal; found: they part at step 0",
        "def direction(self, p, group): return p.grad * (1 + random.random())",
    ),
    "numpy's generator seeded by the system": Fault(
        """
def prepare(self): self.draw = np.random.default_rng()
def direction(self, p, group): return p.grad * (1 + self.draw.random())
""",
        {DRAWS, STATE, OFTEN},
        "expected two runs from one seed to be bitwise equal",
        "def direction(self, p, group): return p.grad * (1 + np.random.rand())",
    ),
    "a count that outlives the object": Fault(
        """
total = 0
def before(self): type(self).total += 1
def direction(self, p, group): return p.grad / type(self).total
""",
        {DRAWS, STATE, OFTEN},
        "nothing may outlive a stepper",
        COUNT_IN_GROUP.replace("LENGTH", "group['k']"),
    ),
    "seeds of its own": Fault(
        "def before(self): torch.manual_seed(0)",
        {SEEDS},
        "the steps have seeded the generator of torch",
        "def direction(self, p, group): return p.grad * torch.rand(())",
    ),
    "numpy seeded in each step": Fault(
        "def before(self): np.random.seed(0)",
        {SEEDS},
        "the steps have seeded the generator of numpy",
        "def direction(self, p, group): return p.grad * np.random.rand()",
    ),
    "Python's generator seeded in each step": Fault(
        "def before(self): random.seed(0)",
        {SEEDS},
        "the steps have seeded the generator of Python",
        "def direction(self, p, group): return p.grad * random.random()",
    ),
}

PRECISIONS = {
    "state in float32": Fault(
        """
def direction(self, p, group):
    m = self.state[p].setdefault('m', torch.zeros(p.shape))
    return m.mul_(0.9).add_(p.grad.float()).to(p.dtype)
""",
        {PRECISION, ROUNDS},
        "expected a state in float64 of a float64 trial; found: state.0.m (float32)",
        MOMENTUM,
    ),
    "state in bfloat16": Fault(
        """
def direction(self, p, group):
    m = self.state[p].setdefault('m', torch.zeros(p.shape, dtype=torch.bfloat16))
    return m.mul_(0.9).add_(p.grad.bfloat16()).to(p.dtype)
""",
        {PRECISION, ROUNDS},
        "state.0.m (bfloat16)",
        MOMENTUM,
    ),
    "a direction in bfloat16": Fault(
        "def direction(self, p, group): return (p.grad.bfloat16() * 2).to(p.dtype)",
        {ROUNDS},
        "expected a float64 trial to compute in float64; found: to_copy rounds to bfloat16",
        "def direction(self, p, group): return (p.grad * 2).to(p.dtype)",
    ),
    "a product that is kept in float32": Fault(
        "def direction(self, p, group): return torch.zeros(p.shape).add_(p.grad).to(p.dtype)",
        {ROUNDS},
        "add rounds to float32",
        # a mask of zeros and ones is exact in any precision
        "def direction(self, p, group): return p.grad * (p.grad.abs() > 1e-6).float()",
    ),
    "a list of tensors in float32": Fault(
        "def state_dict(self): return {'lr': self.lr, 'ms': [torch.zeros(2)]}",
        {PRECISION},
        "found: ms[0] (float32)",
        "def state_dict(self): return {'lr': self.lr, 'ms': [torch.tensor(0.0)]}",
        base=OWN,
    ),
}

COSTS_AND_CALLS = {
    "a curvature that nobody estimates": Fault(
        """
def direction(self, p, group):
    h = self.state[p].setdefault('hessian', torch.zeros_like(p))
    return p.grad / (h + 1.0)

def update_hessian(self):
    for p in self.param_groups[0]['params']: self.state[p]['hessian'].lerp_(p.grad.square(), 0.1)
""",
        {CALLS},
        "expected 'hessian' of the state to be filled within 30 steps; found: it is zero, because step() does not call",
        """
def direction(self, p, group):
    h = self.state[p].setdefault('hessian', torch.zeros_like(p))
    self.update_hessian(p)
    return p.grad / (h + 1.0)

def update_hessian(self, p):
    self.state[p]['hessian'].lerp_(p.grad.square(), 0.1)
""",
    ),
    "gradients that nobody counts": Fault(
        """
def step(self, objective):
    loss = objective.problem.loss(self.module, objective.batch)
    ps = list(objective.parameters)
    for p, g in zip(ps, torch.autograd.grad(loss, ps, materialize_grads=True)): p.data.sub_(self.lr * g)
    return StepReport()
""",
        {MOVES, COSTS},
        "expected at least a gradient of 16 examples for each of 3 steps to be counted; found: 0 gradients",
        """
def step(self, objective):
    loss = objective.loss()
    ps = list(objective.parameters)
    for p, g in zip(ps, torch.autograd.grad(loss, ps, materialize_grads=True)): p.data.sub_(self.lr * g)
    objective.counts.add_gradient(objective.batch.size)
    return StepReport()
""",
        base=OWN,
    ),
    "a second gradient that nobody counts": Fault(
        """
def after(self): pass
def step(self, objective):
    objective.backward()
    outputs = objective.outputs()
    loss = objective.loss(outputs)
    more = torch.autograd.grad(loss, objective.parameters, materialize_grads=True)
    for p, g in zip(objective.parameters, more): p.data.sub_(self.lr * (p.grad + g) / 2)
    return StepReport()
""",
        {COSTS},
        "expected backward passes of 160 examples to be counted; found: 80 of them counted in 5 steps",
        """
def step(self, objective):
    objective.backward()
    _, more = objective.gradient()
    for p, g in zip(objective.parameters, more): p.data.sub_(self.lr * (p.grad + g) / 2)
    return StepReport()
""",
        base=OWN,
    ),
    "losses of a line search that nobody counts": Fault(
        """
def after(self):
    with torch.no_grad(): self.problem.loss(self.module, self.batch)
def before(self, objective): self.problem, self.batch = objective.problem, objective.batch
""",
        {COSTS},
        "expected forward passes of 160 examples to be counted; found: 80 of them counted in 5 steps",
        """
def before(self, objective):
    with torch.no_grad(): objective.loss()
""",
        base=OWN,
    ),
    "a network that the class runs itself": Fault(
        """
def __init__(self, module, lr=0.05):
    torch.optim.Optimizer.__init__(self, module.parameters(), dict(lr=lr))
    self.module = module
def before(self):
    size = next(self.module.parameters()).dtype
    if hasattr(self.module, '0'): self.module(torch.ones(4, 6, dtype=size))
""",
        # batch norm's statistics advance too, which no other check sees
        {COSTS},
        "expected forward passes of 100 examples to be counted; found: 80",
        """
def __init__(self, module, lr=0.05): torch.optim.Optimizer.__init__(self, module.parameters(), dict(lr=lr))
""",
        settings=", groups=lambda module: module",
    ),
}

EFFECTS_FAULTS = {
    "gradients left off": Fault(
        """
def step(self, closure=None):
    torch.set_grad_enabled(False)
    for p in self.param_groups[0]['params']:
        if p.grad is not None: p.sub_(self.param_groups[0]['lr'] * p.grad)
""",
        {EFFECTS},
        "expected torch's grad mode as before, True; found: False",
        """
def step(self, closure=None):
    with torch.no_grad():
        for p in self.param_groups[0]['params']:
            if p.grad is not None: p.sub_(self.param_groups[0]['lr'] * p.grad)
""",
    ),
    "another default dtype": Fault(
        "def before(self): torch.set_default_dtype(torch.float64)",
        # networks that are built afterwards draw other weights
        {EFFECTS, DRAWS, STATE, OFTEN},
        "expected torch's default dtype as before, torch.float32; found: torch.float64",
        """
def before(self):
    torch.set_default_dtype(torch.float64)
    torch.set_default_dtype(torch.float32)
""",
    ),
    "inputs that are scaled": Fault(
        "def before(self, objective): objective.batch.inputs.mul_(0.9)",
        {EFFECTS},
        "expected step 0 to leave its batch alone; found: the step has changed the inputs",
        "def before(self, objective): objective.batch.inputs.mul(0.9)",
        base=OWN,
    ),
    "targets that are smoothed": Fault(
        "def before(self, objective): objective.batch.targets.zero_()",
        {EFFECTS},
        "the step has changed the targets",
        "def before(self, objective): objective.batch.targets.clone().zero_()",
        base=OWN,
    ),
    "data that is written to": Fault(
        "def before(self, objective): objective.problem.data['train'][0].mul_(0.9)",
        {EFFECTS, STATE},
        "expected the data as before after 30 steps; found: batch 0 has changed",
        "def before(self, objective): objective.problem.data['train'][0].mul(0.9)",
        base=OWN,
    ),
    "a module put into evaluation mode": Fault(
        "def after(self): self.module.eval()",
        {EFFECTS, STATE},
        "expected the training modes as before",
        "def after(self): self.module.eval(); self.module.train()",
        base=OWN,
    ),
    "a layer that is frozen": Fault(
        "def after(self): next(self.module.parameters()).requires_grad_(False)",
        {EFFECTS, STATE},
        "expected the requires_grad of parameters as before",
        "def after(self): next(self.module.parameters()).requires_grad",
        base=OWN,
    ),
}

RATES_AND_MOVES = {
    "a rate without effect": Fault(
        "def direction(self, p, group): return p.grad / group['lr'] / 100",
        {RATE, SCHEDULE},
        "lr has no effect",
        "def direction(self, p, group): return p.grad / 100",
    ),
    "a rate that is read once": Fault(
        """
def before(self):
    for group in self.param_groups: group.setdefault('own', group['lr'])
def direction(self, p, group): return p.grad * group['own'] / group['lr']
""",
        {SCHEDULE},
        "expected other weights with half of lr from step 3 on; found: 30 steps at equal weights",
        """
def before(self):
    for group in self.param_groups: group['own'] = group['lr']
def direction(self, p, group): return p.grad * group['own'] / group['lr']
""",
    ),
    "a rate that cannot be read": Fault(
        """
lr = property(lambda self: {}['lr'], lambda self, value: None)
def step(self, objective): self.before(objective); objective.backward(); self.move(objective); return StepReport()
def move(self, objective): [p.data.sub_(0.05 * p.grad) for p in objective.parameters]
def state_dict(self): return {}
def load_state_dict(self, state): pass
""",
        {RATE, SCHEDULE},
        "expected a stepper with an lr; found: reading it: KeyError: 'lr'",
        "",
        base=OWN,
    ),
    "biases forgotten": Fault(
        "def direction(self, p, group): return p.grad if p.dim() > 1 else torch.zeros_like(p)",
        {MOVES},
        "expected every parameter to move within 30 steps; found: 1.weight, 1.bias, 3.bias did not",
        "def direction(self, p, group): return p.grad if p.dim() > 1 else p.grad / 2",
    ),
    "a step of no number": Fault(
        "def direction(self, p, group): return p.grad / 0.0",
        {MOVES, RATE, SCHEDULE, SHAPES},
        "expected finite weights",
        "def direction(self, p, group): return p.grad / 1.0",
    ),
    "a step that raises": Fault(
        "def before(self): raise ValueError('no such thing')",
        {
            RATE,
            SCHEDULE,
            MOVES,
            DRAWS,
            SEEDS,
            STATE,
            GRAPH,
            PRECISION,
            ROUNDS,
            CALLS,
            COSTS,
            EFFECTS,
            EVALUATION,
            RESTORES,
            OFTEN,
            ZERO,
            SHAPES,
        },
        "ValueError: no such thing (faulty.py, line",
        "",
    ),
}

EVALUATIONS = {
    "averages that nobody looks at": Fault(
        """
def prepare(self):
    class Averages(torch.optim.SGD):
        def eval(self): [p.data.add_(1.0) for p in self.param_groups[0]['params']]
        def train(self): [p.data.sub_(1.0) for p in self.param_groups[0]['params']]
    self.optimizer = Averages(self.module.parameters())
""",
        {EVALUATION},
        "expected evaluation at the weights that Averages.eval() puts in place",
        """
def prepare(self):
    class Averages(torch.optim.SGD):
        def eval(self): [p.data.add_(1.0) for p in self.param_groups[0]['params']]
        def train(self): [p.data.sub_(1.0) for p in self.param_groups[0]['params']]
    self.optimizer = Averages(self.module.parameters())
@contextlib.contextmanager
def evaluation_weights(self):
    kept = [p.detach().clone() for p in self.module.parameters()]
    self.optimizer.eval()
    try:
        yield
    finally:
        for p, old in zip(self.module.parameters(), kept): p.data.copy_(old)
""",
        base=OWN,
    ),
    "a class whose modes are never set": Fault(
        """
def train(self): [p.data.mul_(2.0) for g in self.param_groups for p in g['params'] if self.state]
def eval(self): [p.data.div_(2.0) for g in self.param_groups for p in g['params'] if self.state]
def direction(self, p, group): self.state[p]['seen'] = 1; return p.grad
""",
        {EVALUATION},
        "register(CLASS, modes=False) never calls them",
        "def direction(self, p, group): self.state[p]['seen'] = 1; return p.grad",
        settings=", modes=False",
    ),
    "weights that stay swapped where evaluation fails": Fault(
        """
@contextlib.contextmanager
def evaluation_weights(self):
    kept = [p.detach().clone() for p in self.module.parameters()]
    with torch.no_grad(): [p.add_(1.0) for p in self.module.parameters()]
    yield
    with torch.no_grad(): [p.copy_(old) for p, old in zip(self.module.parameters(), kept)]
""",
        {RESTORES},
        "expected the training weights back after an evaluation that raised",
        """
@contextlib.contextmanager
def evaluation_weights(self):
    kept = [p.detach().clone() for p in self.module.parameters()]
    with torch.no_grad(): [p.add_(1.0) for p in self.module.parameters()]
    try:
        yield
    finally:
        with torch.no_grad(): [p.copy_(old) for p, old in zip(self.module.parameters(), kept)]
""",
        base=OWN,
    ),
    "an evaluation that shortens later steps": Fault(
        """
@contextlib.contextmanager
def evaluation_weights(self):
    self.lr *= 0.9
    yield
""",
        {OFTEN},
        "expected a training without evaluations to equal one with them; found: they part at step 1",
        """
@contextlib.contextmanager
def evaluation_weights(self):
    self.lr *= 1.0
    yield
""",
        base=OWN,
    ),
    "an eval() that forgets the momentum": Fault(
        f"""
{MOMENTUM}
def train(self): pass
def eval(self): [s['m'].zero_() for s in self.state.values()]
""",
        {OFTEN},
        "expected a training without evaluations to equal one with them",
        f"""
{MOMENTUM}
def train(self): pass
def eval(self): [s['m'].clone() for s in self.state.values()]
""",
    ),
}

NETWORKS = {
    "decay of frozen weights": Fault(
        """
def before(self):
    for p in self.param_groups[0]['params']: p.mul_(0.99)
""",
        {FROZEN},
        "expected a frozen weight as before after 10 steps; found: it has changed",
        """
def before(self):
    for p in self.param_groups[0]['params']:
        if p.grad is not None: p.mul_(0.99)
""",
    ),
    "a gradient divided by its norm": Fault(
        "def direction(self, p, group): return p.grad / p.grad.norm()",
        {ZERO},
        "expected finite weights where a gradient is zero",
        "def direction(self, p, group): return p.grad / (p.grad.norm() + 1e-8)",
    ),
    "a product that only matrices have": Fault(
        "def direction(self, p, group): return p.grad - p.grad.mean() if p.dim() < 3 else p.grad @ torch.eye(3)",
        {SHAPES},
        "RuntimeError",
        "def direction(self, p, group): return p.grad - p.grad.mean() if p.dim() == 2 else p.grad",
    ),
    "a single number without an axis": Fault(
        "def direction(self, p, group): return p.grad * (1 + 0 * p.grad.size(0))",
        {SHAPES},
        "IndexError",
        "def direction(self, p, group): return p.grad * (1 + 0 * p.grad.numel())",
    ),
}

ELEMENTWISE = {
    "a look at the dimension": Fault(
        "def direction(self, p, group): return p.grad * (1.0 if p.dim() > 1 else 0.1)",
        {STACKS},
        "it is not elementwise",
        "def direction(self, p, group): return p.grad * 0.1",
        settings=", elementwise=True",
    ),
    "all gradients' norm": Fault(
        "def before(self): torch.nn.utils.clip_grad_norm_(self.param_groups[0]['params'], 0.1)",
        {STACKS},
        "it is not elementwise",
        """
def before(self):
    for group in self.param_groups: torch.nn.utils.clip_grad_value_(group['params'], 0.1)
""",
        settings=", elementwise=True",
    ),
    "rows that count from step 25 on": Fault(
        """
def direction(self, p, group):
    k = self.state[p]['k'] = self.state[p].get('k', 0) + 1
    return p.grad if k < 25 else p.grad / (1 + p.grad.norm())
""",
        {STACKS},
        "it is not elementwise",
        """
def direction(self, p, group):
    k = self.state[p]['k'] = self.state[p].get('k', 0) + 1
    return p.grad if k < 25 else p.grad / (1 + p.grad.abs())
""",
        settings=", elementwise=True",
    ),
    "the first group's rate for all": Fault(
        "def direction(self, p, group): return p.grad * (self.param_groups[0]['lr'] / group['lr'])",
        {STACKS},
        "each with another lr",
        "def direction(self, p, group): return p.grad * (group['lr'] / group['lr'])",
        settings=", elementwise=True",
    ),
}

DECLARATIONS = {
    "a misfit without words": Fault(
        "def misfit(self, hyperparameters, shape): return False",
        {MISFIT},
        "expected misfit to give a reason in words or None for classification; found: False",
        "def misfit(self, hyperparameters, shape): return None",
        base=OWN.replace("    BODY\n", "").replace("    def build(", "    BODY\n\n    def build("),
    )
}

FAULTS: dict[str, Fault] = {
    **HIDDEN_STATE,
    **RANDOMNESS,
    **PRECISIONS,
    **COSTS_AND_CALLS,
    **EFFECTS_FAULTS,
    **RATES_AND_MOVES,
    **EVALUATIONS,
    **NETWORKS,
    **ELEMENTWISE,
    **DECLARATIONS,
}
