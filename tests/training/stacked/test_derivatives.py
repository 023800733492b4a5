"""What methods of curvature learn of K members equals what autograd says of each member."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stacked_trials import MORE_NETWORKS, NETWORKS, trial
from thalweg.contracts import Draw
from thalweg.contracts.copies import copied
from thalweg.contracts.losses import SquaredError
from thalweg.contracts.objective import Objective
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.curvature import Fisher, flat
from thalweg.registry import Registry
from thalweg.training.assembly import Assembly, assemble
from thalweg.training.stacked.agreement import moved
from thalweg.training.stacked.module import StackedModule
from thalweg.training.stacked.objective import StackedObjective
from thalweg.training.stacked.problem import StackedProblem
from thalweg_plugins.optimizers.natural._kfac_layers import covered_layers, recording
from thalweg_plugins.optimizers.natural._kfac_stacked_layers import MembersLayer

ALL = NETWORKS | MORE_NETWORKS
STEP = 5


def built(registry: Registry, network: str, members: int) -> tuple[list[Assembly], StackedObjective]:
    """Members with moved weights, after one evaluation of the gradient."""
    problem, architecture = ALL[network]
    its = [assemble(trial(problem=problem, architecture=architecture, seed=seed), registry) for seed in range(members)]
    for index, it in enumerate(its):
        it.module.load_state_dict(moved(it.module, index).state_dict())
    assert isinstance(its[0].problem, Supervised)
    stacked = StackedProblem(its[0].problem, [it.draw for it in its])
    whole = StackedObjective(StackedModule([it.module for it in its]), stacked, its[0].draw)
    whole.begin_step(stacked.batch("train", STEP, its[0].draw), STEP)
    whole.backward()
    return its, whole


def of(it: Assembly) -> Objective:
    objective = Objective(copied(it.module).train(), it.problem, it.draw)
    objective.begin_step(it.problem.batch("train", STEP, it.draw), STEP)
    return objective


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("network", ALL)
def test_the_change_of_outputs_is_the_derivative_along_the_weights(
    registry: Registry, network: str, members: int
) -> None:
    its, whole = built(registry, network, members)
    names = [name for name in whole.module.pieces if name.rpartition(".")[0] in whole.module.multiplying]
    generator = torch.Generator().manual_seed(0)
    changes = {
        name: torch.randn(whole.module.pieces[name].value.shape, generator=generator, dtype=torch.float64)
        for name in names
    }
    found = whole.output_changes(changes)
    assert whole.counts.curvature_products == 1
    for index, it in enumerate(its):
        own = of(it)
        zeros = {name: torch.zeros_like(parameter) for name, parameter in own.module.named_parameters()}
        vector = flat((zeros | {name: change[index] for name, change in changes.items()}).values())
        expected = Fisher(own).jacobian_products(vector.unsqueeze(0)).squeeze(0).detach()
        # sums of up to a thousand products
        scale = float(expected.abs().max())
        torch.testing.assert_close(found[index], expected, rtol=1e-9, atol=1e-11 * scale)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("network", ALL)
def test_factors_are_those_of_each_member_and_gradients_stay(registry: Registry, network: str, members: int) -> None:
    its, whole = built(registry, network, members)
    before = whole.module.gradient.clone()
    targets = whole.sampled_targets(whole.member_outputs)
    loss = whole.output_loss
    gradient = loss.gradient(whole.member_outputs.flatten(0, 1), targets.flatten(0, 1)).view_as(whole.member_outputs)
    rows, inputs = whole.layer_gradients(gradient), whole.layer_inputs()
    assert torch.equal(whole.module.gradient, before)
    assert whole.counts.gradient_evaluations == 2
    for index, it in enumerate(its):
        own = of(it)
        layers = covered_layers(own.module)
        assert set(rows) == set(inputs) == whole.module.multiplying
        assert {layer.name for layer in layers} <= set(rows)
        with recording(layers) as record:
            outputs = own.outputs()
        drawn = own.sampled_targets(outputs)
        torch.testing.assert_close(drawn, targets[index])
        expected = record.output_factors(layers, outputs, loss.gradient(outputs, drawn))
        for layer in layers:
            g = rows[layer.name][index]
            torch.testing.assert_close(g.T @ g / own.batch.size, expected[layer.name], rtol=1e-9, atol=1e-12)
            a = MembersLayer(layer).input_factor(inputs[layer.name])[index]
            torch.testing.assert_close(a, record.inputs[layer.name], rtol=1e-9, atol=1e-12)


def test_a_layer_at_every_position_of_a_sequence() -> None:
    """Factors sum over positions, G divided by the number of examples and A by the number of rows."""
    torch.manual_seed(0)
    modules = [
        nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3, bias=False), nn.Flatten(), nn.Linear(18, 2)).double()
        for _ in range(3)
    ]
    data = torch.randn(12, 6, 4, dtype=torch.float64), torch.randn(12, 2, dtype=torch.float64)
    problem, draws = Supervised({"train": data}, SquaredError(), (LOSS,)), [Draw(seed, 7) for seed in range(3)]
    stacked = StackedProblem(problem, draws)
    whole = StackedObjective(StackedModule(modules), stacked, draws[0])
    whole.begin_step(stacked.batch("train", 0, draws[0]), 0)
    whole.backward()
    pieces = whole.module.pieces
    changes = {name: torch.randn_like(piece.value) for name, piece in pieces.items()}
    gradient = torch.randn_like(whole.member_outputs)
    found, rows, inputs = whole.output_changes(changes), whole.layer_gradients(gradient), whole.layer_inputs()
    for index, (module, draw) in enumerate(zip(modules, draws, strict=True)):
        own = Objective(module, problem, draw)
        own.begin_step(problem.batch("train", 0, draw), 0)
        vector = flat([changes[name][index] for name, _ in module.named_parameters()])
        expected = Fisher(own).jacobian_products(vector.unsqueeze(0)).squeeze(0).detach()
        torch.testing.assert_close(found[index], expected, rtol=1e-10, atol=1e-12)
        layers = covered_layers(module)
        with recording(layers) as record:
            outputs = own.outputs()
        factors = record.output_factors(layers, outputs, gradient[index])
        for layer in layers:
            g = rows[layer.name][index]
            torch.testing.assert_close(g.T @ g / 7, factors[layer.name], rtol=1e-10, atol=1e-12)
            a = MembersLayer(layer).input_factor(inputs[layer.name])[index]
            torch.testing.assert_close(a, record.inputs[layer.name], rtol=1e-10, atol=1e-12)


def test_a_bias_alone_or_a_norm_do_not_change(registry: Registry) -> None:
    _, whole = built(registry, "mlp-layer-norm", 2)
    for name in ("1.bias", "2.weight"):
        with pytest.raises(NotImplementedError, match="the derivative along"):
            whole.output_changes({name: torch.zeros_like(whole.module.pieces[name].value)})
    assert not whole.output_changes({}).any()


def test_losses_anew_are_those_of_each_member_with_its_penalty(registry: Registry) -> None:
    its, _ = built(registry, "convnet", 3)
    assert isinstance(its[0].problem, Supervised)
    stacked = StackedProblem(its[0].problem, [it.draw for it in its])
    module = StackedModule([it.module for it in its])
    names = [name for name in module.pieces if "weight" in name]
    whole = StackedObjective(module, stacked, its[0].draw, l2=0.1, penalized=names)
    whole.begin_step(stacked.batch("train", STEP, its[0].draw), STEP)
    whole.backward()
    with torch.no_grad():
        for piece in module.pieces.values():
            piece.value.mul_(1.1)
    buffers = [buffer.clone() for buffer in module.buffers()]
    found = whole.losses_anew()
    assert all(map(torch.equal, buffers, module.buffers()))
    assert whole.counts.examples == 2 * whole.batch.size
    for index, it in enumerate(its):
        own = copied(it.module).train()
        for moment, factor in ((whole.losses, 1.0), (found, 1.1)):
            with torch.no_grad():
                for parameter in own.parameters():
                    parameter.mul_(factor)
            objective = Objective(
                own, it.problem, it.draw, l2=0.1, penalized=[own.get_parameter(name) for name in names],
                advances_buffers=False,
            )  # fmt: skip
            objective.begin_step(it.problem.batch("train", STEP, it.draw), STEP)
            torch.testing.assert_close(moment[index], objective.loss().detach(), rtol=1e-11, atol=0)
