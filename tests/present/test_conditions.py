"""Conditions on hyperparameters choose settings, or say what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from thalweg.errors import UserError
from thalweg.present.conditions import Condition, conditions, kept

SETTINGS: list[dict[str, Any]] = [
    {"lr": 0.1, "momentum": 0.9, "nesterov": True, "betas": [0.9, 0.99]},
    {"lr": 0.001, "momentum": 0, "nesterov": False, "mode": "Fast", "foreach": None},
    {"lr": 1, "beta-1": 0.5, "steps": [1, 2.0], "groups": [[1, "a"], [], [None]]},
]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", [0, 1, 2]),
        ("lr>=0.1", [0, 2]),
        ("lr > 1e-1", [2]),
        ("lr>0;lr<1; momentum=0;", [1]),
        ("lr=1.0", [2]),
        ("lr != 1", [0, 1]),
        ("lr<1 momentum=0.9", [0]),
        ("lr<1, momentum == 0", [1]),
        ("lr<1 and momentum<=0.9", [0, 1]),
        ("lr<1 AND momentum<=0.9", [0, 1]),
        ("nesterov=true", [0]),
        ("nesterov!=True", [1]),
        ("mode=fast", [1]),
        ("foreach=null", [1]),
        ("beta-1<1", [2]),
        ("momentum>=0", [0, 1]),
        ("betas=[0.9,0.99]", [0]),
        ("betas = [0.90, 9.9e-1] lr<1", [0]),
        ("betas!=[0.9,0.999], lr<1", [0]),
        ("betas=[0.9]", []),
        ("betas=[" + "9" * 400 + "]", []),
        ("steps=[1.0, 2]", [2]),
        ("groups=[[1.0,'a'],[],[null]]".replace("'", '"') + ", lr=1", [2]),
        ('lr=1 groups != [[1, "b"], [], [null]]', [2]),
        ('groups=[[1,"a"]]', []),
        ("lr<0", []),
        ("nesterov>0", []),
    ],
)
def test_a_text_chooses_the_settings_for_which_all_its_conditions_hold(text: str, rows: list[int]) -> None:
    assert [row for row, keep in enumerate(kept(conditions(text), SETTINGS)) if keep] == rows


@pytest.mark.parametrize("text", ["lr=fast", "lr!=0.1%", "lr = 1/10", "momentum=true"])
def test_a_number_is_not_compared_with_a_word(text: str) -> None:
    with pytest.raises(UserError, match="is no number"):
        kept(conditions(text), SETTINGS)


def test_a_hyperparameter_that_is_not_set_meets_no_condition() -> None:
    assert not Condition("momentum", "!=", "0.5").holds(SETTINGS[2])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("lr 0.1", "'lr 0.1' is no condition"),
        ("lr>=0.1 momentum", "'momentum' is no condition"),
        ("lr>=0.1momentum=2", "is no condition"),
        ("lr>=fast", "'fast' is no number"),
        ("lr!=nan", "'nan' is no number"),
        ("betas=[0.9,x]", "is no list"),
        ("betas=[[[[", "is no list"),
        ("betas=[0.9]]", "is no condition"),
        ("betas=[0.9]lr=1", "is no condition"),
        *((f"betas={'[' * deep}{']' * deep}", "is no list") for deep in (600, 100_000)),
        ("betas=[" + "9" * 5000 + "]", "is no list"),
        ("=3", "'=3' is no condition"),
        ("lr=>3", "is no condition"),
        ("lr<" + "9" * 5000 + "x", "is no number"),
    ],
)
def test_a_part_that_is_no_condition_is_named(text: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        conditions(text)
    assert told in str(error.value)
    assert len(str(error.value)) < 2500


def test_a_name_that_no_settings_have_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match="no hyperparameter 'momentun'; did you mean 'momentum'"):
        kept(conditions("momentun=0.9"), SETTINGS)
    with pytest.raises(UserError, match=r"no hyperparameter 'LR'; there are: lr$"):
        kept(conditions("LR=0.9"), SETTINGS)
