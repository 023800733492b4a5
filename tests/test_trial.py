from __future__ import annotations

import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from thalweg.contracts.budget import Budget
from thalweg.trial import ComponentRef, ProbeRequest, Trial

BASE: dict[str, Any] = {
    "problem": ComponentRef(name="digits", provider="p"),
    "architecture": ComponentRef(name="mlp", provider="p"),
    "optimizer": ComponentRef(name="adam", options={"lr": 0.1}, provider="p"),
    "budget": Budget(epochs=2),
    "seed": 0,
}


def test_the_hash_is_the_same_in_every_process_and_version() -> None:
    """Stored results are found by this hash: a change of the text below makes every result on every disk unfindable."""
    text = (
        '{"architecture":{"name":"mlp","provider":"p"},"budget":{"epochs":2},'
        '"optimizer":{"name":"adam","options":{"lr":0.1},"provider":"p"},"problem":{"name":"digits","provider":"p"},'
        '"seed":0}'
    )
    assert Trial(**BASE).hash == hashlib.sha256(text.encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"budget": Budget(epochs=3)},
        {"budget": Budget(steps=2)},
        {"batch_size": 32},
        {"validation_fraction": 0.2},
        {"dtype": "float64"},
        {"device": "cuda"},
        {"optimizer": ComponentRef(name="adam", options={"lr": 0.2}, provider="p")},
        {"optimizer": ComponentRef(name="adam", options={"lr": 0.1}, provider="q")},
        {"optimizer": ComponentRef(name="adam", options={"lr": 0.1}, provider="p", revision=2)},
        {"optimizer": ComponentRef(name="adam", options={"lr": 0.1}, provider="p", digest="abc")},
    ],
)
def test_whatever_changes_the_numbers_changes_the_hash(change: dict[str, Any]) -> None:
    assert Trial(**(BASE | change)).hash != Trial(**BASE).hash


@pytest.mark.parametrize("more", [{}, {"validation_fraction": 0.2, "batch_size": 32, "dtype": "float64"}])
def test_a_trial_at_other_seeds_is_the_trial_made_with_them(more: dict[str, Any]) -> None:
    base = Trial(**(BASE | more))
    assert base.hash == Trial(**(BASE | more)).hash
    for seed, trial in zip((0, 3, 12345), base.at_seeds((0, 3, 12345)), strict=True):
        made = Trial(**(BASE | more | {"seed": seed}))
        assert (trial, trial.hash, trial.model_dump()) == (made, made.hash, made.model_dump())
        assert trial.model_copy(update={"seed": 7}).hash == Trial(**(BASE | more | {"seed": 7})).hash


def test_a_default_that_is_spelt_out_does_not_change_the_hash() -> None:
    assert Trial(**BASE, batch_size="full", dtype="float32", device="cpu").hash == Trial(**BASE).hash


def test_a_trial_survives_json() -> None:
    trial = Trial(**BASE)
    assert Trial.model_validate(trial.canonical()) == trial


def test_a_budget_is_exactly_one_number() -> None:
    for wrong in ({}, {"epochs": 1, "steps": 1}, {"epochs": -1}, {"seconds": float("inf")}):
        with pytest.raises(ValidationError):
            Budget(**wrong)  # type: ignore[arg-type]


def test_probes_of_other_settings_have_other_tables() -> None:
    def key(**options: int) -> str:
        return ProbeRequest(label="x", probe=ComponentRef(name="line", options=options, provider="p")).key

    assert key(points=5) != key(points=6)
    assert key().startswith("line--")
