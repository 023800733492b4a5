from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from networks import build
from thalweg import signed
from thalweg.contracts import Shape
from thalweg.contracts.analytic import AnalyticFunction
from thalweg.contracts.costs import Counts
from thalweg.contracts.losses import CrossEntropy
from thalweg.contracts.supervised import CLASSIFICATION, Supervised
from thalweg.landscape import resume
from thalweg.landscape.evaluate import BatchNorm, Line, Method, Plane, Span, flat, flat_from, losses_at
from thalweg.landscape.resume import Partial
from thalweg.own import signing_key
from thalweg.registry import Registry
from thalweg.testing.small import network, problem, same
from thalweg.training.example import example_inputs

H = torch.diag(torch.tensor([1.0, 4.0, 9.0])).double()


class Vector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.zeros(3).double())

    def forward(self) -> torch.Tensor:
        return self.x


def quadratic() -> AnalyticFunction:
    return AnalyticFunction(lambda x: 0.5 * x @ H @ x, lambda _: torch.zeros(3).double())


def test_a_plane_of_a_quadratic_has_the_known_values_at_the_known_places() -> None:
    ticks = (-1.0, -0.5, 0.0, 0.5, 1.0)
    d1, d2 = torch.tensor([1.0, 0, 0]).double(), torch.tensor([0, 2.0, 0]).double()
    plane = Plane(torch.zeros(3).double(), d1, d2, ticks, ticks)
    values = losses_at(Vector(), quadratic(), plane)["loss"].view(5, 5).numpy()
    x, y = np.meshgrid(ticks, ticks)
    np.testing.assert_allclose(values, 0.5 * x**2 + 0.5 * 4 * (2 * y) ** 2, rtol=1e-14)
    # rows are y and columns x, the centre in the middle, and the picture its own mirror image
    assert values[2, 2] == 0
    assert values[2, 4] < values[4, 2]
    np.testing.assert_array_equal(values, values[::-1, :])
    np.testing.assert_array_equal(values, values[:, ::-1])


def test_the_ends_of_a_line_are_its_ends_exactly() -> None:
    start, end = torch.tensor([0.1, 0.7, 1e9]).double(), torch.tensor([0.3, -0.2, 1e-9]).double()
    points = list(Line(start, end, (0.0, 0.5, 1.0)))
    assert torch.equal(points[0], start)
    assert torch.equal(points[2], end)


def test_the_loss_at_the_modules_own_weights_is_its_loss() -> None:
    module, data = network(), problem()
    expected = data.evaluate(module.eval(), "train")
    values = losses_at(module, data, flat(module)[None])
    assert {name: column.item() for name, column in values.items()} == pytest.approx(expected, rel=1e-6)


def test_the_module_is_unchanged_also_after_an_exception() -> None:
    module, data = network().train(), problem()
    before = [tensor.clone() for tensor in module.state_dict().values()]
    losses_at(module, data, torch.randn(3, len(flat(module))), batch_norm="batch")
    with pytest.raises(ValueError, match=r"a point has shape \(5,\), expected \(99,\)"):
        losses_at(module, data, torch.randn(3, 5))
    assert same(before, list(module.state_dict().values()))
    assert module.training


def test_batch_norm_modes_differ_and_neither_depends_on_the_order_of_points() -> None:
    module, data = network(), problem()
    points = torch.randn(4, len(flat(module)), generator=torch.Generator().manual_seed(0))
    for mode in ("running", "batch"):
        forward = losses_at(module, data, points, batch_norm=mode)["loss"]
        backward = losses_at(module, data, points.flip(0), batch_norm=mode)["loss"]
        torch.testing.assert_close(forward, backward.flip(0), rtol=1e-6, atol=0)
    running, batch = (losses_at(module, data, points, batch_norm=mode)["loss"] for mode in ("running", "batch"))
    assert not torch.allclose(running, batch)


def test_dropout_is_off_in_either_mode() -> None:
    data = problem()
    module = torch.nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.Linear(32, 3))
    points = flat(module).expand(2, -1)
    for mode in ("running", "batch"):
        first, second = losses_at(module, data, points, batch_norm=mode)["loss"]  # type: ignore[arg-type]
        assert first == second


def test_values_that_are_not_finite_are_kept() -> None:
    module, data = network(), problem()
    values = losses_at(module, data, torch.full((1, len(flat(module))), 1e38))["loss"]
    assert not torch.isfinite(values).any()


def test_a_state_dict_flattens_in_the_order_of_the_parameters() -> None:
    module = network()
    assert torch.equal(flat_from(module, module.state_dict()), flat(module))


IMAGES = Shape("classification", (1, 12, 12), (10,))
NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("linear", {}),
    ("mlp", {"widths": (16, 12)}),
    ("mlp", {"widths": (16,), "norm": "batch"}),
    ("mlp", {"widths": (16,), "norm": "layer", "activation": "tanh"}),
    ("deep-mlp", {"depth": 5, "width": 16, "residual": "plain", "norm": "batch"}),
    ("deep-mlp", {"depth": 5, "width": 16, "residual": "scaled", "norm": "batch", "norm_position": "after"}),
    ("maxout-mlp", {}),
    ("convnet", {"channels": (4, 4, 4), "widths": (16,), "norm": "batch"}),
    ("resnet", {"depth": 8}),
    ("resnet", {"depth": 8, "shortcuts": False}),
    ("wide-resnet", {"depth": 10, "widen": 1}),
    ("vit", {}),
]


def images(n: int = 24) -> Supervised:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(10, (n,), generator=generator)
    return Supervised({"train": (example_inputs(IMAGES, n), targets)}, CrossEntropy(), CLASSIFICATION)


def with_random_statistics(module: nn.Module) -> nn.Module:
    """Batch norm as after training: nothing at its default."""
    generator = torch.Generator().manual_seed(1)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (layer.running_mean, layer.bias.data):
                assert tensor is not None
                tensor.normal_(0, 0.3, generator=generator)
            for tensor in (layer.running_var, layer.weight.data):
                assert tensor is not None
                tensor.uniform_(0.5, 2, generator=generator)
    return module


def spans(module: nn.Module) -> list[torch.Tensor | Span]:
    """A plane, a line and explicit points around a module's weights."""
    center = flat(module)
    generator = torch.Generator().manual_seed(2)
    d1, d2 = (0.1 * torch.randn(len(center), generator=generator, dtype=center.dtype) for _ in range(2))
    ticks = (-1.0, 0.0, 1.0)
    return [
        Plane(center, d1, d2, ticks, ticks),
        Line(center + d1, center + d2, (0.0, 0.3, 1.0)),
        torch.stack([center, center + d1]),
    ]


@pytest.mark.parametrize("method", ["walk", "stack", "auto"])
@pytest.mark.parametrize(("name", "options"), NETWORKS, ids=lambda value: value if isinstance(value, str) else "")
def test_every_method_gives_what_plain_evaluation_gives(
    registry: Registry, name: str, options: dict[str, Any], method: Method
) -> None:
    module = with_random_statistics(build(registry, name, IMAGES, options)).double().eval()
    data = images().reduced(dtype=torch.float64)
    for points in spans(module):
        plain = losses_at(module, data, points, method="plain")
        found = losses_at(module, data, points, method=method)
        torch.testing.assert_close(found["loss"], plain["loss"], rtol=1e-11, atol=1e-13)
        assert torch.equal(found["accuracy"], plain["accuracy"])


@pytest.mark.parametrize("batch_norm", ["batch", "re-estimated", "interpolated"])
@pytest.mark.parametrize("method", ["walk", "stack"])
@pytest.mark.parametrize("name", ["deep-mlp", "convnet"])
def test_the_modes_of_batch_norm_against_modules_made_by_hand(
    registry: Registry, name: str, method: Method, batch_norm: BatchNorm
) -> None:
    small = {"deep-mlp": {"depth": 3, "width": 8}, "convnet": {"channels": (4, 4, 4), "widths": (8,)}}[name]
    start, end = (
        with_random_statistics(build(registry, name, IMAGES, {**small, "norm": "batch"})).double() for _ in range(2)
    )
    with torch.no_grad():
        for tensor in end.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1.3).add_(0.1)
    data = images().reduced(dtype=torch.float64)
    states = [{key: tensor.clone() for key, tensor in one.state_dict().items()} for one in (start, end)]
    t = (0.0, 0.25, 1.0)
    ends = [flat_from(end, state, statistics=batch_norm == "interpolated") for state in states]
    found = losses_at(end, data, Line(*ends, t), batch_norm=batch_norm, method=method)["loss"]
    x, y = data.prepared(data.data["train"][0]), data.data["train"][1]
    for at, value in zip(t, found, strict=True):
        between = {
            key: (1 - at) * states[0][key] + at * states[1][key]
            if states[0][key].is_floating_point()
            else states[0][key]
            for key in states[0]
        }
        end.load_state_dict(between)
        end.train(batch_norm != "interpolated")
        if batch_norm == "re-estimated":
            for layer in end.modules():
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                    layer.momentum = 1.0
            end(x)
            end.eval()
        expected = nn.functional.cross_entropy(end(x), y).item()
        assert value == pytest.approx(expected, rel=1e-11)
        end.load_state_dict(states[1])


def test_a_small_memory_gives_the_same_losses_in_chunks(registry: Registry) -> None:
    module = with_random_statistics(
        build(registry, "convnet", IMAGES, {"channels": (4, 4, 4), "norm": "batch"})
    ).double()
    data = images(200).reduced(dtype=torch.float64)
    points = spans(module)[0]
    seen: list[tuple[int, int]] = []
    whole = losses_at(module, data, points)["loss"]
    some = losses_at(module, data, points, memory=2**20, progress=lambda *at: seen.append(at))["loss"]
    torch.testing.assert_close(whole, some, rtol=1e-12, atol=0)
    assert seen[-1][0] == seen[-1][1] > len(points)
    with pytest.raises(ValueError, match="batch statistics of all examples: 200 examples need about"):
        losses_at(module, data, points, batch_norm="batch", memory=2**20)


def test_split_examples_metrics_and_precision_are_those_declared() -> None:
    data = images(40)
    (x, y) = data.data["train"]
    both = Supervised({"train": (x[:30], y[:30]), "test": (x[30:], y[30:])}, CrossEntropy(), CLASSIFICATION)
    module = nn.Sequential(nn.Flatten(), nn.Linear(144, 10))
    counts = Counts()
    found = losses_at(module, both, flat(module)[None], "test", metrics=["loss"], counts=counts, dtype=torch.float64)
    expected = nn.functional.cross_entropy(module.double()(x[30:].double()), y[30:]).item()
    assert found.keys() == {"loss"}
    assert found["loss"].item() == pytest.approx(expected, rel=1e-14)
    assert counts.examples == 10
    module.float()
    few = losses_at(module, both, flat(module)[None], examples=5, counts=counts)["loss"]
    assert counts.examples == 15
    assert torch.equal(few, losses_at(module, both.reduced("train", 5), flat(module)[None])["loss"])
    with pytest.raises(ValueError, match="no metric 'losss'; did you mean 'loss'"):
        losses_at(module, both, flat(module)[None], metrics=["losss"])
    with pytest.raises(ValueError, match="no split 'valid' here; there are: train, test"):
        losses_at(module, both, flat(module)[None], "valid")


class Interrupted(BaseException):
    """As KeyboardInterrupt is, without stopping the tests."""


@pytest.mark.parametrize("whole", [False, True])
def test_an_interrupted_evaluation_goes_on_from_its_file(tmp_path: Path, whole: bool) -> None:
    module, data = network(), problem()
    batch_norm: BatchNorm = "re-estimated" if whole else "running"
    points = torch.randn(200, len(flat(module)), generator=torch.Generator().manual_seed(0))
    file = tmp_path / "partial.sums"
    done: list[int] = []

    def interrupt(at: int, total: int) -> None:
        done.append(at)
        if at >= 100 and not file.exists():
            raise Interrupted

    before = [tensor.clone() for tensor in module.state_dict().values()]
    with pytest.raises(Interrupted):
        losses_at(module, data, points, batch_norm=batch_norm, resume=file, progress=interrupt)
    assert file.exists()
    assert same(before, list(module.state_dict().values()))
    first = done[-1]
    done.clear()
    resumed = losses_at(module, data, points, batch_norm=batch_norm, resume=file, progress=interrupt)
    assert first < done[0] <= first + 64
    assert done[-1] == 200
    done.clear()
    again = losses_at(module, data, points, batch_norm=batch_norm, resume=file, progress=interrupt)
    assert not done
    assert all(torch.equal(resumed[name], again[name]) for name in again)
    straight = losses_at(module, data, points, batch_norm=batch_norm)
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


def test_a_file_of_other_work_a_broken_one_or_anyone_elses_counts_for_nothing(tmp_path: Path) -> None:
    module, data = network(), problem()
    points = torch.randn(3, len(flat(module)), generator=torch.Generator().manual_seed(0))
    expected = losses_at(module, data, points)["loss"]
    file = tmp_path / "partial.sums"

    def found() -> torch.Tensor:
        return losses_at(module, data, points, resume=file)["loss"]

    # two of three points done, with sums that would show
    wrong = np.array([2], "<i8").tobytes() + np.ones((2, 3)).tobytes()
    seen: list[str] = []
    real = Partial.__init__

    def noting(self: Partial, path: Path | None, key: str, sums: Any) -> None:
        seen.append(key)
        real(self, path, key, sums)

    with mock.patch.object(Partial, "__init__", noting):
        assert torch.equal(found(), expected)
    (key,) = seen
    signed.write(file, key, signing_key(), lambda sink: sink.write(wrong))
    assert not torch.equal(found(), expected), "the sums of this work, signed by this user, are what counts"
    signed.write(file, "other", signing_key(), lambda sink: sink.write(wrong))
    assert torch.equal(found(), expected)
    signed.write(file, key, bytes(32), lambda sink: sink.write(wrong))
    assert torch.equal(found(), expected)
    signed.write(file, key, signing_key(), lambda sink: sink.write(wrong[:-8]))
    assert torch.equal(found(), expected)
    signed.write(file, key, signing_key(), lambda sink: sink.write(wrong + wrong))
    assert torch.equal(found(), expected)
    np.savez(file.with_suffix(".npz"), key=key, done=2, sums=np.ones((2, 3)))
    file.with_suffix(".npz").replace(file)
    assert torch.equal(found(), expected)
    file.write_bytes(b"PK\x03\x04 cut off")
    assert torch.equal(found(), expected)


@pytest.mark.skipif(os.name != "posix", reason="pipes and links are POSIX's")
def test_a_pipe_or_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    module, data = network(), problem()
    points = torch.randn(3, len(flat(module)), generator=torch.Generator().manual_seed(0))
    expected = losses_at(module, data, points)["loss"]
    file, elsewhere = tmp_path / "partial.sums", tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    for put in (lambda: os.mkfifo(file), lambda: file.symlink_to(elsewhere), lambda: file.symlink_to("/dev/zero")):
        file.unlink(missing_ok=True)
        put()
        (tmp_path / f"partial.sums.{os.getpid()}").symlink_to(elsewhere)
        assert torch.equal(losses_at(module, data, points, resume=file)["loss"], expected)
        assert file.is_file()
        assert not file.is_symlink()
    assert elsewhere.read_text() == "mine"


def test_without_a_key_or_a_folder_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, data = network(), problem()
    points = torch.randn(3, len(flat(module)), generator=torch.Generator().manual_seed(0))
    expected = losses_at(module, data, points)["loss"]
    (tmp_path / "file").touch()
    assert torch.equal(losses_at(module, data, points, resume=tmp_path / "file" / "partial.sums")["loss"], expected)
    monkeypatch.setattr(resume, "signing_key", mock.Mock(side_effect=OSError("no home")))
    assert torch.equal(losses_at(module, data, points, resume=tmp_path / "partial.sums")["loss"], expected)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_spans_say_what_shapes_they_want() -> None:
    with pytest.raises(ValueError, match=r"vectors \(2, 5\) and coordinates \(4, 3\), expected \(m, P\) and \(K, m\)"):
        Span(torch.zeros(2, 5), torch.zeros(4, 3))
