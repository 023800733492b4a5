"""The leaderboard's choices of rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

Show = Callable[..., AppTest]
REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"


def test_hyperparameters_choose_the_rows_of_a_leaderboard(show: Show) -> None:
    whole = show("leaderboard", REFERENCE, benchmark="broad", only="digits-mlp")
    page = show("leaderboard", REFERENCE, benchmark="broad", only="digits-mlp", where="beta2>0.9, lr<1")
    names = set(page.dataframe[0].value["optimizer"])
    assert "adam" in names
    assert "sgd" not in names
    assert len(names) < len(whole.dataframe[0].value)
    # ranks are those among all optimizers
    ranks = dict(zip(whole.dataframe[0].value["optimizer"], whole.dataframe[0].value["rank"], strict=True))
    assert all(ranks[row["optimizer"]] == row["rank"] for _, row in page.dataframe[0].value.iterrows())
    # a name is looked for in all rows, whatever part of a name is asked for
    assert not show("leaderboard", REFERENCE, benchmark="broad", where="momentum=0.9", words="adam").warning
    none = show("leaderboard", REFERENCE, benchmark="broad", only="digits-mlp", where="lr>1000")
    assert "No optimizer of this workload meets the choices above." in [each.value for each in none.info]
    page.text_input(key="where").set_value("beta2 0.9").run()
    assert any("'beta2 0.9' is no condition" in each.value for each in page.warning)
    assert len(page.dataframe[0].value) == len(whole.dataframe[0].value)
