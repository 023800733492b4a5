"""The list of all trials, those of tuning too, and trials that rank nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from thalweg.contracts import Metric
from thalweg.present.charts.trial import trial_chart
from thalweg.present.fates import settings_of
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults

Show = Callable[..., AppTest]
REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


def test_the_list_has_every_trial_on_disk(show: Show) -> None:
    page = show("trials", REFERENCE, benchmark="tuned")
    stored = read_stored(BenchmarkResults(REFERENCE, "tuned"))
    assert any(f"{len(stored.trials)} trials of {len(stored.trials)}" in each.value for each in page.caption)
    page.selectbox(key="status").set_value("diverged").run()
    table = page.dataframe[0].value
    assert len(table) == int((stored.trials["status"] == "diverged").sum())
    assert set(table["ranks"]) == {"tuning"}


def test_a_word_of_the_reason_and_every_choice_are_in_the_address(show: Show) -> None:
    page = show("trials", REFERENCE, benchmark="tuned", status="diverged", optimizer="kfac", reason="step 113")
    assert len(page.dataframe[0].value) == 1
    assert page.dataframe[0].value["lr"].notna().all()
    assert page.selectbox(key="optimizer").value == "kfac"


@pytest.mark.parametrize("name", ["tuned", "kfac", "broad"])
def test_every_diverged_trial_can_be_opened(show: Show, name: str) -> None:
    stored = read_stored(BenchmarkResults(REFERENCE, name))
    diverged = stored.trials[stored.trials["status"] == "diverged"]
    for hash_ in diverged["hash"].head(2):
        page = show("trial", REFERENCE, benchmark=name, trial=hash_)
        assert any(f"trial {hash_}" in caption.value for caption in page.caption)
        assert "1,000,000 times" in page.warning[0].value


def test_the_metric_of_a_trials_curve_is_in_the_address(show: Show) -> None:
    hash_ = str(read_stored(BenchmarkResults(REFERENCE, "tuned")).trials["hash"].iloc[0])
    page = show("trial", REFERENCE, benchmark="tuned", trial=hash_, metric="loss")
    assert not page.exception
    assert page.session_state["metric"] == "loss"
    page = show("trial", REFERENCE, benchmark="tuned", trial=hash_, metric="los")
    assert any("'los'" in each.value and "loss" in each.value for each in page.warning)


def test_a_trial_that_was_evaluated_once_has_a_point_and_its_numbers_are_explained(show: Show) -> None:
    stored = read_stored(BenchmarkResults(REFERENCE, "tuned"))
    once = next(
        trial
        for hash_ in stored.trials.loc[stored.trials["status"] == "diverged", "hash"]
        if (trial := stored.by_hash[hash_]).curve()["step"].max() == 0
    )
    page = show("trial", REFERENCE, benchmark="tuned", trial=once.document.hash)
    told = f"at step 0; it diverged at step {once.document.summary['step']}."
    assert any(told in each.value for each in page.caption)
    chart = trial_chart(once.curve(), Metric("loss", "lower", "log"), None).to_dict()
    lines, points = chart["layer"][:2]
    assert points["mark"]["type"] == "point"
    assert len(chart["datasets"][points["data"]["name"]]) == once.curve()["split"].nunique()
    assert not chart["datasets"][lines["data"]["name"]]
    assert points["encoding"]["x"]["scale"] == {"domain": [0, 1]}


def test_the_settings_beside_a_diverged_trial_are_those_on_disk(show: Show) -> None:
    stored = read_stored(BenchmarkResults(REFERENCE, "tuned"))
    row = stored.trials[(stored.trials["status"] == "diverged") & (stored.trials["optimizer"] == "sgd")].iloc[0]
    document = stored.by_hash[row["hash"]].document
    rows = settings_of(stored, document)
    mine = stored.trials[(stored.trials["workload"] == row["workload"]) & (stored.trials["optimizer"] == "sgd")]
    assert len(rows) == mine["configuration"].nunique()
    assert rows[["done", "diverged", "failed"]].to_numpy().sum() == len(mine)
    assert rows["order"].is_monotonic_increasing
    (own,) = rows.index[rows["own"]]
    assert rows.loc[own, "order"] == document.trial.optimizer.options["lr"]
    assert "2 / lr" not in rows.loc[own, "setting"]
    page = show("trial", REFERENCE, benchmark="tuned", trial=row["hash"])
    limit = 2 / document.trial.optimizer.options["lr"]
    assert f"at most {limit:.4g}" in page.warning[0].value
    assert "This trial ranks nowhere. Tuning tried its setting." in [caption.value for caption in page.caption]


def test_hyperparameters_choose_trials_and_a_mistake_is_told(show: Show) -> None:
    page = show("trials", REFERENCE, benchmark="tuned", where="momentum>=0 lr>0.5")
    stored = read_stored(BenchmarkResults(REFERENCE, "tuned"))
    table = page.dataframe[0].value
    assert 0 < len(table) < len(stored.trials)
    for link in table["page"].head(5):
        options = stored.by_hash[link.rsplit("trial=", 1)[1]].document.options["optimizer"]
        assert options["momentum"] >= 0
        assert options["lr"] > 0.5
    page.text_input(key="where").set_value("learning_rat=1").run()
    assert any("no hyperparameter 'learning" in each.value for each in page.warning)
    assert any(f"{len(stored.trials)} trials of" in each.value for each in page.caption)
