"""The same ten curves as the libraries log them: one leaderboard, one verdict.

The files of ``formats/`` are true bytes of the pinned libraries; ``nox -s formats`` makes them anew.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest

from importing_runs import DIVERGED, ten_curves
from support import CommandLine
from thalweg.contracts import Importer
from thalweg.registry import load_registry
from thalweg.testing.condition import Condition
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


@pytest.fixture(params=sorted(CASES))
def format_(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def report(cli: CommandLine, format_: str) -> Any:
    """What the import of a format's files says."""
    with zipfile.ZipFile(FORMATS / f"{format_}.zip") as packed:
        packed.extractall(cli.folder / format_)
    words = [*CASES[format_].words, "--set", "workload=digits", "--benchmark", "mine", "--into", "imp"]
    return cli.json("results", "import-curves", format_, *words)


def test_the_curves_are_those_that_were_logged(cli: CommandLine, report: Any, format_: str) -> None:
    case = CASES[format_]
    assert report["added"] == 10
    assert report["format"] == (case.reader or format_)
    assert [row["seeds"] for row in report["rows"]] == [5, 5]
    cli("results", "export", "found.parquet", "--results", "imp")
    found = pd.read_parquet(cli.folder / "found.parquet")
    names = ["workload", "optimizer", "seed", "step", "split", "metric"]
    found["optimizer"] = found["optimizer"].str.lower()
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


def test_the_board_and_the_verdict_are_those_of_the_plain_table(cli: CommandLine, report: Any, format_: str) -> None:
    case = CASES[format_]
    ten_curves().to_parquet(cli.folder / "tidy.parquet")
    cli("results", "import-curves", "tidy.parquet", "--benchmark", "tidy", "--into", "imp")
    board, plain = (cli.json("leaderboard", name, "--results", "imp")["rows"] for name in ("mine", "tidy"))
    assert [row["optimizer"].lower() for row in board] == [row["optimizer"] for row in plain] == ["adam", "sgd"]
    for row, other in zip(board, plain, strict=True):
        if format_ in RANKS_OTHERWISE:
            continue
        assert row["value"] == pytest.approx(other["value"], abs=case.tolerance)
        assert row["metric"] == other["metric"] == "accuracy"
    assert [row["diverged"] for row in board] == [0, 1]
    verdicts = [
        cli.json("compare", f"imp:{adam}", f"imp:{sgd}", "--benchmark", name, code=1)["verdict"]
        for name, (adam, sgd) in (("mine", [row["optimizer"] for row in board]), ("tidy", ("adam", "sgd")))
    ]
    assert verdicts == ["worse", "worse"]


def test_the_run_that_diverged_is_told(cli: CommandLine, report: Any, format_: str) -> None:
    trials = cli.json("results", "list", "--results", "imp")["trials"]
    lost = [(one["optimizer"].lower(), one["seed"]) for one in trials if one["status"] == "diverged"]
    assert lost == [DIVERGED]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_the_conformance_kit_has_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch, format_: str, check: Condition
) -> None:
    """The kit takes the true bytes for the importer's example."""
    registry = load_registry()
    name = CASES[format_].reader or format_

    def example(self: Importer, folder: Path) -> None:
        with zipfile.ZipFile(FORMATS / f"{format_}.zip") as packed:
            packed.extractall(folder)

    monkeypatch.setattr(type(registry.entry("importers", name).component), "example", example)
    check(registry, name)
