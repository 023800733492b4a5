"""The playground: paths of optimizers on a function of two variables, or on the plane of a trial's loss surface."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from thalweg.app.data import Source, plugin_files, probe_table, registry
from thalweg.app.drawing import show_chart, show_table
from thalweg.app.sharing import share
from thalweg.app.sidebar import number, select
from thalweg.app.worker import ask
from thalweg.contracts import Optimizer
from thalweg.errors import UserError
from thalweg.playground.choices import benchmark_rates, functions_of, optimizers_of, rates_of
from thalweg.playground.requests import MOST_STEPS, Analytic, Ground, GroundRequest, Pair, Plane, Walk, WalkRequest
from thalweg.present.charts.playground import contours_of, losses_chart, paths_chart
from thalweg.present.loaded import Loaded
from thalweg.present.playground import (
    endings,
    function_caption,
    outcome_table,
    path_frame,
    plane_caption,
    plane_of,
    remarks,
)
from thalweg.present.probes import probes_by_label
from thalweg.present.sentences import plain
from thalweg.store.overlay import laid_over

PLANE = "plane of a trial"
"""The choice of a stored surface. No problem has a name with spaces."""
MOST = 4
"""The most optimizers."""
FIRST = ("sgd", "momentum", "adam")
"""The optimizers that are chosen at first, where they are there."""
STEPS = 100


@dataclass(frozen=True)
class _Stage:
    """The function that is chosen."""

    function: Analytic | Plane
    key: str
    """What the keys of its widgets end with."""
    names: tuple[str, str]
    """What its two variables are called."""
    problem: str = ""
    """The name of an analytic function's problem."""


def show(_source: Source, loaded: Loaded) -> None:
    """Draw the page."""
    st.title("Playground")
    _play(loaded)


@st.fragment
def _play(loaded: Loaded) -> None:
    optimizers = optimizers_of(registry())
    left, right = st.columns([1, 2])
    with right:
        chosen = _optimizers(list(optimizers))
    try:
        stage = _stage(loaded, left)
        _paths(stage, {name: optimizers[name] for name in chosen})
    except UserError as error:
        st.error(plain(str(error)))


def _stage(loaded: Loaded, place: DeltaGenerator) -> _Stage:
    """The chosen function; the choice is drawn at a place.

    Raises:
        UserError: the function has no values that could be drawn.
    """
    functions = functions_of(registry())
    view = loaded.view
    probes = probes_by_label(view.seen.trials, view.stored, laid_over(view.everything.results))
    surfaces = {label: one for label, one in probes.items() if one.ref.name == "surface" and one.done}
    with place:
        name = select("function", [*functions, *([PLANE] if surfaces else [])], "function", "rosenbrock")
    if name != PLANE:
        return _Stage(functions[name], name, ("x", "y"), name)
    left, middle, right = st.columns(3)
    # the plane of the path comes first, as on the page of the landscape
    first = next((label for label, one in surfaces.items() if one.ref.options.get("directions") == "path"), None)
    with left:
        one = surfaces[select("probe", list(surfaces), "plane-probe", first)]
    with middle:
        title = select("trial", list(one.done), "plane-trial")
        if title in one.here:
            st.caption("Measured here, and no part of the packed results.")
    try:
        table = probe_table(one.done[title], one.key)
    except (OSError, ValueError) as error:
        raise UserError(f"{title}: the probe's table cannot be read: {type(error).__name__}") from error
    draws = [str(draw) for draw in sorted(table["draw"].unique())] if "draw" in table else ["0"]
    with right:
        draw = select("plane", draws, "plane-draw") if len(draws) > 1 else draws[0]
    plane = plane_of(table, int(draw))
    key = hashlib.sha256(plane.model_dump_json().encode()).hexdigest()[:8]
    return _Stage(plane, key, ("d1", "d2"))


def _paths(stage: _Stage, optimizers: dict[str, Optimizer]) -> None:
    """Draw the other choices, the pictures and the table."""
    rates = _rates(stage, optimizers)
    own = _ground(stage.function, None)
    start, steps = _start(stage, own)
    moved = None if start == own.start else start
    ground = own if moved is None or isinstance(stage.function, Plane) else _ground(stage.function, moved)
    walks: dict[str, Walk] = {}
    for name in optimizers:
        settings = {"lr": float(rates[name])} if name in rates else {}
        asked = WalkRequest(function=stage.function, optimizer=name, hyperparameters=settings, steps=steps, start=moved)
        answer = ask(asked)
        walks[name] = answer.walk or Walk(status="failed", reason=answer.error)
    if walks:
        _draw(stage, ground, walks, rates, steps)
    else:
        st.info("Choose an optimizer.")


def _optimizers(names: list[str]) -> list[str]:
    """The chosen optimizers. The page names those of the address that are unknown."""
    key = "optimizers"
    asked = st.query_params.get_all(key) if key not in st.session_state else []
    if unknown := [name for name in asked if name not in names]:
        st.session_state["unknown-optimizers"] = f"No optimizer {unknown[0]!r} can train a function of two variables."
        st.query_params[key] = [name for name in asked if name in names]
    elif len(asked) > MOST:
        left_out = ", ".join(asked[MOST:])
        st.session_state["unknown-optimizers"] = f"The page shows {MOST} optimizers at most, without {left_out}."
    if told := st.session_state.get("unknown-optimizers"):
        st.warning(plain(told))
    return st.multiselect(
        "optimizers",
        names,
        default=[name for name in FIRST if name in names],
        key=key,
        max_selections=MOST,
        bind="query-params",
        on_change=lambda: st.session_state.pop("unknown-optimizers", None),
    )


@st.cache_data(show_spinner=False, max_entries=4)
def _known_rates(_files: tuple[str, ...]) -> dict[tuple[str, str], float]:
    return benchmark_rates(registry())


def _rates(stage: _Stage, optimizers: dict[str, Optimizer]) -> dict[str, str]:
    """A slider for each optimizer with a learning rate; the rates as the sliders show them."""
    known = _known_rates(plugin_files())
    chosen: dict[str, str] = {}
    sliders = {
        name: found
        for name, one in optimizers.items()
        if (found := rates_of(one, known.get((stage.problem, name)))) is not None
    }
    for (name, (options, first)), place in zip(sliders.items(), st.columns(max(len(sliders), 1)), strict=False):
        with place:
            chosen[name] = _rate(f"learning rate of {name}", options, first, f"lr-{name}-{stage.key}")
    return chosen


def _rate(label: str, options: tuple[str, ...], first: str, key: str) -> str:
    """One learning rate."""
    return number(
        label,
        key,
        lambda forget: st.select_slider(label, options, value=first, key=key, bind="query-params", on_change=forget),
    )


def _start(stage: _Stage, ground: Ground) -> tuple[Pair, int]:
    """The start and the number of steps."""
    columns = st.columns(3)
    at = [_coordinate(stage, ground, index, columns[index]) for index in (0, 1)]
    with columns[2]:
        steps = number(
            "steps",
            "steps",
            lambda forget: st.slider("steps", 1, MOST_STEPS, STEPS, key="steps", bind="query-params", on_change=forget),
        )
    return (at[0], at[1]), int(steps)


def _coordinate(stage: _Stage, ground: Ground, index: int, place: DeltaGenerator) -> float:
    """One coordinate of the start."""
    label, key = f"start: {stage.names[index]}", f"{'xy'[index]}-{stage.key}"
    with place:
        value = number(
            label,
            key,
            lambda forget: st.number_input(
                label,
                value=ground.start[index],
                step=(ground.x[-1] - ground.x[0]) / 20,
                format="%.4g",
                key=key,
                bind="query-params",
                on_change=forget,
            ),
        )
    return float(value)


def _ground(function: Analytic | Plane, start: Pair | None) -> Ground:
    answer = ask(GroundRequest(function=function, start=start))
    if answer.ground is None:
        raise UserError(answer.error)
    return answer.ground


@st.cache_data(show_spinner=False, max_entries=32)
def _contours(_ground: Ground, text: str) -> pd.DataFrame:
    return contours_of(_ground)


def _draw(stage: _Stage, ground: Ground, walks: dict[str, Walk], rates: dict[str, str], steps: int) -> None:
    for sentence in endings(walks):
        st.warning(plain(sentence))
    polygons = _contours(ground, ground.model_dump_json())
    paths = paths_chart(polygons, ground, walks, stage.names)
    losses = losses_chart(walks, ground)
    outcome = outcome_table(walks, ground, rates)
    left, right = st.columns([3, 2])
    with left:
        show_chart(paths, "paths")
    with right:
        show_chart(losses, "losses")
    show_table(outcome, key="outcome")
    about = plane_caption(stage.function) if isinstance(stage.function, Plane) else function_caption(steps)
    st.caption(plain(" ".join([*remarks(walks, ground), about])))
    share(
        "playground",
        {"Paths": paths, "Losses": losses},
        {"Points of the paths": path_frame(walks), "Outcome": outcome.frame()},
    )
