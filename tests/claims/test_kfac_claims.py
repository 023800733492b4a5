"""Claims B5 and B6: settings of equal number, their choice, costs in turns, and losses at matched training loss."""

from __future__ import annotations

import math

import pytest

from made_trials import MadeContext, MadeTrial, value_of
from thalweg_plugins.claims.natural_gradient import experiments, kfac
from thalweg_plugins.claims.natural_gradient.kfac import FewerIterations, HeldOutLoss, best_setting


def test_each_optimizer_has_twelve_settings_and_kfac_those_of_the_paper() -> None:
    for name in experiments.GRIDS:
        assert len(experiments.settings(name)) == 12
    paper = {"optimizer": "kfac", "damping": 150.0, "min_damping": 0.0, "inverse_interval": 5}
    assert paper in experiments.settings("kfac").values()


def _trials(errors: dict[str, float], choosing: dict[str, float]) -> list[MadeTrial]:
    """Trials of all settings with final error 9, but those of ``errors``; other errors for the seeds that choose."""
    return [
        MadeTrial(
            "autoencoder",
            label,
            seed,
            values={
                ("train", "squared_error"): [10.0, 9.5, (choosing if seed >= 5 else errors).get(label, 9.0)]
            },
            steps=[0, 10, 20],
        )
        for name in experiments.GRIDS
        for label in experiments.settings(name)
        for seed in range(7)
    ]  # fmt: skip


def test_settings_are_chosen_by_seeds_that_do_not_decide() -> None:
    first, second = list(experiments.settings("adam"))[:2]
    context = MadeContext(_trials({first: 1.0}, {second: 2.0}), 5)
    assert best_setting(context, "adam") == second


def test_b5_multiplies_iterations_by_the_seconds_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kfac, "step_seconds", lambda context, labels, seed: {"kfac": 0.01, "nesterov": 0.001})
    best = {"kfac-150-0": 2.0, "nesterov-0_05-0_9": 9.2, "adam-0_01-0_9": 3.0, "muon-0_03-0_03": 4.0}
    other = {label: 9.0 for name in ("nesterov",) for label in experiments.settings(name)}
    trials = _trials({**other, **best}, {**dict.fromkeys(other, 9.9), **best})
    table = FewerIterations().measure(MadeContext(trials, 5), 0)
    assert value_of(table, "training error", "kfac") == 2.0
    assert value_of(table, "training error", "nesterov") == 9.2
    quantity = "seconds to the rival's final error"
    assert value_of(table, quantity, "kfac") == pytest.approx(20 * 0.01)
    assert value_of(table, quantity, "nesterov") == pytest.approx(20 * 0.001)


def test_steps_are_timed_on_the_workload_and_setting_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kfac, "BLOCKS", 2)
    monkeypatch.setattr(kfac, "BLOCK", 1)
    labels = {"kfac": "kfac-150-0", "nesterov": "nesterov-0_05-0_9"}
    found = kfac.step_seconds(MadeContext([]), labels, 0)
    assert set(found) == set(labels)
    assert all(value > 0 for value in found.values())


def test_b6_compares_held_out_losses_at_the_larger_final_training_loss() -> None:
    trials = []
    for workload in experiments.NAMES["quick"]:
        for name, train, valid in (
            ("kfac", [1.0, 0.3, 0.1], [1.0, 0.5, 0.9]),
            ("nesterov", [1.0, 0.6, 0.3], [1, 0.7, 0.4]),
        ):
            trials.append(MadeTrial(workload, name, values={("train", "loss"): train, ("valid", "loss"): valid}))
    table = HeldOutLoss().measure(MadeContext(trials), 0)
    quantity = "held-out loss at matched training loss"
    assert value_of(table, quantity, "kfac", "digits-mlp") == 0.5
    assert value_of(table, quantity, "nesterov", "digits-mlp") == 0.4
    trials[0].lost = "diverged"
    lost = HeldOutLoss().measure(MadeContext(trials), 0)
    assert math.isnan(value_of(lost, quantity, "nesterov", "digits-autoencoder"))
