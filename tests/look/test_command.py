"""``thalweg look``: a checkpoint from outside, its code and a file of data; nothing in a file is executed."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from support import CommandLine
from thalweg import look

CODE = """
import torch

def make():
    return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))

def fails():
    raise RuntimeError("no such width")

def other():
    return 3
"""
X = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(48) % 3


def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))


@pytest.fixture
def folder(cli: CommandLine) -> Path:
    (cli.folder / "my.py").write_text(CODE, encoding="utf-8")
    save_file(network().state_dict(), cli.folder / "run.safetensors")
    np.savez(cli.folder / "my.npz", x=X.numpy().astype(np.float64), y=Y.numpy())
    return cli.folder


def words(probe: str = "surface", **more: str) -> list[str]:
    given = {"module": "my.py:make", "weights": "run.safetensors", "data": "my.npz", "loss": "cross_entropy"} | more
    return ["look", probe, "--out", "out", *(word for key, value in given.items() for word in (f"--{key}", value))]


def test_a_checkpoint_gives_the_table_of_the_notebook(cli: CommandLine, folder: Path) -> None:
    document = cli.json(*words(), "--set", "resolution=5", "--seed", "3")
    expected = look.surface(network(), "cross_entropy", (X, Y), resolution=5, seed=3)
    assert [row["loss"] for row in document["rows"]] == expected.table["loss"].tolist()
    assert document["examples"] == 48
    assert document["options"]["resolution"] == 5
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["surface.html", "surface.parquet"]
    lines = cli(*words("trace"), "--parameters", "2").stdout.splitlines()
    assert lines[0].startswith("trace of Sequential: 48 examples")
    assert lines[1].split() == ["quantity", "layer", "depth", "value", "low", "high", "vectors", "matrix"]


def checkpoints(folder: Path) -> dict[str, Any]:
    state = network().state_dict()
    torch.save(state, folder / "plain.pt")
    torch.save({"state_dict": {f"model.{key}": value for key, value in state.items()}, "epoch": 3}, folder / "l.ckpt")
    torch.save({"model": {f"module.{key}": value for key, value in state.items()}}, folder / "parallel.pth")
    return state


@pytest.mark.parametrize("name", ["plain.pt", "l.ckpt", "parallel.pth"])
def test_checkpoints_of_other_tools_are_read(cli: CommandLine, folder: Path, name: str) -> None:
    checkpoints(folder)
    assert cli.json(*words("trace", weights=name))["rows"] == cli.json(*words("trace"))["rows"]


@pytest.mark.parametrize("name", ["d.npz", "d.safetensors", "d.pt"])
def test_data_of_other_forms_is_read(cli: CommandLine, folder: Path, name: str) -> None:
    np.savez(folder / "d.npz", data=X.numpy(), target=Y.numpy().astype(np.int32))
    save_file({"inputs": X, "targets": Y}, folder / "d.safetensors")
    torch.save((X, Y), folder / "d.pt")
    assert cli.json(*words("trace", data=name))["rows"] == cli.json(*words("trace"))["rows"]


def test_a_line_takes_the_checkpoint_of_the_start(cli: CommandLine, folder: Path) -> None:
    save_file({key: 2 * value for key, value in network().state_dict().items()}, folder / "start.safetensors")
    rows = cli.json(*words("line", initial="start.safetensors"))["rows"]
    assert {row["t"] for row in rows} >= {0.0, 1.0}
    assert "line: give --initial or --other, a checkpoint" in cli(*words("line"), code=2).stderr
    without = [word for word in words("trace") if word not in ("--weights", "run.safetensors")]
    assert "without --weights the network is as my.py:make makes it" in cli(*without).stderr


class Executed:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"module": "my.py"}, "--module my.py: give FILE.py:FUNCTION"),
        ({"module": "your.py:make"}, "there is no file your.py"),
        ({"module": "my.py:mak"}, "no function 'mak'; did you mean 'make'"),
        ({"module": "my.py:fails"}, "--module my.py:fails: RuntimeError: no such width"),
        ({"module": "my.py:other"}, "gives int, and no torch.nn.Module"),
        ({"module": "nowhere.at_all:make"}, "ModuleNotFoundError: No module named 'nowhere'"),
        ({"weights": "gone.pt"}, "gone.pt: there is no such file"),
        ({"weights": "pickle.pt"}, "pickle.pt: "),
        ({"weights": "object.pt"}, "holds more than tensors, numbers, texts, lists and tables"),
        ({"weights": "list.pt"}, "holds list, and no state dict"),
        ({"weights": "broken.safetensors"}, "broken.safetensors: "),
        ({"weights": "more.safetensors"}, "it lacks 0.bias, 0.weight, 2.bias, …; it has besides x"),
        ({"weights": "shapes.safetensors"}, "0.weight has the shape (7, 7), and the module's (5, 6)"),
        ({"data": "objects.npz"}, "objects.npz: is no .npz of numbers"),
        ({"data": "broken.npz"}, "broken.npz: is no .npz of numbers, or is damaged"),
        ({"data": "three.npz"}, "three.npz: holds a, b, c: name two arrays x and y; inputs and targets"),
        ({"data": "wide.npz"}, "surface of my.py:make on wide.npz: mat1 and mat2 shapes cannot be multiplied"),
        ({"loss": "cross_entropi"}, "no loss 'cross_entropi'; did you mean 'cross_entropy'"),
        ({"mode": "training"}, "mode: 'training' is neither 'train' nor 'eval'"),
    ],
)
def test_a_mistake_is_one_line(cli: CommandLine, folder: Path, more: dict[str, str], says: str) -> None:
    state = checkpoints(folder)
    (folder / "pickle.pt").write_bytes(pickle.dumps(Executed()))
    torch.save({"x": Executed()}, folder / "object.pt")
    torch.save([1, 2], folder / "list.pt")
    (folder / "broken.safetensors").write_bytes(b"no tensors")
    (folder / "broken.npz").write_bytes(b"no zip")
    save_file({"x": X}, folder / "more.safetensors")
    save_file({**state, "0.weight": torch.zeros(7, 7)}, folder / "shapes.safetensors")
    np.savez(folder / "objects.npz", x=np.array([{}], dtype=object), y=np.zeros(1))
    np.savez(folder / "three.npz", a=np.zeros(3), b=np.zeros(3), c=np.zeros(3))
    np.savez(folder / "wide.npz", x=np.zeros((4, 9), np.float32), y=np.zeros(4, int))
    lines = cli(*words(**more), code=2).stderr.splitlines()
    assert len(lines) == 1
    assert says in lines[0]
    assert not (folder / "executed").exists()
    assert not (folder / "out").exists()


def test_a_file_that_unpacks_to_too_much_is_refused(cli: CommandLine, folder: Path) -> None:
    np.savez_compressed(folder / "zeros.npz", x=np.zeros((3000, 6)), y=np.zeros(3000, int))
    cli.environment["THALWEG_MAX_BYTES"] = "100000"
    assert "zeros.npz: 168,256 bytes are more than the limit of 100,000" in cli(*words(data="zeros.npz"), code=2).stderr
    assert cli.json(*words("trace"))["examples"] == 48
    cli.environment["THALWEG_MAX_WEIGHT_BYTES"] = "100"
    assert "weight bytes are more than the limit of 100" in cli(*words(), code=2).stderr
