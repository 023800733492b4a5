"""The same ten curves as the libraries log them: one leaderboard, one verdict.

The files of ``formats/`` are true bytes of the pinned libraries; ``nox -s formats`` makes them anew.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from importing_runs import DIVERGED, ten_curves
from support import CommandLine
from thalweg.registry import load_registry
from thalweg.testing.importers import CHECKS

FORMATS = Path(__file__).parent / "formats"
BOTH = ("train.loss", "valid.accuracy")


class Case(NamedTuple):
    words: tuple[str, ...] = ()
    reader: str = ""
    """The importer that recognises the files, where it has another name."""
    curves: tuple[str, ...] = BOTH
    """What the files have, and is equal to the curves."""
    tolerance: float = 1e-6
    """Of float32, unless the library rounds more."""


CASES = {
    "lightning": Case(),
    "keras": Case(("--paths", "{optimizer}-{seed}/training.log", "--steps-per-epoch", "10")),
    "tensorboard": Case(),
    "mlflow": Case(tolerance=0),
    "mlflow-files": Case(reader="mlflow", tolerance=0),
    "transformers": Case(("--paths", "{optimizer}-{seed}/trainer_state.json"), "hf"),
    "optuna": Case(("--map", "valid.accuracy=intermediate"), curves=("valid.accuracy",), tolerance=0),
    "benchopt": Case(("--map", "valid.accuracy=objective_accuracy"), tolerance=0),
    "deepobs": Case(("--steps-per-epoch", "10")),
    "nanogpt": Case(("--paths", "{optimizer}-{seed}/train.log"), curves=("train.loss",), tolerance=5e-5),
    "dvclive": Case(("--steps-per-epoch", "10"), tolerance=0),
    "fastai": Case(
        ("--paths", "{optimizer}-{seed}/history.csv", "--steps-per-epoch", "10"), curves=("valid.accuracy",)
    ),
    "ignite": Case(("--format", "ignite", "--paths", "{optimizer}-{seed}")),
    "ray": Case(("--steps-per-epoch", "10", "--map", "valid.accuracy=accuracy"), tolerance=0),
    "sacred": Case(tolerance=0),
    "skorch": Case(("--paths", "{optimizer}-{seed}/history.json", "--steps-per-epoch", "10")),
    "timm": Case(("--steps-per-epoch", "10")),
    "wandb": Case(),
}

RANKS_OTHERWISE = ("deepobs", "nanogpt")
"""DeepOBS has a test split, whose value counts at the best validation; nanoGPT has a validation loss alone."""


def unpacked(format_: str, folder: Path) -> None:
    with zipfile.ZipFile(FORMATS / f"{format_}.zip") as packed:
        packed.extractall(folder)


@pytest.mark.parametrize("format_", sorted(CASES))
def test_a_format_gives_the_curves_and_the_board_of_the_plain_table(cli: CommandLine, format_: str) -> None:
    case = CASES[format_]
    unpacked(format_, cli.folder / format_)
    words = [*case.words, "--set", "workload=digits", "--benchmark", "mine", "--into", "imp"]
    report = cli.json("results", "import-curves", format_, *words)
    assert (report["added"], report["format"]) == (10, case.reader or format_)
    assert [row["seeds"] for row in report["rows"]] == [5, 5]
    cli("results", "export", "found.parquet", "mine", "--results", "imp")
    check_curves(pd.read_parquet(cli.folder / "found.parquet"), format_)
    ten_curves().to_parquet(cli.folder / "tidy.parquet")
    cli("results", "import-curves", "tidy.parquet", "--benchmark", "tidy", "--into", "imp")
    check_boards(cli, format_)


def check_curves(found: pd.DataFrame, format_: str) -> None:
    """The import has the logged curves, and names the run that diverged."""
    case = CASES[format_]
    names = ["workload", "optimizer", "seed", "step", "split", "metric"]
    found["optimizer"] = found["optimizer"].str.lower()
    diverged = found.loc[found["status"] == "diverged", ["optimizer", "seed"]].drop_duplicates()
    assert [tuple(row) for row in diverged.to_numpy().tolist()] == [DIVERGED]
    expected = ten_curves()
    expected = expected[(expected["split"] + "." + expected["metric"]).isin(case.curves)]
    lost = (expected["optimizer"] == DIVERGED[0]) & (expected["seed"] == DIVERGED[1]) & (expected["step"] > 50)
    if format_ == "optuna":  # the run reports nan, since its loss is no metric of the study
        expected.loc[lost, "value"] = float("nan")
    if format_ == "deepobs":  # it fills the rest with values of the start
        expected = expected[~lost]
    both = expected.merge(found[[*names, "value"]], on=names, how="left", suffixes=("", "_found"), indicator=True)
    assert (both["_merge"] == "both").all()
    pd.testing.assert_series_equal(
        both["value"], both["value_found"], check_names=False, rtol=0, atol=case.tolerance, check_exact=False
    )


def check_boards(cli: CommandLine, format_: str) -> None:
    """The board and the verdict are those of the plain table."""
    board, plain = (cli.json("leaderboard", name, "--results", "imp")["rows"] for name in ("mine", "tidy"))
    assert [row["optimizer"].lower() for row in board] == [row["optimizer"] for row in plain] == ["adam", "sgd"]
    for row, other in zip(board, plain, strict=True):
        if format_ in RANKS_OTHERWISE:
            continue
        assert row["value"] == pytest.approx(other["value"], abs=CASES[format_].tolerance)
        assert row["metric"] == other["metric"] == "accuracy"
    assert [row["diverged"] for row in board] == [0, 1]
    verdicts = [
        cli.json("compare", f"imp:{adam}", f"imp:{sgd}", "--benchmark", name, code=1)["verdict"]
        for name, (adam, sgd) in (("mine", [row["optimizer"] for row in board]), ("tidy", ("adam", "sgd")))
    ]
    assert verdicts == ["worse", "worse"]


@pytest.mark.parametrize("format_", sorted(CASES))
def test_the_conformance_kit_has_nothing_to_say(monkeypatch: pytest.MonkeyPatch, format_: str) -> None:
    """The kit takes the true bytes for the importer's example."""
    registry = load_registry()
    name = CASES[format_].reader or format_
    cls = type(registry.entry("importers", name).component)
    monkeypatch.setattr(cls, "example", lambda self, folder: unpacked(format_, folder))
    for check in CHECKS:
        check(registry, name)
