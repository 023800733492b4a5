"""Curves of other tools as trials: leaderboard, comparison, notes and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from importing_runs import DIVERGED, ten_curves
from support import CommandLine
from thalweg.foreign.keys import Key, guessed


@pytest.fixture
def tidy(cli: CommandLine) -> Path:
    path = cli.folder / "tidy.csv"
    ten_curves().to_csv(path, index=False, na_rep="nan")
    return path


def imported(cli: CommandLine, *words: str, code: int = 0) -> Any:
    return cli.json("results", "import-curves", *words, "--benchmark", "mine", "--into", "imp", code=code)


def board(cli: CommandLine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli.json("leaderboard", "mine", "--results", "imp")["rows"]
    return found


def test_a_tidy_table_gives_a_leaderboard_of_what_it_holds(cli: CommandLine, tidy: Path) -> None:
    report = imported(cli, "tidy.csv")
    assert (report["added"], report["there"]) == (10, 0)
    assert [row["optimizer"] for row in report["rows"]] == ["adam", "sgd"]
    assert [row["lost"] for row in report["rows"]] == [0, 1]
    first, second = board(cli)
    assert (first["optimizer"], first["metric"], first["seeds"], first["diverged"]) == ("adam", "accuracy", 5, 0)
    assert (second["optimizer"], second["diverged"]) == ("sgd", 1)
    table = ten_curves()
    last = table[(table["step"] == 100) & (table["metric"] == "accuracy")]
    expected = last[last["optimizer"] == "adam"]["value"].mean()
    assert first["value"] == pytest.approx(expected)
    finished = last[(last["optimizer"] == "sgd") & (last["seed"] != DIVERGED[1])]["value"].mean()
    assert second["value"] == pytest.approx(finished)
    cli("results", "verify", "--results", "imp")


def test_the_same_file_again_adds_nothing_and_other_curves_are_added(cli: CommandLine, tidy: Path) -> None:
    imported(cli, "tidy.csv")
    assert imported(cli, "tidy.csv")["added"] == 0
    table = ten_curves()
    table.assign(optimizer="adamw")[table["optimizer"] == "adam"].to_parquet(cli.folder / "more.parquet")
    report = imported(cli, "tidy.csv", "more.parquet")
    assert (report["added"], report["there"]) == (5, 10)
    assert {row["optimizer"] for row in board(cli)} == {"adam", "adamw", "sgd"}


def test_what_an_import_cannot_know_is_told(cli: CommandLine, tidy: Path) -> None:
    says = "not known are the order of the data, whether budgets were equal"
    words = ["results", "import-curves", "tidy.csv", "--benchmark", "mine", "--into", "imp"]
    assert says in cli(*words).stderr
    assert says in cli("leaderboard", "mine", "--results", "imp").stderr
    cli("report", "mine", "--results", "imp", "--out", "r.html")
    assert says in (cli.folder / "r.html").read_text(encoding="utf-8")
    for metric in ("work_to_target", "seconds_to_target", "gradient_evaluations_to_target", "state_bytes"):
        said = cli("leaderboard", "mine", "--results", "imp", "--metric", metric, code=2).stderr
        assert "these runs were imported, and their source does not tell it" in said
    assert "holds imported runs, which cannot be trained here" in cli("run", "mine", "--results", "imp", code=2).stderr


def test_seeds_of_imports_are_pairs_only_where_the_user_says_so(cli: CommandLine, tidy: Path) -> None:
    imported(cli, "tidy.csv")
    told = cli.json("compare", "imp:adam", "imp:sgd", code=1)
    assert told["verdict"] == "worse"
    assert any("seeds are no pairs" in note for note in told["notes"])
    assert any("the baseline was imported: not known are" in note for note in told["notes"])
    imported(cli, "tidy.csv", "--paired")
    paired = cli.json("compare", "imp:adam", "imp:sgd", code=1)
    assert not any("seeds are no pairs" in note for note in paired["notes"])


def test_a_dry_run_writes_nothing_and_a_mapping_is_kept(cli: CommandLine) -> None:
    wide = pd.DataFrame({"epoch": [1, 2, 3], "fit": [0.5, 0.6, 0.7], "speed": [3.0, 4.0, 5.0], "lr": [0.1] * 3})
    for optimizer in ("adam", "sgd"):
        for seed in (0, 1):
            folder = cli.folder / "runs" / optimizer / str(seed)
            folder.mkdir(parents=True)
            wide.assign(fit=wide["fit"] + 0.01 * seed).to_csv(folder / "log.csv", index=False)
    words = ["runs", "--map", "valid.accuracy=fit", "--paths", "{optimizer}/{seed}/log.csv", "--set", "workload=w"]
    imported(cli, *words, "--dry-run")
    assert not (cli.folder / "imp").exists()
    imported(cli, *words, "--save-mapping", "map.toml")
    rows = board(cli)
    assert [(row["workload"], row["optimizer"], row["seeds"]) for row in rows] == [("w", "adam", 2), ("w", "sgd", 2)]
    text = (cli.folder / "map.toml").read_text(encoding="utf-8")
    assert '"valid.accuracy" = "fit"' in text
    report = cli.json("results", "import-curves", "runs", "--mapping", "map.toml", "--benchmark", "b", "--into", "imp")
    assert report["added"] == 4
    assert report["left_out"] == {"speed": 4}


def test_the_step_that_validation_selects_is_that_of_the_test_metric(cli: CommandLine) -> None:
    rows = []
    for seed in (0, 1):
        for step, valid, test in ((1, 0.5, 0.1), (2, 0.9, 0.2), (3, 0.7, 0.99)):
            for split, value in (("valid", valid), ("test", test + 0.01 * seed)):
                rows.append(("w", "adam", seed, step, split, "accuracy", value))
    names = ["workload", "optimizer", "seed", "step", "split", "metric", "value"]
    pd.DataFrame(rows, columns=names).to_csv(cli.folder / "t.csv", index=False)
    imported(cli, "t.csv")
    (row,) = board(cli)
    assert row["value"] == pytest.approx(0.205)
    assert "(test, at the step that validation selects)" in cli("leaderboard", "mine", "--results", "imp").stdout
    only = pd.DataFrame([one for one in rows if one[4] == "test"], columns=names)
    only.to_csv(cli.folder / "t.csv", index=False)
    cli("results", "import-curves", "t.csv", "--benchmark", "late", "--into", "imp")
    assert "(test, at the end of training)" in cli("leaderboard", "late", "--results", "imp").stdout


def test_settings_are_labels_where_they_differ(cli: CommandLine) -> None:
    parts = []
    for lr in (0.1, 0.01):
        for seed in (0, 1):
            one = ten_curves().query("optimizer == 'adam' and seed == 0").assign(lr=lr, seed=seed, beta=0.9)
            parts.append(one.assign(value=one["value"] * (1 - lr)))
    pd.concat(parts).to_csv(cli.folder / "s.csv", index=False)
    imported(cli, "s.csv")
    assert {row["optimizer"] for row in board(cli)} == {"adam-lr_0.1", "adam-lr_0.01"}
    listed = cli.json("results", "list", "--results", "imp")
    assert len(str(listed)) > 0


def test_a_target_gives_steps_and_the_direction_of_an_unknown_metric_is_told(cli: CommandLine) -> None:
    table = ten_curves().query("metric == 'accuracy'").assign(metric="mAP50")
    table.to_csv(cli.folder / "u.csv", index=False)
    words = ["results", "import-curves", "u.csv", "--benchmark", "mine", "--into", "imp"]
    assert "metric 'mAP50': whether higher or lower is better is not known" in cli(*words, code=2).stderr
    imported(cli, "u.csv", "--better", "mAP50=higher", "--target", "0.7")
    rows = cli.json("leaderboard", "mine", "--results", "imp", "--metric", "steps_to_target")["rows"]
    assert rows[0]["optimizer"] == "adam"
    assert 10 < rows[0]["value"] < 100


def test_repeated_steps_count_once_the_last_time(cli: CommandLine) -> None:
    rows = [("w", "a", 0, 1, "valid", "accuracy", 0.1), ("w", "a", 0, 2, "valid", "accuracy", 0.2)]
    names = ["workload", "optimizer", "seed", "step", "split", "metric", "value"]
    pd.DataFrame([*rows, (*rows[1][:-1], 0.7)], columns=names).to_csv(cli.folder / "r.csv", index=False)
    assert (
        "1 rows repeat a step of their run, as after a resume: the last one counts" in imported(cli, "r.csv")["notes"]
    )
    assert board(cli)[0]["value"] == pytest.approx(0.7)


def test_missing_is_not_diverged(cli: CommandLine) -> None:
    text = "step,train_loss,val_loss\n1,0.5,\n2,,0.4\n3,nan,NA\n"
    (cli.folder / "keras.csv").write_text(text, encoding="utf-8")
    report = imported(cli, "keras.csv", "--set", "optimizer=adam")
    assert report["rows"][0]["lost"] == 1
    (cli.folder / "keras.csv").write_text(text.replace("3,nan,NA\n", ""), encoding="utf-8")
    report = cli.json(
        "results", "import-curves", "keras.csv", "--set", "optimizer=adam", "--benchmark", "b", "--into", "imp"
    )
    assert report["rows"][0]["lost"] == 0


@pytest.mark.parametrize(
    ("key", "means"),
    [
        ("val_acc", Key("valid", "accuracy")),
        ("Loss/train", Key("train", "loss")),
        ("eval/loss", Key("valid", "loss")),
        ("valAccuracy", Key("valid", "accuracy")),
        ("test_top1", Key("test", "accuracy")),
        ("loss", Key("train", "loss")),
        ("train_lr", None),
        ("grad_norm_loss", None),
        ("train_val_loss", None),
        ("epoch", None),
    ],
)
def test_keys_are_guessed_where_they_say_one_thing(key: str, means: Key | None) -> None:
    assert guessed(key) == means


HEAD = "workload,optimizer,seed,step,split,metric,value\n"


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("", [], "cannot be read"),
        (HEAD, [], "bad.csv: has no rows"),
        (HEAD + "w,a,0,1,valid,accuracy,good\n", [], "column 'value': 'good' is no number"),
        (HEAD + "w,a,0,one,valid,accuracy,0.5\n", [], "column 'step': 'one' is no number"),
        (HEAD + "w,a,x,1,valid,accuracy,0.5\n", [], "seed 'x' is no whole number from 0 up"),
        (HEAD + "w,a,0,-1,valid,accuracy,0.5\n", [], "a step is no whole number from 0 up"),
        (HEAD + "w,a,0,1.5,valid,accuracy,0.5\n", [], "a step is no whole number from 0 up"),
        (HEAD + "w,a,0,1,valid,accuracy,=1+1\n", [], "'=1+1' is no number"),
        ("a,b\n1,2\n", [], "no column counts steps; it has a, b"),
        ("step,val_acc\n1,0.5\n", [], "says no optimizer; its parameters are none"),
        ("step,speed\n1,0.5\n", ["--set", "optimizer=a"], "no run has a metric that is known; they have speed"),
        ("step,val_acc,val_top1\n1,.5,.5\n", ["--set", "optimizer=a"], "would all be valid.accuracy: --map"),
        ("step,val_acc\n1,.5\n", ["--set", "optimizer=a", "--map", "valid.f1=vall_acc"], "did you mean 'val_acc'"),
        ("step,val_acc\n1,.5\n", ["--set", "optimizer=a", "--map", "vald.f1=val_acc"], "'vald.f1' is none of workload"),
        ("step,val_acc\n1,.5\n", ["--set", "optimizer=a", "--map", "seed"], "give KEY=VALUE"),
        ("step,val_acc\n1,.5\n", ["--set", "optimizer=a", "--better", "f1=up"], "give 'higher' or 'lower'"),
        ("step,val_acc\n1,.5\n", ["--set", "optimizer=a", "--metric", "acuracy"], "did you mean 'accuracy'"),
        ("step,val_acc\n1,.5\n", ["--set", "optimizer=a", "--format", "cvs"], "did you mean 'csv'"),
        ("step,val_acc\n1,.5\n", ["--paths", "{optimizer}/x.csv"], "neither path nor name ends as --paths"),
        ("step,val_acc\n1,.5\n", ["--mapping", "no.toml"], "no.toml: is no TOML file"),
        (
            HEAD + "w,a,0,1,valid,accuracy,.5\nw,a,0,1,valid,accuracy,.5\n",
            ["bad.csv"],
            "is seed 0 of a on w",
        ),
    ],
)
def test_a_mistake_is_one_line(cli: CommandLine, text: str, words: list[str], says: str) -> None:
    (cli.folder / "bad.csv").write_text(text, encoding="utf-8")
    said = cli("results", "import-curves", "bad.csv", *words, "--benchmark", "mine", "--into", "imp", code=2).stderr
    assert says in said
    assert len(said.splitlines()) == 1
    assert not (cli.folder / "imp").exists()


def test_trained_results_are_not_mixed_with_imports(cli: CommandLine, tidy: Path) -> None:
    folder = cli.folder / "imp" / "mine"
    folder.mkdir(parents=True)
    text = '[workloads.w]\nproblem = "quadratic"\narchitecture = "point"\n[optimizers.sgd]\n'
    (folder / "benchmark.toml").write_text(text, encoding="utf-8")
    words = ["results", "import-curves", "tidy.csv", "--benchmark", "mine", "--into", "imp"]
    assert "holds trained results: choose another --benchmark" in cli(*words, code=2).stderr


def test_hostile_files_do_no_harm(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.environment["THALWEG_MAX_LINE_BYTES"] = "1000"
    (cli.folder / "long.csv").write_text("step,val_acc\n" + "1" * 5000, encoding="utf-8")
    words = ["results", "import-curves", "long.csv", "--set", "optimizer=a", "--benchmark", "m", "--into", "imp"]
    assert "long.csv: a line: more than the limit of 1,000 line bytes" in cli(*words, code=2).stderr
    (cli.folder / "rows.csv").write_text("step,val_acc\n" + "1,0.5\n" * 300, encoding="utf-8")
    cli.environment["THALWEG_MAX_ROWS"] = "100"
    words[2] = "rows.csv"
    assert "rows are more than the limit of 100" in cli(*words, code=2).stderr
    pd.DataFrame({"step": np.arange(300), "val_acc": 0.5}).to_parquet(cli.folder / "rows.parquet")
    words[2] = "rows.parquet"
    assert "rows are more than the limit of 100" in cli(*words, code=2).stderr


def test_any_seeds_count(cli: CommandLine) -> None:
    """Seeds from 1000 up are of tuning in results that were trained here, and of nothing special in others."""
    table = ten_curves()
    table.assign(seed=table["seed"].map({0: 42, 1: 1234, 2: 1337, 3: 2024, 4: 7})).to_csv(
        cli.folder / "s.csv", index=False, na_rep="nan"
    )
    imported(cli, "s.csv")
    assert [row["seeds"] for row in board(cli)] == [5, 5]
    last = table.query("step == 100 and metric == 'accuracy' and optimizer == 'adam'")["value"]
    assert board(cli)[0]["value"] == pytest.approx(last.mean())


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_empty_cell_was_not_measured_and_nan_was(cli: CommandLine, ending: str) -> None:
    table = ten_curves().query("optimizer == 'adam'").astype({"value": object})
    at = table[(table["metric"] == "loss") & (table["step"] == 100)].index
    # pandas writes nan as null, and a row of a tidy table would not be there without a value
    for what, lost in ((None, 0 if ending == "csv" else 5), (float("nan"), 5)):
        table.loc[at, "value"] = pd.Series([what] * len(at), index=at, dtype=object)
        name = f"{lost}.{ending}"
        if ending == "csv":
            text = table.assign(value=table["value"].map(lambda cell: "" if cell is None else repr(float(cell))))
            text.to_csv(cli.folder / name, index=False)
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            columns = {column: table[column].tolist() for column in table}
            pq.write_table(pa.table(columns | {"value": pa.array(columns["value"], pa.float64())}), cli.folder / name)
        words = ["results", "import-curves", name, "--benchmark", f"b{lost}-{what}", "--into", "imp"]
        assert cli.json(*words)["rows"][0]["lost"] == lost


def test_a_wide_parquet_file_keeps_nan_where_the_file_does(cli: CommandLine) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for end, lost in ((float("nan"), 1), (None, 0)):
        columns = {"step": [1, 2], "train_loss": pa.array([0.5, end], pa.float64()), "val_acc": [0.1, 0.2]}
        pq.write_table(pa.table(columns), cli.folder / "w.parquet")
        words = ["results", "import-curves", "w.parquet", "--set", "optimizer=a", "--benchmark", f"w{lost}"]
        assert cli.json(*words, "--into", "imp")["rows"][0]["lost"] == lost


def test_an_import_neither_pools_nor_hides_earlier_ones(cli: CommandLine, tidy: Path) -> None:
    imported(cli, "tidy.csv")
    table = ten_curves()
    table.assign(workload="mnist").to_csv(cli.folder / "other.csv", index=False, na_rep="nan")
    assert imported(cli, "other.csv")["added"] == 10
    assert {row["workload"] for row in board(cli)} == {"digits", "mnist"}
    corrected = table.assign(value=table["value"] * 0.9)
    corrected.to_csv(cli.folder / "again.csv", index=False, na_rep="nan")
    words = ["results", "import-curves", "again.csv", "--benchmark", "mine", "--into", "imp"]
    says = "seed 0 of adam on digits is there already with other numbers or settings: --replace puts this run"
    assert says in cli(*words, code=2).stderr
    before = [row["value"] for row in board(cli)]
    imported(cli, "again.csv", "--replace")
    rows = [row for row in board(cli) if row["workload"] == "digits"]
    assert [row["seeds"] for row in rows] == [5, 5]
    assert rows[0]["value"] == pytest.approx(0.9 * before[0])
    cli("results", "verify", "--results", "imp")


def test_other_settings_are_no_further_seeds(cli: CommandLine) -> None:
    one = ten_curves().query("optimizer == 'adam'")
    one.assign(lr=0.1).to_csv(cli.folder / "one.csv", index=False)
    one.assign(lr=0.2).to_csv(cli.folder / "two.csv", index=False)
    imported(cli, "one.csv")
    words = ["results", "import-curves", "two.csv", "--benchmark", "mine", "--into", "imp"]
    assert "is there already with other numbers or settings" in cli(*words, code=2).stderr
    cli("results", "import-curves", "one.csv", "two.csv", "--benchmark", "both", "--into", "imp")
    rows = cli.json("leaderboard", "both", "--results", "imp")["rows"]
    assert {row["optimizer"] for row in rows} == {"adam-lr_0.1", "adam-lr_0.2"}


def test_names_that_look_alike_stay_apart(cli: CommandLine) -> None:
    one = ten_curves().query("optimizer == 'adam' and seed < 2")
    names = ["SGD+m", "SGD m", "アダム", "随机"]
    pd.concat([one.assign(optimizer=name) for name in names]).to_csv(cli.folder / "n.csv", index=False)
    imported(cli, "n.csv")
    assert [row["seeds"] for row in board(cli)] == [2] * 4
    assert {row["optimizer"] for row in board(cli)} == {"SGD_m", "SGD_m-2", "unnamed", "unnamed-2"}
    one.assign(workload="CIFAR 10/ResNet").to_csv(cli.folder / "w.csv", index=False)
    cli("results", "import-curves", "w.csv", "--benchmark", "w", "--into", "imp")
    assert cli.json("leaderboard", "w", "--results", "imp")["rows"][0]["workload"] == "CIFAR_10_ResNet"


def test_what_differs_within_a_run_is_no_setting(cli: CommandLine) -> None:
    table = ten_curves().query("optimizer == 'adam'")
    table = table.assign(lr=1 / table["step"], timestamp=np.arange(len(table)), momentum=0.9)
    table.to_csv(cli.folder / "p.csv", index=False)
    report = imported(cli, "p.csv")
    assert report["added"] == 5
    assert "lr differs within runs, and is taken for no setting" in report["notes"]
    assert [row["optimizer"] for row in board(cli)] == ["adam"]


def test_settings_are_numbers_and_ids_are_none(cli: CommandLine) -> None:
    rng = np.random.default_rng(1)
    parts = []
    for seed, one in ten_curves().query("optimizer == 'adam'").groupby("seed"):
        parts.append(one.assign(momentum="0" if seed % 2 else "0.0", run_id=f"r{seed}", wd=rng.random()))
    pd.concat(parts[:2]).drop(columns="wd").to_csv(cli.folder / "i.csv", index=False)
    report = imported(cli, "i.csv")
    assert [row["optimizer"] for row in report["rows"]] == ["adam"]
    assert any("run_id" in note for note in report["notes"])
    # a random search has another rate in each run, and each is a setting
    pd.concat(parts).drop(columns=["momentum", "run_id"]).to_csv(cli.folder / "r.csv", index=False)
    words = ["results", "import-curves", "r.csv", "--benchmark", "random", "--into", "imp"]
    assert len({row["optimizer"] for row in cli.json(*words)["rows"]}) == 5


def test_a_wide_table_says_seeds_and_settings(cli: CommandLine) -> None:
    table = pd.DataFrame({"Step": [1, 2, 3] * 3, "val_acc": np.linspace(0.1, 0.9, 9), "seed": np.repeat([0, 1, 2], 3)})
    table.assign(lr=0.1, optimizer="adam").to_csv(cli.folder / "w.csv", index=False, sep=";")
    report = imported(cli, "w.csv")
    assert report["rows"][0]["seeds"] == 3
    assert report["notes"] == []
    (document,) = {trial["optimizer"] for trial in cli.json("results", "list", "--results", "imp")["trials"]}
    assert document == "adam"


def test_a_column_of_steps_may_have_any_name(cli: CommandLine) -> None:
    pd.DataFrame({"t": [1, 2], "val_acc": [0.1, 0.2]}).to_csv(cli.folder / "t.csv", index=False)
    assert imported(cli, "t.csv", "--set", "optimizer=a", "--map", "step=t")["rows"][0]["steps"] == 2


def test_per_cent_and_shares_are_not_mixed_and_unequal_budgets_are_told(cli: CommandLine) -> None:
    table = ten_curves().query("metric == 'accuracy'")
    mixed = table.assign(value=table["value"].where(table["optimizer"] == "adam", 100 * table["value"]))
    mixed.to_csv(cli.folder / "m.csv", index=False)
    words = ["results", "import-curves", "m.csv", "--benchmark", "mine", "--into", "imp"]
    assert "is in per cent in 5 runs and a share of one in 5" in cli(*words, code=2).stderr
    table.query("optimizer == 'adam' or step <= 50").to_csv(cli.folder / "u.csv", index=False)
    assert "digits: budgets are not equal: the last steps are adam 100, sgd 50" in imported(cli, "u.csv")["notes"]


def test_a_report_and_a_profile_of_imports_with_a_target(cli: CommandLine, tidy: Path) -> None:
    imported(cli, "tidy.csv", "--target", "0.7")
    cli("report", "mine", "--results", "imp", "--out", "r.html")
    said = cli("leaderboard", "mine", "--results", "imp", "--over-all", code=2).stderr
    assert "--over-all: these runs were imported, and their source tells no examples and no work" in said
    table = ten_curves()
    table.assign(examples=32 * table["step"]).to_csv(cli.folder / "e.csv", index=False, na_rep="nan")
    words = ["results", "import-curves", "e.csv", "--benchmark", "known", "--into", "imp", "--target", "0.7"]
    cli(*words)
    assert "adam" in cli("leaderboard", "known", "--results", "imp", "--over-all").stdout


def test_a_name_of_a_built_in_benchmark_is_refused(cli: CommandLine, tidy: Path) -> None:
    words = ["results", "import-curves", "tidy.csv", "--benchmark", "quick", "--into", "imp"]
    assert "is a benchmark of thalweg's own: choose another name" in cli(*words, code=2).stderr


def test_a_wide_table_of_several_settings_has_a_run_for_each(cli: CommandLine) -> None:
    rows = [
        {"optimizer": "sgd", "lr": lr, "seed": seed, "epoch": epoch, "val_acc": best, "time": 0.1 * epoch + seed}
        for lr, best in ((0.1, 0.9), (0.001, 0.3))
        for seed in (0, 1)
        for epoch in (1, 2, 3)
    ]
    pd.DataFrame(rows).to_csv(cli.folder / "wide.csv", index=False)
    report = imported(cli, "wide.csv")
    assert report["added"] == 4
    assert {row["optimizer"]: row["value"] for row in board(cli)} == {
        "sgd-lr_0.1": pytest.approx(0.9),
        "sgd-lr_0.001": pytest.approx(0.3),
    }


def test_a_rate_that_differs_after_a_resume_is_no_setting(cli: CommandLine) -> None:
    rows = [(1, 0.1, 0.1), (2, 0.1, 0.2), (3, 0.1, 0.3), (3, 0.05, 0.4), (4, 0.05, 0.5)]
    pd.DataFrame(rows, columns=["step", "lr", "val_acc"]).to_csv(cli.folder / "wide.csv", index=False)
    report = imported(cli, "wide.csv", "--set", "optimizer=sgd")
    assert report["added"] == 1
    assert any("1 rows repeat a step" in note for note in report["notes"])
    assert board(cli)[0]["value"] == pytest.approx(0.5)


def test_an_index_of_pandas_is_a_column_only_where_it_has_a_name(cli: CommandLine) -> None:
    table = pd.DataFrame({"step": [1, 2, 3], "val_acc": [0.1, 0.2, 0.3], "optimizer": "sgd"})
    table[table["step"] > 1].to_parquet(cli.folder / "wide.parquet")
    assert imported(cli, "wide.parquet")["left_out"] == {}
    table.set_index("step").assign(val_acc=[0.2, 0.3, 0.4]).to_parquet(cli.folder / "named.parquet")
    words = ["results", "import-curves", "named.parquet", "--benchmark", "named", "--into", "imp"]
    assert cli.json(*words)["rows"][0]["steps"] == 3


def test_tables_beside_runs_of_a_program_are_told(cli: CommandLine) -> None:
    for seed in (0, 1):
        folder = cli.folder / "runs" / f"adam-{seed}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("epoch,step,val_acc\n0,9,0.5\n", encoding="utf-8")
    (cli.folder / "runs" / "adam-0" / "hparams.yaml").write_text("lr: 0.1\n", encoding="utf-8")
    (cli.folder / "runs" / "other.csv").write_text("step,val_acc\n1,0.5\n", encoding="utf-8")
    report = imported(cli, "runs", "--paths", "{optimizer}-{seed}/metrics.csv")
    assert (report["format"], report["added"]) == ("lightning", 2)  # the name tells the format of the second one
    assert any("1 file of another kind not read: runs/other.csv" in note for note in report["notes"])


def test_what_an_importer_raises_is_one_line(cli: CommandLine) -> None:
    (cli.folder / "bad.py").write_text(
        """
import thalweg

class Bad(thalweg.Importer):
    name, summary = "bad", "raises"
    def recognises(self, path):
        return path.suffix == ".bad"
    def read(self, files, context):
        return [1 / 0]

@thalweg.hookimpl
def thalweg_register_importers(register):
    register(Bad)
""",
        encoding="utf-8",
    )
    (cli.folder / "a.bad").write_text("", encoding="utf-8")
    words = ["a.bad", "--benchmark", "mine", "--into", "imp", "--plugin", "bad.py"]
    error = cli("results", "import-curves", *words, code=2).stderr
    assert error == "error: a.bad: importer 'bad' cannot read it (ZeroDivisionError: division by zero)\n"


def test_runs_that_end_early_are_told_and_a_lost_run_is_no_share_of_one(cli: CommandLine) -> None:
    rows = [
        ("w", "adam", seed, step, "valid", "accuracy", 40.0 + seed + step)
        for seed, end in ((0, 5), (1, 3))
        for step in range(1, end + 1)
    ]
    rows += [("w", "adam", 2, 1, "valid", "accuracy", 1.0), ("w", "adam", 2, 1, "train", "loss", float("nan"))]
    names = ["workload", "optimizer", "seed", "step", "split", "metric", "value"]
    pd.DataFrame(rows, columns=names).to_csv(cli.folder / "t.csv", index=False, na_rep="nan")
    report = imported(cli, "t.csv")
    assert report["added"] == 3
    assert any("1 of 2 runs of adam end before step 5" in note for note in report["notes"])


def test_a_run_without_a_seed_never_replaces_another_one(cli: CommandLine) -> None:
    for name, value in (("a", 0.5), ("b", 0.6)):
        (cli.folder / f"{name}.csv").write_text(f"step,val_acc\n1,{value}\n", encoding="utf-8")
    imported(cli, "a.csv", "--set", "optimizer=adam")
    words = ["results", "import-curves", "b.csv", "--set", "optimizer=adam", "--benchmark", "mine", "--into", "imp"]
    assert "says no seed, and seed 0 is there" in cli(*words, "--replace", code=2).stderr
    assert len(cli.json("results", "list", "--results", "imp")["trials"]) == 1


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("step,val_acc,seed\n1,.5,1e999\n", (), "seed inf is no whole number"),
        ("step,val_acc\n1,.5\n2,10%\n", (), "'10%' is no number"),
        ("step,val_acc\n1,.5\n", ("--paths", "{optimizer}-{optimizer}.csv"), "names 'optimizer' twice"),
        ("epoch,val_acc\n1,.5\n", ("--steps-per-epoch", "0.3"), "give a number from 1 up"),
    ],
)
def test_further_mistakes_are_one_line(cli: CommandLine, text: str, words: tuple[str, ...], says: str) -> None:
    (cli.folder / "bad.csv").write_text(text, encoding="utf-8")
    more = () if "--paths" in words else ("--set", "optimizer=a")
    done = cli("results", "import-curves", "bad.csv", "--benchmark", "m", "--into", "imp", *words, *more, code=2)
    assert says in done.stderr


def test_a_saved_mapping_keeps_the_metric_and_the_target(cli: CommandLine, tidy: Path) -> None:
    imported(cli, "tidy.csv", "--metric", "loss", "--target", "0.5", "--save-mapping", "map.toml")
    words = ["results", "import-curves", "tidy.csv", "--mapping", "map.toml", "--benchmark", "again", "--into", "imp"]
    cli(*words)
    first, again = (cli.json("leaderboard", name, "--results", "imp")["rows"] for name in ("mine", "again"))
    assert first == again
    assert first[0]["metric"] == "loss"
    (cli.folder / "map.toml").write_text('[target]\nw = "x"\n', encoding="utf-8")
    assert "map.toml: target: w: 'x' is no number" in cli(*words, code=2).stderr


def test_an_export_is_imported_under_another_name_of_its_workload(cli: CommandLine, tidy: Path) -> None:
    imported(cli, "tidy.csv", "--metric", "loss", "--target", "0.5")
    cli("results", "export", "all.csv", "mine", "--results", "imp")
    words = ["all.csv", "--set", "workload=other", "--benchmark", "again", "--into", "imp"]
    report = cli.json("results", "import-curves", *words)
    assert {row["workload"] for row in report["rows"]} == {"other"}


def test_a_row_without_a_split_is_refused(cli: CommandLine) -> None:
    text = "optimizer,seed,step,split,metric,value\na,0,1,train,loss,1\na,0,2,,loss,2\n"
    (cli.folder / "t.csv").write_text(text, encoding="utf-8")
    words = ["t.csv", "--benchmark", "m", "--into", "imp"]
    assert "t.csv: a row with a value has no split" in cli("results", "import-curves", *words, code=2).stderr
