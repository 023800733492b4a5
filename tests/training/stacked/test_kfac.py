"""Members that K-FAC steps as one program equal trials of K-FAC alone."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from probing import ref
from stacked_trials import MORE_NETWORKS, NETWORKS, alone, compare, trial
from thalweg.contracts import BuildContext, Draw
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.schedule import Schedule
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.errors import Diverged
from thalweg.registry import Registry
from thalweg.training.assembly import assemble
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.objective import StackedObjective
from thalweg.training.stacked.problem import StackedProblem
from thalweg.training.stacked.stackable import why_alone
from thalweg.training.stacked.together import CannotStackError, Kind, Together
from thalweg.training.stacked.train import train_together
from thalweg.trial import Trial
from thalweg_plugins.optimizers.natural._kfac_stacked import StackedKFACStepper

ALL = NETWORKS | MORE_NETWORKS
LONG: dict[str, Any] = {"budget": Budget(steps=60), "evaluate_every": Interval(steps=20)}
PLAIN = {"update": "plain", "lr": 0.1}
SETTINGS: dict[str, dict[str, Any]] = {
    "quadratic": {},
    "fixed damping": {"adapt": False, "damping": 0.1},
    "intervals": {"factor_interval": 3, "inverse_interval": 7, "kl_clip": 0.05},
    "exact labels": {"labels": "exact"},
    "plain": PLAIN,
    "plain, bounded": PLAIN | {"kl_clip": 0.01},
    "plain, fixed damping": PLAIN | {"adapt": False},
}


def members(settings: list[dict[str, Any]], network: str = "mlp", **changes: Any) -> list[Trial]:
    problem, architecture = ALL[network]
    return [
        trial(problem=problem, architecture=architecture, optimizer=ref("kfac", **one), seed=seed, **changes)
        for seed, one in enumerate(settings)
    ]


@pytest.mark.parametrize("setting", SETTINGS)
def test_members_are_those_alone(registry: Registry, setting: str) -> None:
    """Counts, reports and summaries too. The ratio of the damping's rule divides a small difference of two losses."""
    given = SETTINGS[setting]
    lr = given.get("lr", 1.0)
    trials = members([given, given, given | {"lr": lr / 2}], **LONG)
    for ours, asked in zip(compare(trials, registry, 1e-9, keep="weights"), trials, strict=True):
        own = alone(asked, registry, keep="weights")
        losses = [one.curve.loc[one.curve["metric"] == "loss", "value"] for one in (ours, own)]
        np.testing.assert_allclose(*losses, rtol=1e-11)
        assert ours.weights.final is not None
        for name, weight in (own.weights.final or {}).items():
            torch.testing.assert_close(ours.weights.final[name], weight, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("setting", ["quadratic", "plain, bounded"])
@pytest.mark.parametrize("network", ["mlp-layer-norm", "deep-mlp-residual", "convnet", "convnet-1d", "resnet-plain",
                                     "autoencoder", "mlp-gelu"])  # fmt: skip
def test_members_of_every_kind_of_network_are_those_alone(registry: Registry, network: str, setting: str) -> None:
    """With norms, whose weights no factor covers. Some of these losses grow from step to step, and errors with them."""
    given = SETTINGS[setting]
    compare(members([given, given], network, **LONG), registry, 1e-8, keep="weights")
    # one step from equal weights
    one = {"budget": Budget(steps=1), "evaluate_every": Interval(steps=1)}
    compare(members([given, given], network, **one), registry, 1e-12)
    compare(members([given, given], network, **one, dtype="float32"), registry, 1e-4)


def test_exact_labels_on_convolutions(registry: Registry) -> None:
    compare(members([{"labels": "exact"}] * 2, "resnet-plain", **LONG), registry, 1e-8)


@pytest.mark.parametrize("update", ["quadratic", "plain"])
def test_members_may_differ_in_every_number(registry: Registry, update: str) -> None:
    base = {"update": update, "lr": 0.3}
    settings: list[dict[str, Any]] = [
        base, {"lr": 0.1}, {"damping": 0.3}, {"damping": 0.02, "min_damping": 0.015}, {"momentum": 0.5},
        {"rest_lr": 0.1}, {"kl_clip": 1e-3}, {"kl_clip": 0.1},
    ]  # fmt: skip
    done = compare(
        members([base | one for one in settings], "mlp-layer-norm", budget=Budget(steps=50),
                evaluate_every=Interval(steps=5), coupled_weight_decay=0.01, decoupled_weight_decay=0.01,
                schedule=Schedule(name="warmup-cosine")),
        registry, 1e-9,
    )  # fmt: skip
    told = [one.curve.set_index("metric").loc["damping", "value"].tolist() for one in done]
    assert told[0] != told[2]


def test_a_penalty_may_be_on_some_of_the_weights(registry: Registry) -> None:
    for on in ("all", "matrices"):
        compare(members([{}] * 2, "mlp-layer-norm", **LONG, coupled_weight_decay=0.03, weight_decay_on=on),
                registry, 1e-9)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("network", "setting"),
    [
        ("mlp", "quadratic"),
        ("mlp-tanh-odd", "quadratic"),
        ("mlp-tanh-odd", "plain, bounded"),
        ("deep-mlp-residual", "exact labels"),
        ("convnet-8", "quadratic"),
        ("convnet-1d", "intervals"),
        ("autoencoder", "quadratic"),
    ],
)
def test_bits_do_not_depend_on_the_other_members(registry: Registry, network: str, setting: str, dtype: str) -> None:
    """Past the steps at which other gammas are tried, beside a member that diverges."""
    given = SETTINGS[setting]
    rates = [given.get("lr", 1.0) * factor for factor in (1.0, 0.5, 1e12, 1.0, 0.7)]
    asked = members([given | {"lr": lr} for lr in rates], network, dtype=dtype, budget=Budget(steps=42), batch_size=20,
                    evaluate_every=Interval(steps=21))  # fmt: skip
    singles = [train_together([one], registry, keep="weights")[0] for one in asked]
    assert singles[0].status == "done"
    for size in (2, 3, 5):
        together = train_together(asked[:size], registry, keep="weights")
        for ours, theirs in zip(together, singles, strict=False):
            assert ours.curve.drop(columns="seconds").equals(theirs.curve.drop(columns="seconds"))
            assert ours.reason == theirs.reason
            for name, weight in (theirs.weights.final or {}).items():
                assert ours.weights.final is not None
                assert torch.equal(ours.weights.final[name], weight)


def test_a_member_ends_in_the_step_and_with_the_reason_that_it_has_alone(registry: Registry) -> None:
    """With the counts of its own last step, of which it makes a part."""
    rates = (1.0, 1e60, 1e100, 1e150, 1.0)
    done = compare(members([{"lr": lr} for lr in rates], "mlp-gelu", budget=Budget(steps=30)), registry, 1e-11)
    assert [one.status for one in done] == ["done", *["diverged"] * 3, "done"]
    for one, reason in zip(done[1:], ("training loss", "factor A of layer '5' is not finite", "the loss is not finite"),
                           strict=False):  # fmt: skip
        assert reason in one.reason


def test_a_singular_factor_ends_its_member(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the least damping, which keeps factors regular."""
    monkeypatch.setattr("thalweg_plugins.optimizers.natural._kfac.SMALLEST", 0.0)
    trials = members([{}, {"damping": 1e-300, "min_damping": 0.0}, {}], budget=Budget(steps=30))
    together, single = train_together(trials, registry), alone(trials[1], registry)
    assert [one.status for one in together] == ["done", "diverged", "done"]
    assert "is singular" in together[1].reason
    assert together[1].reason == single.reason
    for count in ("step", "gradient_evaluations", "curvature_products", "factor_inversions"):
        assert together[1].summary[count] == single.summary[count]


def together(registry: Registry, settings: list[dict[str, Any]]) -> Together:
    trials = members(settings, "mlp-layer-norm")
    its = [assemble(one, registry) for one in trials]
    problem = its[0].problem
    assert isinstance(problem, Supervised)
    kind = Kind(trials[0], its[0].optimizer, its[0].context(seed=0), problem)
    modules, draws = [it.module for it in its], [it.draw for it in its]
    return Together(kind, modules, [it.hyperparameters for it in its], draws, direct=True)


def make_steps(one: Together, start: int, stop: int) -> None:
    for step in range(start, stop):
        one.step(one.problem.batch("train", step, one.problem.draws[0]), step, None)


def test_a_model_that_is_not_finite_ends_its_member_alone(registry: Registry) -> None:
    calm, lost = together(registry, [{}] * 3), together(registry, [{}] * 3)
    for one in (calm, lost):
        make_steps(one, 0, 20)
        assert isinstance(one.stepper, StackedKFACStepper)
        if one is lost:
            next(iter(one.stepper.last.values()))[1] = torch.inf
        make_steps(one, 20, 21)
    ((index, (error, counts)),) = lost.objective.errors.items()
    assert (index, str(error)) == (1, "K-FAC's quadratic model is not finite")
    assert isinstance(error, Diverged)
    # two directions of the first of three gammas
    assert counts.curvature_products == 1 + 19 * 2 + 2
    assert lost.objective.counts == calm.objective.counts
    assert lost.objective.counts.curvature_products == 1 + 19 * 2 + 6
    for member in (0, 2):
        rows = [one.module.rows.view(3, -1)[member] for one in (calm, lost)]
        assert torch.equal(*rows)


@pytest.mark.parametrize("cut", [1, 3, 20, 21])
@pytest.mark.parametrize("setting", ["quadratic", "plain, bounded", "intervals"])
def test_steps_go_on_from_a_saved_state_to_the_last_bit(registry: Registry, setting: str, cut: int) -> None:
    given = SETTINGS[setting]
    whole, first, second = (together(registry, [given, given | {"damping": 0.3}]) for _ in range(3))
    make_steps(whole, 0, 25)
    make_steps(first, 0, cut)
    second.module.load_state_dict(copy.deepcopy(first.module.state_dict()))
    second.module.read_rows()
    second.stepper.load_state_dict(copy.deepcopy(first.stepper.state_dict()))
    make_steps(first, cut, 25)
    make_steps(second, cut, 25)
    assert torch.equal(first.module.rows, whole.module.rows)
    assert torch.equal(second.module.rows, whole.module.rows)
    assert [second.told(index) for index in range(2)] == [whole.told(index) for index in range(2)]


def test_networks_that_run_by_autograd_train_one_at_a_time(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_alone(trial(optimizer=ref("kfac")), registry) is None
    monkeypatch.setattr("thalweg.training.stacked.stack.runs_directly", lambda *_: False)
    with pytest.raises(CannotStackError, match="the network runs by autograd"):
        train_together(members([{}, {}]), registry)
    monkeypatch.setattr("thalweg.training.stacked.stackable._WAYS", {})
    monkeypatch.setattr("thalweg.training.stacked.stackable._agrees", lambda *_, direct: "x" if direct else None)
    assert why_alone(trial(optimizer=ref("kfac")), registry) == (
        "K-FAC needs the inputs of layers, and the network runs by autograd"
    )


@pytest.mark.parametrize("update", ["quadratic", "plain"])
def test_frozen_weights_stay_and_their_biases_take_heavy_ball_steps(registry: Registry, update: str) -> None:
    optimizer = registry.optimizer("kfac")
    h = resolve(optimizer.options, {"update": update, "lr": 0.3}, "kfac")
    modules = []
    for seed in range(3):
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4, bias=False), nn.Tanh(), nn.Linear(4, 3))
        module.requires_grad_(True).double()
        module[0].weight.requires_grad_(False)
        module[4].bias.requires_grad_(False)
        modules.append(module)
    data = torch.randn(48, 6, dtype=torch.float64), torch.randint(3, (48,))
    problem, draws = Supervised({"train": data}, CrossEntropy(), (LOSS,)), [Draw(seed, 16) for seed in range(3)]
    stack = StackedModule(modules)
    stacked = StackedProblem(problem, draws)
    whole, context = StackedObjective(stack, stacked, draws[0]), BuildContext(0, 48, 16)
    stepper = optimizer.build_stacked(stack, [h], context)
    single = [(Objective(module, problem, draw), optimizer.build(module, h, context))
              for module, draw in zip(modules, draws, strict=True)]  # fmt: skip
    for step in range(25):
        whole.begin_step(stacked.batch("train", step, draws[0]), step)
        stepper.step(whole)
        for (objective, own), draw in zip(single, draws, strict=True):
            objective.begin_step(problem.batch("train", step, draw), step)
            own.step(objective)
    for index, module in enumerate(modules):
        for name, parameter in module.named_parameters():
            found = stack.pieces[name].value[index]
            torch.testing.assert_close(found, parameter.detach(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["factor_interval", "inverse_interval"])
def test_members_of_different_intervals_train_one_at_a_time(registry: Registry, name: str) -> None:
    with pytest.raises(CannotStackError, match=f"members of different {name} train one at a time"):
        train_together(members([{name: 1}, {name: 2}]), registry)
