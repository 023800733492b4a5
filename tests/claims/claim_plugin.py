"""A plugin with two claims that share trials, and a claim that computes by itself; for tests of the runner."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import thalweg
from thalweg.contracts import ClaimContext, Experiment, Measurements
from thalweg.scoring.ruled import RuledClaim
from thalweg.scoring.rules import PartRule, Rule

BOWL = Experiment(
    "bowl",
    {
        "seeds": 3,
        "workloads": {
            "bowl": {
                "problem": {"name": "quadratic", "dim": 4},
                "architecture": "point",
                "budget": {"steps": 20},
                "evaluate_every": {"steps": 5},
            }
        },
        "optimizers": {"sgd": {"lr": 0.01}, "adam": {}},
        "probes": {"trajectory": {"seeds": [0]}},
    },
)


class Base(RuledClaim):
    statement = "A statement."
    source = "these tests"
    seeds = {"quick": 3}  # noqa: RUF012

    def chart(self, table: Any) -> Any:
        import altair as alt

        return alt.Chart(table[table["x"].isna()]).mark_point().encode(x="value:Q", y="series:N")


class Losses(Base):
    name = "losses"
    summary = "SGD at a small rate ends above Adam"
    rule = Rule(kind="empirical", parts=(PartRule(quantity="loss", log_ratio=("sgd", "adam"), above=0.0),))

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        return (BOWL,)

    def measure(self, context: ClaimContext, seed: int) -> Any:
        rows = Measurements()
        for trial in context.trials("bowl", seed):
            curve = trial.curve()
            losses = curve[(curve["split"] == "train") & (curve["metric"] == "loss")]
            rows.add("loss", losses["value"].iloc[-1], series=trial.optimizer, note=trial.lost)
            rows.curve("loss by step", losses["step"], losses["value"], series=trial.optimizer)
        return rows.table()


class Moves(Base):
    name = "moves"
    summary = "Adam moves away from its start"
    seeds = {"quick": 1}  # noqa: RUF012
    rule = Rule(kind="theorem", parts=(PartRule(quantity="distance", series="adam", above=0.0),))

    def needs(self, tier: str) -> tuple[Experiment, ...]:
        return (BOWL,)

    def measure(self, context: ClaimContext, seed: int) -> Any:
        rows = Measurements()
        (trial,) = [one for one in context.trials("bowl", seed) if one.optimizer == "adam"]
        before, after = trial.weights("initial"), trial.weights("final")
        distance = sum(float((after[name] - before[name]).norm()) for name in before)
        rows.add("distance", distance, series="adam")
        return rows.table()


class Alone(Base):
    """Adds a line to a file for each seed that it measures, and waits before seeds from $CLAIM_WAIT on."""

    name = "alone"
    summary = "one is above zero"
    rule = Rule(kind="empirical", parts=(PartRule(quantity="one", above=0.0),))
    tiers = ("quick", "full")
    seeds = {"quick": 3, "full": 2}  # noqa: RUF012

    def measure(self, context: ClaimContext, seed: int) -> Any:
        if log := os.environ.get("CLAIM_LOG"):
            with Path(log).open("a", encoding="utf-8") as file:
                file.write(f"{context.tier} {seed}\n")
        if seed >= int(os.environ.get("CLAIM_WAIT", "99")):
            time.sleep(120)
        if str(seed) == os.environ.get("CLAIM_FAIL"):
            raise ValueError("this seed cannot be measured")
        rows = Measurements()
        rows.add("one", 1.0 + 0.01 * seed + context.once("offset", lambda: 0.5))
        return rows.table()

    def figures(self, table: Any) -> Any:
        return {"one-picture": self.chart(table), "one-page": "<p>a page</p>", "../outside": "<p>no</p>"}


@thalweg.hookimpl
def thalweg_register_claims(register: Any) -> None:
    for claim in (Losses, Moves, Alone):
        register(claim)
