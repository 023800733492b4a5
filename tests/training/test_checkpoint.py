"""A training that was cut off goes on to the very results of one that was not."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from probing import ref
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.option import resolve
from thalweg.contracts.schedule import Schedule
from thalweg.registry import Registry, load_registry
from thalweg.training import checkpoint
from thalweg.training.assembly import ActiveProbe, assemble
from thalweg.training.checkpoint import Checkpoint
from thalweg.training.loop import Trained, Training
from thalweg.training.randomness import seeded
from thalweg.training.stacked import train_together
from thalweg.trial import ProbeRequest, Stack, Trial
from thalweg_plugins.optimizers import FIRST_ORDER

OPTIMIZERS = [entry.name for entry in load_registry([]).entries("optimizers")]
ELEMENTWISE = [optimizer.name for optimizer in FIRST_ORDER if optimizer.elementwise]


class CutOff(BaseException):
    """As a kill does, it passes through everything."""


@pytest.fixture(autouse=True)
def _every_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


def trial(**changes: Any) -> Trial:
    values: dict[str, Any] = {
        "problem": ref("digits"),
        "architecture": ref("mlp", widths=[4], activation="tanh"),
        "optimizer": ref("adam"),
        "budget": Budget(steps=8),
        "evaluate_every": Interval(steps=2),
        "batch_size": 256,
        "validation_fraction": 0.2,
        "dtype": "float64",
        "seed": 1,
    }
    return Trial(**(values | changes))


def run(registry: Registry, asked: Trial, path: Path, probes: Sequence[ActiveProbe] = (), cut: int = 0) -> Trained:
    """Train, from the checkpoint where there is one; with ``cut`` until after the evaluation at that step."""
    kept = Checkpoint(path, "this")

    def progress(done: int, total: int) -> None:
        # told after the evaluation and before its checkpoint: cut off at the next one after it
        if cut and done > cut:
            raise CutOff

    with seeded(1):
        training = Training(assemble(asked, registry), list(probes), progress, "trajectory", kept)
        state = kept.load()
        if state is not None:
            training.restore(state)
        return training.run()


def same(one: Trained, other: Trained) -> None:
    """All but the seconds is equal, bit by bit."""
    assert (one.status, one.reason) == (other.status, other.reason)
    pd.testing.assert_frame_equal(
        one.curve.drop(columns="seconds"), other.curve.drop(columns="seconds"), check_exact=True
    )
    for name in ("initial", "final"):
        mine, theirs = getattr(one.weights, name), getattr(other.weights, name)
        assert (mine is None) == (theirs is None)
        assert all(torch.equal(mine[key], theirs[key]) for key in theirs or {})
    if other.weights.trajectory is not None:
        assert one.weights.trajectory is not None
        assert torch.equal(one.weights.trajectory, other.weights.trajectory)
        assert one.weights.trajectory_steps == other.weights.trajectory_steps
    assert one.tables.keys() == other.tables.keys()
    for key, table in other.tables.items():
        pd.testing.assert_frame_equal(one.tables[key], table, check_exact=True)
    assert not one.probe_failures
    summaries = [dict(trained.summary) for trained in (one, other)]
    for summary in summaries:
        del summary["seconds"]
        summary.pop("resumed_at", None)
    assert summaries[0] == summaries[1]


def check(
    registry: Registry, asked: Trial, folder: Path, probes: Sequence[ActiveProbe] = (), cuts: Sequence[int] = (2,)
) -> None:
    whole = run(registry, asked, folder / "whole", probes)
    path = folder / "cut"
    for cut in cuts:
        with pytest.raises(CutOff):
            run(registry, asked, path, probes, cut)
    again = run(registry, asked, path, probes)
    assert again.summary["resumed_at"] == list(cuts)
    same(again, whole)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_as_if_nothing_had_been(registry: Registry, name: str, tmp_path: Path) -> None:
    check(registry, trial(optimizer=ref(name)), tmp_path)


def test_recipe_batch_norm_and_probes_go_on(registry: Registry, tmp_path: Path) -> None:
    def active(name: str, **given: Any) -> ActiveProbe:
        probe = registry.probe(name)
        return ActiveProbe(ProbeRequest(label=name, probe=ref(name)), probe, resolve(probe.options, given, name))

    asked = trial(
        problem=ref("digits", layout="image"),
        architecture=ref("convnet", channels=[2, 2, 2], widths=[4], padding="same", norm="batch"),
        schedule=Schedule(name="cosine"),
        decoupled_weight_decay=0.1,
        clip_norm=1.0,
        dtype="float32",
    )
    check(registry, asked, tmp_path, [active("gradient-flow"), active("line"), active("smoothness", every=2)], (2, 4))


def test_random_numbers_of_modules_and_optimizers_go_on(registry: Registry, tmp_path: Path) -> None:
    def noisy(it: Any) -> Any:
        step = it.stepper.step

        def with_noise(objective: Any) -> Any:
            report = step(objective)
            with torch.no_grad():
                for parameter in it.module.parameters():
                    parameter.add_(torch.randn_like(parameter), alpha=0.1 * random.random() * np.random.rand())  # noqa: NPY002
            return report

        it.stepper.step = with_noise
        return it

    def trained(path: Path, cut: int = 0) -> Trained:
        kept = Checkpoint(path, "this")
        with seeded(1):
            training = Training(noisy(assemble(trial(), registry)), [], _cut_after(cut), None, kept)
            if (state := kept.load()) is not None:
                training.restore(state)
            return training.run()

    with pytest.raises(CutOff):
        trained(tmp_path / "cut", 2)
    again, whole = trained(tmp_path / "cut"), trained(tmp_path / "whole")
    assert again.summary["resumed_at"] == [2]
    same(again, whole)


def _cut_after(cut: int) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        if cut and done > cut:
            raise CutOff

    return progress


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_group_goes_on_as_if_nothing_had_been(registry: Registry, name: str, tmp_path: Path) -> None:
    (lr,) = (option.default for option in registry.optimizer(name).options if option.name == "lr")
    for rates in ([lr, lr, lr], [lr, 0.5 * lr, 1e9]):
        optimizers = [ref(name, lr=rate) for rate in rates]
        stack = Stack(size=4, slot=0, rows=True)
        trials = [trial(optimizer=optimizer, seed=seed, stack=stack) for seed, optimizer in enumerate(optimizers)]
        path = tmp_path / f"group-{rates[2]}"

        def together(cut: int = 0, path: Path = path, trials: list[Trial] = trials) -> list[Trained]:
            steps = itertools.count()

            def progress(index: int, done: int, total: int) -> None:
                if cut and done > cut and next(steps) == 0:
                    raise CutOff

            return train_together(trials, registry, progress, "trajectory", Checkpoint(path, "this"))

        whole = together()
        path.unlink()
        with pytest.raises(CutOff):
            together(4)
        for one, other in zip(together(), whole, strict=True):
            if other.status == "done":
                assert one.summary["resumed_at"] == [4]
            same(one, other)


def test_a_file_that_is_not_this_users_own_checkpoint_of_this_training_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.pt"
    Checkpoint(path, "this").save({"step": 3})
    assert Checkpoint(path, "this").load() == {"step": 3}
    assert Checkpoint(path, "that").load() is None
    assert (path.stat().st_mode & 0o777, len(list(path.parent.iterdir()))) == (0o600, 1)
    link = tmp_path / "link.pt"
    link.symlink_to(path)
    assert Checkpoint(link, "this").load() is None
    path.chmod(0o660)
    assert Checkpoint(path, "this").load() is None
    path.chmod(0o600)
    if os.getuid() == 0:
        os.chown(path, 12345, -1)
        assert Checkpoint(path, "this").load() is None
        os.chown(path, 0, -1)
    path.write_bytes(path.read_bytes()[:-20])
    assert Checkpoint(path, "this").load() is None
    Checkpoint(path, "this").remove()
    assert Checkpoint(path, "this").load() is None


def test_what_cannot_be_kept_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    Checkpoint(path, "this").save({"open file": (tmp_path / "x").open("w")})
    (tmp_path / "file").touch()
    Checkpoint(tmp_path / "file" / "state.pt", "this").save({"step": 1})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "x"]


def test_checkpoints_take_a_small_part_of_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(checkpoint, "LEAST_SECONDS", 2.0)
    monkeypatch.setattr(checkpoint, "SHARE", 0.05)
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    kept = Checkpoint(tmp_path / "state.pt", "this")
    assert not kept.due
    now[0] += 2
    assert kept.due

    def slowly(*_: Any) -> None:
        now[0] += 3

    monkeypatch.setattr(torch, "save", slowly)
    kept.save({})
    now[0] += 59
    assert not kept.due
    now[0] += 1
    assert kept.due
