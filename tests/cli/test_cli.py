"""The command line as a user or a CI job sees it: exit codes, one-line errors, JSON alone on standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import CommandLine
from thalweg.expand import read_benchmark
from thalweg.registry import Registry
from thalweg.selection import Selection
from thalweg.store.documents import TrialDocument


def error(cli: CommandLine, *words: str) -> str:
    """The error line of a command."""
    done = cli(*words, code=2)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_help_does_not_import_torch_pandas_or_plugins() -> None:
    code = """
import sys
sys.argv = ["thalweg", "--help"]
from thalweg.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
heavy = {"torch", "pandas", "numpy", "pydantic", "pyarrow", "rich", "thalweg_plugins"} & sys.modules.keys()
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "leaderboard" in done.stdout


def test_version(cli: CommandLine) -> None:
    assert cli("--version").stdout.startswith("thalweg 0.")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "quik"], "no benchmark 'quik'; did you mean 'quick'"),
        (["run", "nowhere.toml"], "nowhere.toml: cannot be read"),
        (["run", "quick", "--only", "optimizer=admn"], "no optimizer 'admn'; did you mean 'adam'"),
        (["run", "quick", "--with", "optimizer=admn"], "no optimizer 'admn'; did you mean 'adam'"),
        (["run", "quick", "--device", "gpu"], "--device: no device 'gpu'"),
        (["run", "quick", "--executor", "seral"], "--executor: no executor 'seral'; did you mean 'serial'"),
        (["run", "quick", "--plugin", "nowhere.py"], "--plugin nowhere.py: there is no such file"),
        (["list", "optimizer"], "no kind 'optimizer'; did you mean 'optimizers'"),
        (["show", "admn"], "no component 'admn'; did you mean 'adam'"),
        (["leaderboard", "quick", "--format", "tabel"], "no format 'tabel'; did you mean 'table'"),
        (["leaderboard", "quick", "--workload", "digits"], "no workload 'digits'; did you mean 'digits-"),
        (["leaderboard", "quick", "--metric", "acc"], "no metric 'acc'; did you mean 'accuracy'"),
        (["results", "show", "abc"], "has a hash that begins with 'abc'"),
        (["results", "list", "quick"], "no results of 'quick'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(cli: CommandLine, words: list[str], says: str) -> None:
    assert says in error(cli, *words)


@pytest.mark.parametrize(
    "words", [["run"], ["run", "quick", "--sedes", "3"], ["frobnicate"], ["run", "quick", "--seeds", "0"]]
)
def test_a_wrong_usage_is_exit_code_2(cli: CommandLine, words: list[str]) -> None:
    done = cli(*words, code=2)
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broken_benchmark_file_is_one_line(cli: CommandLine, small: Path) -> None:
    small.write_text(small.read_text().replace("lr = 0.01", "lr = -0.01"), encoding="utf-8")
    assert error(cli, "run", "small.toml") == (
        "error: small.toml: optimizers.sgd: lr = -0.01 is outside its allowed range (0, inf)"
    )
    assert not (cli.folder / "results").exists()


def test_list_and_show_have_the_promised_keys(cli: CommandLine) -> None:
    for kind in ("optimizers", "architectures", "problems", "probes", "benchmarks", "executors"):
        for row in cli.json("list", kind)[kind]:
            assert row.keys() >= {"name", "kind", "summary", "plugin", "version"}
            assert row["summary"], row
            shown = cli.json("show", row["name"])
            assert shown.keys() >= row.keys()
    shown = cli.json("show", "adam")
    assert {"hyperparameters", "source", "equation"} <= shown.keys()
    assert {"name", "default", "low", "high", "scale"} <= shown["hyperparameters"][0].keys()
    text = cli("show", "adam").stdout
    for word in ("Kingma", "beta1", "[0, 1)", "0.999", "thalweg_plugins.optimizers"):
        assert word in text


def test_every_component_tells_its_equation_or_source(cli: CommandLine) -> None:
    for kind in ("optimizers", "problems", "probes"):
        for row in cli.json("list", kind)[kind]:
            shown = cli.json("show", row["name"])
            assert shown["equation"]
            assert shown["source"]


def test_the_leaderboard_has_the_promised_keys_in_every_format(cli: CommandLine, small: Path) -> None:
    done = cli("leaderboard", "small.toml", code=3)
    assert "type 'thalweg run small.toml'" in done.stderr
    cli("run", "small.toml")
    document = cli.json("leaderboard", "small.toml")
    assert document["benchmark"] == "small"
    assert len(document["rows"]) == 4
    promised = {"workload", "optimizer", "rank", "rank_low", "rank_high", "value", "low", "high", "seeds", "reached"}
    promised |= {"diverged", "failed", "steps_to_target", "seconds_to_target"}
    assert all(row.keys() >= promised for row in document["rows"])
    table = cli("leaderboard", "small.toml").stdout
    assert "small: accuracy (test, at the step that validation selects)" in table
    assert "bowl: loss (training, at the end)" in table
    csv = cli("leaderboard", "small.toml", "--format", "csv").stdout.splitlines()
    assert csv[0].startswith("workload,metric,optimizer,rank")
    assert len(csv) == 5
    markdown = cli("leaderboard", "small.toml", "--format", "markdown", "--workload", "bowl").stdout
    assert "| rank | optimizer |" in markdown
    assert "small" not in markdown
    by_steps = cli.json("leaderboard", "small.toml", "--metric", "steps_to_target")
    assert {row["metric"] for row in by_steps["rows"]} == {"steps_to_target"}


def test_results_of_another_kind_of_device_are_ranked(cli: CommandLine, small: Path, registry: Registry) -> None:
    """As results that a GPU gave are, on a machine without one."""
    plan = read_benchmark(small).expand(registry, Selection(device="cuda"))
    cli("run", "small.toml", "--only", "workload=bowl")
    for path in (cli.folder / "results" / "local" / "small" / "trials").iterdir():
        document = TrialDocument.model_validate_json((path / "trial.json").read_text(encoding="utf-8"))
        trial = document.trial.model_copy(update={"device": "cuda"})
        moved = document.model_copy(update={"trial": trial, "hash": trial.hash})
        (path / "trial.json").write_text(moved.to_json(), encoding="utf-8")
        path.rename(path.with_name(path.name.replace(document.hash, trial.hash)))
    rows = cli.json("leaderboard", "small.toml", "--workload", "bowl")["rows"]
    assert [row["seeds"] for row in rows] == [2, 2]
    assert len([planned for planned in plan.trials if planned.workload == "bowl"]) == 4


def test_trials_of_another_grid_are_not_counted_and_are_told(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml", "--seeds", "3", "--only", "workload=bowl")
    done = cli("leaderboard", "small.toml", "--format", "json")
    assert "left out: 2 trials in the folder, of other seeds, settings or versions of plugins" in done.stderr
    assert "4 of 8 trials are not there yet" in done.stderr


def test_a_mixture_of_environments_is_told(cli: CommandLine, small: Path) -> None:
    cli("run", "small.toml")
    assert "different" not in cli("leaderboard", "small.toml").stderr
    path = next((cli.folder / "results" / "local" / "small" / "trials").iterdir()) / "trial.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["environment"]["packages"]["torch"] = "1.0"
    path.write_text(json.dumps(document), encoding="utf-8")
    for words in (["leaderboard", "small.toml"], ["run", "small.toml"]):
        told = cli(*words).stderr
        assert "the trials ran on different machines or versions" in told
        assert "torch 1.0" in told


def test_results_list_and_show(cli: CommandLine, small: Path) -> None:
    assert "type 'thalweg run quick'" in cli("results", "list", code=3).stderr
    cli("run", "small.toml", "--only", "workload=small", "--only", "seed=0")
    trials = cli.json("results", "list")["trials"]
    assert [(t["optimizer"], t["seed"], t["status"]) for t in trials] == [("adam", 0, "done"), ("sgd", 0, "done")]
    shown = cli.json("results", "show", trials[0]["hash"][:6])
    assert shown["hash"] == trials[0]["hash"]
    assert shown["options"]["optimizer"]["beta1"] == 0.9
    assert "accuracy" in cli("results", "list", "small").stdout
    assert cli.json("results", "verify")["whole"] == 2


def test_doctor_tells_what_there_is_and_fails_on_a_broken_plugin(cli: CommandLine) -> None:
    document = cli.json("doctor")
    assert document["packages"]["torch"].startswith("2.")
    assert document["results"]["writable"]
    (cli.folder / "broken.py").write_text("raise RuntimeError('oh no')", encoding="utf-8")
    assert "oh no" in cli("doctor", "--plugin", "broken.py", code=1).stdout


def test_a_reader_that_stops_early_changes_no_verdict(process_cli: CommandLine) -> None:
    foreign = process_cli.folder / "results" / "local" / "small" / "trials" / "foreign"
    foreign.mkdir(parents=True)
    process = process_cli.start("results", "verify")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_under_standard_output_is_told_in_a_line(process_cli: CommandLine) -> None:
    command = [sys.executable, "-m", "thalweg", "list"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, cwd=process_cli.folder, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: standard output: No space left on device\n")


def test_a_reader_that_stops_early_is_no_failure(process_cli: CommandLine) -> None:
    process = process_cli.start("list")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=60) == 0


def test_a_terminal_that_lacks_a_sign_gets_another(process_cli: CommandLine, small: Path) -> None:
    process_cli.environment["PYTHONIOENCODING"] = "ascii"
    process_cli("run", "small.toml", "--only", "workload=bowl", "--only", "seed=1")
    assert "?" in process_cli("results", "list").stdout + process_cli("leaderboard", "small.toml").stdout


def test_brackets_in_a_message_are_no_markup(cli: CommandLine) -> None:
    (cli.folder / "broken.py").write_text("raise RuntimeError('no [/usr/lib/foo] here')", encoding="utf-8")
    assert "no [/usr/lib/foo] here" in cli("plugins", "--plugin", "broken.py").stdout


def test_plugins_lists_every_plugin(cli: CommandLine) -> None:
    (cli.folder / "broken.py").write_text("raise RuntimeError('oh no')", encoding="utf-8")
    records = {record["name"]: record for record in cli.json("plugins", "--plugin", "broken.py")["plugins"]}
    assert records["broken"] == {
        "name": "broken",
        "version": "file",
        "origin": "file",
        "registered": {},
        "error": "RuntimeError: oh no",
        "notes": [],
    }
    assert records["thalweg_plugins.optimizers"]["origin"] == "built-in"
    assert "oh no" in cli("plugins", "--plugin", "broken.py").stdout


def test_a_broken_plugin_stops_only_what_needs_it(cli: CommandLine, small: Path) -> None:
    (cli.folder / "broken.py").write_text("raise RuntimeError('oh no')", encoding="utf-8")
    done = cli("run", "small.toml", "--plugin", "broken.py", "--only", "workload=bowl")
    assert "plugin 'broken' failed to load: RuntimeError: oh no" in done.stderr
    needed = cli("run", "small.toml", "--plugin", "broken.py", "--with", "optimizer=mine", code=2)
    assert "Plugins that failed to load: broken (RuntimeError: oh no)" in needed.stderr.splitlines()[-1]
