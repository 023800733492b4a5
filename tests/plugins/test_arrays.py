"""A supervised problem from the user's own files, with no plugin written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support import CommandLine, results

BENCHMARK = """
seeds = 1
[workloads.mine]
problem = PROBLEM
architecture = { name = "mlp", widths = [16] }
budget = { epochs = 5 }
batch_size = 16
validation_fraction = 0.2
[optimizers.adam]
lr = 0.01
"""

NPZ = '{ name = "arrays", file = "data/mine.npz" }'


def blobs(n: int = 150, seed: int = 0) -> tuple[Any, Any]:
    """Three well separated classes of two numbers on very different scales."""
    random = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = np.array([[0, 0], [4, 0], [0, 4]])[y] + random.normal(size=(n, 2))
    return x * [1e3, 1e-3] + [5, 7], y


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path


def write(folder: Path, problem: str = NPZ) -> str:
    (folder / "mine.toml").write_text(BENCHMARK.replace("PROBLEM", problem), encoding="utf-8")
    return "mine.toml"


def accuracy(cli: CommandLine) -> float:
    (row,) = cli.json("leaderboard", "mine.toml")["rows"]
    return float(row["value"])


def test_an_npz_with_a_test_split_is_trained_on(cli: CommandLine, folder: Path) -> None:
    (x, y), (x_test, y_test) = blobs(), blobs(30, seed=1)
    np.savez(folder / "data" / "mine.npz", x_train=x, y_train=y, x_test=x_test, y_test=y_test)
    cli("run", write(folder))
    assert accuracy(cli) > 0.85
    (trial,), _ = results(cli, "mine").scan()
    assert trial.document.summary["parameters"] == 2 * 16 + 16 + 16 * 3 + 3


def test_two_npy_files_without_a_test_split_are_trained_on(cli: CommandLine, folder: Path) -> None:
    x, y = blobs()
    np.save(folder / "data" / "x.npy", x.astype(np.float32))
    np.save(folder / "data" / "y.npy", y.astype(np.int8))
    cli("run", write(folder, '{ name = "arrays", inputs = "data/x.npy", targets = "data/y.npy", test_share = 0.3 }'))
    assert accuracy(cli) > 0.85


def test_numbers_as_targets_are_a_regression(cli: CommandLine, folder: Path) -> None:
    x, _ = blobs()
    y = (x - x.mean(0)) / x.std(0) @ [[1.0, 2.0], [3.0, -1.0]]
    np.savez(folder / "data" / "mine.npz", x_train=x, y_train=y)
    benchmark = write(folder, '{ name = "arrays-regression", file = "data/mine.npz" }')
    text = (folder / benchmark).read_text(encoding="utf-8").replace('{ name = "mlp", widths = [16] }', '"linear"')
    (folder / benchmark).write_text(text.replace("epochs = 5", "epochs = 120"), encoding="utf-8")
    cli("run", benchmark)
    (row,) = cli.json("leaderboard", benchmark)["rows"]
    assert row["value"] < 0.05


def test_images_fit_convolutional_networks(cli: CommandLine, folder: Path) -> None:
    random = np.random.default_rng(0)
    np.savez(folder / "data" / "mine.npz", x_train=random.normal(size=(64, 1, 8, 8)), y_train=np.arange(64) % 2)
    benchmark = write(folder)
    text = (folder / benchmark).read_text(encoding="utf-8").replace('"mlp", widths = [16]', '"resnet", depth = 8')
    (folder / benchmark).write_text(text, encoding="utf-8")
    cli("run", benchmark)


def test_the_content_is_part_of_the_hash_and_the_place_is_not(cli: CommandLine, folder: Path) -> None:
    x, y = blobs()
    np.savez(folder / "data" / "mine.npz", x_train=x, y_train=y)
    assert cli.json("run", write(folder))["trials"] == {
        "total": 1, "trained": 1, "cached": 0, "diverged": 0, "failed": 0
    }  # fmt: skip
    (folder / "data" / "mine.npz").rename(folder / "moved.npz")
    moved = write(folder, '{ name = "arrays", file = "moved.npz" }')
    assert cli.json("run", moved)["trials"]["cached"] == 1
    np.savez(folder / "moved.npz", x_train=x + 1, y_train=y)
    assert cli.json("run", moved)["trials"]["trained"] == 1
    (one, two), _ = results(cli, "mine").scan()
    assert one.document.hash != two.document.hash
    assert all(trial.document.trial.problem.options["file"].startswith("sha256:") for trial in (one, two))


def test_inputs_are_standardized_with_the_training_split_alone(cli: CommandLine, folder: Path) -> None:
    import torch

    from thalweg.contracts import LoadContext
    from thalweg.contracts.option import resolve
    from thalweg.contracts.supervised import Supervised
    from thalweg_plugins.problems.arrays import Classes

    x, y = blobs()
    x = np.column_stack([x, np.full(len(x), 3.0)])
    np.savez(folder / "a.npz", x_train=x, y_train=y, x_test=x + 1e6, y_test=y)
    problem = Classes()
    context = LoadContext(torch.device("cpu"), torch.float64, 0.2)
    loaded = problem.load(resolve(problem.options, {"file": str(folder / "a.npz")}, "x"), context)
    assert isinstance(loaded, Supervised)
    train, test = loaded.data["train"][0], loaded.data["test"][0]
    torch.testing.assert_close(train.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-9)
    torch.testing.assert_close(train.std(0, correction=0), torch.tensor([1.0, 1, 0]).double(), rtol=0, atol=1e-9)
    assert test.mean() > 100
    plain = problem.load(
        resolve(problem.options, {"file": str(folder / "a.npz"), "normalisation": "none"}, "x"), context
    )
    assert isinstance(plain, Supervised)
    np.testing.assert_array_equal(plain.data["test"][0].numpy(), x + 1e6)


X, Y = np.ones((4, 2)), np.array([0, 1, 0, 1])
BAD: list[tuple[dict[str, Any], str]] = [
    ({"x_train": X}, "mine.npz: has no array y_train; its arrays are: x_train"),
    ({"x_train": X, "y_train": Y[:3]}, "mine.npz: x_train has 4 examples, but mine.npz: y_train has 3"),
    ({"x_train": X, "y_train": Y * 1.5}, "for numbers as targets use the problem 'arrays-regression'"),
    ({"x_train": X, "y_train": Y - 1}, "has the class -1; classes count from 0"),
    ({"x_train": X, "y_train": Y * 0}, "has one class; two are needed"),
    ({"x_train": X[:, 0], "y_train": Y}, "(examples, features) is needed"),
    ({"x_train": X.astype(str), "y_train": Y}, "numbers are needed"),
    ({"x_train": np.array([None, 1, 2, 3], dtype=object), "y_train": Y}, "numbers are needed"),
    ({"x_train": X[:0], "y_train": Y[:0]}, "the first dimension counts examples"),
    ({"x_train": X, "y_train": Y, "x_test": X}, "has x_test without its partner"),
    ({"x_train": X, "y_train": Y, "x_test": X[:, :1], "y_test": Y}, "differ in shape"),
    ({"x_train": X, "y_train": Y, "x_test": X, "y_test": Y + 1}, "has the class 2"),
]


@pytest.mark.parametrize(("arrays", "message"), BAD, ids=[message[-40:] for _, message in BAD])
def test_arrays_that_do_not_go_together_are_one_line(
    cli: CommandLine, folder: Path, arrays: dict[str, Any], message: str
) -> None:
    np.savez(folder / "data" / "mine.npz", **arrays)
    done = cli("run", write(folder), code=2)
    assert message in " ".join(done.stderr.split())
    assert "mine.toml: workloads.mine.problem" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (NPZ, "there is no file"),
        ('"arrays"', "name one file"),
        ('{ name = "arrays", inputs = "data/x.npy" }', "name one file"),
        ('{ name = "arrays", file = 3 }', "is not the path of a file"),
        ('{ name = "arrays", fil = "data/mine.npz" }', "did you mean 'file'"),
    ],
)
def test_files_that_are_not_there_are_one_line(cli: CommandLine, folder: Path, problem: str, message: str) -> None:
    np.save(folder / "data" / "x.npy", X)
    done = cli("run", write(folder, problem), code=2)
    assert message in " ".join(done.stderr.split())


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 broken"])
def test_what_is_no_npz_is_one_line(cli: CommandLine, folder: Path, content: bytes) -> None:
    (folder / "data" / "mine.npz").write_bytes(content)
    assert "is no .npz file" in cli("run", write(folder), code=2).stderr


def test_values_that_are_not_finite_are_told_before_anything_trains(cli: CommandLine, folder: Path) -> None:
    np.savez(folder / "data" / "mine.npz", x_train=np.where(X > 0, np.nan, X), y_train=Y)
    done = cli("run", write(folder), code=2)
    assert "workloads.mine.problem: 'arrays': mine.npz: x_train has values that are not finite" in done.stderr


def test_a_damaged_archive_is_one_line(cli: CommandLine, folder: Path) -> None:
    x, y = blobs(600)
    path = folder / "data" / "mine.npz"
    np.savez_compressed(path, x_train=x, y_train=y)
    content = bytearray(path.read_bytes())
    content[100:140] = bytes(40)
    path.write_bytes(content)
    done = cli("run", write(folder), code=2)
    assert done.stderr.startswith("error: mine.toml: workloads.mine.problem: 'arrays': mine.npz")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_a_class_far_beyond_the_number_of_examples_is_refused(cli: CommandLine, folder: Path, dtype: Any) -> None:
    labels = np.array([0, 1, 0, 2**62], dtype=dtype)
    np.savez(folder / "data" / "mine.npz", x_train=X, y_train=labels)
    assert "number the classes 0, 1, 2" in " ".join(cli("run", write(folder), code=2).stderr.split())


def test_a_share_that_leaves_nothing_to_train_on_is_refused(cli: CommandLine, folder: Path) -> None:
    x, y = blobs(24)
    np.savez(folder / "data" / "mine.npz", x_train=x, y_train=y)
    benchmark = write(folder)
    text = (folder / benchmark).read_text(encoding="utf-8")
    (folder / benchmark).write_text(text.replace("validation_fraction = 0.2", "validation_fraction = 0.99"))
    error = cli("run", benchmark, code=2).stderr
    assert "workloads.mine: validation_fraction = 0.99 of 19 training examples leaves none to train on" in error
    tested = write(folder, '{ name = "arrays", file = "data/mine.npz", test_share = 0.999 }')
    assert "test_share = 0.999 of 24 examples leaves none" in cli("run", tested, code=2).stderr


def test_results_of_one_file_are_never_shown_for_another_of_the_same_name(cli: CommandLine, folder: Path) -> None:
    (folder / "data" / "sub").mkdir()
    x, y = blobs()
    np.savez(folder / "data" / "mine.npz", x_train=x, y_train=y)
    np.savez(folder / "data" / "sub" / "mine.npz", x_train=x, y_train=(y + 1) % 2)
    write(folder, '{ name = "arrays", file = "data/sub/mine.npz" }')
    text = (folder / "mine.toml").read_text(encoding="utf-8")
    other = text[text.index("[workloads.mine]") : text.index("[optimizers")]
    other = other.replace("workloads.mine", "workloads.other").replace("data/sub/mine.npz", "data/mine.npz")
    (folder / "mine.toml").write_text(text + other, encoding="utf-8")
    cli("run", "mine.toml")
    before = cli.json("leaderboard", "mine.toml")["rows"]
    (folder / "data" / "mine.npz").unlink()
    assert cli.json("leaderboard", "mine.toml")["rows"] == before


def test_the_last_content_of_a_file_that_is_gone_counts(cli: CommandLine, folder: Path) -> None:
    x, y = blobs()
    for seed in range(3):
        np.savez(folder / "data" / "mine.npz", x_train=x + seed, y_train=np.roll(y, seed * seed))
        cli("run", write(folder))
        last = accuracy(cli)
    (folder / "data" / "mine.npz").unlink()
    assert accuracy(cli) == last


def test_a_file_that_changes_between_plan_and_training_fails_its_trial(cli: CommandLine, folder: Path) -> None:
    x, y = blobs()
    np.savez(folder / "data" / "mine.npz", x_train=x, y_train=y)
    (folder / "swap.py").write_text(
        f"""
import numpy, thalweg

@thalweg.hookimpl
def thalweg_trial_started(trial):
    numpy.savez({str(folder / "data" / "mine.npz")!r}, x_train=numpy.zeros((30, 2)), y_train=numpy.arange(30) % 2)
""",
        encoding="utf-8",
    )
    report = cli.json("run", write(folder), "--plugin", "swap.py", code=1)
    assert "has changed since the run began" in report["failures"][0]["message"]


def test_results_are_ranked_and_shown_when_the_data_is_gone(cli: CommandLine, folder: Path) -> None:
    from thalweg.app.data import load
    from thalweg.present.reproduce import reproduce
    from thalweg.registry import load_registry

    x, y = blobs()
    np.savez(folder / "data" / "mine.npz", x_train=x, y_train=y)
    cli("run", write(folder))
    value = accuracy(cli)
    (folder / "data" / "mine.npz").rename(folder / "elsewhere.npz")
    assert accuracy(cli) == value
    loaded = load(folder / "results" / "local", "mine")
    assert loaded.view.problems == []
    assert loaded.view.seen.trials["in_benchmark"].tolist() == ["yes"]
    assert loaded.benchmark is not None
    (trial,) = loaded.view.stored.values()
    told = reproduce(loaded.benchmark, load_registry(), trial.document)
    assert told.command is not None
    assert "data/mine.npz" in told.note
