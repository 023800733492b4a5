"""A run with one plugin that implements every hook."""

from __future__ import annotations

import json
from pathlib import Path

from support import CommandLine

PLUGIN = """
import json
from pathlib import Path

import pandas as pd
import thalweg
from thalweg.contracts.problem import LoadContext

LOG = Path(__file__).parent / "log.txt"


def log(text):
    with LOG.open("a") as file:
        file.write(text + "\\n")


class Half(thalweg.Architecture):
    name, summary = "half", "a linear layer without bias"

    def build(self, options, shape):
        from torch import nn
        return nn.Linear(shape.input[0], shape.output[0], bias=False)


class Noise(thalweg.Problem):
    name, summary = "noise", "labels without meaning"
    metrics = (thalweg.Metric("accuracy", "higher", unit="%"), thalweg.Metric("loss", "lower", "log"))
    splits = ("train",)

    def shape(self, options):
        return thalweg.Shape("classification", (3,), (2,))

    def load(self, options, context: LoadContext):
        import torch
        from thalweg.contracts.losses import CrossEntropy
        from thalweg.contracts.supervised import Supervised
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(20, 3, generator=generator).to(context.device, context.dtype)
        y = torch.randint(2, (20,), generator=generator).to(context.device)
        return Supervised({"train": (x, y)}, CrossEntropy(), self.metrics)


class Norm(thalweg.Probe):
    name, summary = "norm", "norm of all weights"
    when = ("end",)
    columns = (thalweg.Column("norm"),)

    def measure(self, context):
        total = sum(float(p.detach().square().sum()) for p in context.module.parameters())
        return pd.DataFrame({"norm": [total**0.5]})

    def chart(self, table):
        import altair as alt
        return alt.Chart(table, title="norm").mark_bar().encode(y="norm:Q")


class Backwards(thalweg.Executor):
    name, summary = "backwards", "the last trial first"

    def run(self, work, jobs, lost, progress, workers=None):
        for job in reversed(jobs):
            yield job, work(job, progress)


class Lines(thalweg.Importer):
    name, summary = "lines", "a number a line"

    def recognises(self, path):
        return path.suffix == ".lines"

    def read(self, files, context):
        for path in files:
            numbers = [float(line) for line in path.read_text(errors="replace").split() if line.isdigit()]
            rows = pd.DataFrame({"step": range(len(numbers)), "key": "train/loss", "value": numbers})
            yield thalweg.ForeignRun(path.stem, path, rows, {"optimizer": path.stem})


class Obvious(thalweg.Claim):
    name, summary, statement, source = "obvious", "one is one", "One equals one.", "these tests"
    theorem = True
    seeds = {"quick": 2}

    def measure(self, context, seed):
        rows = thalweg.Measurements()
        rows.add("difference", 0.0)
        return rows.table()

    def decide(self, table, tier):
        values = table["value"].dropna()
        lost = tuple(f"seed {seed}: {note or 'no value'}" for seed, value, note in
                     zip(table["seed"], table["value"], table["note"]) if value != value)
        missing = set(range(self.seeds[tier])) - set(table["seed"])
        lost += tuple(f"seed {seed}: not measured" for seed in sorted(missing))
        worst = float(values.abs().max()) if len(values) else float("nan")
        verdict = "not reproduced" if worst > 0 else "inconclusive" if lost else "holds"
        part = thalweg.Part("difference", worst, worst, worst, 0.0, verdict, lost=lost)
        return thalweg.Decision(verdict, (part,))

    def synthetic(self, effect, noise, tier):
        value = 0.0 if effect > 0 else 1.0
        rows = [(seed, "", "difference", "", float("nan"), value, "") for seed in range(self.seeds[tier])]
        return pd.DataFrame(rows, columns=["seed", "setting", "quantity", "series", "x", "value", "note"])

    def chart(self, table):
        import altair as alt
        return alt.Chart(table, title="difference").mark_point().encode(x="seed:O", y="value:Q")


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    import torch
    register(torch.optim.Adamax)


@thalweg.hookimpl
def thalweg_register_architectures(register):
    register(Half)


@thalweg.hookimpl
def thalweg_register_problems(register):
    register(Noise)


@thalweg.hookimpl
def thalweg_register_probes(register):
    register(Norm)


@thalweg.hookimpl
def thalweg_register_claims(register):
    register(Obvious)


@thalweg.hookimpl
def thalweg_register_benchmarks(register):
    register(Path(__file__).parent / "mine.toml")


@thalweg.hookimpl
def thalweg_register_executors(register):
    register(Backwards)


@thalweg.hookimpl
def thalweg_register_importers(register):
    register(Lines)


@thalweg.hookimpl
def thalweg_trial_started(trial):
    log(f"started {trial.seed}")


@thalweg.hookimpl
def thalweg_trial_finished(trial, result):
    log(f"finished {trial.seed} {result.status} {result.path.is_dir()}")


@thalweg.hookimpl
def thalweg_run_finished(run):
    log(f"run {run.benchmark} {len(run.trained)}")
"""

BENCHMARK = """
summary = "everything from one plugin"
seeds = 2
[workloads.noise]
problem = "noise"
architecture = "half"
budget = { steps = 3 }
[optimizers.adamax]
[probes.norm]
"""


def test_a_plugin_that_implements_every_hook_runs(cli: CommandLine) -> None:
    file = cli.folder / "all.py"
    file.write_text(PLUGIN, encoding="utf-8")
    (cli.folder / "mine.toml").write_text(BENCHMARK, encoding="utf-8")
    plugin = cli.json("plugins", "--plugin", "all.py")["plugins"][-1]
    assert plugin["error"] is None
    assert plugin["registered"] == {
        "optimizers": ["adamax"],
        "architectures": ["half"],
        "problems": ["noise"],
        "probes": ["norm"],
        "claims": ["obvious"],
        "benchmarks": ["mine"],
        "executors": ["backwards"],
        "importers": ["lines"],
    }
    report = cli.json("run", "mine", "--plugin", "all.py", "--executor", "backwards")
    assert report["trials"] == {"total": 2, "trained": 2, "cached": 0, "diverged": 0, "failed": 0}
    log = (cli.folder / "log.txt").read_text(encoding="utf-8").splitlines()
    assert log == ["started 1", "finished 1 done True", "started 0", "finished 0 done True", "run mine 2"]
    tables = list(Path(cli.folder, "results", "local", "mine", "trials").glob("*/probes/norm--*.parquet"))
    assert len(tables) == 2
    shown = cli.json("show", "obvious", "--plugin", "all.py")
    assert (shown["kind"], shown["plugin"]) == ("claim", "all")
    (cli.folder / "sgd.lines").write_text("3\n2\n1\n", encoding="utf-8")
    words = ["sgd.lines", "--benchmark", "read", "--plugin", "all.py"]
    assert cli.json("results", "import-curves", *words)["rows"][0]["steps"] == 2


def test_its_components_pass_the_conformance_kit(cli: CommandLine, monkeypatch: object) -> None:
    from thalweg.registry import load_registry
    from thalweg.testing import checks

    (cli.folder / "all.py").write_text(PLUGIN, encoding="utf-8")
    (cli.folder / "mine.toml").write_text(BENCHMARK, encoding="utf-8")
    found = checks(load_registry([cli.folder / "all.py"]), plugin="all")
    assert len({check.kind for check in found}) == 8
    for check in found:
        if check.kind != "architectures":  # half takes vectors only
            check()


def test_what_a_plugin_prints_stays_out_of_the_json(cli: CommandLine, small: Path) -> None:
    source = (
        "import thalweg\nprint('loaded')\n@thalweg.hookimpl\ndef thalweg_trial_started(trial):\n    print('training')\n"
    )
    (cli.folder / "loud.py").write_text(source, encoding="utf-8")
    words = ["--plugin", "loud.py", "--only", "workload=bowl", "--only", "optimizer=sgd", "--json"]
    done = cli("run", "small.toml", *words)
    assert json.loads(done.stdout)["trials"]["trained"] == 2
    assert done.stderr.count("loaded") == 1
    assert done.stderr.count("training") == 2


def test_a_hook_that_raises_is_told_and_costs_no_results(cli: CommandLine, small: Path) -> None:
    hooks = {"thalweg_trial_started": "trial", "thalweg_trial_finished": "trial, result", "thalweg_run_finished": "run"}
    source = "import thalweg\n" + "".join(
        f"@thalweg.hookimpl\ndef {name}({arguments}):\n    raise OSError('tracker is away')\n"
        for name, arguments in hooks.items()
    )
    (cli.folder / "tracker.py").write_text(source, encoding="utf-8")
    words = ["run", "small.toml", "--plugin", "tracker.py", "--only", "workload=bowl", "--only", "optimizer=sgd"]
    report = cli.json(*words, "--only", "seed=1", code=1)
    assert (report["trials"]["trained"], report["trials"]["failed"]) == (1, 0)
    assert [failure["message"] for failure in report["failures"]] == ["tracker is away"] * 3
    assert {name for name in hooks if any(name in failure["trial"] for failure in report["failures"])} == hooks.keys()
    assert cli.json("results", "list")["trials"][0]["status"] == "done"
