"""What may be asked about a function of two variables, and the answers. They travel between processes as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MOST_STEPS = 500
"""The most steps of a path."""

SIDE = 81
"""Points along each side of the grid on which an analytic function is evaluated."""

Pair = tuple[float, float]


class _Message(BaseModel):
    # the values of a path that diverges are infinite or nan in the end, and JSON has no such numbers of its own
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class Analytic(_Message):
    """An analytic function of two variables: a registered problem with the options that differ from its defaults."""

    kind: Literal["analytic"] = "analytic"
    problem: str
    options: dict[str, Any] = {}


class Plane(_Message):
    """Losses L_ij of a network at the points (x_j, y_i) of a grid on a plane through its weights."""

    kind: Literal["plane"] = "plane"
    x: tuple[float, ...]
    """Ascending, shape (n,)."""
    y: tuple[float, ...]
    """Ascending, shape (m,)."""
    losses: tuple[tuple[float, ...], ...]
    """Shape (m, n)."""
    log: bool
    """Whether the logarithm of the loss is interpolated, and not the loss."""
    start: Pair
    """Where a path starts if nobody says."""


Function = Annotated[Analytic | Plane, Field(discriminator="kind")]


class GroundRequest(_Message):
    """Asks for the values of a function around its start and its minima."""

    function: Function
    start: Pair | None = None
    """A start of the user's, which the picture is to show; None: the function's own."""


class Ground(_Message):
    """A function on a grid, with what is known about it."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    losses: tuple[tuple[float, ...], ...]
    """The value at (x_j, y_i) in row i and column j."""
    start: Pair
    """The start that the function declares; a problem starts where its trial with seed 0 starts."""
    minimizers: tuple[Pair, ...] = ()
    """The global minimizers that are known: some or all."""
    minimum: float | None = None
    """The value at the global minimizers, where it is known."""


class WalkRequest(_Message):
    """Asks for the path of one optimizer."""

    function: Function
    optimizer: str
    hyperparameters: dict[str, Any] = {}
    """Those that differ from their defaults, such as ``{"lr": 0.1}``."""
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    start: Pair | None = None
    """Where the path starts; None: where the function says."""


class Walk(_Message):
    """The path of an optimizer: T + 1 points for T steps, the start first."""

    status: Literal["done", "diverged", "left", "failed"]
    """left: the path left the grid of a plane."""
    reason: str = ""
    """Why the path ended early; empty for ``done``."""
    points: tuple[Pair, ...] = ()
    """The weights that a trial would evaluate, shape (T + 1, 2)."""
    losses: tuple[float, ...] = ()
    """The value at each point; nan at a point outside of a plane's grid."""

    @property
    def steps(self) -> int:
        """The steps made."""
        return max(len(self.points) - 1, 0)


class Question(_Message):
    """One question to the process that computes."""

    ask: GroundRequest | WalkRequest


class Answer(_Message):
    """The answer of the process that computes: a result, or one sentence on what is wrong with the question."""

    ground: Ground | None = None
    walk: Walk | None = None
    error: str = ""
