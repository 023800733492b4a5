from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from thalweg.errors import UserError
from thalweg.expand import load_benchmark, read_benchmark
from thalweg.plan import Plan
from thalweg.registry import Registry, load_registry
from thalweg.selection import Device, Selection
from thalweg.trial import Trial

GOOD = """
seeds = 2
[workloads.bowl]
problem = { name = "quadratic", dim = 4 }
architecture = "point"
budget = { steps = 5 }
[workloads.digits]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
budget = { epochs = 1 }
batch_size = 32
validation_fraction = 0.2
target = { metric = "accuracy", value = 0.9 }
[optimizers.sgd]
lr = 0.05
[optimizers.slow]
optimizer = "adam"
lr = 1e-4
[overrides.bowl.sgd]
lr = 0.01
budget = { steps = 7 }
[probes.line]
points = 5
seeds = [0]
workloads = ["digits"]
"""


def expand(tmp_path: Path, registry: Registry, text: str, selection: Selection | None = None) -> Plan:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return read_benchmark(path).expand(registry, selection)


def test_expands_to_every_workload_optimizer_and_seed(tmp_path: Path, registry: Registry) -> None:
    plan = expand(tmp_path, registry, GOOD)
    names = [(planned.workload, planned.optimizer, planned.trial.seed) for planned in plan.trials]
    assert names == [(w, o, s) for w in ("bowl", "digits") for o in ("sgd", "slow") for s in (0, 1)]
    first = plan.trials[0].trial
    assert first.optimizer.options == {"lr": 0.01}
    assert first.budget.steps == 7
    slow = plan.trials[2].trial
    assert (slow.optimizer.name, slow.optimizer.options) == ("adam", {"lr": 1e-4})
    assert slow.budget.steps == 5
    probed = [(p.workload, p.trial.seed) for p in plan.trials if p.probes]
    assert probed == [("digits", 0), ("digits", 0)]
    assert plan.workloads["digits"].target_split == "valid"
    assert plan.workloads["bowl"].split == "train"


def test_with_adds_and_only_filters_what_results(tmp_path: Path, registry: Registry) -> None:
    selection = Selection(extra=("optimizer=adam:lr=0.5,beta1=0",), only=("optimizer=adam:lr=0.5,beta1=0", "seed=1"))
    plan = expand(tmp_path, registry, GOOD, selection)
    assert [(p.workload, p.optimizer, p.trial.seed) for p in plan.trials] == [
        ("bowl", "adam:lr=0.5,beta1=0", 1),
        ("digits", "adam:lr=0.5,beta1=0", 1),
    ]
    assert plan.trials[0].trial.optimizer.options == {"lr": 0.5, "beta1": 0.0}


@pytest.mark.parametrize(
    ("extra", "only", "there"),
    [
        ("optimizer=sgd:lr=0.5", ("optimizer=sgd",), ["sgd", "sgd:lr=0.5"]),
        ("optimizer=sgd:lr=0.5,weight_decay=0.1", ("optimizer=sgd",), ["sgd", "sgd:lr=0.5,weight_decay=0.1"]),
        ("optimizer=sgd:lr=0.5", ("optimizer=sgd:lr=0.5",), ["sgd:lr=0.5"]),
        ("optimizer=rmsprop", ("optimizer=rmsprop,slow",), ["slow", "rmsprop"]),
        ("optimizer=rmsprop", ("workload=bowl",), ["sgd", "slow", "rmsprop"]),
    ],
)
def test_what_with_adds_is_never_dropped(
    tmp_path: Path, registry: Registry, extra: str, only: tuple[str, ...], there: list[str]
) -> None:
    plan = expand(tmp_path, registry, GOOD, Selection(extra=(extra,), only=only, seeds=1))
    assert [planned.optimizer for planned in plan.trials if planned.workload == "bowl"] == there


def test_with_that_only_would_leave_out_is_refused_with_the_way_out(tmp_path: Path, registry: Registry) -> None:
    # the label `slow` is an adam; the message names the label, not the optimizer
    for only in ("optimizer=sgd", "optimizer=slow"):
        with pytest.raises(UserError) as refused:
            expand(tmp_path, registry, GOOD, Selection(extra=("optimizer=adam:lr=0.5",), only=(only,)))
        assert str(refused.value) == (
            f"--with optimizer=adam:lr=0.5: left out by --only {only}: "
            "add --only 'optimizer=adam:lr=0.5', or leave out this --with"
        )


def test_only_knows_an_optimizer_that_with_alone_adds(tmp_path: Path, registry: Registry) -> None:
    selection = Selection(extra=("optimizer=lion:lr=0.5",), only=("optimizer=lion",))
    assert {one.optimizer for one in expand(tmp_path, registry, GOOD, selection).trials} == {"lion:lr=0.5"}


def test_seeds_from_the_command_line_replace_those_of_the_file(tmp_path: Path, registry: Registry) -> None:
    assert len(expand(tmp_path, registry, GOOD, Selection(seeds=5)).trials) == 20


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("[optimizers.sgd]", "[optimisers.sgd]"), "mine.toml: optimisers: no key 'optimisers'; did you mean 'optimiz"),
        (("batch_size = 32", "batch_sise = 32"), r"workloads.digits.batch_sise: .*did you mean 'batch_size'"),
        (("{ epochs = 1 }", "{ epoch = 1 }"), r"workloads.digits.budget.epoch: .*did you mean 'epochs'"),
        (("{ epochs = 1 }", "{ epochs = 1, steps = 2 }"), "workloads.digits.budget: give exactly one of epochs"),
        (("{ epochs = 1 }", "{ epochs = 0 }"), "workloads.digits.budget.epochs: .*greater than 0, got 0"),
        (("{ epochs = 1 }", "{ epochs = 'ten' }"), "workloads.digits.budget.epochs: .*integer.*got 'ten'"),
        (("batch_size = 32", "batch_size = -3"), "workloads.digits.batch_size: .*greater than 0, got -3"),
        (("validation_fraction = 0.2", "validation_fraction = 1.5"), "validation_fraction: .*less than 1, got 1.5"),
        (('[optimizers.slow]\noptimizer = "adam"', "[optimizers.admn]"), "no optimizer 'admn'; did you mean 'adam'"),
        (("lr = 1e-4", "lr = -1e-4"), r"optimizers.slow: lr = -0.0001 is outside its allowed range \(0, inf\)"),
        (("lr = 1e-4", "lr = 'fast'"), "optimizers.slow: lr = 'fast' is not a number"),
        (("lr = 1e-4", "learning_rate = 1e-4"), "optimizers.slow: no key 'learning_rate'"),
        (("lr = 1e-4", "bta1 = 0.5"), "optimizers.slow: no key 'bta1'; did you mean 'beta1'"),
        (("lr = 0.01\nbudget", "momentm = 0.01\nbudget"), "overrides.bowl.sgd: no key 'momentm'"),
        (("[overrides.bowl.sgd]", "[overrides.bowl.sdg]"), "overrides.bowl: no optimizer 'sdg'; did you mean 'sgd'"),
        (("[overrides.bowl.sgd]", "[overrides.bowle.sgd]"), "overrides: no workload 'bowle'; did you mean 'bowl'"),
        (('problem = "digits"', 'problem = "digit"'), "workloads.digits.problem: no problem 'digit'; did you mean"),
        (("widths = [8]", "width = [8]"), "workloads.digits.architecture: no setting 'width'; did you mean 'widths'"),
        (("dim = 4", "dim = 0"), r"workloads.bowl.problem: dim = 0 is outside its allowed range \[1, inf\)"),
        (('architecture = "point"', 'architecture = "mlp"'), "'mlp' does not fit 'quadratic': .*use the architecture"),
        (('metric = "accuracy"', 'metric = "acuracy"'), "target.metric: no metric 'acuracy'; did you mean 'accuracy'"),
        (("budget = { steps = 5 }", "budget = { steps = 5 }\nvalidation_fraction = 0.1"), "no examples to keep"),
        (("[probes.line]", "[probes.lien]"), "probes.lien: no probe 'lien'; did you mean 'line'"),
        (("points = 5", "point = 5"), "probes.line: no key 'point'; did you mean 'points'"),
        (('workloads = ["digits"]', 'workloads = ["digit"]'), "probes.line.workloads: no workload 'digit'"),
        (("seeds = 2", "seeds = 2.5"), "seeds: .*integer.*got 2.5"),
        (("seeds = 2", 'seeds = "two"'), "seeds: .*integer.*got 'two'"),
        (
            ("[workloads.bowl]", "[workloads.'../bowl']"),
            "workloads: the name '../bowl' is not made of at most 100 letters",
        ),
        (("[optimizers.slow]", "[optimizers.'a b']"), "optimizers: the name 'a b' is not made of at most 100 letters"),
        (("[workloads.bowl]", "[[workloads.bowl]]"), "workloads.bowl: .*got"),
        (("seeds = 2", "seeds = true"), "seeds: .*got True"),
        (("seeds = 2", "seeds = 2024-01-01"), "seeds: .*got"),
        (("lr = 1e-4", "lr = 1" + "0" * 400), "optimizers.slow: lr: a number of 401 digits is too large"),
        (("seeds = 2", "seeds = 1" + "0" * 5000), "mine.toml: "),
        (("seeds = 2", "seeds = 2\nx = " + "[" * 5000), "mine.toml: is not valid TOML"),
        (("points = 5", "points = 5\n[probes.surface]\nresolution = 4"), "probes.surface: resolution = 4 is even"),
        (('workloads = ["digits"]', "workloads = []"), "probes.line.workloads: has no entries"),
        (("value = 0.9", "value = '0.9'"), "target.value: .*number, got '0.9'"),
        (("validation_fraction = 0.2", "validation_fraction = true"), "validation_fraction: .*number, got True"),
        (("seeds = [0]", "seeds = [-1]"), "probes.line.seeds.0: .*got -1"),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_nearest_choice(
    tmp_path: Path, registry: Registry, change: tuple[str, str], says: str
) -> None:
    assert change[0] in GOOD
    with pytest.raises(UserError) as caught:
        expand(tmp_path, registry, GOOD.replace(*change))
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert re.search(says, message), message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"mine.toml: is empty; a benchmark needs \[workloads.NAME\]"),
        ("# only a comment\n", "mine.toml: is empty"),
        ("seeds = = 3", "mine.toml: is not valid TOML: .*line 1"),
        ("seeds = 3", r"mine.toml: workloads: is missing \(and 1 more mistake\)"),
        ("seeds = 3\nworkloads = {}\noptimizers = {}", "mine.toml: workloads: has no entries"),
    ],
)
def test_a_file_that_is_no_benchmark_is_told_so(tmp_path: Path, registry: Registry, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        expand(tmp_path, registry, text)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "mine.toml").write_text(GOOD, encoding="utf-8-sig")
    assert read_benchmark(tmp_path / "mine.toml").expand(registry).trials


def test_a_file_that_is_not_text_or_not_there_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="it is no UTF-8 text"):
        read_benchmark(tmp_path / "binary.toml")
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_benchmark(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        (Selection(only=("optimizer=slw",)), "--only optimizer=slw: no optimizer 'slw'; did you mean 'slow'"),
        (Selection(only=("lr=3",)), "--only lr=3: give optimizer=NAME"),
        (Selection(only=("seed=9",)), "nothing is left of the benchmark after seed=9"),
        (Selection(extra=("optimizer=slow",)), "has an optimizer of that name already"),
        (Selection(extra=("adam",)), "--with adam: give optimizer=NAME"),
        (Selection(extra=("optimizer=adam:lr",)), "'lr' is not key=value"),
        (Selection(extra=("optimizer=adam:lr=-1",)), r"lr = -1 is outside its allowed range"),
        (Selection(extra=("optimizer=adam:rl=1",)), "no key 'rl'; did you mean 'lr'"),
        (Selection(extra=("optimizer=nobody",)), "no optimizer 'nobody'"),
    ],
)
def test_a_mistake_on_the_command_line_is_told(
    tmp_path: Path, registry: Registry, selection: Selection, says: str
) -> None:
    with pytest.raises(UserError, match=says):
        expand(tmp_path, registry, GOOD, selection)


MINIMAL = """
[workloads.digits]
problem = "digits"
architecture = "mlp"
validation_fraction = 0.2
[optimizers.sgd]
"""


def test_a_problem_has_a_budget_and_a_target_for_benchmarks_that_give_none(tmp_path: Path, registry: Registry) -> None:
    digits = registry.problem("digits")
    assert digits.target is not None
    plan = expand(tmp_path, registry, MINIMAL)
    assert plan.trials[0].trial.budget == digits.budget
    assert plan.workloads["digits"].target == digits.target
    assert plan.workloads["digits"].target_split == "valid"


def test_a_problems_target_is_for_its_default_options_and_a_validation_split(
    tmp_path: Path, registry: Registry
) -> None:
    other = MINIMAL.replace('"digits"\narch', '{ name = "digits", layout = "image" }\narch')
    assert expand(tmp_path, registry, other).workloads["digits"].target is None
    without = MINIMAL.replace("validation_fraction = 0.2", "")
    assert expand(tmp_path, registry, without).workloads["digits"].target is None


def test_a_benchmark_without_a_budget_is_told_where_the_problem_has_none(tmp_path: Path, registry: Registry) -> None:
    np.savez(tmp_path / "mine.npz", x_train=np.ones((20, 3)), y_train=np.arange(20) % 2)
    text = MINIMAL.replace('"digits"\narch', '{ name = "arrays", file = "mine.npz" }\narch')
    with pytest.raises(UserError, match=r"mine\.toml: workloads\.digits\.budget: is missing, and the problem 'arrays'"):
        expand(tmp_path, registry, text)


def test_options_that_do_not_go_together_are_told_with_file_and_key(tmp_path: Path, registry: Registry) -> None:
    text = GOOD.replace('{ name = "quadratic", dim = 4 }', '{ name = "saddle", descending = 5 }')
    with pytest.raises(UserError, match=r"mine\.toml: workloads\.bowl\.problem: 'saddle': descending = 5 is more than"):
        expand(tmp_path, registry, text)


PLUGIN = """
import thalweg
from thalweg.contracts.option import NO_FILE
from thalweg_plugins.architectures.mlp import MLP


class Table(MLP):
    name = "table"
    options = (*MLP.options, thalweg.Option("weights", NO_FILE, summary="a file"))

    def misfit(self, options, shape):
        return None if options["weights"].startswith("/") else f"weights = {options['weights']!r} is not absolute"


@thalweg.hookimpl
def thalweg_register_architectures(register):
    register(Table)
"""


def test_files_of_any_component_are_named_relative_to_the_benchmark(tmp_path: Path) -> None:
    (tmp_path / "table.py").write_text(PLUGIN, encoding="utf-8")
    registry = load_registry([tmp_path / "table.py"])
    text = MINIMAL.replace('"mlp"', '{ name = "table", weights = "w.bin" }')
    with pytest.raises(
        UserError, match=r"mine\.toml: workloads\.digits\.architecture: weights = 'w\.bin': there is no"
    ):
        expand(tmp_path, registry, text)
    (tmp_path / "w.bin").write_bytes(b"one")
    (first, *_) = expand(tmp_path, registry, text).trials
    assert first.trial.architecture.files == {"weights": str(tmp_path / "w.bin")}
    (tmp_path / "w.bin").write_bytes(b"other")
    (second, *_) = expand(tmp_path, registry, text).trials
    assert first.trial.hash != second.trial.hash


RECIPES = GOOD.replace(
    "[workloads.digits]", '[workloads.digits]\nschedule = "cosine"\nclip_norm = 1.0\ndecoupled_weight_decay = 0.1'
).replace("[optimizers.slow]", '[optimizers.slow]\nschedule = { name = "step", at = [0.5] }')


def test_the_more_special_recipe_counts(tmp_path: Path, registry: Registry) -> None:
    text = RECIPES + "\n[overrides.digits.slow]\nclip_norm = inf\ncoupled_weight_decay = 0.01\n"
    trials = {(p.workload, p.optimizer): p.trial for p in expand(tmp_path, registry, text).trials}
    sgd, slow = trials["digits", "sgd"], trials["digits", "slow"]
    assert (sgd.schedule.name, sgd.clip_norm, sgd.decoupled_weight_decay) == ("cosine", 1.0, 0.1)
    assert (slow.schedule.name, slow.schedule.at, slow.clip_norm) == ("step", (0.5,), None)
    assert (slow.coupled_weight_decay, slow.decoupled_weight_decay) == (0.01, 0.1)
    assert trials["bowl", "sgd"].schedule.is_constant


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"cosine"', '"cosin"', "workloads.digits.schedule: no schedule 'cosin'; did you mean 'cosine'"),
        ('"step", at', '"step", warmup', "optimizers.slow.schedule: schedule 'step': no setting 'warmup'"),
        ("[0.5]", "[1.5]", "optimizers.slow.schedule.at.0: input should be less than or equal to 1, got 1.5"),
        ("[0.5]", "[]", "optimizers.slow.schedule.at: has no entries"),
        ("at = [0.5]", "factor = inf", "optimizers.slow.schedule.factor: input should be a finite number"),
        ("at = [0.5]", "factor = true", "optimizers.slow.schedule.factor: input should be a valid number"),
        ("[0.5]", '["0.5"]', "optimizers.slow.schedule.at.0: input should be a valid number, got '0.5'"),
        ("[0.5]", "0.5", "optimizers.slow.schedule: at = 0.5 is no list of shares of the budget, such as [0.5, 0.75]"),
        ('{ name = "step", at = [0.5] }', "{}", "optimizers.slow.schedule: {} is no schedule such as 'cosine' or"),
        ('{ name = "step", at = [0.5] }', "3", "optimizers.slow.schedule: 3 is no schedule such as 'cosine' or"),
        ("clip_norm = 1.0", "clip_norm = -1.0", "workloads.digits.clip_norm: input should be greater than 0, got -1.0"),
        ("weight_decay = 0.1", "weight_decay = -0.1", "decoupled_weight_decay: input should be greater than or equal"),
        ("clip_norm = 1.0", 'clip_norm = "a"', "workloads.digits.clip_norm: input should be a valid number, got 'a'"),
        ("lr = 0.05", 'lr = 0.05\nshedule = "cosine"', "optimizers.sgd: no key 'shedule'; did you mean 'schedule'"),
        ('optimizer = "adam"\nlr = 1e-4', 'optimizer = "lbfgs"', "'lbfgs' needs its gradients as they are: clip_norm"),
        (
            '"adam"',
            '"schedule-free-adamw"',
            "keeps its weights to itself: decoupled_weight_decay = 0.0",
        ),
    ],
)
def test_a_mistake_in_a_recipe_is_one_line(
    tmp_path: Path, registry: Registry, old: str, new: str, message: str
) -> None:
    assert old in RECIPES
    with pytest.raises(UserError, match=re.escape(message)):
        expand(tmp_path, registry, RECIPES.replace(old, new, 1))


def test_the_command_line_adds_an_optimizer_with_a_recipe(tmp_path: Path, registry: Registry) -> None:
    extra = "optimizer=adam:lr=0.1,schedule=warmup-cosine,clip_norm=2.0"
    plan = expand(tmp_path, registry, GOOD, Selection(extra=(extra,), only=("workload=digits",)))
    added = plan.trials[-1].trial
    assert (added.schedule.name, added.clip_norm, added.optimizer.options) == ("warmup-cosine", 2.0, {"lr": 0.1})
    extra = """optimizer=adam:lr=0.1,schedule={ name = "step", at = [0.3, 0.6] },clip_norm=2.0"""
    table = expand(tmp_path, registry, GOOD, Selection(extra=(extra,), only=("workload=digits",))).trials[-1].trial
    assert (table.schedule.name, table.schedule.at, table.clip_norm) == ("step", (0.3, 0.6), 2.0)
    assert table.optimizer.options == {"lr": 0.1}
    with pytest.raises(UserError, match="--with optimizer=adam:schedule=cosin: schedule: no schedule 'cosin'"):
        expand(tmp_path, registry, GOOD, Selection(extra=("optimizer=adam:schedule=cosin",)))


def test_an_optimizer_that_cannot_train_a_problem_is_refused_unless_the_pair_is_left_out(
    tmp_path: Path, registry: Registry
) -> None:
    text = GOOD.replace('optimizer = "adam"\nlr = 1e-4', 'optimizer = "kfac"')
    refusal = r"mine.toml: bowl.slow: optimizer 'kfac' does not fit 'quadratic': an analytic function"
    with pytest.raises(UserError, match=refusal):
        expand(tmp_path, registry, text)
    plan = expand(tmp_path, registry, text, Selection(only=("workload=digits",)))
    assert {planned.trial.optimizer.name for planned in plan.trials} == {"sgd", "kfac"}
    assert len(expand(tmp_path, registry, text, Selection(only=("optimizer=sgd",))).trials) == 4


PICKY = """
import thalweg
from thalweg_plugins.optimizers.first_order.sgd import SGD

class Picky(SGD):
    name = "picky"
    def misfit(self, hyperparameters, shape):
        raise KeyError("no such thing")

@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Picky)
"""


def test_a_plugin_whose_misfit_fails_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "picky.py").write_text(PICKY, encoding="utf-8")
    registry = load_registry([tmp_path / "picky.py"])
    with pytest.raises(UserError, match=r"bowl.slow: optimizer 'picky': its misfit\(\) failed: KeyError"):
        expand(tmp_path, registry, GOOD.replace('optimizer = "adam"\nlr = 1e-4', 'optimizer = "picky"'))


def test_precision_is_part_of_a_trial_where_the_device_has_it(tmp_path: Path, registry: Registry) -> None:
    def hashes(precision: str, device: Device) -> list[str]:
        text = GOOD.replace("batch_size = 32", f'batch_size = 32\nprecision = "{precision}"')
        plan = expand(tmp_path, registry, text, Selection(device=device, only=("workload=digits",)))
        return [planned.trial.hash for planned in plan.trials]

    full, tf32, mixed = (hashes(precision, "cpu") for precision in ("full", "tf32", "mixed-bfloat16"))
    assert full == tf32
    assert not {*full} & {*mixed}
    found = [hashes(precision, "cuda") for precision in ("full", "tf32", "mixed-bfloat16")]
    assert len({*full, *mixed, *(one for each in found for one in each)}) == 5 * len(full)


def test_precision_that_a_workload_or_device_does_not_have_is_refused(tmp_path: Path, registry: Registry) -> None:
    text = GOOD.replace("batch_size = 32", 'batch_size = 32\nprecision = "mixed-bfloat16"\ndtype = "float64"')
    with pytest.raises(UserError, match=r"workloads\.digits\.precision: 'mixed-bfloat16' is one of float32, not of"):
        expand(tmp_path, registry, text)
    text = GOOD.replace('architecture = "point"', 'architecture = "point"\ndtype = "float64"')
    with pytest.raises(UserError, match=r"bowl\.sgd: 'mps' has no float64"):
        expand(tmp_path, registry, text, Selection(device="mps"))
    plan = expand(tmp_path, registry, text, Selection(device="mps", only=("workload=digits",)))
    assert {planned.trial.device for planned in plan.trials} == {"mps"}
    with pytest.raises(UserError, match=r"workloads\.digits\.precision: .*'full'.*'tf32'.*'mixed-bfloat16'"):
        expand(tmp_path, registry, GOOD.replace("batch_size = 32", 'batch_size = 32\nprecision = "half"'))


RATELESS = """
import torch
import thalweg


class Rateless(torch.optim.Optimizer):
    def __init__(self, params, w=1e-4):
        super().__init__(params, dict(w=w))


@thalweg.hookimpl
def thalweg_register_optimizers(register):
    register(Rateless)
"""


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ('schedule = "cosine"', "has no learning rate that follows a schedule: schedule = 'constant' leaves it alone"),
        (
            "decoupled_weight_decay = 0.1",
            "has no learning rate, which decoupled decay is scaled by: decoupled_weight_decay = 0.0 leaves it out",
        ),
    ],
)
def test_what_takes_a_learning_rate_is_refused_where_there_is_none(tmp_path: Path, recipe: str, says: str) -> None:
    (tmp_path / "rateless.py").write_text(RATELESS, encoding="utf-8")
    registry = load_registry([tmp_path / "rateless.py"])
    text = GOOD + "\n[optimizers.rateless]\n"
    assert expand(tmp_path, registry, text).trials
    with pytest.raises(UserError) as refused:
        expand(tmp_path, registry, text + recipe)
    assert str(refused.value) == f"mine.toml: bowl.rateless: optimizer 'rateless' {says}"


def test_weights_that_are_spared_need_a_decay_that_spares_them(registry: Registry, tmp_path: Path) -> None:
    def trials(optimizer: str, workload: str = "") -> list[Trial]:
        text = f"""
[workloads.w]
problem = "digits"
architecture = "linear"
budget = {{ steps = 1 }}
{workload}
[optimizers.sgd]
{optimizer}
"""
        path = tmp_path / "decay.toml"
        path.write_text(text, encoding="utf-8")
        return [planned.trial for planned in load_benchmark(str(path), registry).expand(registry).trials]

    (plain, *_) = trials("")
    assert trials("", 'weight_decay_on = "matrices"')[0].hash == plain.hash
    spared = trials("coupled_weight_decay = 0.1", 'weight_decay_on = "matrices"')[0]
    assert spared.weight_decay_on == "matrices"
    assert spared.hash != trials("coupled_weight_decay = 0.1")[0].hash
    for mistaken in ('weight_decay_on = "matrices"', 'weight_decay = 0.1\nweight_decay_on = "matrices"'):
        with pytest.raises(UserError, match=r"optimizers\.sgd: weight_decay_on is of coupled_weight_decay"):
            trials(mistaken)
    with pytest.raises(UserError, match="weight_decay_on is of coupled_weight_decay"):
        trials("weight_decay = 0.1", 'weight_decay_on = "matrices"')
