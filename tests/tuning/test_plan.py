"""Tuning from the file to the leaderboard: real runs on problems that take milliseconds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import stdtrit

from support import CommandLine, results
from thalweg.expand import load_benchmark
from thalweg.plan import Choice
from thalweg.registry import Registry
from thalweg.scoring.leaderboard import leaderboard
from thalweg.scoring.observations import observe
from thalweg.selection import Selection
from thalweg.store.index import read_stored
from thalweg.store.results import BenchmarkResults
from thalweg.tuning.outcome import _rows
from thalweg.tuning.plan import TunedPlan, plan_of

BOWL = """
seeds = 2

[workloads.bowl]
problem = { name = "quadratic", dim = 4, kappa = 10.0 }
architecture = "point"
dtype = "float64"
budget = { steps = 20 }
evaluate_every = { steps = 5 }

[optimizers.sgd]
lr = MIDDLE

[optimizers.adam]

[tuning]
budgets = [2, 6]
decades = 2
"""


def write(cli: CommandLine, middle: float = 0.1, text: str = BOWL) -> list[str]:
    (cli.folder / "small.toml").write_text(text.replace("MIDDLE", str(middle)), encoding="utf-8")
    return ["run", "small.toml"]


def plan(cli: CommandLine, registry: Registry, *only: str) -> TunedPlan:
    benchmark = load_benchmark(str(cli.folder / "small.toml"), registry)
    stored = read_stored(results(cli))
    return plan_of(benchmark, registry, Selection(only=only, stacks=stored.way()), stored)


def test_every_setting_is_tried_before_the_best_is_trained_with_fresh_seeds(
    cli: CommandLine, registry: Registry
) -> None:
    report = cli.json(*write(cli))
    whole = plan(cli, registry)
    assert whole.settled
    assert {planned.trial.seed for planned in whole.trials} == {0, 1}
    tuning_only = [planned for planned in whole.tuning if planned.trial.seed >= 1000]
    assert len(tuning_only) == len(whole.tried)
    assert report["trials"]["total"] == len(whole.trials) + len(whole.tuning)
    # what is trained has the least final loss of all settings, as computed from the trials themselves
    for label in ("sgd", "adam"):
        mine = whole.tried[whole.tried["optimizer"] == label]
        (chosen,) = {planned.trial.optimizer.settings["lr"] for planned in whole.trials if planned.optimizer == label}
        assert chosen == mine.loc[mine["value"].idxmin(), "lr"]
        assert mine.loc[mine["lr"] == chosen, "selected"].item().split()[-1] == "6"
    again = cli.json(*write(cli))
    assert (again["trials"]["trained"], again["trials"]["cached"]) == (0, report["trials"]["total"])
    board = cli.json("leaderboard", "small.toml")["rows"]
    assert {(row["optimizer"], row["seeds"]) for row in board} == {("sgd", 2), ("adam", 2)}
    assert "left out: " not in cli("leaderboard", "small.toml").stderr


def test_a_range_with_its_best_at_an_end_is_extended_there_once(cli: CommandLine, registry: Registry) -> None:
    # rates from 1e-5 to 1e-3: the best is the largest, and still is when one decade is added
    cli(*write(cli, middle=1e-4))
    whole = plan(cli, registry)
    assert whole.extended["bowl", "sgd"] == (2, 6)
    sgd = whole.tried[whole.tried["optimizer"] == "sgd"]
    # 6 points in 2 decades are 3 in the decade beyond, and nothing is tried below
    assert sgd["extension"].tolist() == [False] * 6 + [True] * 3
    best = sgd[sgd["selected"].str.contains("6")]
    assert best["at_edge"].tolist() == [True]
    assert best["lr"].item() == sgd["lr"].max() > 1e-3
    assert "at the end of the searched range" in cli("tuning", "small.toml").stdout
    extended = {
        (row["workload"], row["optimizer"]): row["budgets"] for row in cli.json("tuning", "small.toml")["extended"]
    }
    assert extended["bowl", "sgd"] == [2, 6]


def test_an_optimizer_that_joins_moves_no_other(cli: CommandLine, registry: Registry) -> None:
    """The ranges of all optimizers once were extended where one had its best at an end."""
    alone = BOWL.replace("[optimizers.adam]\n", "")
    cli(*write(cli, 0.18, alone))
    before = plan(cli, registry)
    trials = {planned.trial.hash for planned in (*before.trials, *before.tuning)}
    # a rate that is far too small: its range is extended
    joined = BOWL.replace("[optimizers.adam]", "[optimizers.adam]\nlr = 1e-6")
    cli(*write(cli, 0.18, joined))
    after = plan(cli, registry)
    assert after.extended["bowl", "adam"] == (2, 6)
    assert after.extended.get(("bowl", "sgd")) == before.extended.get(("bowl", "sgd"))
    mine = [planned for planned in (*after.trials, *after.tuning) if planned.optimizer == "sgd"]
    assert {planned.trial.hash for planned in mine} == trials


def test_a_smaller_budget_looks_at_nothing_that_only_a_larger_one_pays_for(
    cli: CommandLine, registry: Registry
) -> None:
    """The extension of the larger budget once was given to the smaller one too."""
    cli(*write(cli, 0.18, BOWL.replace("[optimizers.adam]\n", "")))
    both = plan(cli, registry)
    (outcome,) = both.outcomes
    cli(*write(cli, 0.18, BOWL.replace("[optimizers.adam]\n", "").replace("[2, 6]", "[2]")))
    (alone,) = plan(cli, registry).outcomes
    assert [one.setting for one in outcome.settings(2)] == [one.setting for one in alone.settings(2)]
    assert outcome.best[2].setting == alone.best[2].setting
    assert (both.extended.get(("bowl", "sgd"), ()) == (2,)) == bool(alone.ends(2) or alone.paid)


def test_nothing_is_extended_where_the_best_is_inside_or_the_file_says_so(cli: CommandLine, registry: Registry) -> None:
    text = BOWL.replace("[optimizers.adam]\n", "").replace("[2, 6]", "[6]")
    # 2 / (mu + L) is the best rate of gradient descent on a quadratic: the curvatures are between 1 and 10
    cli(*write(cli, 0.18, text))
    inside = plan(cli, registry)
    assert inside.extended == {}
    assert inside.settled
    cli(*write(cli, 1e-4, text + "extend = 0\n"))
    forbidden = plan(cli, registry)
    assert forbidden.extended == {}
    assert forbidden.tried["at_edge"].any()


def test_a_setting_that_diverges_is_never_the_best(cli: CommandLine, registry: Registry) -> None:
    # lr L > 2 diverges: no rate from 0.3 to 30 ends, where L = 10, so the range is extended
    cli(*write(cli, 3.0, BOWL.replace("[optimizers.adam]\n", "")))
    tried = plan(cli, registry).tried
    diverged = tried[tried["status"] == "diverged"]
    assert 3 <= len(diverged) < len(tried)
    assert diverged["value"].isna().all()
    assert (diverged["selected"] == "").all()
    best = cli.json("tuning", "small.toml")["best"]
    assert best[0]["reached_end"] == len(tried) - len(diverged)


def test_where_all_diverge_the_first_is_trained_and_counts_as_what_it_is(cli: CommandLine, registry: Registry) -> None:
    text = BOWL.replace("[optimizers.adam]\n", "") + "extend = 0\n"
    cli(*write(cli, 1e6, text))
    assert (plan(cli, registry).tried["status"] == "diverged").all()
    assert "no setting finished" in cli("tuning", "small.toml").stdout
    (row,) = cli.json("leaderboard", "small.toml")["rows"]
    assert (row["diverged"], row["value"]) == (2, None)


def test_a_smaller_budget_has_its_own_best_and_seeds(cli: CommandLine, registry: Registry) -> None:
    cli(*write(cli, middle=0.1))
    whole = plan(cli, registry)
    assert set(whole.smaller) == {2}
    document = cli.json("tuning", "small.toml")
    rows = {(row["optimizer"], row["budget"]): row for row in document["by_budget"]}
    assert set(rows) == {(label, budget) for label in ("sgd", "adam") for budget in (2, 6)}
    assert all(row["seeds"] == 2 for row in rows.values())
    for label in ("sgd", "adam"):
        values = {row["selected"]: row["value"] for row in document["tried"] if row["optimizer"] == label}
        of = {budget: value for budgets, value in values.items() for budget in budgets.split()}
        assert of["6"] <= of["2"]


def test_only_trains_what_is_asked_for_and_the_rest_joins_later(cli: CommandLine, registry: Registry) -> None:
    words = write(cli)
    part = cli.json(*words, "--only", "optimizer=adam", "--only", "seed=1")
    stored = results(cli).scan()[0]
    assert {trial.document.optimizer for trial in stored} == {"adam"}
    assert {trial.document.trial.seed for trial in stored} == {1, 1000}
    whole = cli.json(*words)
    # nothing is trained twice
    assert whole["trials"]["trained"] + part["trials"]["trained"] == whole["trials"]["total"]
    assert plan(cli, registry).settled


def test_a_run_that_stops_in_between_goes_on(cli: CommandLine, registry: Registry) -> None:
    words = write(cli)
    whole = cli.json(*words)
    before = {trial.document.hash: trial.path for trial in results(cli).scan()[0]}
    gone = [planned.trial.hash for planned in plan(cli, registry).tuning][:3]
    cli("results", "delete", *gone, "--yes")
    assert not plan(cli, registry).settled
    again = cli.json(*words)
    assert again["trials"]["trained"] == 3
    assert {trial.document.hash for trial in results(cli).scan()[0]} == set(before)
    assert again["trials"]["total"] == whole["trials"]["total"]


def test_several_seeds_of_a_setting_are_averaged(cli: CommandLine, registry: Registry) -> None:
    cli(*write(cli, text=BOWL + "seeds = 2\n"))
    whole = plan(cli, registry)
    outcome = whole.outcomes[0]
    by_hash = {trial.document.hash: trial for trial in results(cli).scan()[0]}
    for one in outcome.tried:
        assert len(one.hashes) == 2
        if any(by_hash[hash_].document.status == "diverged" for hash_ in one.hashes):
            assert one.score == -math.inf
            continue
        finals = [by_hash[hash_].document.summary["final"]["train"]["loss"] for hash_ in one.hashes]
        assert math.isclose(-one.score, sum(finals) / 2, rel_tol=1e-12)


def test_what_is_selected_is_the_best_validation_value_of_a_curve(cli: CommandLine, registry: Registry) -> None:
    text = """
seeds = 1
[workloads.digits]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
budget = { epochs = 3 }
batch_size = 128
validation_fraction = 0.2
[optimizers.sgd]
[tuning]
budgets = [3]
"""
    cli(*write(cli, text=text))
    (outcome,) = plan(cli, registry).outcomes
    by_hash = {trial.document.hash: trial for trial in results(cli).scan()[0]}
    expected = []
    for one in outcome.tried:
        curve = by_hash[one.hashes[0]].curve()
        curve = curve[(curve["split"] == "valid") & (curve["metric"] == "accuracy")]
        assert one.score == curve["value"].max()
        expected.append(one.score)
    assert outcome.best[3].score == max(expected)


def test_the_runs_end_is_told_once(cli: CommandLine) -> None:
    plugin = "import thalweg\n\n@thalweg.hookimpl\ndef thalweg_run_finished(run):\n    print('ENDED', run.total)\n"
    (cli.folder / "told.py").write_text(plugin, encoding="utf-8")
    done = cli(*write(cli), "--plugin", "told.py")
    total = cli.json("run", "small.toml")["trials"]["total"]
    assert (done.stdout + done.stderr).count("ENDED") == 1
    assert f"ENDED {total}" in done.stdout + done.stderr


def test_the_dry_run_tells_the_trials_that_are_known(cli: CommandLine) -> None:
    words = write(cli)
    first = cli.json(*words, "--dry-run")
    assert len(first["trials"]) == 12
    assert {row["stage"] for row in first["trials"]} == {"tuning"}
    assert len({row["setting"]["lr"] for row in first["trials"] if row["optimizer"] == "sgd"}) > 1
    assert first["seconds"] is None  # nothing is known, which is not 0
    told = cli(*words, "--dry-run").stdout
    assert "with the seeds that count; which they are depends" in told
    assert f"lr={first['trials'][0]['setting']['lr']:g}" in told
    cli(*words)
    whole = cli.json(*words, "--dry-run")
    assert whole["later"] == {"search": 0, "final": 0, "extension": 0}
    late = len(whole["trials"]) - 12
    assert 0 < late <= first["later"]["final"] + first["later"]["extension"]
    assert all(row["cached"] for row in cli.json(*words, "--dry-run")["trials"])


def test_a_benchmark_without_tuning_is_told_so(cli: CommandLine, small: Path) -> None:
    assert "has no [tuning]" in cli("tuning", "small.toml", code=2).stderr
    write(cli)
    assert "no setting is known yet" in cli("tuning", "small.toml", code=3).stderr


def test_mistakes_are_told_with_their_key(cli: CommandLine) -> None:
    for change, says in (
        ("decades = 2", "tuning.decades"),
        ("budgets = [2, 6]", "tuning.budgets"),
    ):
        write(cli, text=BOWL.replace(change, change.split("=")[0] + "= -1"))
        assert says in cli("run", "small.toml", code=2).stderr
    write(cli, text=BOWL + '[tuning.hyperparameters]\nsdg = ["lr"]\n')
    assert "did you mean 'sgd'" in cli("run", "small.toml", code=2).stderr
    write(cli, text=BOWL + '[tuning.hyperparameters]\nsgd = ["momentum"]\n')
    assert "no hyperparameter with a range to search 'momentum'" in cli("run", "small.toml", code=2).stderr


def test_results_of_another_folder_are_not_mixed_in(cli: CommandLine, registry: Registry, tmp_path: Path) -> None:
    cli(*write(cli))
    benchmark = load_benchmark(str(cli.folder / "small.toml"), registry)
    empty = plan_of(benchmark, registry, Selection(), read_stored(BenchmarkResults(tmp_path / "empty", "small")))
    assert not empty.settled
    assert empty.trials == []


IGNORES = """
import torch
import thalweg


class Ignores(torch.optim.Optimizer):
    def __init__(self, params, lr=1.0, other=0.1):
        super().__init__(params, dict(lr=lr, other=other))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["other"] * p.grad)


class Takes(Ignores):
    def step(self, closure=None):
        for group in self.param_groups:
            group["other"] = group["lr"]
        super().step()


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Ignores)
    register(Takes, lr=0.05)
"""

RATES = """
seeds = 1

[workloads.bowl]
problem = { name = "quadratic", dim = 4, kappa = 10.0 }
architecture = "point"
dtype = "float64"
budget = { steps = 20 }
evaluate_every = { steps = 5 }

[optimizers.ignores]

[optimizers.takes]

[tuning]
method = "grid"
budgets = [3]
decades = 2
"""


def test_a_rate_without_effect_is_said_to_have_none_and_no_setting_is_the_best(cli: CommandLine) -> None:
    (cli.folder / "ignores.py").write_text(IGNORES, encoding="utf-8")
    write(cli, text=RATES)
    ask = ("small.toml", "--plugin", "ignores.py")
    told = "bowl: ignores: lr has no effect: all 3 settings gave the very same curves, and none is the best"
    assert told in cli("run", *ask).stderr
    assert told in cli("leaderboard", *ask).stderr
    found = cli("tuning", *ask)
    assert told in found.stderr
    assert "lr has no effect" in found.stdout
    report = cli.json("tuning", *ask)
    best = {row["optimizer"]: row for row in report["best"]}
    assert (best["ignores"]["setting"], best["ignores"]["without_effect"]) == ("", "lr")
    assert (best["takes"]["setting"], best["takes"]["without_effect"]) == ("lr=0.05", "")
    # the first of a grid is at its end, which is none where nothing has an effect
    assert report["extended"] == []
    assert {row["selected"] for row in report["tried"] if row["optimizer"] == "ignores"} == {""}
    # the middle of the range is each class's own rate
    rates = {name: sorted(row["lr"] for row in report["tried"] if row["optimizer"] == name) for name in best}
    assert rates == {"ignores": [0.1, 1.0, 10.0], "takes": [0.005, 0.05, 0.5]}
    # the seeds that count are trained all the same, each optimizer with one setting
    board = cli.json("leaderboard", *ask)["rows"]
    assert sorted((row["optimizer"], row["seeds"]) for row in board) == [("ignores", 1), ("takes", 1)]
    cli("report", *ask, "--out", "report.html")
    assert "has no effect: all 3 settings" in (cli.folder / "report.html").read_text(encoding="utf-8")


def test_an_optimizer_without_a_rate_is_not_tuned_by_it(cli: CommandLine) -> None:
    source = (
        IGNORES.replace("lr=1.0, other", "other").replace("lr=lr, ", "").replace("    register(Takes, lr=0.05)\n", "")
    )
    (cli.folder / "ignores.py").write_text(source, encoding="utf-8")
    write(cli, text=RATES.replace("[optimizers.takes]\n", ""))
    refused = cli("run", "small.toml", "--plugin", "ignores.py", code=2).stderr
    assert "small.toml: tuning: optimizer 'ignores': has no learning rate, so there is nothing to tune" in refused
    # the way out that it names
    source = source.replace("register(Ignores)", "register(Ignores, search={'other': (0.01, 1.0)})")
    (cli.folder / "ignores.py").write_text(source, encoding="utf-8")
    write(cli, text=RATES.replace("[optimizers.takes]\n", "") + '\n[tuning.hyperparameters]\nignores = ["other"]\n')
    cli("run", "small.toml", "--plugin", "ignores.py")
    (best,) = cli.json("tuning", "small.toml", "--plugin", "ignores.py")["best"]
    assert best["setting"] == "other=0.1"


def test_a_leaderboards_interval_includes_the_choice(cli: CommandLine, registry: Registry) -> None:
    cli(*write(cli, text=BOWL.replace("seeds = 2", "seeds = 3") + "seeds = 2\n"))
    whole = plan(cli, registry)
    assert whole.choice == {(one.workload.name, one.optimizer): one.choice(6) for one in whole.outcomes}
    seen = observe(whole, read_stored(results(cli)))
    assert seen.choice == whole.choice
    boards = []
    for added in (0.0, 0.04):
        seen.choice = {("bowl", "sgd"): Choice(math.nan, added)}  # the loss has a log scale
        rows = leaderboard(seen, whole.workloads).set_index("optimizer")
        boards.append(np.log(rows[["value", "low", "high"]]))
    plain, wider = boards
    assert plain.loc["adam"].equals(wider.loc["adam"])
    t = float(stdtrit(2, 0.975))
    for end in ("low", "high"):
        halves = [abs(board.loc["sgd", end] - board.loc["sgd", "value"]) for board in boards]
        assert halves[1] ** 2 == pytest.approx(halves[0] ** 2 + 0.04 * t**2)
    # tuning knows nothing of other metrics
    seen.choice = {("bowl", "sgd"): Choice(math.nan, 100.0)}
    areas = leaderboard(seen, whole.workloads, "area_under_curve").set_index("optimizer")
    seen.choice = {}
    assert areas.equals(leaderboard(seen, whole.workloads, "area_under_curve").set_index("optimizer"))


def test_a_second_rate_is_named_where_only_the_first_is_searched(cli: CommandLine, registry: Registry) -> None:
    """With a rate of 1e-12 Muon still reached a target, by the fixed rate of its AdamW."""
    text = BOWL.replace("[optimizers.sgd]\nlr = MIDDLE\n\n[optimizers.adam]", "[optimizers.muon]\nadamw_lr = 0.02")
    cli(*write(cli, text=text.replace("[2, 6]", "[2]")))
    (best,) = cli.json("tuning", "small.toml")["best"]
    assert best["fixed_rates"] == "adamw_lr=0.02"
    assert "adamw_lr=0.02 not searched" in cli("tuning", "small.toml").stdout
    for entry in registry.entries("optimizers"):
        optimizer = registry.optimizer(entry.name)
        assert {*optimizer.other_rates} <= {option.name for option in optimizer.options}


SATURATES = """
import torch
import thalweg


class Sat(torch.optim.SGD):
    def __init__(self, params, lr=0.0001):
        super().__init__(params, lr=min(lr, 1e-3))


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Sat)
"""


def test_settings_of_a_larger_budget_do_not_tell_a_smaller_one_whether_the_rate_matters(cli: CommandLine) -> None:
    (cli.folder / "sat.py").write_text(SATURATES, encoding="utf-8")
    found = []
    for budgets in ("[2]", "[2, 8]", "[8]"):
        text = BOWL.replace("[optimizers.sgd]\nlr = MIDDLE\n\n[optimizers.adam]", "[optimizers.sat]\nlr = 0.1")
        write(cli, text=text.replace("[2, 6]", budgets))
        cli("run", "small.toml", "--plugin", "sat.py", "--results", f"r{budgets}")
        found.append(cli.json("tuning", "small.toml", "--plugin", "sat.py", "--results", f"r{budgets}"))
    small, both, large = found
    assert small["extended"] == []
    assert all(2 not in row["budgets"] for row in both["extended"])
    # and the smaller budget's settings are no cost of the larger one
    assert both["best"][0]["tried"] == large["best"][0]["tried"]


def test_a_metric_that_is_nan_at_the_end_is_no_value(registry: Registry) -> None:
    rows = pd.DataFrame({
        "trial": 0, "step": [0, 1, 2], "gradient_evaluations": [0, 1, 2], "split": "train", "metric": "loss",
        "value": [3.0, 2.0, math.nan],
    })  # fmt: skip
    workload = load_benchmark("quick", registry).expand(registry).workloads["quadratic"]

    class Kept:
        def curves(self, *_: object) -> pd.DataFrame:
            return rows

    found = _rows(Kept(), pd.Index([0]), workload)  # type: ignore[arg-type]
    assert found[0]["score"] == -math.inf


HOPELESS = """
seeds = 1

[workloads.bowl]
problem = { name = "quadratic", dim = 4, kappa = 10.0 }
architecture = "point"
dtype = "float64"
budget = { steps = 20 }
evaluate_every = { steps = 5 }

[optimizers.sgd]
lr = 10.0

[tuning]
method = "grid"
budgets = [4]
decades = 4
extend = 0
seeds = 3
STOP
"""


def test_a_setting_that_is_hopeless_at_its_first_seed_gets_no_further_ones(
    cli: CommandLine, registry: Registry
) -> None:
    cli.json(*write(cli, text=HOPELESS.replace("STOP", "stop_hopeless = true")))
    stopped = plan(cli, registry)
    tried = stopped.outcomes[0].tried
    # rates of 0.1, 2.2, 46 and 1000, where 2/lambda is 0.2
    assert [one.hopeless for one in tried] == [False, True, True, True]
    assert stopped.settled
    assert [planned.trial.seed for planned in stopped.tuning] == [1000, 1001, 1002, 1000, 1000, 1000]
    assert len(results(cli).scan()[0]) == 3 + 3 + 1
    # the choice and the final trials are those of the search without the rule
    value = cli.json("leaderboard", "small.toml")["rows"][0]["value"]
    cli.json(*write(cli, text=HOPELESS.replace("STOP", "")), "--results", "whole")
    assert cli.json("leaderboard", "small.toml", "--results", "whole")["rows"][0]["value"] == value


def test_where_every_setting_is_hopeless_the_first_is_trained(cli: CommandLine, registry: Registry) -> None:
    text = HOPELESS.replace("STOP", "stop_hopeless = true").replace("lr = 10.0", "lr = 1e6")
    report = cli.json(*write(cli, text=text))
    assert report["trials"]["trained"] == 5
    assert plan(cli, registry).settled
