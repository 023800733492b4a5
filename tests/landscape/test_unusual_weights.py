"""Losses and directions of networks with frozen, complex, computed or scattered weights, against a loop by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from thalweg.contracts.copies import copied, state_of
from thalweg.contracts.real import as_real, real_count, shaped
from thalweg.landscape import Line, flat, flat_from, losses_at
from thalweg.landscape.directions import filter_normalized, layer_normalized, random_direction, with_frozen
from thalweg.landscape.evaluate import Method
from unusual import KINDS, Counts, Keeps, Mixed, built, data, fresh, loss, numbers, put

every_kind = pytest.mark.parametrize("kind", KINDS)


@every_kind
@pytest.mark.parametrize("method", ["auto", "walk", "stack", "plain"])
@pytest.mark.parametrize("spanned", [True, False])
def test_losses_are_those_of_the_weights_put_in_by_hand(kind: str, method: Method, spanned: bool) -> None:
    module = built(kind)
    center = flat(module)
    torch.testing.assert_close(center, numbers(list(module.parameters())), rtol=0, atol=0)
    before = {name: repr(value) for name, value in module.state_dict().items()}
    direction = torch.randn(len(center), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    line = Line(center, center + 0.3 * direction, (0.0, 0.4, 0.9, 1.0))
    points: Any = line if spanned else torch.stack(list(line))
    found = losses_at(module, data(), points, method=method, metrics=["loss"])["loss"]
    expected, other = [], fresh(kind, module)
    for point in line:
        put(other, point)
        with torch.no_grad():
            expected.append(float(loss(other)))
    # some dozen operations in float64 in another order
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-11, atol=1e-13)
    assert {name: repr(value) for name, value in module.state_dict().items()} == before


@every_kind
def test_another_precision_keeps_every_number(kind: str) -> None:
    """From float32 to float64 nothing is rounded: so the losses are those of float64 at the same weights."""
    module = built(kind, torch.float32)
    center = flat(module)
    assert center.dtype == torch.float32
    found = losses_at(module, data(torch.float32), center[None], dtype=torch.float64)["loss"]
    other = fresh(kind, module)
    other.load_state_dict(
        {name: v.to(other.state_dict()[name].dtype) if isinstance(v, torch.Tensor) else v
         for name, v in module.state_dict().items()}
    )  # fmt: skip
    x, y = data(torch.float32).data["train"]
    with torch.no_grad():
        expected = nn.functional.cross_entropy(other(x.double()), y)
    torch.testing.assert_close(found[0], expected, rtol=1e-11, atol=1e-13)


@every_kind
def test_a_copy_computes_the_same_and_shares_nothing(kind: str) -> None:
    module = built(kind).eval()
    other = copied(module)
    assert {type(part) for part in module.modules()} == {type(part) for part in other.modules()}
    torch.testing.assert_close(loss(other), loss(module), rtol=0, atol=0)
    expected = float(loss(module).detach())
    with torch.no_grad():
        for tensor in [*other.parameters(), *other.buffers()]:
            tensor.zero_()
    assert float(loss(module).detach()) == expected


def test_a_copy_has_the_tensors_that_are_kept_once_each_and_without_their_graph() -> None:
    module = built("keeps")
    assert isinstance(module, Keeps)
    assert module.hidden is not None
    assert module.hidden.grad_fn is not None
    other = copied(module)
    assert isinstance(other, Keeps)
    assert other.hidden is not None
    assert other.hidden.grad_fn is None
    assert other.hidden is other.all[0]["hidden"]
    torch.testing.assert_close(other.hidden, module.hidden.detach(), rtol=0, atol=0)
    assert other.hidden.data_ptr() != module.hidden.data_ptr()


def test_a_state_is_a_copy_of_tensors_and_of_all_else() -> None:
    module = Counts()
    state = state_of(module, "cpu")
    assert state["_extra_state"] == module.extra
    assert state["_extra_state"] is not module.extra
    state["net.0.weight"].zero_()
    assert bool(module.net[0].weight.any())


@every_kind
def test_a_state_dict_has_the_vector_of_its_module(kind: str) -> None:
    module = built(kind)
    assert torch.equal(flat_from(module, state_of(module)), flat(module))


@every_kind
def test_random_directions_leave_frozen_weights_alone(kind: str) -> None:
    module = built(kind)
    direction = random_direction(module, torch.Generator().manual_seed(0))
    assert direction.shape == flat(module).shape
    moves = torch.cat([torch.full((real_count(p),), p.requires_grad) for p in module.parameters()])
    assert torch.equal(direction != 0, moves)
    inside = direction[moves]
    assert torch.equal(with_frozen(module, inside), direction)
    for rescaled in (filter_normalized, layer_normalized):
        assert not bool(rescaled(module, direction)[~moves].any())


@pytest.mark.parametrize("kind", ["vectors", "biases"])
def test_where_all_trained_parameters_are_vectors_each_is_a_filter(kind: str) -> None:
    module = built(kind)
    direction = random_direction(module, torch.Generator().manual_seed(0))
    for rescaled in (filter_normalized, layer_normalized):
        pieces = torch.split(rescaled(module, direction), [p.numel() for p in module.parameters()])
        for piece, parameter in zip(pieces, module.parameters(), strict=True):
            expected = parameter.detach().norm() if parameter.requires_grad else torch.zeros(()).double()
            torch.testing.assert_close(piece.norm(), expected, rtol=1e-12, atol=0)


def test_a_complex_filter_has_the_length_of_its_complex_weights() -> None:
    module = built("complex")
    direction = filter_normalized(module, random_direction(module, torch.Generator().manual_seed(0)))
    sizes = {name: real_count(parameter) for name, parameter in module.named_parameters()}
    pieces = dict(zip(sizes, torch.split(direction, list(sizes.values())), strict=True))
    weights = dict(module.named_parameters())
    for name in ("mixes", "out.weight"):
        rows = pieces[name].view(len(weights[name]), -1).norm(dim=1)
        torch.testing.assert_close(rows, weights[name].detach().abs().square().sum(1).sqrt(), rtol=1e-12, atol=0)
    for name in ("f", "turn", "out.bias"):  # of one dimension or none
        assert not bool(pieces[name].any())


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
def test_complex_numbers_are_pairs_and_back(shape: tuple[int, ...]) -> None:
    z = torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    assert torch.equal(as_real(z).flatten(), numbers([z]))
    assert torch.equal(as_real(z.conj()).flatten(), numbers([z.conj()]))
    assert torch.equal(shaped(numbers([z]), z), z)
    several = torch.stack([numbers([z]), 2 * numbers([z])])
    assert torch.equal(shaped(several, z), torch.stack([z, 2 * z]))


def test_weights_of_two_precisions_are_one_vector_of_the_finer() -> None:
    torch.manual_seed(0)
    module = Mixed()
    module.body.float()
    module.head.double()
    center = flat(module)
    assert center.dtype == torch.float64
    direction = random_direction(module, torch.Generator().manual_seed(0))
    assert direction.dtype == torch.float64
    line = Line(center, center + direction, (0.0, 0.3, 1.0))
    found = losses_at(module, data(torch.float32), line)["loss"]
    x, y = data(torch.float32).data["train"]
    expected = []
    for point in line:
        put(module, point)
        with torch.no_grad():
            expected.append(float(nn.functional.cross_entropy(module(x), y)))
    # the body and the loss are in float32
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-6)
