"""Every problem with every architecture: pairs that fit train, and other pairs are refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from small_data import small_data
from thalweg.benchmark_file import parse
from thalweg.contracts.option import resolve
from thalweg.errors import UserError
from thalweg.expand import Benchmark
from thalweg.registry import load_registry
from thalweg.training.alone import Training
from thalweg.training.assembly import assemble

REGISTRY = load_registry()

LAYOUTS = {"digits": {"layout": "image"}, "mnist1d": {"layout": "sequence"}}
CHEAP: dict[str, dict[str, Any]] = {
    "wide-resnet": {"depth": 10, "widen": 1},
    "autoencoder": {"widths": [32, 8]},
    "resnet": {"depth": 8},
}

PROBLEMS = [(entry.name, {}) for entry in REGISTRY.entries("problems")] + list(LAYOUTS.items())
PAIRS = [(name, given, entry.name) for name, given in PROBLEMS for entry in REGISTRY.entries("architectures")]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("data")
    with small_data(REGISTRY, path):
        yield path


def settings(name: str, given: dict[str, Any], folder: Path) -> dict[str, Any]:
    return REGISTRY.problem(name).small(folder) | given


def benchmark(problem: str, settings: dict[str, Any], architecture: str, folder: Path) -> Benchmark:
    def table(name: str, options: dict[str, Any]) -> str:
        return (
            "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in {"name": name, **options}.items()) + " }"
        )

    text = f"""
        seeds = 1
        [workloads.pair]
        problem = {table(problem, settings)}
        architecture = {table(architecture, CHEAP.get(architecture, {}))}
        budget = {{ steps = 2 }}
        batch_size = 8
        evaluate_every = {{ steps = 2 }}
        [optimizers.sgd]
        lr = 1e-3
    """
    return Benchmark("pairs", folder / "pairs.toml", text, parse(text, "pairs.toml"))


@pytest.mark.parametrize(("problem", "given", "architecture"), PAIRS, ids=[f"{p}{g or ''}-{a}" for p, g, a in PAIRS])
def test_a_pair_trains_two_steps_or_is_refused(
    problem: str, given: dict[str, Any], architecture: str, folder: Path
) -> None:
    chosen = settings(problem, given, folder)
    shape = REGISTRY.problem(problem).shape(resolve(REGISTRY.problem(problem).options, chosen, problem))
    one = REGISTRY.architecture(architecture)
    reason = one.misfit(resolve(one.options, CHEAP.get(architecture, {}), architecture), shape)
    pair = benchmark(problem, chosen, architecture, folder)
    if reason is not None:
        with pytest.raises(UserError, match=r"workloads\.pair: architecture .* does not fit") as refused:
            pair.expand(REGISTRY)
        assert str(refused.value).endswith(reason)
        assert len(reason) > 20
        return
    (planned,) = pair.expand(REGISTRY).trials
    trained = Training(assemble(planned.trial, REGISTRY), [], lambda done, total: None).run()
    assert (trained.status, trained.reason) == ("done", "")
    assert trained.summary["step"] == 2
    losses = trained.curve.query("split == 'train' and metric == 'loss'")["value"].tolist()
    assert len(losses) == 2
    assert losses[0] != losses[1]


def test_every_problem_has_an_architecture_and_every_architecture_a_problem(folder: Path) -> None:
    fits = {
        (problem, architecture)
        for problem, given, architecture in PAIRS
        if REGISTRY.architecture(architecture).misfit(
            resolve(REGISTRY.architecture(architecture).options, {}, architecture),
            REGISTRY.problem(problem).shape(
                resolve(REGISTRY.problem(problem).options, settings(problem, given, folder), problem)
            ),
        )
        is None
    }
    assert {problem for problem, _ in fits} == {entry.name for entry in REGISTRY.entries("problems")}
    assert {architecture for _, architecture in fits} == {entry.name for entry in REGISTRY.entries("architectures")}
