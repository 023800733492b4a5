"""What each format means by a step, an empty cell and a nan, on small files that say it."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from thalweg.contracts import ForeignRun, ImportContext, Importer
from thalweg.errors import UserError
from thalweg.registry import load_registry


def read(name: str, *files: Path, step: str = "") -> tuple[list[ForeignRun], list[str]]:
    importer: Any = load_registry().entry("importers", name).component
    assert isinstance(importer, Importer)
    context = ImportContext(step=step)
    return list(importer.read(sorted(files), context)), list(context.notes)


def values(run: ForeignRun, key: str) -> list[tuple[float, float]]:
    rows = run.rows[run.rows["key"] == key]
    return list(zip(rows["step"].tolist(), rows["value"].tolist(), strict=True))


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_lightning_counts_from_0_and_blank_is_not_nan(tmp_path: Path) -> None:
    path = written(tmp_path / "v" / "metrics.csv", "epoch,step,train_loss,val_acc\n0,0,1.5,\n0,0,,0.1\n0,9,nan,\n")
    written(tmp_path / "v" / "hparams.yaml", "optim:\n  name: adam\n  lr: 0.1\n")
    ((run,), _) = read("lightning", path)
    assert values(run, "val_acc") == [(1, 0.1)]
    assert values(run, "train_loss")[0] == (1, 1.5)
    assert math.isnan(values(run, "train_loss")[1][1])
    assert run.parameters == {"optim.name": "adam", "optim.lr": 0.1}


def test_keras_na_is_not_nan_and_a_second_fit_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "log.csv", "epoch,loss,val_loss\n0,3,NA\n1,2,2.5\n0,1,NA\n1,nan,nan\n")
    ((run,), notes) = read("keras", path)
    assert [step for step, _ in values(run, "loss")] == [1, 2, 3, 4]
    assert [step for step, _ in values(run, "val_loss")] == [2, 4]
    assert run.counts == "epochs"
    assert any("go on from those before" in note for note in notes)


def test_fastai_writes_its_header_again(tmp_path: Path) -> None:
    head = "epoch,train_loss,valid_loss,accuracy,time\n"
    path = written(tmp_path / "history.csv", f"{head}0,3,3,0.1,00:01\n{head}0,2,2,0.2,00:01\n1,1,1,0.3,01:00\n")
    ((run,), _) = read("fastai", path)
    assert values(run, "valid_accuracy") == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_timm_has_ragged_rows_and_per_cent(tmp_path: Path) -> None:
    head = "epoch,train_loss,eval_loss,eval_top1,eval_top5,lr\n"
    path = written(
        tmp_path / "a" / "summary.csv", f"{head}0,3,2.5,50.0,90.0,0.1\n1,2,0.1\n{head}2,1,1.5,60.0,95.0,0.1\n"
    )
    written(tmp_path / "a" / "args.yaml", "opt: sgd\nlr: 0.1\nseed: 3\n")
    ((run,), _) = read("timm", path)
    assert values(run, "train_loss") == [(1, 3), (2, 2), (3, 1)]
    assert values(run, "eval_loss") == [(1, 2.5), (3, 1.5)]
    assert values(run, "eval_top1") == [(1, 0.5), (3, 0.6)]
    assert (run.parameters["optimizer"], run.parameters["seed"]) == ("sgd", 3)
    path = written(tmp_path / "b" / "summary.csv", "epoch,train_loss,lr\n0,3,0.1\n1,2,2.5,50.0,90.0,0.1\n")
    ((run,), _) = read("timm", path)
    assert values(run, "eval_loss") == [(2, 2.5)]
    assert values(run, "eval_top1") == [(2, 0.5)]


def test_skorch_counts_from_1_and_a_second_fit_goes_on(tmp_path: Path) -> None:
    entries = [{"batches": [], "epoch": epoch, "valid_acc": 0.1 * epoch, "dur": 1.0} for epoch in (1, 2, 1)]
    ((run,), _) = read("skorch", written(tmp_path / "history.json", json.dumps(entries)))
    assert [step for step, _ in values(run, "valid_acc")] == [1, 2, 3]
    assert set(run.rows["key"]) == {"valid_acc"}


def test_trainer_writes_nan_as_0_and_the_last_checkpoint_counts(tmp_path: Path) -> None:
    log: list[dict[str, Any]] = [
        {"step": 10, "loss": 1.0, "grad_norm": 1.0, "epoch": 0.5},
        {"step": 20, "loss": 0.0, "grad_norm": math.nan, "epoch": 1.0},
        {"step": 30, "loss": 0.0, "grad_norm": 0.0, "epoch": 1.5},
        {"step": 30, "eval_loss": math.nan, "epoch": 1.5},
        {"step": 40, "loss": 0.0, "grad_norm": 0.5, "epoch": 2.0},
        {"step": 40, "eval_loss": 0.2, "epoch": 2.0},
        {"step": 40, "train_loss": 0.3, "train_runtime": 1.0, "epoch": 2.0},
    ]
    older = {"global_step": 20, "log_history": log[:2]}
    files = [
        written(tmp_path / "run" / "checkpoint-20" / "trainer_state.json", json.dumps(older)),
        written(tmp_path / "run" / "trainer_state.json", json.dumps({"global_step": 40, "log_history": log})),
    ]
    ((run,), notes) = read("hf", *files)
    losses = values(run, "loss")
    assert losses[0] == (10, 1.0)
    assert [math.isnan(value) for _, value in losses] == [False, True, True, False]
    assert run.name == "run"
    assert "train_loss" not in set(run.rows["key"])
    assert any("losses of 0.0 were nan" in note for note in notes)


def test_mlflow_says_nan_infinity_and_the_latest_value(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as tables:
        tables.execute("CREATE TABLE runs (run_uuid, name, status, lifecycle_stage, experiment_id)")
        tables.execute("CREATE TABLE params (key, value, run_uuid)")
        tables.execute("CREATE TABLE metrics (key, value, timestamp, run_uuid, step, is_nan)")
        tables.execute("CREATE TABLE experiments (experiment_id, name)")
        tables.executemany("INSERT INTO experiments VALUES (?, ?)", [(0, "Default"), (1, "cifar")])
        runs = [
            ("a", "one", "FINISHED", "active", 1),
            ("b", "two", "FAILED", "active", 0),
            ("c", "", "FINISHED", "deleted", 0),
        ]
        tables.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", runs)
        tables.execute("INSERT INTO params VALUES ('lr', '1e-3', 'a')")
        rows = [
            ("loss", 2.0, 200, "a", 1, 0),
            ("loss", 1.0, 100, "a", 1, 0),
            ("loss", 0.0, 300, "a", 2, 1),
            ("loss", 1.7976931348623157e308, 400, "a", 3, 0),
            ("loss", 1.0, 100, "b", 1, 0),
            ("loss", 1.0, 100, "c", 1, 0),
        ]
        tables.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
    tables.close()
    (one, two), notes = read("mlflow", path)
    assert [value for _, value in values(one, "loss")][:2] == [1.0, 2.0]  # the later one counts
    assert math.isnan(values(one, "loss")[2][1])
    assert values(one, "loss")[3] == (3, math.inf)
    assert one.parameters == {"workload": "cifar", "lr": 0.001}
    assert two.parameters == {}
    assert (two.status, two.reason) == ("failed", "MLflow says FAILED")
    assert notes == ["MLflow: deleted runs are left out"]


def test_mlruns_has_a_folder_for_a_key_with_a_slash(tmp_path: Path) -> None:
    run = tmp_path / "mlruns" / "0" / "a"
    meta = written(run / "meta.yaml", "run_name: one\nstatus: 3\nlifecycle_stage: active\n")
    written(run / "metrics" / "val" / "loss", "100 0.5 1\n300 nan 2\n200 0.25 2\n")
    written(run / "params" / "lr", "0.1")
    ((found,), _) = read("mlflow", meta)
    assert [step for step, _ in values(found, "val/loss")] == [1, 2, 2]
    assert math.isnan(values(found, "val/loss")[2][1])
    assert found.parameters == {"lr": 0.1}


def test_optuna_has_types_of_values_and_leaves_pruned_trials_out(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as tables:
        tables.execute("CREATE TABLE studies (study_id, study_name)")
        tables.execute("CREATE TABLE trials (trial_id, number, study_id, state)")
        tables.execute("CREATE TABLE trial_params (trial_id, param_name, param_value, distribution_json)")
        tables.execute(
            "CREATE TABLE trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)"
        )
        tables.execute("INSERT INTO studies VALUES (1, 's')")
        tables.executemany(
            "INSERT INTO trials VALUES (?, ?, 1, ?)", [(1, 0, "COMPLETE"), (2, 1, "PRUNED"), (3, 2, "FAIL")]
        )
        choices = json.dumps({"name": "CategoricalDistribution", "attributes": {"choices": ["adam", "sgd"]}})
        tables.execute("INSERT INTO trial_params VALUES (1, 'optimizer', 1.0, ?)", (choices,))
        rows = [(1, 1, 0.5, "FINITE"), (1, 2, None, "INF_POS"), (2, 1, 0.5, "FINITE"), (3, 1, None, "NAN")]
        tables.executemany("INSERT INTO trial_intermediate_values VALUES (?, ?, ?, ?)", rows)
    tables.close()
    (one, three), notes = read("optuna", path)
    assert values(one, "intermediate") == [(1, 0.5), (2, math.inf)]
    assert one.parameters == {"workload": "s", "optimizer": "sgd"}
    assert three.status == "diverged"
    assert notes == ["Optuna: 1 trials are PRUNED, so they had another budget, and are left out"]


def test_ray_steps_are_reports_or_what_the_user_names(tmp_path: Path) -> None:
    lines = [
        {"training_iteration": 1, "steps": 100, "loss": 1.0, "done": False, "time_total_s": 7.7, "config": {"lr": 1}},
        {"training_iteration": 2, "steps": 200, "loss": math.nan, "eval": {"acc": 0.5}, "done": True},
    ]
    path = written(tmp_path / "t" / "result.json", "\n".join(map(json.dumps, lines)))
    written(tmp_path / "t" / "params.json", '{"lr": 0.1, "opt": {"name": "sgd"}}')
    ((run,), _) = read("ray", path)
    assert [step for step, _ in values(run, "loss")] == [1, 2]
    assert set(run.rows["key"]) == {"loss", "steps", "eval.acc"}
    assert (run.parameters, run.counts) == ({"lr": 0.1, "opt.name": "sgd"}, "epochs")
    ((run,), _) = read("ray", path, step="steps")
    assert values(run, "eval.acc") == [(200, 0.5)]
    assert run.counts == "steps"


def test_dvclive_names_a_metric_by_its_path(tmp_path: Path) -> None:
    place = tmp_path / "dvclive" / "plots" / "metrics"
    files = [
        written(place / "train" / "loss.tsv", "step\tloss\n5\t1.0\n10\tnan\n"),
        written(place / "val" / "loss.tsv", "step\tloss\n10\t2.0\n"),
    ]
    ((run,), _) = read("dvclive", *files)
    assert values(run, "val/loss") == [(10, 2.0)]
    assert values(run, "train/loss")[0] == (5, 1.0)
    assert run.counts == "steps"


def test_wandb_calls_of_log_are_no_steps(tmp_path: Path) -> None:
    def field(number: int, content: bytes) -> bytes:
        key, size = number << 3 | 2, len(content)
        head = bytes([key & 127 | 128, key >> 7]) if key > 127 else bytes([key])
        return head + bytes([size & 127 | 128, size >> 7]) + content

    def record(**told: object) -> bytes:
        items = [field(1, field(2, key.encode()) + field(16, json.dumps(one).encode())) for key, one in told.items()]
        return field(2, b"".join(items))

    path = tmp_path / "run.wandb"
    bodies = [
        record(_step=0, step=10, loss=1.0),
        record(_step=1, step=10, val_loss="NaN"),
        record(_step=2, step=20, loss=0.5),
    ]
    chunks = [struct.pack("<IHB", zlib.crc32(b"\x01" + body), len(body), 1) + body for body in bodies]
    path.write_bytes(b":W&B\xe1\xbe\x00" + b"".join(chunks) + b"\x00\x00")
    ((run,), notes) = read("wandb", path)
    assert [step for step, _ in values(run, "loss")] == [0, 2]
    assert any("steps are calls of log" in note for note in notes)
    ((run,), _) = read("wandb", path, step="step")
    assert values(run, "loss") == [(10, 1.0), (20, 0.5)]
    assert math.isnan(values(run, "val_loss")[0][1])


def test_a_table_of_wandbs_web_page_has_a_run_for_each_name(tmp_path: Path) -> None:
    head = '"Step","adam-0 - val_acc","adam-0 - val_acc__MIN","adam-0 - val_acc__MAX"'
    text = f"{head}\n10,0.5,0.5,0.5\n20,,,\n30,0.7,0.7,0.7\n"
    path = written(tmp_path / "export.csv", text)
    importer: Any = load_registry().entry("importers", "wandb").component
    assert importer.recognises(path)
    ((run,), _) = read("wandb", path)
    assert run.parameters == {"run": "adam-0"}
    assert values(run, "val_acc") == [(10, 0.5), (30, 0.7)]


def test_tensorboard_has_all_values_and_resumed_steps_twice(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        for step in range(10_050):
            writer.add_scalar("Loss/train", 1.0, step)
        for _ in range(3):
            writer.add_scalar("Acc/valid", 0.5, 1)
        writer.add_text("note", "no number", 0)
        writer.add_hparams({"lr": 0.1, "optimizer": "adam"}, {"final": 0.5})
    with SummaryWriter(str(tmp_path / "run"), filename_suffix=".later") as writer:
        writer.add_scalar("Loss/train", 2.0, 10_000)
    ((run,), notes) = read("tensorboard", *tmp_path.rglob("*.tfevents.*"))
    losses = values(run, "Loss/train")
    assert len(losses) == 10_051
    assert losses[-1] == (10_000, 2.0)
    assert run.parameters == {"lr": 0.1, "optimizer": "adam"}
    assert set(run.rows["key"]) == {"Loss/train", "Acc/valid"}
    assert any("3 values of Acc/valid are all at step 1" in note for note in notes)


def test_nanogpt_repeats_a_step_after_a_resume(tmp_path: Path) -> None:
    first, later = "step 0: train loss 4.0, val loss 4.1", "step 0: train loss 3.0, val loss nan"
    text = f"{first}\niter 0: loss 4.2, time 5.00ms, mfu 1%\n{later}\n"
    ((run,), _) = read("nanogpt", written(tmp_path / "train.log", text))
    assert values(run, "train/loss") == [(0, 4.0), (0, 3.0)]
    assert values(run, "batch") == [(0, 4.2)]


def test_deepobs_fills_what_diverged_and_drops_accuracies(tmp_path: Path) -> None:
    told = {
        "testproblem": "mnist",
        "optimizer_name": "SGD",
        "random_seed": 7,
        "optimizer_hyperparams": {"lr": 0.1},
        "train_losses": [3.0, 2.0, 3.0, 3.0],
        "valid_losses": [3.0, 2.5, 3.0, 3.0],
        "minibatch_train_losses": [2.9, math.nan],
    }
    ((run,), notes) = read("deepobs", written(tmp_path / "a.json", json.dumps(told)))
    assert values(run, "train/loss") == [(0, 3.0), (1, 2.0)]
    assert run.status == "diverged"
    assert run.parameters == {"workload": "mnist", "optimizer": "SGD", "seed": 7, "lr": 0.1}
    assert any("drops them all where one of them is 0" in note for note in notes)


def test_benchopt_rows_are_runs_of_their_own(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "dataset_name": "d",
            "solver_name": ["gd[lr=1]", "gd[lr=1]"],
            "p_solver_lr": 1.0,
            "idx_rep": 0,
            "stop_val": [0, 5],
            "time": [0.0, 1.5],
            "objective_name": "lasso",
            "objective_value": [2.0, 1.0],
        }
    )
    path = tmp_path / "a.parquet"
    table.to_parquet(path)
    ((run,), notes) = read("benchopt", path)
    assert values(run, "train/loss") == [(0, 2.0), (5, 1.0)]
    assert run.rows["seconds"].tolist() == [0.0, 1.5]
    assert run.parameters == {"workload": "d", "optimizer": "gd", "seed": 0, "lr": 1.0}
    assert "benchopt: each point of a curve is a run of its own from the start" in notes


@pytest.mark.parametrize("values_", [[1, 2], {"steps": [1], "values": []}])
def test_sacred_lists_of_two_lengths_are_refused(tmp_path: Path, values_: Any) -> None:
    path = written(tmp_path / "1" / "metrics.json", json.dumps({"loss": values_}))
    with pytest.raises(UserError, match="loss: has no lists of steps and values of one length"):
        read("sacred", path)


def test_a_record_whose_checksum_is_another_one_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "run.wandb"
    path.write_bytes(b":W&B\xe1\xbe\x00" + struct.pack("<IHB", 1, 3, 1) + b"abc")
    with pytest.raises(UserError, match="the checksum of a record is another one"):
        read("wandb", path)


def test_charts_of_wandbs_web_page_are_parts_of_one_run(tmp_path: Path) -> None:
    files = [
        written(tmp_path / f"{key}.csv", f'"Step","adam-0 - {key}","adam-0 - {key}__MAX"\n10,0.5,0.5\n')
        for key in ("train_loss", "val_acc")
    ]
    ((run,), _) = read("wandb", *files)
    assert set(run.rows["key"]) == {"train_loss", "val_acc"}


@pytest.mark.parametrize(("folder", "tag"), [("train", "epoch_loss"), ("Loss_train", "Loss")])
def test_a_folder_named_by_a_split_is_part_of_its_run(tmp_path: Path, folder: str, tag: str) -> None:
    """Keras writes the first, ``add_scalars`` the second."""
    from torch.utils.tensorboard import SummaryWriter

    for place, key, value in (("", "own", 1.0), (folder, tag, 2.0), (folder.replace("train", "validation"), tag, 3.0)):
        with SummaryWriter(str(tmp_path / "run" / place)) as writer:
            writer.add_scalar(key, value, 5)
    ((run,), _) = read("tensorboard", *tmp_path.rglob("*.tfevents.*"))
    assert set(run.rows["key"]) == {"own", f"train/{tag}", f"validation/{tag}"}


def test_a_resume_with_purge_step_takes_values_back(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for purge, steps, suffix in ((None, range(1, 11), ".a"), (6, range(6, 9), ".b")):
        with SummaryWriter(str(tmp_path / "run"), purge_step=purge, filename_suffix=suffix) as writer:
            for step in steps:
                writer.add_scalar("loss", float("nan") if purge is None and step > 5 else 1.0, step)
    ((run,), _) = read("tensorboard", *tmp_path.rglob("*.tfevents.*"))
    assert run.rows["step"].tolist() == list(range(1, 9))
    assert run.rows["value"].notna().all()


def test_a_trial_of_ray_that_wrote_an_error_is_failed(tmp_path: Path) -> None:
    path = written(tmp_path / "t" / "result.json", '{"training_iteration": 1, "acc": 0.5}')
    written(tmp_path / "t" / "params.json", "{}")
    written(tmp_path / "t" / "error.txt", "it was out of memory")
    ((run,), _) = read("ray", path)
    assert (run.status, run.reason) == ("failed", "Ray wrote error.txt")


def test_zeros_at_the_end_of_trainers_losses_were_nan(tmp_path: Path) -> None:
    def losses(*entries: dict[str, Any]) -> list[bool]:
        told = json.dumps({"global_step": 5, "log_history": [{"step": n, **one} for n, one in enumerate(entries)]})
        ((run,), _) = read("hf", written(tmp_path / "run" / "trainer_state.json", told))
        return [math.isnan(value) for _, value in values(run, "loss")]

    assert losses({"loss": 1.0}, {"loss": 0.0}, {"loss": 0.0}) == [False, True, True]
    assert losses({"loss": 0.0}, {"loss": 0.0}) == [False, False]
    assert losses({"loss": 1.0}, {"loss": 0.0}, {"eval_b_loss": math.nan}, {"loss": 0.0}) == [False, True, True]
    assert losses({"loss": 1.0}, {"loss": 0.0}, {"eval_loss": 0.1}) == [False, False]


def test_metrics_without_a_split_are_of_the_validation_where_the_program_says_so(tmp_path: Path) -> None:
    head = "epoch,train_loss,valid_loss,error_rate,top_k_accuracy,time\n"
    ((run,), _) = read("fastai", written(tmp_path / "history.csv", f"{head}0,3,3,0.1,0.5,00:01\n"))
    assert {"valid_error_rate", "valid_top_k_accuracy", "train_loss"} <= set(run.rows["key"])
    entries = [{"batches": [], "epoch": 1, "train_loss": 1.0, "roc_auc": 0.5}]
    ((run,), _) = read("skorch", written(tmp_path / "history.json", json.dumps(entries)))
    assert set(run.rows["key"]) == {"train_loss", "valid_roc_auc"}


def test_lists_are_settings(tmp_path: Path) -> None:
    path = written(tmp_path / "v" / "metrics.csv", "epoch,step,val_acc\n0,9,0.5\n")
    written(tmp_path / "v" / "hparams.yaml", "hidden: [64, 64]\nbetas: !!python/tuple [0.9, 0.99]\nloop: &a {b: *a}\n")
    ((run,), _) = read("lightning", path)
    assert run.parameters == {"hidden": "[64, 64]", "betas": "[0.9, 0.99]"}


def test_a_resume_takes_back_values_of_its_own_folder_alone(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for purge, steps, suffix in ((None, range(1, 6), ".a"), (4, range(4, 7), ".b")):
        with SummaryWriter(str(tmp_path / "run"), purge_step=purge, filename_suffix=suffix) as writer:
            for step in steps:
                writer.add_scalar("loss", 1.0, step)
                writer.add_scalars("Acc", {"train": 0.5, "valid": 0.4}, step)
    ((run,), _) = read("tensorboard", *tmp_path.rglob("*.tfevents.*"))
    assert [step for step, _ in values(run, "loss")] == [1, 2, 3, 4, 5, 6]
    for key in ("train/Acc", "valid/Acc"):  # their writers know of no resume, and the later value of a step counts
        assert [step for step, _ in values(run, key)] == [1, 2, 3, 4, 5, 4, 5, 6]
