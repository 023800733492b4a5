"""The page of the playground, and the process that computes for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from thalweg.app import worker
from thalweg.app.worker import Worker
from thalweg.errors import UserError
from thalweg.playground.requests import Analytic, Ground, GroundRequest, Plane, Walk, WalkRequest
from thalweg.playground.walk import walk
from thalweg.present.playground import on_log_scale, outcome_table, plane_of, remarks, spans_decades
from thalweg.registry import Registry

Show = Callable[..., AppTest]

HANGING = """
import torch

from thalweg import hookimpl


class Hanging(torch.optim.SGD):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)

    def step(self, closure=None):
        while True:
            pass


class Dying(Hanging):
    def step(self, closure=None):
        import os

        os._exit(3)


class Shouting(Hanging):
    def step(self, closure=None):
        print("not an answer")
        torch.optim.SGD.step(self, closure)


@hookimpl
def thalweg_register_optimizers(register):
    known = {"closure": False, "create_graph": False, "modes": False}
    for one in (Hanging, Dying, Shouting):
        register(one, name=one.__name__.lower(), summary="not to be trusted", **known)
"""


def text(elements: Iterable[object]) -> str:
    return "\n".join(str(getattr(element, "value", "")) for element in elements)


def asked(optimizer: str, lr: float = 0.01) -> WalkRequest:
    bowl = Analytic(problem="quadratic", options={"dim": 2})
    return WalkRequest(function=bowl, optimizer=optimizer, hyperparameters={"lr": lr}, steps=5)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a loaded machine an answer may take longer than a visitor is made to wait."""
    monkeypatch.setattr(worker.Worker.__init__, "__defaults__", (60.0,))


@pytest.fixture(scope="module")
def hanging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "hanging.py"
    path.write_text(HANGING, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def computes(hanging: Path) -> Iterator[Worker]:
    made = Worker([str(hanging)], limit=20.0)
    yield made
    made.close()


def outcome(page: AppTest) -> pd.DataFrame:
    return page.dataframe[0].value.set_index("optimizer")


def test_the_page_draws_paths_losses_and_a_table(show: Show, results: Path) -> None:
    page = show("playground", results, benchmark="tiny")
    assert text(page.title) == "Playground"
    assert page.selectbox(key="function").value == "rosenbrock"
    assert page.multiselect(key="optimizers").value == ["sgd", "momentum", "adam"]
    assert len(page.get("vega_lite_chart")) == 2
    table = outcome(page)
    assert list(table.index) == ["sgd", "momentum", "adam"]
    assert set(table["ended"]) == {"done"}
    # the rates that the benchmark of analytic functions gives
    assert list(table["lr"]) == ["0.003", "0.001", "0.3"]
    assert not page.error
    assert not page.warning


def test_four_optimizers_and_a_start_come_from_the_address(show: Show, results: Path, registry: Registry) -> None:

    link = {"function": "beale", "steps": "7", "x-beale": "2", "y-beale": "1", "lr-adam-beale": "0.1"}
    page = show("playground", results, benchmark="tiny", optimizers=["sgd", "adam", "newton", "lion"], **link)
    table = outcome(page)
    assert list(table.index) == ["sgd", "adam", "newton", "lion"]
    assert list(table["steps"]) == [7] * 4
    found = walk(
        WalkRequest(
            function=Analytic(problem="beale"), optimizer="adam", hyperparameters={"lr": 0.1}, steps=7, start=(2.0, 1.0)
        ),
        registry,
    )
    assert table.loc["adam", "loss"] == found.losses[-1]
    assert table.loc["adam", "distance"] == pytest.approx(np.hypot(found.points[-1][0] - 3, found.points[-1][1] - 0.5))


def test_a_rate_changes_its_own_path_alone(show: Show, results: Path) -> None:
    page = show("playground", results, benchmark="tiny")
    before = outcome(page)
    page.select_slider(key="lr-sgd-rosenbrock").set_value("0.001").run()
    after = outcome(page)
    assert after.loc["sgd", "lr"] == "0.001"
    assert after.loc["sgd", "loss"] != before.loc["sgd", "loss"]
    pd.testing.assert_frame_equal(after.drop("sgd"), before.drop("sgd"))


def test_what_diverges_is_told(show: Show, results: Path) -> None:
    page = show(
        "playground", results, benchmark="tiny", function="quadratic", optimizers=["sgd"], **{"lr-sgd-quadratic": "1"}
    )
    table = outcome(page)
    assert table.loc["sgd", "ended"] == "diverged"
    assert f"sgd diverged at step {int(table.loc['sgd', 'steps'])}, with a loss of" in text(page.warning)
    assert "sgd leaves the picture at step 1" in text(page.caption)


def test_a_plugin_optimizer_is_offered_and_its_mistake_is_told(show: Show, results: Path, plugin_file: Path) -> None:
    page = show(
        "playground", results, (plugin_file,), benchmark="tiny", function="beale", optimizers=["halving", "raising"]
    )
    table = outcome(page)
    assert list(table["ended"]) == ["done", "failed"]
    assert "raising failed after 0 steps: RuntimeError: no step for you" in text(page.warning)


def test_a_step_that_never_ends_costs_its_own_path(
    show: Show, results: Path, hanging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker.Worker.__init__, "__defaults__", (4.0,))
    page = show("playground", results, (hanging,), benchmark="tiny", function="beale", optimizers=["sgd", "hanging"])
    table = outcome(page)
    assert list(table["ended"]) == ["done", "failed"]
    assert "hanging failed after 0 steps: the computation took longer than 4 s and was stopped" in text(page.warning)


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ({"function": "beal"}, "Unknown function 'beal': the page shows 'rosenbrock'; the nearest is 'beale'."),
        ({"steps": "9999"}, "steps = '9999' cannot be shown: the page shows 100."),
        ({"x-rosenbrock": "one"}, "start: x = 'one' cannot be shown"),
        ({"lr-sgd-rosenbrock": "0.0123"}, "learning rate of sgd = '0.0123' cannot be shown: the page shows 0.003."),
        ({"optimizers": ["sgd", "adam", "lion", "newton", "muon"]}, "4 optimizers at most, without muon."),
        ({"optimizers": ["admn", "sgd"]}, "No optimizer 'admn' can train a function of two variables."),
    ],
)
def test_an_unknown_name_in_the_address_is_told(show: Show, results: Path, link: dict[str, object], says: str) -> None:
    page = show("playground", results, benchmark="tiny", **link)
    assert says in text(page.warning)
    assert "sgd" in outcome(page).index


def test_a_plane_of_a_trial_says_what_its_steps_use(show: Show, results: Path) -> None:
    page = show("playground", results, benchmark="tiny", function="plane of a trial", optimizers=["sgd"])
    assert not page.error, text(page.error)
    assert page.selectbox(key="plane-trial").value == "digits-mlp · sgd · seed 0"
    said = text(page.caption)
    assert "training loss restricted to the plane, with full gradients, and not on the network" in said
    assert "5 × 5 measured points" in said
    assert "distance" not in outcome(page)
    assert len(page.get("vega_lite_chart")) == 2


def test_what_the_address_asked_for_in_vain_is_told_until_it_is_changed(show: Show, results: Path) -> None:
    page = show("playground", results, benchmark="tiny", steps="9999")
    page.select_slider(key="lr-sgd-rosenbrock").set_value("0.001").run()
    assert "steps = '9999'" in text(page.warning)
    page.slider(key="steps").set_value(20).run()
    assert not page.warning


def test_a_start_without_finite_values_is_one_sentence(show: Show, results: Path) -> None:
    page = show("playground", results, benchmark="tiny", **{"x-rosenbrock": "1e200"})
    assert text(page.error) == "the function has no finite value around this start"


def test_the_app_draws_a_picture_without_torch() -> None:
    program = (
        "import sys; import thalweg.app.pages.playground as page\n"
        "from thalweg.playground.requests import Ground\n"
        "page.contours_of(Ground(x=(0, 1), y=(0, 1), losses=((1, 2), (3, 4)), start=(0, 0)))\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_no_optimizer_is_asked_for(show: Show, results: Path) -> None:
    page = show("playground", results, benchmark="tiny")
    page.multiselect(key="optimizers").set_value([]).run()
    assert "Choose an optimizer" in text(page.info)


def test_the_process_gives_the_bits_of_this_process(computes: Worker, registry: Registry) -> None:
    for lr in (0.01, 1.0):
        answer = computes.ask(asked("sgd", lr))
        assert answer.walk is not None
        assert answer.walk.points == walk(asked("sgd", lr), registry).points


def test_what_a_plugin_prints_is_no_answer(computes: Worker, registry: Registry) -> None:
    answer = computes.ask(asked("shouting"))
    assert answer.walk is not None
    assert answer.walk.points == walk(asked("sgd"), registry).points


def test_the_process_starts_anew_after_a_hang_and_after_a_death(computes: Worker) -> None:
    computes.limit = 1.0
    assert computes.ask(asked("hanging")).error == "the computation took longer than 1 s and was stopped"
    computes.limit = 20.0
    assert computes.ask(asked("sgd")).walk is not None
    assert "process that computes died" in computes.ask(asked("dying")).error
    assert computes.ask(asked("sgd")).walk is not None
    process = computes._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "process that computes died" in computes.ask(asked("sgd")).error
    assert computes.ask(asked("sgd")).walk is not None


def test_a_mistake_in_a_question_is_one_sentence(computes: Worker) -> None:
    assert computes.ask(GroundRequest(function=Analytic(problem="beal"))).error.startswith("no problem 'beal'")


def test_scales_of_values() -> None:
    assert spans_decades([[0.0, 1.0], [2.0, 1e5]])
    assert not spans_decades([[1.0, 50.0]])
    assert not spans_decades([[-1.0, 1e5]])
    assert not spans_decades([[0.0, float("nan")]])
    done = Walk(status="done", points=((0, 0),) * 3, losses=(1.0, 0.1, 0.0))
    ground = Ground(x=(-1, 1), y=(-1, 1), losses=((1, 1), (1, 1)), start=(0, 0))
    assert on_log_scale({"a": done})
    assert remarks({"a": done}, ground) == ["a has a loss of exactly 0 at step 2, which a log scale cannot show."]
    assert not on_log_scale({"a": done.model_copy(update={"losses": (1.0, -0.1, 0.0)})})
    assert outcome_table({"a": done}, ground, {}).frame()["lr"].tolist() == ["–"]


def test_a_plane_starts_where_its_path_does_if_the_path_lies_in_it() -> None:
    ticks = (-1.0, 0.0, 1.0)
    grid = pd.DataFrame([("grid", 0, x, y, 1 + x + 10 * y * y) for x in ticks for y in ticks])
    way = pd.DataFrame([("path", 0, 0.5, -0.25, 1.0), ("path", 0, 0.0, 0.0, 1.0)])
    table = pd.concat([grid, way], ignore_index=True).set_axis(["kind", "draw", "x", "y", "loss"], axis=1)
    table["step"] = [np.nan] * 9 + [0.0, 1.0]
    found = plane_of(table.assign(in_plane=0.9), 0)
    assert found.start == (0.5, -0.25)
    assert found.losses[2] == (10.0, 11.0, 12.0)
    assert not found.log
    assert plane_of(table.assign(in_plane=0.1), 0).start == (0.75, 0.75)
    with pytest.raises(UserError, match="no whole grid"):
        plane_of(table.iloc[1:], 0)
    with pytest.raises(UserError, match="no column 'draw'"):
        plane_of(table.drop(columns="draw"), 0)
    assert isinstance(found, Plane)
