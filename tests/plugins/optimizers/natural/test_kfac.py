"""K-FAC against independent references, closed forms, and its documentation."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from networks import build
from support import CommandLine, results
from thalweg.contracts import BuildContext, Draw, Shape
from thalweg.contracts.losses import CrossEntropy, OutputLoss, SquaredError
from thalweg.contracts.objective import Objective
from thalweg.contracts.option import resolve
from thalweg.contracts.supervised import LOSS, Supervised
from thalweg.curvature import Fisher, flat
from thalweg.errors import Diverged, UserError
from thalweg.registry import Registry, load_registry
from thalweg.testing.small import network, same
from thalweg.training.assembly import assemble
from thalweg.training.example import example_inputs
from thalweg.trial import ComponentRef
from thalweg_plugins.optimizers.natural._kfac import (
    DROP,
    KFACStepper,
    QuadraticModel,
    damped,
    exact_output_gradients,
    inverse,
    proposal,
    sampled_output_gradient,
)
from thalweg_plugins.optimizers.natural._kfac_layers import covered_layers, recording

N = 24
DOUBLE = torch.float64


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Linear(4, 3)).double()


def convnet() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, (3, 2), stride=2, bias=False), nn.Tanh()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 2 * 3, 3)).double()


def objective(
    module: nn.Module, loss: OutputLoss | None = None, shape: tuple[int, ...] = (6,), **more: Any
) -> Objective:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(N, *shape, generator=generator, dtype=DOUBLE)
    squares = isinstance(loss, SquaredError)
    y = torch.randn(N, 3, generator=generator, dtype=DOUBLE) if squares else torch.randint(3, (N,), generator=generator)
    data, draw = Supervised({"train": (x, y)}, loss or CrossEntropy(), (LOSS,)), Draw(0, None)
    it = Objective(module, data, draw, **more)
    it.begin_step(data.batch("train", 0, draw), 0)
    return it


def stepper(registry: Registry, module: nn.Module, **given: Any) -> KFACStepper:
    optimizer = registry.optimizer("kfac")
    built = optimizer.build(module, resolve(optimizer.options, given, "kfac"), BuildContext(0, N, N))
    assert isinstance(built, KFACStepper)
    return built


def factors(it: Objective, columns: Callable[[Tensor], Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    layers = covered_layers(it.module)
    with recording(layers) as record:
        outputs = it.outputs()
    g: dict[str, Tensor] = {}
    for column in columns(outputs):
        for name, factor in record.output_factors(layers, outputs, column).items():
            g[name] = g.get(name, 0) + factor
    return record.inputs, g


def exact(it: Objective) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return factors(it, lambda outputs: exact_output_gradients(it.output_loss, outputs))


NETS = [pytest.param(mlp, (6,), id="mlp"), pytest.param(convnet, (2, 6, 6), id="convnet")]


@pytest.mark.parametrize(("make", "shape"), NETS)
@pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError()], ids=["cross-entropy", "squares"])
def test_factors_and_preconditioned_gradient_equal_those_of_curvlinops(
    make: Callable[[], nn.Module], shape: tuple[int, ...], loss: OutputLoss
) -> None:
    """Exact (type-2) factors and the same factored damping on both sides."""
    curvlinops = pytest.importorskip("curvlinops")
    module = make()
    it = objective(module, loss, shape)
    parameters = it.parameters
    # its mean squared error is a mean over outputs too: 2/3 of our half squared norm
    scale, theirs = (1.0, nn.CrossEntropyLoss()) if isinstance(loss, CrossEntropy) else (1.5, nn.MSELoss())
    operator = curvlinops.KFACLinearOperator(
        module, theirs, parameters, [(it.batch.inputs, it.targets)], check_deterministic=False,
        fisher_type=curvlinops.FisherType.TYPE2, separate_weight_and_bias=False,
    )  # fmt: skip
    vector = torch.randn(sum(p.numel() for p in parameters), generator=torch.Generator().manual_seed(0), dtype=DOUBLE)
    pieces = [piece.view(p.shape) for piece, p in zip(vector.split([p.numel() for p in parameters]), parameters,
                                                      strict=True)]  # fmt: skip
    a, g = exact(it)
    layers = covered_layers(module)
    assert len(a) == len(g) == len(layers) == 3

    def apply(left: dict[str, Tensor], right: dict[str, Tensor]) -> Tensor:
        found: list[Tensor] = [torch.empty(0)] * len(parameters)
        for layer in layers:
            for place, piece in zip(
                layer.places, layer.split(left[layer.name] @ layer.matrix(pieces) @ right[layer.name]), strict=True
            ):
                found[place] = piece
        return flat(found)

    torch.testing.assert_close(apply(g, a), scale * (operator @ vector), rtol=1e-5, atol=1e-9)

    damping = 1e-3
    inverted = curvlinops.KFACInverseLinearOperator(operator, damping=damping, use_heuristic_damping=True)
    # ours are factors of scale times their matrix, so the same damping is sqrt(scale) times larger in each
    inverses = {}
    for name in a:
        a_damped, g_damped = damped(a[name], g[name], math.sqrt(damping * scale**2))
        # pi does not depend on how the scale is split between the two
        inverses[name] = (inverse(a_damped, name), inverse(g_damped, name))
    ours = apply({name: g for name, (_, g) in inverses.items()}, {name: a for name, (a, _) in inverses.items()})
    if scale == 1.0:
        torch.testing.assert_close(ours, inverted @ vector, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("make", "shape"), NETS)
def test_sampled_factors_converge_to_the_exact_ones_as_the_root_of_their_number(
    make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    it = objective(make(), shape=shape)
    _, g = exact(it)
    counts, errors = [4, 16, 64, 256], []
    draws = iter(range(100_000))
    for samples in counts:
        total = 0.0
        for _ in range(4):
            numbers = [next(draws) for _ in range(samples)]
            _, drawn = factors(
                it,
                lambda outputs, numbers=numbers: (
                    sampled_output_gradient(it.output_loss, outputs, it.sampled_targets(outputs, n)) for n in numbers
                ),
            )
            total += sum(float((drawn[name] / samples - g[name]).square().sum() / g[name].square().sum()) for name in g)
        errors.append(math.sqrt(total))
    x = torch.log(torch.tensor(counts).double())
    y = torch.log(torch.tensor(errors).double())
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())
    # four repetitions of three factors each leave a scatter of about 0.05
    assert abs(slope + 0.5) < 0.15


def test_undamped_on_one_linear_layer_with_squared_loss_it_is_the_exact_natural_gradient() -> None:
    module = nn.Linear(6, 3).double()
    it = objective(module, SquaredError(0.8))
    a, g = exact(it)
    fisher = Fisher(it).dense()
    _, gradient = it.gradient()
    (layer,) = covered_layers(module)
    step = proposal({"": (inverse(a[""], ""), inverse(g[""], ""))}, {"": layer.matrix(gradient)})[""]
    expected = torch.linalg.solve(fisher, -flat(gradient))
    torch.testing.assert_close(flat(layer.split(step)), expected, rtol=1e-9, atol=1e-11)


def test_one_quadratic_step_without_damping_reaches_the_minimum_of_a_linear_model(registry: Registry) -> None:
    """For a linear model the factors and the quadratic model are exact, and the least damping is negligible."""
    module = nn.Linear(6, 3).double()
    it = objective(module, SquaredError())
    kfac = stepper(registry, module, labels="exact", damping=1e-12, adapt=False, kl_clip=0.0)
    kfac.step(it)
    _, gradient = it.gradient()
    # the factors' damping is the root of it, 1e-6
    assert float(flat(gradient).norm()) < 1e-5


def test_alpha_and_mu_minimise_the_dense_quadratic_model(registry: Registry) -> None:
    module = mlp()
    it = objective(module, l2=0.01)
    kfac = stepper(registry, module, damping=0.3, adapt=False, kl_clip=0.0)
    kfac.step(it)
    last = {name: matrix.clone() for name, matrix in kfac.last.items()}
    it.begin_step(it.batch, 1)
    outputs = it.outputs()
    _, gradient = it.gradient(outputs)
    layers = covered_layers(module)
    by_layer = {layer.name: layer.matrix(gradient) for layer in layers}
    model = QuadraticModel(layers, it, outputs, by_layer, 0.31)
    directions = [proposal(kfac.inverses, by_layer), last]
    found = model.minimise(directions)

    def vector(step: dict[str, Tensor]) -> Tensor:
        pieces: list[Tensor] = [torch.empty(0)] * len(gradient)
        for layer in layers:
            for place, piece in zip(layer.places, layer.split(step[layer.name]), strict=True):
                pieces[place] = piece
        return flat(pieces)

    matrix = Fisher(it).dense() + 0.31 * torch.eye(len(flat(gradient)), dtype=DOUBLE)
    basis = torch.stack([vector(direction) for direction in directions], 1)
    weights = torch.linalg.solve(basis.T @ matrix @ basis, -basis.T @ flat(gradient))
    torch.testing.assert_close(vector(found.step), basis @ weights, rtol=1e-8, atol=1e-12)
    d = basis @ weights
    assert found.change() == pytest.approx(float(flat(gradient) @ d + 0.5 * d @ matrix @ d), rel=1e-8)
    assert found.kl == pytest.approx(float(0.5 * d @ Fisher(it).dense() @ d), rel=1e-8)
    assert found.change(0.5) > found.change()
    assert model.along(found.step).change() == pytest.approx(found.change(), rel=1e-8)


@pytest.mark.parametrize(("update", "lr"), [("quadratic", 1.0), ("quadratic", 0.5), ("plain", 0.1)])
def test_damping_follows_the_levenberg_marquardt_rule_of_the_same_batch(
    registry: Registry, update: str, lr: float
) -> None:
    """The change of the loss over that of the model, both with the penalty, for the step that was taken."""
    module = mlp()
    it = objective(module, l2=0.02)
    kfac = stepper(registry, module, update=update, lr=lr, damping=0.5, kl_clip=0.0)
    ratios = []
    for step in range(40):
        it.begin_step(it.batch, step)
        watcher, before, damping = it.observer(), flat(it.parameters).detach().clone(), kfac.damping
        loss, gradient = watcher.gradient()
        matrix = Fisher(watcher).dense() + (damping + 0.02) * torch.eye(len(before), dtype=DOUBLE)
        info = kfac.step(it).info
        if (step + 1) % 5:
            assert kfac.damping == damping
            assert "ratio" not in info
            continue
        after = flat(it.parameters).detach()
        d = after - before
        promised = float((flat(gradient) + 0.02 * before) @ d + 0.5 * d @ matrix @ d)
        change = float(it.observer().loss().detach() - loss + 0.01 * (after @ after - before @ before))
        ratio = change / promised if promised < 0 else -math.inf
        assert info["ratio"] == pytest.approx(ratio, rel=1e-6)
        factor = DROP**5 if ratio > 0.75 else DROP**-5 if ratio < 0.25 else 1.0
        assert kfac.damping == pytest.approx(damping * factor)
        ratios.append(ratio)
    assert max(ratios) > 0.75
    assert update == "plain" or (min(ratios) < 0.25 and any(0.25 < ratio < 0.75 for ratio in ratios))


@pytest.mark.parametrize(("given", "floor"), [({}, 0.01), ({"damping": 0.002}, 0.002), ({"min_damping": 0.4}, 0.4)])
def test_damping_falls_to_its_floor_and_no_further(registry: Registry, given: dict[str, Any], floor: float) -> None:
    module = mlp()
    it = objective(module)
    kfac = stepper(registry, module, **{"damping": 0.5, **given})
    loss = float(it.observer().loss().detach())
    for _ in range(40):
        # as if the loss had fallen by just what was promised
        assert kfac._adapt(it, loss + 1.0, -1.0) == pytest.approx(1.0)
        assert kfac.damping >= floor
    assert kfac.damping == pytest.approx(floor)


def test_a_model_that_promises_too_much_raises_the_damping(registry: Registry) -> None:
    module = mlp()
    it = objective(module)
    kfac = stepper(registry, module, damping=0.5)
    loss = float(it.observer().loss().detach())
    for promised in (-1e6, 0.0, math.nan):
        kfac.damping = 0.5
        assert kfac._adapt(it, loss + 1e-9, promised) < 0.25
        assert kfac.damping == pytest.approx(0.5 / DROP**5)


@pytest.mark.parametrize("update", ["quadratic", "plain"])
def test_a_step_keeps_to_its_predicted_kl(registry: Registry, update: str) -> None:
    module = mlp()
    it = objective(module)
    bound = 1e-4
    kfac = stepper(registry, module, update=update, kl_clip=bound, damping=1e-3, labels="exact", adapt=False)
    info = kfac.step(it).info
    key = "kl" if update == "quadratic" else "proposal_kl"
    assert info[key] == pytest.approx(bound, rel=1e-6)
    module = mlp()
    loose = stepper(registry, module, update=update, kl_clip=1e6, damping=1e-3, labels="exact", adapt=False)
    assert bound < loose.step(objective(module)).info[key] < 1e6


def test_what_no_layer_covers_takes_heavy_ball_steps(registry: Registry) -> None:
    module = network(DOUBLE)
    it = objective(module)
    kfac = stepper(registry, module, rest_lr=0.05, momentum=0.8)
    norm = module[1]
    assert isinstance(norm, nn.BatchNorm1d)
    weight, velocity = norm.weight.detach().clone(), torch.zeros(8, dtype=DOUBLE)
    for step in range(4):
        it.begin_step(it.batch, step)
        watcher = it.observer()
        _, gradient = watcher.gradient()
        velocity = 0.8 * velocity + gradient[2]
        weight = weight - 0.05 * velocity
        kfac.step(it)
        torch.testing.assert_close(norm.weight.detach(), weight, rtol=1e-10, atol=1e-12)
    assert {layer.name for layer in kfac.layers} == {"0", "3"}
    assert not torch.equal(norm.running_mean, torch.zeros(8, dtype=DOUBLE))


def test_the_rate_of_the_rest_follows_the_schedule(registry: Registry) -> None:
    module = network(DOUBLE)
    it = objective(module)
    kfac = stepper(registry, module, rest_lr=0.05)
    kfac.lr = 0.5
    before = module[1].weight.detach().clone()
    _, gradient = it.observer().gradient()
    kfac.step(it)
    torch.testing.assert_close(module[1].weight.detach(), before - 0.025 * gradient[2], rtol=1e-10, atol=1e-12)


def test_factors_are_averaged_refreshed_and_inverted_when_they_are_due(registry: Registry) -> None:
    module = mlp()
    it = objective(module)
    kfac = stepper(registry, module, factor_interval=2, inverse_interval=4, labels="exact", adapt=False)
    seen: list[Tensor] = []
    for step in range(9):
        it.begin_step(it.batch, step)
        gradients, inversions = it.counts.gradient_evaluations, it.counts.factor_inversions
        a_batch, _ = exact(it.observer())
        kfac.step(it)
        if step % 2 == 0:
            seen.append(a_batch["2"])
            assert it.counts.gradient_evaluations - gradients == 1 + 3  # one column of the root an output
        else:
            assert it.counts.gradient_evaluations - gradients == 1
        assert it.counts.factor_inversions - inversions == (6 if step in (0, 1, 2, 4, 8) else 0)
        torch.testing.assert_close(kfac.a["2"], torch.stack(seen).mean(0), rtol=1e-10, atol=1e-12)


def test_from_the_twentieth_refreshment_on_the_average_is_exponential(registry: Registry) -> None:
    module = mlp()
    it = objective(module)
    kfac = stepper(registry, module)
    kfac.refreshed = 400
    kfac.a = {name: torch.ones(n, n, dtype=DOUBLE) for name, n in (("0", 7), ("2", 5), ("4", 5))}
    kfac.g = {name: torch.eye(n, dtype=DOUBLE) for name, n in (("0", 5), ("2", 4), ("4", 3))}
    a_batch, _ = exact(it.observer())
    kfac.step(it)
    torch.testing.assert_close(kfac.a["0"], 0.95 + 0.05 * a_batch["0"], rtol=1e-10, atol=1e-12)


def test_a_convolution_in_one_dimension_is_one_in_two_of_height_one() -> None:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Conv1d(2, 3, 3, padding=1, stride=2, dilation=1), nn.Tanh(), nn.Flatten(), nn.Linear(9, 3))
    two = nn.Sequential(
        nn.Conv2d(2, 3, (1, 3), padding=(0, 1), stride=(1, 2)), nn.Tanh(), nn.Flatten(), nn.Linear(9, 3)
    )
    two[0].weight.data = one[0].weight.data.unsqueeze(2)
    two[0].bias.data, two[3].weight.data, two[3].bias.data = one[0].bias.data, one[3].weight.data, one[3].bias.data
    (a1, g1), (a2, g2) = exact(objective(one.double(), shape=(2, 6))), exact(objective(two.double(), shape=(2, 1, 6)))
    for name in ("0", "3"):
        torch.testing.assert_close(a1[name], a2[name], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(g1[name], g2[name], rtol=1e-10, atol=1e-14)


def test_activations_that_work_in_place_change_nothing() -> None:
    apart = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    in_place = nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 3)).double()
    in_place.load_state_dict(apart.state_dict())
    (a1, g1), (a2, g2) = exact(objective(apart)), exact(objective(in_place))
    for name in ("0", "2"):
        assert torch.equal(a1[name], a2[name])
        assert torch.equal(g1[name], g2[name])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.second(self.first(x).tanh()))
        return out


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.inner(self.inner(x).tanh()))
        return out


def test_tied_weights_are_refused(registry: Registry) -> None:
    with pytest.raises(UserError, match=r"kfac: first.weight is shared with another layer"):
        stepper(registry, Tied().double())
    shared = nn.Linear(6, 6)
    with pytest.raises(UserError, match="is shared with"):
        stepper(registry, nn.Sequential(shared, nn.Tanh(), shared, nn.Linear(6, 3)).double())
    module = Twice().double()
    with pytest.raises(UserError, match="layer 'inner' is used twice in a pass"):
        stepper(registry, module).step(objective(module))


class Late(nn.Module):
    """Its second layer counts from the third pass on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.passes = nn.Linear(6, 3), nn.Linear(6, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        out: Tensor = self.first(x) + (self.second(x) if self.passes > 4 else 0)
        return out


@pytest.mark.parametrize("update", ["quadratic", "plain"])
def test_a_layer_that_is_used_late_joins_when_factors_are_next_inverted(registry: Registry, update: str) -> None:
    module = Late().double()
    it = objective(module)
    kfac = stepper(registry, module, update=update, lr=0.1, inverse_interval=6, adapt=False)
    start = module.second.weight.detach().clone()
    for step in range(8):
        it.begin_step(it.batch, step)
        kfac.step(it)
        # until then it takes gradient steps, as what no layer covers does
        assert torch.equal(module.second.weight, start) == (step < 4)
        assert ("second" in kfac.inverses) == (step >= 6)


class Borrowed(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.first(x).tanh() @ self.last.weight.T
        return out


def test_a_layer_that_is_never_called_takes_gradient_steps(registry: Registry) -> None:
    module = Borrowed().double()
    it = objective(module)
    kfac = stepper(registry, module, rest_lr=0.05)
    before = module.last.weight.detach().clone()
    _, gradient = it.observer().gradient()
    kfac.step(it)
    torch.testing.assert_close(module.last.weight.detach(), before - 0.05 * gradient[2], rtol=1e-10, atol=1e-12)


SHAPES = {
    "lenet": Shape("classification", (1, 28, 28), (3,)), "convnet": Shape("classification", (2, 12), (3,)),
    "vit": Shape("classification", (1, 8, 8), (3,)), "resnet": Shape("classification", (1, 8, 8), (3,)),
    "char-transformer": Shape("language", (5,), (5, 7)),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_every_parameter_of_every_kind_of_network_moves(registry: Registry, name: str) -> None:
    shape = SHAPES[name]
    for given in ({}, {"tied": False}) if name == "char-transformer" else ({},):
        module = build(registry, name, shape, given)
        x = example_inputs(shape, 12)
        y = torch.randint(shape.output[-1], (12, 5) if shape.task == "language" else (12,))
        data, draw = Supervised({"train": (x, y)}, CrossEntropy(), (LOSS,)), Draw(0, None)
        it = Objective(module, data, draw)
        kfac = stepper(registry, module)
        before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
        for step in range(2):
            it.begin_step(data.batch("train", step, draw), step)
            kfac.step(it)
        still = [name for name, parameter in module.named_parameters() if torch.equal(parameter, before[name])]
        # keys add the same to a query's scores, which softmax takes out
        assert [name for name in still if not name.endswith("bias")] == []


@pytest.mark.parametrize("given", [{}, {"update": "plain"}, {"labels": "exact"}])
def test_a_loss_of_nan_is_divergence(registry: Registry, given: dict[str, Any]) -> None:
    module = mlp()
    it = objective(module)
    with torch.no_grad():
        module[4].bias[0] = math.nan
    with pytest.raises(Diverged, match="the loss is not finite"):
        stepper(registry, module, **given).step(it)


def test_a_network_without_a_layer_that_is_covered_is_refused(registry: Registry) -> None:
    with pytest.raises(UserError, match="no Linear or convolution layer"):
        stepper(registry, nn.Sequential(nn.LayerNorm(6)).double())


def test_what_computes_something_else_is_left_to_the_first_order_rule(registry: Registry) -> None:
    module = nn.Sequential(
        nn.Conv2d(2, 2, 3, groups=2), nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(2, 2, 3, padding="same"), nn.Flatten(), nn.Linear(32, 3),
    ).double()  # fmt: skip
    module[4].bias.requires_grad_(False)
    kfac = stepper(registry, module)
    assert [layer.name for layer in kfac.layers] == ["4"]
    frozen = module[4].bias.detach().clone()
    kfac.step(objective(module, shape=(2, 6, 6)))
    assert torch.equal(module[4].bias, frozen)
    assert len(kfac.velocity) == 6


@pytest.mark.parametrize("which", ["a", "g"])
def test_a_factor_that_is_not_finite_ends_the_trial_with_the_layers_name(registry: Registry, which: str) -> None:
    module = mlp()
    it = objective(module)
    kfac = stepper(registry, module)
    kfac.step(it)
    getattr(kfac, which)["2"][0, 0] = math.nan
    with pytest.raises(Diverged, match=rf"K-FAC's factor {which.upper()} of layer '2' is not finite"):
        kfac.step(it)


def test_a_singular_factor_names_itself() -> None:
    with pytest.raises(Diverged, match="factor A of layer 'x' is singular"):
        inverse(torch.zeros(3, 3), "A of layer 'x'")


def test_factors_too_ill_conditioned_for_float32_are_inverted_in_float64() -> None:
    q, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=DOUBLE))
    exact_matrix = q @ torch.diag(torch.logspace(-7.5, 0, 6, dtype=DOUBLE)) @ q.T
    single = exact_matrix.float()
    found = inverse(single, "A")
    assert bool(torch.isfinite(found).all())


def test_a_dead_layer_stops_nothing(registry: Registry) -> None:
    module = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    with torch.no_grad():
        module[0].bias.fill_(-1e3)
    kfac = stepper(registry, module)
    it = objective(module)
    for step in range(6):
        it.begin_step(it.batch, step)
        kfac.step(it)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in module.parameters())


BENCHMARK = """
seeds = 1
[workloads.digits]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
budget = { steps = 12 }
batch_size = 64
[optimizers.kfac]
[optimizers.plain]
optimizer = "kfac"
update = "plain"
lr = 0.1
"""


def test_a_run_stores_what_each_step_cost(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(BENCHMARK, encoding="utf-8")
    cli("run", "small.toml")
    trials, _ = results(cli).scan()
    by_label = {trial.document.optimizer: trial for trial in trials}
    last = by_label["kfac"].curve().iloc[-1]
    # a gradient and a backward pass of sampled targets a step; proposal and last step; inversions at steps 0, 1, 2
    assert (last["gradient_evaluations"], last["curvature_products"], last["factor_inversions"]) == (24, 23, 12)
    last = by_label["plain"].curve().iloc[-1]
    # the model is looked at when damping is adapted, after 5 and 10 steps
    assert (last["gradient_evaluations"], last["curvature_products"], last["factor_inversions"]) == (24, 2, 12)
    assert by_label["kfac"].document.summary["state_bytes"] > 4 * 2 * (65**2 + 8**2 + 9**2 + 10**2)


def test_a_nan_in_training_is_a_diverged_trial(cli: CommandLine, tmp_path: Path) -> None:
    plugin = """
import thalweg
from thalweg_plugins.optimizers.natural.kfac import KFAC

class Broken(KFAC):
    name = "broken"
    def build(self, module, hyperparameters, context):
        stepper = super().build(module, hyperparameters, context)
        step = stepper.step
        def broken(objective):
            report = step(objective)
            stepper.g[stepper.layers[1].name][0, 0] = float("nan")
            return report
        stepper.step = broken
        return stepper

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Broken)
"""
    (tmp_path / "broken.py").write_text(plugin, encoding="utf-8")
    (tmp_path / "small.toml").write_text(BENCHMARK, encoding="utf-8")
    cli("run", "small.toml", "--plugin", "broken.py", "--with", "optimizer=broken", "--only", "optimizer=broken")
    (trial,), _ = results(cli).scan()
    assert trial.document.status == "diverged"
    ref = ComponentRef(name="kfac", provider="test")
    (name,) = re.findall(r"K-FAC's factor G of layer '(.+)' is not finite", trial.document.reason)
    module = assemble(trial.document.trial.model_copy(update={"optimizer": ref}), load_registry()).module
    assert isinstance(dict(module.named_modules())[name], nn.Linear)


def test_its_state_is_independent_of_the_stepper_it_was_taken_from(registry: Registry) -> None:
    """A stepper that loads the state does not change the state, and makes the first stepper's next steps."""
    module = network(DOUBLE)
    it = objective(module)
    kfac = stepper(registry, module, inverse_interval=2)

    def train(kfac: KFACStepper, it: Objective, start: int, stop: int) -> None:
        for step in range(start, stop):
            it.begin_step(it.batch, step)
            kfac.step(it)

    train(kfac, it, 0, 4)
    state, again = kfac.state_dict(), copy.deepcopy(module)
    kept = copy.deepcopy(state)
    other = stepper(registry, again, inverse_interval=2)
    other.load_state_dict(state)
    train(other, objective(again), 4, 8)
    assert state["t"] == 4
    for name in ("a", "g", "last", "velocity"):
        assert kept[name].keys() == state[name].keys()
        assert same(list(kept[name].values()), list(state[name].values()))
    train(kfac, it, 4, 8)
    assert same(list(module.state_dict().values()), list(again.state_dict().values()))
    assert not torch.equal(kept["a"]["3"], kfac.a["3"])
