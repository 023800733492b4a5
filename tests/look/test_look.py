"""Looking at a network of one's own: its numbers, what stays untouched, and its errors."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from thalweg import look
from thalweg.errors import UserError
from thalweg.landscape.evaluate import flat, losses_at
from thalweg.look.data import problem_of

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(48, 6, generator=GENERATOR)
Y = torch.randint(3, (48,), generator=GENERATOR)
CHEAP: dict[str, dict[str, Any]] = {
    "surface": {"resolution": 5},
    "line": {"points": 5},
    "spectrum": {"iterations": 20, "steps": 6, "draws": 2, "vectors": 6},
    "trace": {"vectors": 6},
    "sharpness": {"steps": 2, "restarts": 2, "pairs": 3},
    "noise_scale": {},
    "gradient_flow": {},
    "directions": {"points": 5, "draws": 1},
    "mode_connectivity": {"points": 5},
}


def network(seed: int = 1) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 3))


def other_ends(name: str) -> dict[str, Any]:
    state = network(2).state_dict()
    return {"line": {"initial": state}, "mode_connectivity": {"other": state}}.get(name, {})


def looked(name: str, module: nn.Module, loss: Any, data: Any, **more: Any) -> look.Look:
    found: look.Look = getattr(look, name)(module, loss, data, **{**CHEAP[name], **other_ends(name), **more})
    return found


class State:
    """Everything that looking must not touch."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.taken = self._now()

    def _now(self) -> list[Any]:
        parts = [(part.training, type(part)) for part in self.module.modules()]
        state = {name: value.clone() for name, value in self.module.state_dict().items()}
        gradients = [None if p.grad is None else p.grad.clone() for p in self.module.parameters()]
        wanted = [p.requires_grad for p in self.module.parameters()]
        numbers = np.random.get_state(legacy=False)  # noqa: NPY002
        globals_ = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
        return [parts, state, gradients, wanted, torch.get_rng_state(), random.getstate(), str(numbers), globals_]

    def check(self) -> None:
        for before, now in zip(self.taken, self._now(), strict=True):
            assert str(before) == str(now)
            if isinstance(before, dict):
                assert all(torch.equal(value, now[name]) for name, value in before.items())
            if isinstance(before, Tensor):
                assert torch.equal(before, now)


@pytest.mark.parametrize("name", CHEAP)
def test_everything_is_as_it_was(name: str) -> None:
    module = network().train()
    module[0].weight.requires_grad_(False)  # type: ignore[index,union-attr]
    functional.cross_entropy(module(X), Y).backward()
    module[4].eval()  # type: ignore[index]
    state = State(module)
    found = looked(name, module, nn.CrossEntropyLoss(), (X, Y))
    state.check()
    assert len(found.table)
    assert f"of Sequential: 48 examples, loss in evaluation mode on all {found.settings['loss']:.6g}" in repr(found)
    bundle, _ = found._repr_mimebundle_()
    assert bundle["text/plain"] == repr(found)
    assert "vega" in bundle["text/html"]
    for view in found.views:
        assert found.chart(view) is not None
    # the numbers do not depend on the mode of the module, on the batches or on the state of generators
    torch.rand(3)
    again = looked(name, module.eval(), functional.cross_entropy, DataLoader(TensorDataset(X, Y), 20))
    pd.testing.assert_frame_equal(found.table, again.table)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_everything_is_as_it_was_after_an_error_or_an_interruption(error: type[BaseException]) -> None:
    module = network().train()
    state = State(module)
    calls = 0

    def fails(module: nn.Module, batch: Any) -> Tensor:
        nonlocal calls
        calls += 1
        torch.rand(1), random.random(), torch.set_default_dtype(torch.float64)
        if calls == 7:
            raise error("in the middle")
        return functional.cross_entropy(module(batch[0]), batch[1], reduction="none")

    with pytest.raises(error, match="in the middle"):
        look.surface(module, fails, (X, Y), resolution=5)
    assert calls == 7
    state.check()


def test_a_surface_is_the_loss_at_its_points() -> None:
    module = network()
    found = look.surface(module, nn.CrossEntropyLoss(), (X, Y), resolution=5, batch_norm="batch").table
    grid = found[found["kind"] == "grid"]
    assert np.isfinite(grid["loss"]).all()
    assert len(grid) == 25
    problem = problem_of(module.eval(), nn.CrossEntropyLoss(), (X, Y), None)
    (middle,) = grid.loc[(grid["x"] == 0) & (grid["y"] == 0), "loss"]
    at = losses_at(module, problem, flat(module)[None], batch_norm="batch")
    assert middle == pytest.approx(float(at["loss"][0]), rel=1e-6)


def test_a_path_is_drawn_on_its_plane() -> None:
    module = network()
    path = []
    for _ in range(3):
        path.append({name: value.clone() for name, value in module.state_dict().items()})
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=GENERATOR))
    table = look.surface(module, "cross_entropy", (X, Y), resolution=5, directions="path", path=path).table
    way = table[table["kind"] == "path"]
    assert way["step"].tolist() == [0, 1, 2, 3]
    assert way[["x", "y"]].iloc[-1].abs().max() < 1e-6
    assert (way["in_plane"].iloc[:-1] > 0.5).all()
    for directions, more in (("path", {}), ("points", {"path": path})):
        with pytest.raises(UserError, match="the state dicts of the way"):
            look.surface(module, "cross_entropy", (X, Y), directions=directions, **more)


class Tied(nn.Module):
    """An autoencoder of one weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encode, self.decode = nn.Linear(4, 4), nn.Linear(4, 4)
        self.decode.weight = self.encode.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.decode(torch.tanh(self.encode(x)))
        return out


def trace_of(module: nn.Module, loss: Callable[[], Tensor], parameters: list[nn.Parameter]) -> float:
    """The trace of the Hessian with respect to some parameters, number by number."""
    total = 0.0
    gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
    for gradient, parameter in zip(gradients, parameters, strict=True):
        for index, one in enumerate(gradient.flatten()):
            total += float(torch.autograd.grad(one, parameter, retain_graph=True)[0].flatten()[index])
    return total


@pytest.mark.parametrize(
    "chosen",
    [["decode"], ["decode.weight", "decode.bias"], lambda name, parameter: name.startswith("decode")],
    ids=["module", "names", "function"],
)
def test_only_chosen_parameters_are_looked_along_and_a_tied_weight_has_any_of_its_names(chosen: Any) -> None:
    module = Tied().double()
    x = torch.randn(32, 4, generator=GENERATOR).double()
    found = look.trace(module, "mse", (x, x), parameters=chosen, vectors=3000, examples=0).table
    (row,) = found[found["quantity"] == "Hutch++"].to_dict("records")
    expected = trace_of(module, lambda: functional.mse_loss(module(x), x), [module.decode.weight, module.decode.bias])
    assert row["low"] - 1e-6 <= expected <= row["high"] + 1e-6
    assert all(parameter.requires_grad for parameter in module.parameters())


def test_a_trace_by_layers_adds_up() -> None:
    module = network().double()
    table = look.trace(module, "cross_entropy", (X.double(), Y), blocks=True, vectors=2000, examples=0).table
    whole = table[table["depth"] == 0].set_index("quantity")["value"]
    layers = table[table["depth"] > 0]
    assert layers["layer"].tolist() == ["0.weight", "4.weight"]
    assert whole["Hutchinson"] == pytest.approx(whole["Hutch++"], rel=0.05)


def test_the_spectrum_does_not_depend_on_the_batches() -> None:
    """Batches of 20, 20 and 8 examples, shuffled: a mean over batches would be another matrix."""
    module = network()
    loader = DataLoader(TensorDataset(X, Y), 20, shuffle=True)
    found = [
        look.spectrum(module, "cross_entropy", data, dtype="float64", examples=0, **CHEAP["spectrum"]).table
        for data in ((X, Y), loader)
    ]
    values = [table[table["kind"] == "eigenvalue"]["value"].to_numpy() for table in found]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-6)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_mode_of_gradient_flow_is_an_argument(mode: Any) -> None:
    module = network()
    table = look.gradient_flow(module, "cross_entropy", (X, Y), mode=mode, jacobian="never").table
    (norm,) = table.loc[(table["quantity"] == "gradient norm") & (table["layer"] == "4.weight"), "value"]
    module.eval()
    functional.cross_entropy(module(X), Y).backward()
    expected = float(module[4].weight.grad.norm())  # type: ignore[index,union-attr,operator]
    assert (norm == pytest.approx(expected, rel=1e-5)) == (mode == "eval")


class Recurrent(nn.Module):
    """An LSTM with a layer on its last state."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.head = nn.LSTM(4, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.lstm(x)[0][:, -1])
        return out


class Masked(nn.Module):
    """A transformer with a mask of padding."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(8, 11)

    def forward(self, tokens: Tensor, padding: Tensor) -> Tensor:
        out: Tensor = self.head(self.encoder(self.embed(tokens), src_key_padding_mask=padding))
        return out


def token_loss(module: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    kept = ~batch["padding"]
    losses = functional.cross_entropy(
        module(batch["tokens"], batch["padding"]).transpose(1, 2), batch["tokens"], reduction="none"
    )
    return (losses * kept).sum() / kept.sum(), kept.sum()


def token_batches() -> Iterator[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    for n in (4, 4, 2):
        lengths = torch.randint(2, 8, (n, 1), generator=generator)
        tokens = torch.randint(11, (n, 7), generator=generator)
        yield {"tokens": tokens, "padding": torch.arange(7) >= lengths}


def test_a_jacobian_that_cannot_be_had_is_told() -> None:
    tokens = torch.randint(0, 5, (20, 6), generator=torch.Generator().manual_seed(0))
    module = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(24, 3), nn.ReLU())
    found = look.gradient_flow(module, "cross_entropy", (tokens, torch.arange(20) % 3))
    assert repr(found).endswith("no Jacobian norms: they need " + found.notes[0].partition("they need ")[2])
    assert "floating-point" in found.notes[0]
    assert look.gradient_flow(module, "cross_entropy", (tokens, torch.arange(20) % 3), jacobian="never").notes == ()
    assert look.gradient_flow(network(), "cross_entropy", (X, Y)).notes == ()


@pytest.mark.parametrize("name", ["surface", "spectrum", "sharpness", "gradient_flow", "trace", "directions"])
def test_networks_of_other_kinds(name: str) -> None:
    sequences = torch.randn(24, 5, 4, generator=GENERATOR)
    recurrent = looked(name, Recurrent(), "cross_entropy", (sequences, Y[:24]))
    masked = getattr(look, name)(Masked(), None, token_batches(), forward=token_loss, **CHEAP[name])
    for found in (recurrent, masked):
        assert len(found.table)
        assert np.isfinite(found.settings["loss"])
        assert found.chart().to_dict()
    assert masked.settings["examples"] == 10


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: look.surface(m, "mse", (X, Y), resolution=4), "resolution = 4 is even"),
        (lambda m: look.surface(m, "mse", (X, Y), resolutoin=5), "no setting 'resolutoin'; did you mean 'resolution'"),
        (lambda m: look.surface(3, "mse", (X, Y)), "int is no torch.nn.Module"),
        (lambda m: look.line(m, "cross_entropy", (X, Y)), "give one of initial= "),
        (lambda m: look.look("mode-connectivity", m, "cross_entropy", (X, Y)), "other= takes the state_dict"),
        (lambda m: look.look("surfase", m, "cross_entropy", (X, Y)), "no probe 'surfase'; did you mean 'surface'"),
        (
            lambda m: look.trace(m, "cross_entropy", (X, Y), parameters=["5.weight"]),
            "no parameter or module '5.weight'",
        ),
        (lambda m: look.trace(m, "cross_entropy", (X, Y), parameters=lambda *_: False), "no parameter requires"),
        (lambda m: look.gradient_flow(m, "cross_entropy", (X, Y), mode="training"), "neither 'train' nor 'eval'"),
        (lambda m: look.surface(nn.LazyLinear(3), "cross_entropy", (X, Y)), "has no shape yet: call the module once"),
        (lambda m: look.trace(m, "cross_entropy", (X, Y)).save("x.pdf"), "no file is written as .pdf"),
        (lambda m: look.trace(m, "cross_entropy", (X, Y), vectors=6).chart("3d"), "no view '3d'"),
    ],
)
def test_a_mistake_is_told(call: Callable[[nn.Module], Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        call(network())


def test_noise_of_batches_of_any_kind_is_not_told_as_none() -> None:
    with pytest.raises(ValueError, match="single examples"):
        look.noise_scale(Masked(), None, token_batches(), forward=token_loss)


def test_tables_and_pictures_are_saved(tmp_path: Path) -> None:
    found = looked("surface", network(), "cross_entropy", (X, Y))
    table = pq.read_table(found.save(tmp_path / "x.parquet"))
    told = json.loads(table.schema.metadata[b"thalweg"])
    assert (told["probe"], told["examples"], told["options"]["resolution"]) == ("surface", 48, 5)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "x.parquet"), found.table)
    assert len(pd.read_csv(found.save(tmp_path / "x.csv"))) == len(found.table)
    assert found.save(tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert found.save(tmp_path / "x.svg").read_text(encoding="utf-8").startswith("<svg")
    assert "<script" in found.save(tmp_path / "x.html").read_text(encoding="utf-8")
    assert "plotly" in found.save(tmp_path / "3d.html", "3-D").read_text(encoding="utf-8")
    with pytest.raises(UserError, match=r"Plotly figure, which is saved as \.html"):
        found.save(tmp_path / "3d.png", "3-D")


def test_progress_is_told_to_a_function() -> None:
    seen: list[tuple[int, int]] = []
    looked("surface", network(), "cross_entropy", (X, Y), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] > 0


def test_pictures_speak_of_what_was_looked_at() -> None:
    surface = str(looked("surface", network(), "cross_entropy", (X, Y)).chart().to_dict())
    assert "of the way from the start" not in surface
    assert "optimizer's path" not in surface
    # one moment is drawn over depth, and not over epochs
    flow = str(looked("gradient_flow", network(), "cross_entropy", (X, Y)).chart().to_dict())
    assert "Signals over depth" in flow


def test_autocast_and_inference_mode_around_a_look_change_nothing() -> None:
    expected = looked("surface", network(), "cross_entropy", (X, Y)).table
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = looked("surface", network(), "cross_entropy", (X, Y)).table
    with torch.no_grad():
        without = looked("trace", network(), "cross_entropy", (X, Y)).table
    pd.testing.assert_frame_equal(expected, cast)
    pd.testing.assert_frame_equal(looked("trace", network(), "cross_entropy", (X, Y)).table, without)


def test_the_generator_of_a_loader_is_put_back() -> None:
    generator = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(X, Y), 20, shuffle=True, generator=generator)
    before = generator.get_state()
    looked("trace", network(), "cross_entropy", loader)
    assert torch.equal(before, generator.get_state())


def test_a_state_dict_of_another_network_is_refused() -> None:
    module = network()
    state = module.state_dict()
    turned = {key: value.reshape(value.shape[::-1]) if value.dim() > 1 else value for key, value in state.items()}
    for other, says in (
        (turned, r"other: 0.weight has the shape \(6, 5\), and the module's \(5, 6\)"),
        ({f"module.{key}": value for key, value in state.items()}, "other: the state dict lacks 0.weight"),
        (module, "other: give a state dict"),
    ):
        with pytest.raises(UserError, match=says):
            look.line(module, "cross_entropy", (X, Y), other=other)  # type: ignore[arg-type]


def test_numbers_of_a_spectrum_can_be_read() -> None:
    found = looked("spectrum", network(), "cross_entropy", (X, Y), examples=16)
    assert repr(found).startswith("spectrum of Sequential: 16 of 48 examples")
    largest = found.table.query("kind == 'eigenvalue' and quantity == 'largest'")["value"].iloc[0]
    assert f"{largest:.6g}" in repr(found)
    assert "of density" in repr(found)


def test_lines_of_a_network_of_ones_own_are_at_its_weights() -> None:
    chart = str(looked("directions", network(), "cross_entropy", (X, Y)).chart().to_dict())
    assert "at the weights" in chart
    assert "at the start" not in chart


def test_a_bar_in_jupyter_needs_ipywidgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it rich writes a warning under the cell in place of a bar."""
    from rich.console import Console

    from thalweg.look import bar

    console = Console(force_jupyter=True)
    monkeypatch.setattr(bar, "errors", lambda: console)
    monkeypatch.setattr(bar, "find_spec", lambda name: None)
    with console.capture() as printed, warnings.catch_warnings(), bar.shown("surface", progress=True) as told:
        warnings.simplefilter("error")
        told(1, 2)
    assert printed.get() == ""
