"""Trials that train as one program equal trials that train one at a time."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from probing import ref
from stacked_trials import MORE_NETWORKS, NETWORKS, alone, compare, trial
from thalweg.contracts import Architecture, Shape
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.costs import Counts
from thalweg.contracts.option import resolve
from thalweg.contracts.schedule import Schedule
from thalweg.contracts.supervised import Supervised
from thalweg.registry import Registry
from thalweg.stacking import group_key
from thalweg.training.alone import Training
from thalweg.training.assembly import active_probes, assemble, load_problem
from thalweg.training.checkpoint import Checkpoint
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.objective import StackedObjective
from thalweg.training.stacked.problem import StackedProblem, misfit
from thalweg.training.stacked.stack import StackTraining
from thalweg.training.stacked.stackable import may_not, why_alone
from thalweg.training.stacked.together import CannotStackError
from thalweg.training.stacked.train import train_together
from thalweg.trial import ProbeRequest, Stack
from thalweg_plugins.optimizers import FIRST_ORDER
from thalweg_plugins.optimizers.second_order._lbfgs_stacked import LBFGSMember
from thalweg_plugins.optimizers.structured._matrices import MatrixRule, ShampooRule, SOAPRule

ELEMENTWISE = [optimizer.name for optimizer in FIRST_ORDER if optimizer.elementwise]
SHARED = Stack(size=4, slot=0)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_members_of_every_elementwise_optimizer_are_those_alone(registry: Registry, name: str) -> None:
    (lr,) = (option.default for option in registry.optimizer(name).options if option.name == "lr")
    seeds = [ref(name)] * 3
    rates = [ref(name, lr=lr * factor) for factor in (1.0, 0.5, 0.25)]
    for optimizers in (seeds, rates):
        trials = [trial(optimizer=optimizer, seed=seed) for seed, optimizer in enumerate(optimizers)]
        compare(trials, registry, 1e-12)
        if name != "lion":  # whose steps are signs of sums, which rounding may turn
            changes: dict[str, Any] = {
                "dtype": "float32",
                "budget": Budget(steps=4),
                "evaluate_every": Interval(steps=1),
            }
            compare([asked.model_copy(update=changes) for asked in trials], registry, 1e-5)


@pytest.mark.parametrize("network", NETWORKS)
def test_members_of_every_kind_of_network_are_those_alone(registry: Registry, network: str) -> None:
    problem, architecture = NETWORKS[network]
    trials = [
        trial(problem=problem, architecture=architecture, optimizer=ref("momentum", lr=lr), seed=seed,
              budget=Budget(steps=100), evaluate_every=Interval(steps=50))
        for seed, lr in enumerate((0.01, 0.01, 0.02))
    ]  # fmt: skip
    # running statistics are among the weights that are kept
    done = compare(trials, registry, 1e-12, keep="weights")
    final = done[0].weights.final
    assert final is not None
    assert ("batch" in str(architecture) or "resnet" in str(architecture)) == any("running_mean" in n for n in final)
    # one step from equal weights: rounding of sums of up to a thousand numbers, which has had no steps to grow in
    changes = {"dtype": "float32", "budget": Budget(steps=1), "evaluate_every": Interval(steps=1)}
    compare([asked.model_copy(update=changes) for asked in trials], registry, 1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("network", [*NETWORKS, *MORE_NETWORKS])
def test_the_program_without_autograd_gives_the_gradients_of_autograd(
    registry: Registry, network: str, dtype: str
) -> None:
    problem, architecture = (NETWORKS | MORE_NETWORKS)[network]
    trials = [trial(problem=problem, architecture=architecture, seed=seed, dtype=dtype) for seed in range(4)]
    its = [assemble(one, registry) for one in trials]
    found = []
    for direct in (True, False):
        module = StackedModule([it.module for it in its], settings=2, direct=direct)
        assert (module.program is not None) == direct
        assert isinstance(its[0].problem, Supervised)
        batches = StackedProblem(its[0].problem, [it.draw for it in its])
        objective = StackedObjective(module, batches, its[0].draw, l2=0.1, penalized=[*module.pieces][:1])
        # batch norm's way back needs more than one step to show that buffers move
        for step in range(2):
            objective.begin_step(batches.batch("train", step, its[0].draw), step)
            loss = objective.backward()
            buffers = [buffer.clone() for buffer in module.buffers()]
            objective.backward()
            assert all(map(torch.equal, buffers, module.buffers()))
            found.append([loss, batches.losses, module.gradient.clone(), *buffers])
        (graph,) = objective.gradient()[1]
        torch.testing.assert_close(graph, module.gradient, rtol=1e-8 if dtype == "float64" else 1e-3, atol=1e-5)
    half = len(found) // 2
    close = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-5}
    for direct_step, graph_step in zip(found[:half], found[half:], strict=True):
        for ours, theirs in zip(direct_step, graph_step, strict=True):
            torch.testing.assert_close(ours, theirs, **close)


@pytest.mark.parametrize("network", [*NETWORKS, *MORE_NETWORKS])
def test_bits_do_not_depend_on_the_other_members(registry: Registry, network: str) -> None:
    problem, architecture = (NETWORKS | MORE_NETWORKS)[network]
    asked = [
        trial(problem=problem, architecture=architecture, optimizer=ref("adam", lr=lr), seed=seed, dtype="float32",
              budget=Budget(steps=12), evaluate_every=Interval(steps=8), batch_size=20)
        for seed, lr in enumerate((0.01, 0.02, 1e9, 0.01, 0.03, 0.02, 0.01, 0.01))
    ]  # fmt: skip
    singles = {index: train_together([asked[index]], registry, keep="weights")[0] for index in (0, 1, 2, 4, 7)}
    for size in (2, 3, 5, 8):
        together = train_together(asked[:size], registry, keep="weights")
        for index in (0, size - 1):
            ours, theirs = together[index], singles[index]
            assert ours.curve.drop(columns="seconds").equals(theirs.curve.drop(columns="seconds"))
            for name, weight in (theirs.weights.final or {}).items():
                assert ours.weights.final is not None
                assert torch.equal(ours.weights.final[name], weight)


MATRICES = ["muon", "shampoo", "soap"]


@pytest.mark.parametrize("name", MATRICES[:2])
@pytest.mark.parametrize("network", ["mlp", "resnet-plain"])
def test_members_of_optimizers_of_matrices_are_those_alone(registry: Registry, name: str, network: str) -> None:
    """SOAP is compared by its rule: it divides directions of no gradient by their rounding errors."""
    problem, architecture = (NETWORKS | MORE_NETWORKS)[network]
    (lr,) = (option.default for option in registry.optimizer(name).options if option.name == "lr")
    steps, between = (3, 1) if name == "muon" else (50, 10)
    for factors in ((1.0, 1.0, 1.0), (1.0, 0.5, 0.25)):
        trials = [
            trial(problem=problem, architecture=architecture, optimizer=ref(name, lr=lr * factor), seed=seed,
                  budget=Budget(steps=steps), evaluate_every=Interval(steps=between))
            for seed, factor in enumerate(factors)
        ]  # fmt: skip
        # Newton-Schulz rounds to three digits, and rounding may turn one of them
        compare(trials, registry, 1e-3 if name == "muon" else 1e-11)


@pytest.mark.parametrize("rule", [ShampooRule, SOAPRule])
def test_the_rules_of_matrices_step_members_as_one_network(registry: Registry, rule: type[MatrixRule]) -> None:
    name = rule.__name__.removesuffix("Rule").lower()
    options = resolve(registry.optimizer(name).options, {"interval": 3}, name)
    settings = [options | {"eps": options["eps"] * (1 + index)} for index in range(3)]
    generator = torch.Generator().manual_seed(0)
    together, single = rule(settings), [rule([one]) for one in settings]
    shapes = {"square": (5, 5), "wide": (2, 3), "vector": (4, 1)}
    states: dict[str, Any] = {}
    counts = Counts()
    for _ in range(20):
        gradients = {
            key: torch.randn(3, *shape, dtype=torch.float64, generator=generator) for key, shape in shapes.items()
        }
        for one in (together, *single):
            one.t += 1
        for key, g in gradients.items():
            for index, one in enumerate((together, *single)):
                own = g if one is together else g[index - 1]
                state = states.setdefault((key, index), {}) or one.start(own)
                states[key, index] = state
                found = one.direction(own, state, key, counts)
                if one is together:
                    whole = found
                elif key != "wide" or name == "shampoo":
                    torch.testing.assert_close(whole[index - 1], found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "dtype", "widths"),
    [
        *((name, "float32", [11, 9]) for name in MATRICES),
        ("muon", "float32", [13, 20]),
        ("shampoo", "float64", [12, 7]),
    ],
)
def test_bits_of_optimizers_of_matrices_do_not_depend_on_the_other_members(
    registry: Registry, name: str, dtype: str, widths: list[int]
) -> None:
    asked = [
        trial(optimizer=ref(name, lr=lr), seed=seed, dtype=dtype, budget=Budget(steps=60),
              evaluate_every=Interval(steps=5), architecture=ref("mlp", widths=widths))
        for seed, lr in enumerate((0.01, 0.002, 1e12, 0.01, 0.003))
    ]  # fmt: skip
    together = train_together(asked, registry)
    assert together[2].status == "diverged"
    for index in (0, 1, 4):
        (single,) = train_together([asked[index]], registry)
        assert together[index].curve.drop(columns="seconds").equals(single.curve.drop(columns="seconds"))


def test_probes_that_look_at_a_member_in_training_see_what_they_see_alone(registry: Registry) -> None:
    requests = (ProbeRequest(label="flow", probe=ref("gradient-flow")),)
    for network in ("mlp", "deep-mlp-residual"):
        problem, architecture = NETWORKS[network]
        trials = [
            trial(problem=problem, architecture=architecture, budget=Budget(epochs=2), seed=seed, stack=SHARED)
            for seed in range(3)
        ]
        looking = [active_probes(requests if seed != 1 else (), registry) for seed in range(3)]
        together = train_together(trials, registry, probes=looking)
        assert together[1].tables == {}
        for seed in (0, 2):
            asked = trials[seed].model_copy(update={"stack": None})
            (expected,) = Training(assemble(asked, registry), looking[seed], lambda *_: None).run().tables.values()
            (found,) = together[seed].tables.values()
            pd.testing.assert_frame_equal(found, expected, rtol=1e-9)


def test_networks_that_a_program_does_not_know_run_by_vmap(registry: Registry) -> None:
    known = assemble(trial(), registry).module

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) * 2

    class Counting(Twice):
        calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.inner(x) + self.inner(x) * 0

    tied = nn.Linear(10, 10)
    hooked = nn.Sequential(nn.Linear(64, 10))
    hooked.register_forward_hook(lambda *_: None)
    unknown = [
        Twice(), Counting(), nn.Sequential(nn.Linear(64, 10), tied, nn.ReLU(), tied), hooked,
        nn.Sequential(nn.Linear(64, 10), nn.Dropout()), nn.Sequential(nn.Unflatten(1, (8, 8)), nn.Linear(8, 2)),
        nn.utils.parametrizations.weight_norm(nn.Linear(64, 10)),
    ]  # fmt: skip
    assert StackedModule([known, known]).program is not None
    assert [StackedModule([one, one]).program for one in unknown] == [None] * len(unknown)


def test_a_member_that_diverges_ends_where_it_would_and_leaves_the_others_alone(registry: Registry) -> None:
    for problem, architecture in (NETWORKS["mlp"], NETWORKS["convnet"]):
        settings: dict[str, Any] = {
            "problem": problem,
            "architecture": architecture,
            "evaluate_every": Interval(steps=7),
        }
        rates = (0.02, 1e9, 0.02, 1e200)
        trials = [
            trial(optimizer=ref("sgd", lr=lr), seed=seed, budget=Budget(steps=25), **settings)
            for seed, lr in enumerate(rates)
        ]
        done = compare(trials, registry, 1e-12, keep="weights")
        assert done[0].status == done[2].status == "done"
        assert done[1].status == "diverged"
        assert done[1].summary["step"] < 25
        calm = train_together([trials[0], trials[2]], registry)
        for ours, theirs in zip((done[0], done[2]), calm, strict=True):
            np.testing.assert_allclose(ours.curve["value"], theirs.curve["value"], rtol=1e-12)


def test_a_group_ends_with_its_last_member(registry: Registry) -> None:
    trials = [trial(optimizer=ref("sgd", lr=1e8), architecture=ref("mlp", widths=[8]), seed=seed) for seed in range(3)]
    assert {one.status for one in compare(trials, registry, 1e-11)} == {"diverged"}


LINE_SEARCH: dict[str, Any] = {"budget": Budget(steps=2), "evaluate_every": Interval(steps=1)}


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("network", NETWORKS)
def test_members_of_line_searches_are_those_alone(
    registry: Registry, network: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of evaluations is each member's own. 10 iterations of L-BFGS multiply rounding errors by up to 1e5.

    They multiply them as much where one trial alone begins at weights that are one rounding apart.
    """
    problem, architecture = NETWORKS[network]
    monkeypatch.setattr("thalweg.training.stacked.stack.runs_directly", lambda *_: direct)
    for steps, rates, tolerance in ((1, (0.3, 0.3, 0.3), 1e-11), (2, (1.0, 0.03, 0.1), 1e-8)):
        trials = [
            trial(problem=problem, architecture=architecture, optimizer=ref("lbfgs", lr=lr), seed=seed,
                  budget=Budget(steps=steps), evaluate_every=Interval(steps=1))
            for seed, lr in enumerate(rates)
        ]  # fmt: skip
        done = compare(trials, registry, tolerance, keep="weights")
    assert len({one.summary["gradient_evaluations"] for one in done}) > 1


def test_members_of_line_searches_may_differ_in_iterations_schedules_and_penalties(registry: Registry) -> None:
    settings = ({"max_iter": 1}, {"max_iter": 3, "history_size": 2}, {"lr": 0.5})
    for schedule in ("constant", "warmup-cosine"):
        trials = [
            trial(optimizer=ref("lbfgs", **given), seed=seed, coupled_weight_decay=0.01, decoupled_weight_decay=0.1,
                  schedule=Schedule(name=schedule), **LINE_SEARCH)
            for seed, given in enumerate(settings)
        ]  # fmt: skip
        compare(trials, registry, 1e-8)


@pytest.mark.parametrize(("dtype", "lost"), [("float32", 1e30), ("float64", 1e200)])
@pytest.mark.parametrize("network", ["mlp-layer-norm", "deep-mlp", "convnet"])
def test_bits_of_line_searches_do_not_depend_on_the_other_members(
    registry: Registry, network: str, dtype: str, lost: float
) -> None:
    problem, architecture = NETWORKS[network]
    diverges = network == "mlp-layer-norm"  # batch norm bears any weights
    lost = lost if diverges else 3.0
    asked = [
        trial(problem=problem, architecture=architecture, optimizer=ref("lbfgs", lr=lr), seed=seed, dtype=dtype,
              budget=Budget(steps=8), evaluate_every=Interval(steps=4))
        for seed, lr in enumerate((0.3, 0.01, lost, 1.0, 0.3))
    ]  # fmt: skip
    apart = [train_together([one], registry, keep="weights")[0] for one in asked]
    assert (apart[2].status == "diverged") == diverges
    for size in (2, 3, 5):
        together = train_together(asked[:size], registry, keep="weights")
        for ours, theirs in zip(together, apart, strict=False):
            assert (ours.status, ours.reason) == (theirs.status, theirs.reason)
            assert ours.curve.drop(columns="seconds").equals(theirs.curve.drop(columns="seconds"))
            assert ours.summary["gradient_evaluations"] == theirs.summary["gradient_evaluations"]
            for name, weight in (theirs.weights.final or {}).items():
                assert ours.weights.final is not None
                assert torch.equal(ours.weights.final[name], weight)


@pytest.mark.parametrize(
    ("dtype", "reason"),
    [("float64", "training loss nan at step 1"), ("float32", "a step's length is no number any more")],
)
def test_members_of_line_searches_end_as_they_end_alone(registry: Registry, dtype: str, reason: str) -> None:
    ends = set()
    for network, lost in ((NETWORKS["deep-mlp"], 1e25), ((ref("digits"), ref("mlp", widths=[12, 8])), 1e200)):
        trials = [
            trial(problem=network[0], architecture=network[1], optimizer=ref("lbfgs", lr=lr), seed=seed, dtype=dtype,
                  budget=Budget(steps=3), evaluate_every=Interval(steps=3))
            for seed, lr in enumerate((0.3, lost, 1.0), start=1)
        ]  # fmt: skip
        together = train_together(trials, registry)
        for asked, ours in zip(trials, together, strict=True):
            theirs = alone(asked, registry)
            assert (ours.status, ours.reason, ours.failure) == (theirs.status, theirs.reason, theirs.failure)
            assert ours.summary["step"] == theirs.summary["step"]
            if ours.status == "diverged":
                assert ours.summary["gradient_evaluations"] == theirs.summary["gradient_evaluations"]
            ends.add(ours.reason)
    assert ends == {"", reason}


def test_an_error_in_a_members_line_search_ends_that_member(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = LBFGSMember.step

    def failing(self: LBFGSMember, weights: torch.Tensor) -> Any:
        yield from step(self, weights)
        if self.h["lr"] == 0.5:
            raise RuntimeError("lost")

    monkeypatch.setattr(LBFGSMember, "step", failing)
    trials = [trial(optimizer=ref("lbfgs", lr=lr), seed=seed, **LINE_SEARCH) for seed, lr in enumerate((0.3, 0.5, 1.0))]
    stack = StackTraining(trials, registry, lambda *_: None, None).run()
    assert [one.status for one in stack] == ["done", "failed", "done"]
    assert stack[1].reason == "RuntimeError: lost"
    assert stack[1].summary["step"] == 0
    calm = StackTraining([trials[0], trials[2]], registry, lambda *_: None, None).run()
    for ours, theirs in zip((stack[0], stack[2]), calm, strict=True):
        assert ours.curve.drop(columns="seconds").equals(theirs.curve.drop(columns="seconds"))


def test_line_searches_go_on_from_a_state(registry: Registry) -> None:
    trials = [
        trial(optimizer=ref("lbfgs", lr=lr), seed=seed, architecture=ref("mlp", widths=[12, 8]),
              budget=Budget(steps=12), evaluate_every=Interval(steps=1))
        for seed, lr in enumerate((0.3, 1e200, 0.1))
    ]  # fmt: skip
    states: list[dict[str, Any]] = []

    class Kept:
        due = True

        def save(self, state: dict[str, Any]) -> None:
            states.append(copy.deepcopy(state))

    whole = StackTraining(trials, registry, lambda *_: None, None, cast(Checkpoint, Kept())).run()
    for state in (states[0], states[5]):
        resumed = StackTraining(trials, registry, lambda *_: None, None)
        resumed.restore(state)
        for ours, theirs in zip(resumed.run(), whole, strict=True):
            assert ours.status == theirs.status
            assert ours.curve.drop(columns="seconds").equals(theirs.curve.drop(columns="seconds"))
            assert ours.summary["gradient_evaluations"] == theirs.summary["gradient_evaluations"]


def test_exact_line_searches_train_alone(registry: Registry) -> None:
    told = why_alone(trial(optimizer=ref("lbfgs", line_search="exact")), registry)
    assert told == "members with exact line searches train one at a time"


def test_validation_selects_each_members_weights_and_a_trajectory_is_kept(registry: Registry) -> None:
    trials = [
        trial(optimizer=ref("adam", lr=0.05), validation_fraction=0.2, evaluate_every=Interval(steps=5), seed=seed)
        for seed in range(3)
    ]
    done = compare(trials, registry, 1e-11, keep="trajectory")
    assert any(one.summary["selected_step"] < 60 for one in done)
    assert {row for one in done for row in one.curve["split"]} == {"train", "valid", "test"}


@pytest.mark.parametrize("optimizer", ["adam", "schedule-free-adamw", "lion"])
@pytest.mark.parametrize("schedule", ["constant", "step", "warmup-cosine", "inverse-sqrt"])
def test_schedules_and_decay_are_each_members(registry: Registry, optimizer: str, schedule: Any) -> None:
    decoupled = {"decoupled_weight_decay": 0.1} if registry.optimizer(optimizer).takes_decoupled_decay else {}
    for rates in ((1e-3, 1e-3), (1e-3, 3e-3)):
        trials = [
            trial(optimizer=ref(optimizer, lr=lr), schedule=Schedule(name=schedule), coupled_weight_decay=0.01,
                  seed=seed, budget=Budget(steps=20), evaluate_every=Interval(steps=5), **decoupled)
            for seed, lr in enumerate(rates)
        ]  # fmt: skip
        done = compare(trials, registry, 1e-11)
        assert ("optimizer" in set(done[0].curve["split"])) == (schedule != "constant")


def test_full_batches_and_augmentation(registry: Registry) -> None:
    full = [trial(batch_size="full", budget=Budget(epochs=5), seed=seed) for seed in range(3)]
    compare(full, registry, 1e-12)
    problem = load_problem(full[0], registry)
    assert isinstance(problem, Supervised)
    problem._augment = lambda x, generator: x + torch.randn(x.shape, generator=generator, dtype=x.dtype) / 10
    try:
        compare([trial(seed=seed) for seed in range(3)], registry, 1e-12)
    finally:
        problem._augment = None


def test_results_come_in_the_order_of_the_trials_and_progress_is_told(registry: Registry) -> None:
    rates = (1e-3, 2e-3, 1e-3, 2e-3, 5e-3)
    stack = Stack(size=8, slot=3, rows=True)
    trials = [
        trial(optimizer=ref("adam", lr=lr), seed=seed, budget=Budget(steps=40), stack=stack)
        for seed, lr in enumerate(rates)
    ]
    compare(trials, registry, 1e-11)
    told: list[tuple[int, int, int]] = []
    train_together(trials[:2], registry, lambda *said: told.append(said))
    assert told == [(0, 20, 40), (1, 20, 40), (0, 40, 40), (1, 40, 40)]


def test_only_seeds_and_numbers_of_the_optimizer_may_differ() -> None:
    key = group_key(trial())
    assert group_key(trial(seed=1, optimizer=ref("adam", lr=0.5, eps=1e-3))) == key
    assert group_key(trial(stack=Stack(size=4, slot=2, rows=True))) == key
    shared = Stack(size=4, slot=0)
    assert group_key(trial(seed=1, stack=shared)) == group_key(trial(stack=shared)) != key
    assert group_key(trial(optimizer=ref("adam", lr=0.5), stack=shared)) != group_key(trial(stack=shared))
    others: list[dict[str, Any]] = [
        {"optimizer": ref("sgd")}, {"optimizer": ref("adam", amsgrad=True)}, {"batch_size": 64}, {"dtype": "float32"},
        {"budget": Budget(steps=61)}, {"architecture": ref("mlp", widths=[13])}, {"coupled_weight_decay": 0.1},
        {"stack": Stack(size=8, slot=0, rows=True)},
    ]  # fmt: skip
    for changes in others:
        assert group_key(trial(**changes)) != key


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"optimizer": ref("newton-cg")}, "not elementwise"),
        ({"architecture": ref("mlp", norm="noisy-batch")}, "draws random numbers"),
        ({"budget": Budget(seconds=1.0)}, "budget of 1.0 seconds"),
        ({"budget": Budget(gradient_evaluations=9)}, "budget of 9 gradient evaluations"),
        ({"clip_norm": 1.0}, "clipped"),
        ({"decoupled_weight_decay": 1e308, "dtype": "float32"}, "more than numbers can hold"),
        (
            {"problem": ref("quadratic"), "architecture": ref("point"), "batch_size": "full"},
            "does not declare that its examples",
        ),
    ],
)
def test_what_cannot_train_together_is_told(registry: Registry, changes: dict[str, Any], reason: str) -> None:
    assert why_alone(trial(), registry) is None
    told = why_alone(trial(**changes), registry)
    assert told is not None
    assert reason in told
    with pytest.raises(CannotStackError, match=reason):
        train_together([trial(**changes), trial(seed=1, **changes)], registry)
    with pytest.raises(CannotStackError, match="more than seed"):
        train_together([trial(), trial(**changes)], registry)


def test_a_problem_with_a_loss_of_its_own_is_told(registry: Registry) -> None:
    plain = load_problem(trial(), registry)
    assert isinstance(plain, Supervised)
    assert misfit(plain) is None

    class Own(Supervised):
        def loss(self, module: nn.Module, batch: Any) -> torch.Tensor:
            return 2 * super().loss(module, batch)

    class Bounded(Supervised):
        def project(self, parameters: Any) -> None:
            for parameter in parameters:
                parameter.data.clamp_(-1, 1)

    given = plain.data, plain.output_loss, plain.metrics
    assert "loss of its own" in str(misfit(Own(*given)))
    assert "domain" in str(misfit(Bounded(*given)))


def test_an_optimizer_that_builds_its_own_steppers_is_told(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(type(registry.optimizer("sgd"))):  # type: ignore[misc]
        def build(self, *given: Any) -> Any:
            return super().build(*given)

    monkeypatch.setattr(registry, "optimizer", lambda name, *_: Own())
    assert "steppers of its own" in str(may_not(trial(optimizer=ref("sgd")), registry))


class Looking(Architecture):
    """A network that decides by a number in its forward pass."""

    name, summary = "looking", "for tests"

    def build(self, options: Any, shape: Shape) -> nn.Module:
        class Module(nn.Linear):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                out = super().forward(x)
                return out if float(out.detach().sum()) > 0 else -out

        return Module(64, 10)


class Scaled(Architecture):
    """A network that keeps a number of its own beside parameters and buffers, where a stack does not find it."""

    name, summary = "scaled", "for tests"

    def build(self, options: Any, shape: Shape) -> nn.Module:
        class Module(nn.Linear):
            def __init__(self) -> None:
                super().__init__(64, 10)
                self.scale = float(self.weight.detach().abs().max()) * 100

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(x) * self.scale

        return Module()


@pytest.mark.parametrize(("architecture", "reason"), [(Looking(), "vmap"), (Scaled(), "the loss otherwise")])
def test_a_module_that_cannot_be_stacked_is_told(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, architecture: Architecture, reason: str
) -> None:
    trials = [trial(architecture=ref(architecture.name), seed=seed) for seed in range(2)]
    monkeypatch.setattr(registry, "architecture", lambda name, *_: architecture)
    with pytest.raises(CannotStackError, match=reason):
        train_together(trials, registry)
