"""The plan that ``thalweg run --dry-run`` prints."""

from __future__ import annotations

from pathlib import Path

from support import CommandLine, results


def test_a_dry_run_trains_nothing_and_knows_what_is_done(cli: CommandLine, small: Path) -> None:
    before = cli.json("run", "small.toml", "--dry-run")
    assert before["dry_run"]
    assert not results(cli).path.exists()
    assert len(before["trials"]) == 8
    assert (before["seconds"], before["trials_without_estimate"]) == (None, 8)
    cli("run", "small.toml", "--only", "workload=small", "--only", "seed=0")
    after = cli.json("run", "small.toml", "--dry-run", "-j", "2")
    done = [trial for trial in after["trials"] if trial["cached"]]
    assert {(trial["workload"], trial["seed"], trial["seconds"]) for trial in done} == {("small", 0, 0.0)}
    # the other seed as long as the first, the other workload not known
    seconds = {trial.document.optimizer: trial.document.summary["seconds"] for trial in results(cli).scan()[0]}
    left = [trial for trial in after["trials"] if not trial["cached"]]
    assert {trial["seconds"] for trial in left if trial["workload"] != "small"} == {None}
    assert {trial["optimizer"]: trial["seconds"] for trial in left if trial["workload"] == "small"} == seconds
    assert after["seconds"] == round(sum(seconds.values()) / 2, 1)
    assert len(list(results(cli).trials.iterdir())) == len(done)
    told = cli("run", "small.toml", "--dry-run").stdout
    assert f"8 trials: {len(done)} done, {8 - len(done)} to train in about" in told


def test_a_quiet_run_says_nothing_of_its_progress(cli: CommandLine, small: Path) -> None:
    assert "8 trials: 0 done before" in cli("run", "small.toml", "--dry-run").stderr + cli("run", "small.toml").stderr
    assert cli("run", "small.toml", "--fresh", "--quiet", "--only", "seed=0").stderr == ""
