"""Claims of section G on trials with known answers."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from made_trials import MadeContext, MadeTrial, value_of
from thalweg_plugins.claims.batch_norm import experiments, training
from thalweg_plugins.claims.batch_norm.experiments import BATCH, NOISY, PLAIN, RATES, RESIDUAL, SHIFT_RATES, rate
from thalweg_plugins.claims.batch_norm.smoothness import CovariateShift, Smoothness, at_levels, shift, smoothness
from thalweg_plugins.claims.batch_norm.training import (
    Generalization,
    GradientsByLayer,
    NoisyBatchNorm,
    Reliability,
    slope,
)


def _accurate(workload: str, optimizer: str, *accuracies: float, lost: str = "") -> MadeTrial:
    losses = [1.0 - 0.9 * accuracy for accuracy in accuracies]
    values = {("train", "accuracy"): accuracies, ("train", "loss"): losses}
    return MadeTrial(workload, optimizer, values=values, lost=lost, steps=[5 * k for k in range(len(accuracies))])


def test_g1_counts_cells_that_reach_95_percent_at_any_evaluation() -> None:
    content = experiments.reliability("quick").content
    cells = [(workload, label) for workload in content["workloads"] for label in content["optimizers"]]
    assert len(cells) == 3 * 12
    trials = []
    for workload, label in cells:
        kind = workload.rsplit("-", 2)[0]
        if kind == PLAIN:  # half of the cells diverge after they got there
            trials.append(_accurate(workload, label, 0.1, 0.96, lost="diverged" if label == "lr-0-1" else ""))
        else:
            trials.append(_accurate(workload, label, 0.1, 0.97 if kind == BATCH else 0.94, 0.5))
    table = Reliability().measure(MadeContext(trials), 0)
    quantity = "share of cells that reach 95% training accuracy"
    assert value_of(table, quantity, "plain") == 0.5
    assert value_of(table, quantity, "batch norm") == 1.0
    assert value_of(table, quantity, "residual") == 0.0
    assert {RESIDUAL, PLAIN, BATCH} == {workload.rsplit("-", 2)[0] for workload, _ in cells}


def test_g3_counts_a_plain_network_that_does_not_arrive_with_all_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {PLAIN: [0.1, 0.2, 0.3, 0.4], BATCH: [0.1, 0.96, 0.97, 0.98], NOISY: [0.1, 0.2, 0.95, 0.96]}
    kinds = {str(workload): kind for kind, workload in experiments.noisy("quick").items()}
    assert len(kinds) == 3

    def made(workload: object, seed: int, device: str) -> pd.Series:
        return pd.Series(found[kinds[str(workload)]], index=[0, 5, 10, 15])

    monkeypatch.setattr(training, "accuracies", made)
    table = NoisyBatchNorm().measure(MadeContext([]), 0)
    quantity = "steps to 95% training accuracy"
    assert [value_of(table, quantity, name) for name in ("plain", "batch norm", "noisy batch norm")] == [15, 5, 10]
    found[NOISY] = [0.1, 0.2, 0.3, 0.4]
    assert math.isnan(value_of(NoisyBatchNorm().measure(MadeContext([]), 0), quantity, "noisy batch norm"))


def test_g3_leaves_noise_and_running_statistics_out_of_the_accuracy() -> None:
    """Before the first step both networks are one function; noise moves weights, and other noise in other seeds."""
    plain, normed, noisy = (
        training.accuracies({**workload, "budget": {"epochs": 1}}, 0, "cpu")
        for workload in experiments.noisy("quick").values()
    )
    assert plain.index.tolist() == normed.index.tolist() == list(range(0, 17, 5))
    assert normed[0] == noisy[0] != plain[0]
    assert normed[15] != noisy[15]
    workload = {**experiments.noisy("quick")[NOISY], "budget": {"epochs": 1}}
    pd.testing.assert_series_equal(noisy, training.accuracies(workload, 0, "cpu"))


def _flow(slopes: dict[int, float], depth: int) -> pd.DataFrame:
    """Gradient norms 2^(slope l), with other numbers at the ends, which do not count."""
    rows = []
    for epoch, each in slopes.items():
        norms = [2.0 ** (each * layer) for layer in range(1, depth + 1)]
        norms[0], norms[-1] = 1e6, 1e-6
        rows += [(float(epoch), "gradient norm", layer, norm) for layer, norm in enumerate(norms, start=1)]
    return pd.DataFrame(rows, columns=["epoch", "quantity", "depth", "value"])


def test_g5_fits_slopes_at_the_start_and_takes_their_mean_in_training() -> None:
    slopes = {0: -0.5, 1: -0.1, 5: 0.2, 10: 0.2, 7: 9.0}
    trials = [
        MadeTrial(f"{kind}-{depth}", rate(0.01), tables={"gradient-flow": _flow(slopes, depth)})
        for kind in (PLAIN, BATCH)
        for depth in (12, 24)
    ]
    table = GradientsByLayer().measure(MadeContext(trials), 0)
    size, signed = "|slope of log2 gradient norm by layer|", "slope of log2 gradient norm by layer"
    assert value_of(table, size, "plain", "initialization, depth 24") == pytest.approx(0.5)
    assert value_of(table, signed, "batch norm", "initialization, depth 12") == pytest.approx(-0.5)
    assert value_of(table, size, "plain", "training, depth 12") == pytest.approx(0.5 / 3)
    assert value_of(table, signed, "plain", "training, depth 12") == pytest.approx(0.1)
    assert math.isnan(slope(pd.Series({1: 1.0, 2: 0.0, 3: 1.0, 4: 1.0})))


def test_g6_reads_the_error_at_the_larger_final_loss() -> None:
    trials = []
    for name in experiments.MATCHED["quick"]:
        for kind, losses, accuracies in (
            (PLAIN, [2.0, 1.0, 0.5], [0.1, 0.5, 0.7]),
            (BATCH, [2.0, 0.5, 0.1], [0.1, 0.8, 0.9]),
        ):
            values = {("train", "loss"): losses, ("valid", "accuracy"): accuracies}
            trials.append(MadeTrial(experiments.matched_workload(name, kind), "momentum", values=values))
    table = Generalization().measure(MadeContext(trials), 0)
    quantity = "held-out error at matched training loss"
    assert value_of(table, quantity, "plain", "digits-mlp") == pytest.approx((0.3 * 270 + 0.5) / 271)
    assert value_of(table, quantity, "batch norm", "digits-mlp") == pytest.approx((0.2 * 270 + 0.5) / 271)


def _measured(kind: str, lr: float, scale: float, accuracy: float = 0.95, lost: str = "", seed: int = 0) -> MadeTrial:
    """Shift, ranges and smoothness equal to ``scale`` at steps 0, 10 and 20, where the loss is 1, 0.1 and 0.01."""
    steps = [0, 10, 20]
    shifts = pd.DataFrame(
        {
            "step": np.repeat(steps, 3),
            "depth": [1, 2, 3] * 3,
            "difference": [0.0, scale, scale] * 3,
            "relative": [0.0, scale / 2, scale / 2] * 3,
        }
    )
    ranges = pd.DataFrame(
        {
            "step": steps,
            "loss": 2.0,
            "gradient_norm": 4.0,
            "loss_low": 1.0,
            "loss_high": 1.0 + scale,
            "gradient_low": 0.5,
            "gradient_high": 0.5 + 2 * scale,
            "beta": scale,
        }
    )
    values = {("train", "loss"): [1.0, 0.1, 0.01], ("train", "accuracy"): [0.1, accuracy, accuracy]}
    tables = {"covariate-shift": shifts, "smoothness": ranges}
    return MadeTrial(kind, rate(lr), seed, values=values, steps=steps, tables=tables, lost=lost)


def test_g2_takes_the_mean_logarithm_over_layers_with_an_earlier_layer_and_over_steps() -> None:
    trials = [
        _measured(kind, lr, scale, seed=seed)
        for kind, scale in ((PLAIN, 1.0), (BATCH, math.e))
        for lr in SHIFT_RATES
        for seed in (0, 1)
    ]
    assert shift(trials[0]).tolist() == [0.0, 0.0, 0.0]
    table = CovariateShift().measure(MadeContext(trials, 2), 0)
    for lr in SHIFT_RATES:
        assert value_of(table, "mean log shift", "batch norm", f"lr = {lr:g}") == pytest.approx(1.0)
        assert value_of(table, "mean log relative shift", "plain", f"lr = {lr:g}") == pytest.approx(-math.log(2))
    quantity = "mean log shift at matched training loss"
    assert value_of(table, quantity, "batch norm", "each at its best rate") == pytest.approx(1.0)


def test_g4_is_judged_at_the_largest_rate_that_trains_the_plain_network_in_every_seed() -> None:
    trials = [
        _measured(
            kind,
            lr,
            math.e**2 if kind == PLAIN else math.e,
            accuracy=0.85 if (kind, lr, seed) == (PLAIN, 0.1, 1) else 0.95,
            lost="diverged" if (kind, lr) == (PLAIN, 0.3) else "",
            seed=seed,
        )
        for kind in (PLAIN, BATCH)
        for lr in RATES
        for seed in (0, 1)
    ]
    table = Smoothness().measure(MadeContext(trials, 2), 0)
    assert value_of(table, "judged rate") == 0.03
    assert value_of(table, "mean log range of the loss", "plain", "judged rate") == pytest.approx(2.0)
    assert value_of(table, "mean log range of the gradient", "batch norm", "judged rate") == pytest.approx(
        1 + math.log(2)
    )
    assert value_of(table, "mean log effective smoothness", "plain", "judged rate") == pytest.approx(2.0)
    assert math.isnan(value_of(table, "mean log effective smoothness", "plain", "lr = 0.3"))
    relative = "mean log relative range of the loss at matched training loss"
    assert value_of(table, relative, "batch norm", "each at its best rate") == pytest.approx(1 - math.log(2))


def test_networks_are_compared_at_losses_that_both_pass_through() -> None:
    """The quantity is -ln of the loss itself, so that equal losses give equal values, up to the spacing of steps."""
    steps = list(range(200))

    def trial(speed: float) -> MadeTrial:
        losses = [math.exp(-speed * step) for step in steps]
        table = pd.DataFrame({"step": steps, "value": losses})
        return MadeTrial("w", "a", values={("train", "loss"): losses}, steps=steps, tables={"own": table})

    def curve(made: MadeTrial) -> pd.Series:
        return -np.log(made.table("own").set_index("step")["value"])

    slow, fast = at_levels([trial(0.01), trial(0.05)], curve)  # type: ignore[arg-type]
    assert slow == pytest.approx(fast, abs=0.05)
    assert slow == pytest.approx(0.995, abs=0.05)


def test_a_step_without_a_finite_value_makes_the_smoothness_missing() -> None:
    trial = _measured(PLAIN, 0.1, 1.0)
    table = trial.tables["smoothness"].copy()
    table.loc[1, "beta"] = math.inf
    trial.tables = {**trial.tables, "smoothness": table}
    assert not np.isfinite(smoothness(trial)["beta"]).all()
    trials = [trial if lr == 0.1 else _measured(PLAIN, lr, 1.0) for lr in RATES]
    trials += [_measured(BATCH, lr, 1.0) for lr in RATES]
    found = Smoothness().measure(MadeContext(trials), 0)
    assert math.isnan(value_of(found, "mean log effective smoothness", "plain", "lr = 0.1"))
