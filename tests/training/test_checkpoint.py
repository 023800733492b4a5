"""A training that was cut off goes on to the very results of one that was not."""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import pickle
import random
import re
import shutil
import struct
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch

from probing import ref
from thalweg import signed
from thalweg.contracts.budget import Budget, Interval
from thalweg.contracts.option import resolve
from thalweg.contracts.schedule import Schedule
from thalweg.own import signing_key
from thalweg.registry import Registry, load_registry
from thalweg.training import checkpoint
from thalweg.training.alone import Training
from thalweg.training.assembly import ActiveProbe, assemble
from thalweg.training.checkpoint import Checkpoint
from thalweg.training.randomness import seeded
from thalweg.training.stacked.train import train_together
from thalweg.training.trained import Trained
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
        Checkpoint(path, "this").remove()
        with pytest.raises(CutOff):
            together(4)
        for one, other in zip(together(), whole, strict=True):
            if other.status == "done":
                assert one.summary["resumed_at"] == [4]
            same(one, other)


class Bomb:
    """A pickle of it makes the marker file where it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[Bomb]:
    made = Bomb(tmp_path / "marker")
    pickle.loads(pickle.dumps(made))
    made.marker.unlink()  # loaded, it does run
    yield made
    assert not made.marker.exists()


def test_a_state_is_loaded_by_its_own_training_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.pt"
    kept = Checkpoint(path, "this")
    kept.save({"step": 3, "weights": torch.arange(1000.0)})
    state = Checkpoint(path, "this").load()
    assert state is not None
    assert (state["step"], torch.equal(state["weights"], torch.arange(1000.0))) == (3, True)
    (file,) = path.parent.iterdir()
    assert file == kept.path
    assert re.fullmatch(r"state--[0-9a-f]{8}\.pt", file.name)
    assert signing_key().hex()[:8] not in file.name
    assert file.stat().st_mode & 0o777 == 0o600
    that = Checkpoint(path, "that")
    assert (that.load(), that.refused) == (None, "")
    kept.remove()
    assert (kept.load(), kept.refused) == (None, "")


def test_a_state_of_another_training_is_not_unpickled(tmp_path: Path, bomb: Bomb) -> None:
    Checkpoint(tmp_path / "state.pt", "that").save({"bomb": bomb})
    kept = Checkpoint(tmp_path / "state.pt", "this")
    assert (kept.load(), kept.refused) == (None, "")


@pytest.mark.parametrize("name", ["state.pt", "state--0123abcd.pt"])
def test_a_file_without_this_users_signature_is_left_alone_and_said(tmp_path: Path, bomb: Bomb, name: str) -> None:
    foreign = tmp_path / "there" / name
    if name == "state.pt":  # as versions before wrote it
        foreign.parent.mkdir()
        torch.save({"of": "this", "state": bomb}, foreign)
        foreign.chmod(0o600)
    else:
        signed.write(foreign, "this", bytes(32), lambda sink: torch.save(bomb, sink))
    before = foreign.read_bytes()
    kept = Checkpoint(tmp_path / "there" / "state.pt", "this")
    assert kept.load() is None
    assert kept.refused == (
        f"there/{name} is not signed with this user's key and was left alone; 'thalweg results compact' removes it when"
        " the trial has ended"
    )
    kept.save({"step": 1})
    assert kept.load() == {"step": 1}
    assert kept.refused == ""
    kept.remove()
    assert foreign.read_bytes() == before


def _cut(content: bytes, bomb: Bomb) -> bytes:
    return content[:-20]


def _longer(content: bytes, bomb: Bomb) -> bytes:
    return content + b"x"


def _one_byte(content: bytes, bomb: Bomb) -> bytes:
    return content[:-30] + bytes([content[-30] ^ 1]) + content[-29:]


def _other_identity(content: bytes, bomb: Bomb) -> bytes:
    return content[:16] + hashlib.sha256(b"this").digest() + content[48:]


def _other_content(content: bytes, bomb: Bomb) -> bytes:
    file = io.BytesIO()
    torch.save(bomb, file)
    return content[: signed.HEADER] + file.getvalue()


def _other_content_and_digest(content: bytes, bomb: Bomb) -> bytes:
    new = _other_content(content, bomb)
    payload = new[signed.HEADER :]
    return content[:48] + struct.pack(">Q", len(payload)) + hashlib.sha256(payload).digest() + content[88:120] + payload


def _unsigned(content: bytes, bomb: Bomb) -> bytes:
    return _other_content(content, bomb)[signed.HEADER :]


def _empty(content: bytes, bomb: Bomb) -> bytes:
    return b""


CHANGES = [_cut, _longer, _one_byte, _other_identity, _other_content, _other_content_and_digest, _unsigned, _empty]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_was_changed_is_not_unpickled_and_said(
    tmp_path: Path, bomb: Bomb, change: Callable[[bytes, Bomb], bytes]
) -> None:
    kept = Checkpoint(tmp_path / "state.pt", "that" if change is _other_identity else "this")
    kept.save({"bomb": bomb})
    kept.path.write_bytes(change(kept.path.read_bytes(), bomb))
    again = Checkpoint(tmp_path / "state.pt", "this")
    assert again.load() is None
    assert again.refused.startswith(f"{tmp_path.name}/{kept.path.name} ")
    assert again.refused.endswith("; the next checkpoint takes its place")


@pytest.mark.skipif(os.name != "posix", reason="modes, owners, pipes and links are POSIX's")
def test_what_is_no_file_of_this_user_alone_is_not_read(tmp_path: Path, bomb: Bomb) -> None:
    path = tmp_path / "state.pt"
    kept = Checkpoint(path, "this")
    kept.save({"bomb": bomb})
    elsewhere = tmp_path / "elsewhere"
    shutil.copy(kept.path, elsewhere)

    def refused(word: str) -> None:
        assert kept.load() is None
        assert word in kept.refused

    kept.path.chmod(0o660)
    refused("others than this user may have written it")
    kept.path.chmod(0o600)
    if os.getuid() == 0:
        os.chown(kept.path, 12345, -1)
        refused("others than this user may have written it")
    for put, word in (
        (lambda: kept.path.symlink_to(elsewhere), "is a symbolic link"),
        (lambda: os.mkfifo(kept.path, 0o600), "is a pipe"),
        (lambda: kept.path.symlink_to("/dev/zero"), "is a symbolic link"),
        (kept.path.mkdir, "is a folder"),
    ):
        kept.path.unlink()
        put()
        refused(word)
    before = elsewhere.read_bytes()
    kept.save({"step": 1})  # a folder has its name
    assert kept.path.is_dir()
    kept.path.rmdir()
    kept.path.symlink_to(elsewhere)
    kept.save({"step": 1})
    assert kept.load() == {"step": 1}
    assert elsewhere.read_bytes() == before
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    Checkpoint(tmp_path / "link" / "state.pt", "this").save({"step": 1})
    assert not list(folder.iterdir())


def test_without_a_key_nothing_is_kept_or_loaded(tmp_path: Path, bomb: Bomb, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"of": "this", "state": bomb}, tmp_path / "state.pt")
    monkeypatch.setattr(checkpoint, "signing_key", mock.Mock(side_effect=PermissionError("not yours")))
    kept = Checkpoint(tmp_path / "state.pt", "this")
    assert not kept.due
    kept.save({"step": 1})
    assert kept.load() is None
    assert "is not signed" in kept.refused
    kept.remove()
    assert [each.name for each in tmp_path.iterdir()] == ["state.pt"]


def test_a_state_is_not_held_twice_in_memory(tmp_path: Path) -> None:
    size = 64 << 20
    state = {"weights": torch.zeros(size, dtype=torch.uint8)}
    kept = Checkpoint(tmp_path / "state.pt", "this")
    tracemalloc.start()
    kept.save(state)
    # what Python allocates: chunks on their way, and not the whole
    assert tracemalloc.get_traced_memory()[1] < size // 4
    tracemalloc.stop()
    assert kept.path.stat().st_size > size


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
