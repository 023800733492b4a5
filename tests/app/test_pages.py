"""Every page on real results, and on results that are missing, broken or need a plugin that is not here."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from support import APP_SCRIPT
from thalweg.app import data
from thalweg.store.results import BenchmarkResults

Show = Callable[..., AppTest]


def text(elements: Iterable[object]) -> str:
    return "\n".join(str(getattr(element, "value", "")) for element in elements)


def hash_of(root: Path, benchmark: str, **wanted: object) -> str:
    for trial in BenchmarkResults(root, benchmark).scan()[0]:
        document = trial.document
        found = {"workload": document.workload, "optimizer": document.optimizer, "seed": document.trial.seed}
        if wanted.items() <= found.items():
            return document.hash
    raise AssertionError(wanted)


def test_the_leaderboard_has_a_table_and_a_chart_for_each_workload(show: Show, results: Path) -> None:
    page = show("leaderboard", results, benchmark="tiny")
    assert text(page.title) == "Tiny: leaderboard"
    assert [header.value for header in page.subheader] == ["Over all workloads", "digits-mlp", "quadratic"]
    over_all = page.dataframe[0].value
    assert list(over_all["optimizer"]) == ["sgd", "wild"]
    assert list(over_all["ecdf"])[1] == 0.0  # diverged everywhere
    first = page.dataframe[1].value
    assert list(first["optimizer"]) == ["sgd", "wild"]
    assert list(first["reached"]) == ["2 of 2", "0 of 2"]
    assert len(page.get("vega_lite_chart")) == 4  # the ECDF, the profiles, and one for each workload
    assert {metric.label: metric.value for metric in page.metric} == {
        "done": "7", "diverged": "4", "failed": "0", "missing": "0",
    }  # fmt: skip


def test_the_leaderboard_says_metric_split_and_target_in_words(show: Show, results: Path) -> None:
    page = show("leaderboard", results, benchmark="tiny")
    said = text(page.markdown)
    assert "Ranked by accuracy on the test split, at the step that validation selects; higher is better" in said
    assert "target: validation accuracy of at least 20%" in said


def test_trials_added_with_with_and_further_seeds_are_in_the_leaderboard(show: Show, results: Path) -> None:
    page = show("leaderboard", results, benchmark="tiny")
    table = page.dataframe[2].value.set_index("optimizer")
    assert table.loc["adam:lr=0.1", "in_benchmark"] == "added"
    assert table.loc["sgd", "in_benchmark"] == "yes"
    assert table.loc["sgd", "seeds"] == 3
    assert "adam:lr=0.1" in text(page.caption)


def test_a_failed_trial_is_shown_with_its_reason(show: Show, results: Path, plugin_file: Path) -> None:
    page = show("leaderboard", results, (plugin_file,), benchmark="outside")
    assert "raising · seed 0" in text(page.error)
    assert "no step for you" in text(page.error)


def test_a_benchmark_whose_plugin_is_not_here_is_shown_as_far_as_possible(show: Show, results: Path) -> None:
    page = show("leaderboard", results, benchmark="outside")
    assert "no optimizer 'halving'" in text(page.warning)
    table = page.dataframe[0].value.set_index("optimizer")
    assert table.loc["sgd", "in_benchmark"] == "yes"
    assert table.loc["halving", "in_benchmark"] == "cannot be expanded"


def test_learning_curves_follow_workload_and_axis(show: Show, results: Path) -> None:
    page = show("curves", results, benchmark="tiny", workload="quadratic")
    assert page.selectbox(key="workload").value == "quadratic"
    assert page.selectbox(key="metric").value == "loss"
    assert sorted(page.multiselect(key="drawn").value) == ["adam:lr=0.1", "sgd", "wild"]
    page.selectbox(key="axis").set_value("seconds").run()
    assert "no benchmark of speed" in text(page.caption)
    page.selectbox(key="workload").set_value("digits-mlp").run()
    assert not page.exception
    assert page.selectbox(key="metric").options == ["accuracy", "loss"]
    page.selectbox(key="metric").set_value("accuracy").run()
    page.selectbox(key="workload").set_value("quadratic").run()
    assert not page.exception
    assert page.selectbox(key="metric").value == "loss"
    page.multiselect(key="drawn").set_value([]).run()
    # an empty choice has no curves to show
    assert page.multiselect(key="drawn").value == []
    assert "choose an optimizer" in text(page.info)


def test_the_landscape_starts_with_a_surface_and_draws_every_probe(show: Show, results: Path) -> None:
    page = show("landscape", results, benchmark="tiny")
    assert page.selectbox(key="probe").value == "surface (resolution=5)"
    for label in ("gradient-flow", "line (points=5)"):
        page.selectbox(key="probe").set_value(label).run()
        assert not page.exception
        assert len(page.get("vega_lite_chart")) == 1, label
        options = page.multiselect[0].options
        page.multiselect[0].set_value([option for option in options if "sgd" in option]).run()
        assert not page.exception
        assert len(page.get("vega_lite_chart")) == 1, label
        assert "trial" in page.dataframe[0].value


def test_a_third_partys_probe_is_drawn_by_its_own_chart(show: Show, results: Path, plugin_file: Path) -> None:
    page = show("landscape", results, (plugin_file,), benchmark="outside")
    assert page.selectbox(key="probe").value == "weight-norm"
    assert "Weight norm" in page.get("vega_lite_chart")[0].proto.spec
    assert "norm of all weights" in text(page.markdown)
    page.multiselect[0].set_value(page.multiselect[0].options).run()
    assert "cannot draw this table: ValueError: one at a time" in text(page.error)


def test_a_probe_whose_plugin_is_not_here_still_shows_its_table(show: Show, results: Path) -> None:
    page = show("landscape", results, benchmark="outside")
    assert "'outsider' that provides this probe is not here" in text(page.warning)
    assert not page.get("vega_lite_chart")
    assert list(page.dataframe[0].value.columns) == ["step", "norm"]


def test_a_link_opens_one_trial(show: Show, results: Path) -> None:
    hash_ = hash_of(results, "tiny", workload="digits-mlp", optimizer="sgd", seed=1)
    page = show("trial", results, benchmark="tiny", trial=hash_)
    assert text(page.title) == "digits-mlp · sgd · seed 1"
    assert "--only seed=1" in page.code[0].value
    asked = page.dataframe[0].value
    lr = asked[(asked["component"] == "optimizer") & (asked["setting"] == "lr")].iloc[0]
    assert (lr["value"], lr["default"]) == ("0.3", "")
    page.selectbox(key="trial-seed").set_value(0).run()
    assert text(page.title) == "digits-mlp · sgd · seed 0"
    assert page.query_params["trial"] == hash_of(results, "tiny", workload="digits-mlp", optimizer="sgd", seed=0)


def test_the_trial_page_says_how_to_train_an_added_trial(show: Show, results: Path) -> None:
    hash_ = hash_of(results, "tiny", optimizer="adam:lr=0.1", seed=1)
    page = show("trial", results, benchmark="tiny", trial=hash_)
    command = page.code[0].value
    assert "--with optimizer=adam:lr=0.1 --only workload=quadratic --only optimizer=adam:lr=0.1" in command
    further = show("trial", results, benchmark="tiny", trial=hash_of(results, "tiny", optimizer="sgd", seed=2))
    assert "--seeds 3" in further.code[0].value


def test_the_command_of_a_trial_trains_exactly_that_trial(
    show: Show, results: Path, thalweg: Callable[..., int], tmp_path: Path
) -> None:
    import shlex

    hash_ = hash_of(results, "tiny", optimizer="adam:lr=0.1", seed=1)
    words = shlex.split(show("trial", results, benchmark="tiny", trial=hash_).code[0].value)
    shutil.copy(results / "tiny" / "benchmark.toml", "tiny.toml")
    assert thalweg(*words[1:], "--results", tmp_path / "again") == 0
    assert [trial.document.hash for trial in BenchmarkResults(tmp_path / "again", "tiny").scan()[0]] == [hash_]


def test_a_failed_trial_shows_its_traceback(show: Show, results: Path, plugin_file: Path) -> None:
    page = show(
        "trial", results, (plugin_file,), benchmark="outside", trial=hash_of(results, "outside", optimizer="raising")
    )
    assert "no step for you" in text(page.error)
    assert "RuntimeError" in page.code[0].value
    assert f"--plugin {plugin_file}" in page.code[1].value


def test_an_unknown_trial_is_said_to_be_unknown(show: Show, results: Path) -> None:
    page = show("trial", results, benchmark="tiny", trial="zzz")
    assert "No trial of this benchmark has the hash 'zzz'" in text(page.warning)


def test_the_plugins_page_lists_everything(show: Show, results: Path, plugin_file: Path) -> None:
    page = show("plugins", results, (plugin_file,))
    assert {"thalweg_plugins.optimizers", "outsider"} <= set(page.dataframe[0].value["plugin"])
    for kind in page.selectbox(key="kind").options:
        page.selectbox(key="kind").set_value(kind).run()
        assert not page.exception, kind
        for name in page.selectbox(key="name").options:
            page.selectbox(key="name").set_value(name).run()
            assert not page.exception, name


def test_a_plugin_that_fails_is_shown_with_reason_and_traceback(show: Show, results: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_of_that_name\n", encoding="utf-8")
    page = show("plugins", results, (broken,))
    assert "'broken' (file) failed to load: ModuleNotFoundError" in text(page.error)
    assert "nothing_of_that_name" in page.code[0].value


@pytest.mark.parametrize(
    "name", ["leaderboard", "curves", "landscape", "tuning", "trials", "trial", "compare", "playground"]
)
def test_without_results_every_page_says_what_to_type(
    show: Show, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "_reference", lambda: None)
    page = show(name, tmp_path / "none")
    assert text(page.title) == "No results yet"
    assert page.code[0].value == "thalweg run quick"


@pytest.mark.parametrize("name", ["leaderboard", "curves", "landscape", "trial"])
def test_unreadable_trials_are_named(show: Show, results: Path, tmp_path: Path, name: str) -> None:
    root = tmp_path / "copy"
    shutil.copytree(results, root)
    trials = sorted((root / "tiny" / "trials").iterdir())
    (trials[0] / "trial.json").write_text("{", encoding="utf-8")
    done = next(path for path in trials[1:] if "sgd" in path.name)
    (done / "curve.parquet").write_bytes(b"no parquet")
    page = show(name, root, benchmark="tiny")
    assert trials[0].name in text(page.warning)
    assert f"{done.name}: curve.parquet" in text(page.warning)


@pytest.mark.parametrize("name", ["leaderboard", "curves", "landscape", "trial"])
def test_a_benchmark_file_that_cannot_be_used_leaves_what_is_on_disk(
    show: Show, results: Path, tmp_path: Path, name: str
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(results, root)
    (root / "tiny" / "benchmark.toml").write_text("seeds = 'many'", encoding="utf-8")
    page = show(name, root, benchmark="tiny")
    assert "cannot be used" in text(page.warning)
    assert "Ranked by loss" in text(page.warning)


MARKS = "![x](http://y/z.png) :red[q] $1$ `c` <b> \x1b[31m\u202e\n# two"


def test_reasons_of_results_are_text_on_every_page(show: Show, results: Path, tmp_path: Path) -> None:
    root = tmp_path / "copy"
    shutil.copytree(results, root)
    for path in (root / "outside" / "trials").glob("*/trial.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["status"] == "failed":
            path.write_text(json.dumps(document | {"reason": MARKS}), encoding="utf-8")
            failed = document["hash"]
    # what Markdown reads as the text itself: nothing of it is a picture, a colour, a formula, code, a tag or a heading
    told = r"!\[x\](http://y/z.png) :red\[q\] \$1\$ \`c\` &lt;b&gt; \\x1b\[31m\\u202e\\n# two"
    assert told in text(show("leaderboard", root, benchmark="outside").error)
    assert told in text(show("trial", root, benchmark="outside", trial=failed).error)


def test_the_frame_runs_and_starts_with_the_start_page(
    results: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THALWEG_RESULTS", str(results))
    monkeypatch.setenv("THALWEG_PLUGIN_FILES", "")
    page = AppTest.from_file(APP_SCRIPT, default_timeout=30).run()
    assert not page.exception
    assert text(page.title) == "thalweg"


def test_an_address_that_asks_for_what_is_not_there_is_told(show: Show, results: Path) -> None:
    page = show("leaderboard", results, benchmark="nonsense", source="nowhere")
    told = [warning.value for warning in page.warning]
    assert any("Unknown benchmark 'nonsense': the page shows" in text for text in told)
    assert any("Unknown results 'nowhere': the page shows" in text for text in told)
    other = next(
        name for name in page.selectbox(key="benchmark").options if name != page.selectbox(key="benchmark").value
    )
    page.selectbox(key="benchmark").select(other).run()
    assert not any("Unknown benchmark" in warning.value for warning in page.warning)
    assert not any("Unknown" in warning.value for warning in show("leaderboard", results, benchmark="tiny").warning)
