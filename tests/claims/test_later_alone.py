"""Claims L2, L8 and L9: the protocols, on small data and on made-up trials with known answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from claim_context import Alone, decided, draws, measured
from thalweg.contracts import Draw
from thalweg.contracts.schedule import Schedule
from thalweg.curvature import flat
from thalweg_plugins.architectures.mlp import MLP
from thalweg_plugins.architectures.resnet import ResNet
from thalweg_plugins.claims.batch_norm.experiments import EPOCHS
from thalweg_plugins.claims.later import L2, L8, L9, connected, warm_up, width_transfer
from thalweg_plugins.claims.later.connected import Workload, child, first_steps, rise
from thalweg_plugins.claims.later.width_transfer import final_loss, network, optimizer_of
from thalweg_plugins.claims.stepping import Steps, loaded
from thalweg_plugins.optimizers.first_order.adam import Adam
from thalweg_plugins.problems.digits import Digits

TINY = Workload(Digits, MLP, epochs=1, batch=64, lr=0.1, validation=0.2, options={"widths": (8,)})
IMAGES = Workload(
    Digits, ResNet, epochs=1, batch=256, lr=0.1, validation=0.2, problem_options={"layout": "image"},
    options={"depth": 8, "width": 2},
)  # fmt: skip


# --- L2


def test_l2_a_child_with_the_parents_batches_is_the_parent() -> None:
    parent = first_steps(TINY, 3, "cpu")
    parent.step(5)
    before = parent.w
    one, other = child(parent, 3, 12), child(parent, 4, 12)
    assert torch.equal(parent.w, before)
    parent.step(7)
    assert torch.equal(one.w, parent.w)
    assert not torch.equal(other.w, parent.w)
    assert (one.t, other.t) == (12, 12)


def test_l2_the_barrier_is_the_rise_above_the_mean_of_the_ends() -> None:
    assert rise([0.1, 0.3, 0.6, 0.2]) == pytest.approx(0.45)
    assert rise([0.0, 0.0, 0.0]) == 0.0


@pytest.mark.parametrize(("tier", "workload"), [("quick", TINY), ("full", IMAGES)])
def test_l2_gives_every_row_in_both_tiers(tier: str, workload: Workload, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connected.WORKLOADS, tier, workload)
    table = L2().measure(Alone(1, tier), 0).assign(seed=0)
    assert not any(part.lost for part in decided(L2(), table).parts)
    errors = table[table["x"].notna()]
    assert errors["value"].between(0, 1).all()
    assert len(errors) == 2 * connected.POINTS
    draws(L2(), table)


# --- L8


def test_l8_both_parametrizations_are_one_network_at_the_base_width() -> None:
    one, other = (network(8, 3, 32, kind, 0) for kind in ("standard", "muP"))  # type: ignore[arg-type]
    assert torch.equal(flat(one.parameters()), flat(other.parameters()))
    rates = [[group["lr"] for group in optimizer_of(one, 32, kind, 0.1).param_groups] for kind in ("standard", "muP")]  # type: ignore[arg-type]
    assert rates[0] == rates[1] == [0.1, 0.1]


def test_l8_mup_divides_rates_by_the_width_and_the_output_by_its_root() -> None:
    one, other = (network(8, 3, 512, kind, 0) for kind in ("standard", "muP"))  # type: ignore[arg-type]
    optimizer = optimizer_of(other, 512, "muP", 0.1)
    wide, rest = optimizer.param_groups
    assert wide["lr"] == pytest.approx(0.1 / 16)
    assert rest["lr"] == 0.1
    linears = [part for part in other if isinstance(part, nn.Linear)]
    assert [id(p) for p in wide["params"]] == [id(layer.weight) for layer in linears[1:]]
    assert len(rest["params"]) == 5
    plain = [part for part in one if isinstance(part, nn.Linear)]
    torch.testing.assert_close(linears[-1].weight, plain[-1].weight / 4)
    assert all(torch.equal(a.weight, b.weight) for a, b in zip(linears[:-1], plain[:-1], strict=True))


def test_l8_under_mup_a_step_moves_outputs_alike_at_all_widths() -> None:
    """The maximal update: the change of the outputs by one step neither grows nor vanishes with the width."""
    x = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    y = torch.arange(64) % 3
    moved: dict[str, list[float]] = {"standard": [], "muP": []}
    for kind, changes in moved.items():
        for width in (64, 1024):
            module = network(8, 3, width, kind, 1)  # type: ignore[arg-type]
            optimizer = optimizer_of(module, width, kind, 1e-4)  # type: ignore[arg-type]
            before = module(x).detach()
            nn.functional.cross_entropy(module(x), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            changes.append(float((module(x).detach() - before).norm()))
    assert moved["standard"][1] > 4 * moved["standard"][0]
    assert 0.4 < moved["muP"][1] / moved["muP"][0] < 2.5


def test_l8_standard_training_is_the_registered_adam() -> None:
    workload = width_transfer.Workload("digits", 1, 64, 0.2)
    data = loaded(Digits(), 0.2, dtype=torch.float32)
    found = final_loss(data, workload, 16, "standard", 0.01, 2, "cpu")
    draw = Draw(2, 64)
    module = network(64, 10, 16, "standard", draw.seed_for("init"))
    run = Steps(Adam(), data, module, draw, lr=0.01)
    run.step(data.steps_per_epoch(64))
    assert found == pytest.approx(run.loss, rel=1e-4)


def test_l8_gives_every_row_and_reads_the_best_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least losses are at 2^-5 for width 32, 2^-9 for 512, and 2^-6 under muP; the largest rates diverge."""
    best = {(32, "standard"): -5, (512, "standard"): -9, (512, "muP"): -6}

    def made(_: Any, __: Any, width: int, kind: str, lr: float, *___: Any) -> float:
        power = math.log2(lr)
        return math.inf if power > -3 else 1 + (power - best[width, kind]) ** 2

    monkeypatch.setattr(width_transfer, "final_loss", made)
    table = measured(L8(), 2)
    shifts = table[table["x"].isna()].groupby("series")["value"].unique()
    assert shifts["standard"].tolist() == [4.0]
    assert shifts["muP"].tolist() == [1.0]
    assert decided(L8(), table).verdict == "holds"
    draws(L8(), table)


# --- L9


class MadeUp:
    """A trial that ended with an accuracy."""

    def __init__(self, workload: str, optimizer: str, seed: int, accuracy: float, lost: str = "") -> None:
        self.workload, self.optimizer, self.seed, self.lost = workload, optimizer, seed, lost
        self.hyperparameters: Mapping[str, Any] = {}
        self.accuracy = accuracy

    def curve(self) -> pd.DataFrame:
        rows = [(0, "train", "accuracy", 0.1), (480, "train", "accuracy", self.accuracy), (480, "train", "loss", 1.0)]
        return pd.DataFrame(rows, columns=["step", "split", "metric", "value"])

    def trajectory(self) -> tuple[Tensor, Tensor]:
        return torch.tensor([0, 96]), torch.zeros(2, 3)


class Given(Alone):
    """Trials in which the constant rate trains up to 2^-6, and warm-up up to 2^-4; nothing trains with torch's."""

    def trials(self, experiment: str, seed: int | None = None) -> list[Any]:
        largest = -4 if "warm-up" in experiment else -6
        found = []
        for init in warm_up.INITS:
            for power in warm_up.POWERS:
                good = power <= largest and init == "he"
                lost = "diverged at step 3" if power == -1 else ""
                found.append(MadeUp(init, warm_up.label(power), seed or 0, 0.95 if good else 0.2, lost))
        return found


def test_l9_reads_the_largest_rate_that_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_up, "sharpness_at", lambda *_: [10.0, 5.0])
    table = L9().measure(Given(), 0).assign(seed=0)
    context = table[table["x"].isna() & (table["setting"] == "He's initialization")]
    rates = context[context["quantity"] == "log2 of the largest rate that trains"].set_index("series")["value"]
    assert rates.to_dict() == {"constant": -6.0, "warm-up": -4.0}
    (ratio,) = context[context["quantity"].str.startswith("ln of sharpness")]["value"]
    assert ratio == pytest.approx(math.log(0.5))
    decision = decided(L9(), table)
    assert decision.verdict == "inconclusive"
    assert all("no rate trains" in " ".join(part.lost) for part in decision.parts)
    draws(L9(), table)


@pytest.mark.parametrize("tier", L9().tiers)
def test_l9_the_second_evaluation_is_the_end_of_the_warm_up(tier: str) -> None:
    for experiment in L9().needs(tier):
        for workload in experiment.content["workloads"].values():
            assert workload["evaluate_every"] == {"epochs": warm_up.SHARE * EPOCHS[tier]}
    schedule = Schedule.model_validate(warm_up.SCHEDULES["warm-up"])
    factors = [schedule.factor_at(t, t / 100, 0.01) for t in range(100)]
    assert factors[:20] == pytest.approx([(t + 1) / 20 for t in range(20)])
    assert factors[20:] == pytest.approx([1.0] * 80)


def test_l9_sharpness_is_the_largest_eigenvalue_at_each_of_the_weights() -> None:
    """At zero weights only the output bias bends the loss: diag(p) - pp' at p = 1/10 has the eigenvalue 1/10."""
    size = 64 * 64 + 64 + 10 * (64 * 64 + 64) + 64 * 10 + 10
    first, second = warm_up.sharpness_at("quick", "he", torch.zeros(2, size), 0, "cpu")
    assert first == pytest.approx(0.1, rel=1e-3)
    assert second == pytest.approx(first)
