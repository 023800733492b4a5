"""The sizes of gradients, activations and Jacobians from layer to layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from thalweg import Column, Option, Probe
from thalweg_plugins.probes._charts import by_depth, by_trial, color_and_dash, finite, heading, said
from thalweg_plugins.probes._objective import weights_of

if TYPE_CHECKING:
    import altair
    import pandas
    import torch
    from torch import nn

    from thalweg.contracts.activations import Activation
    from thalweg.contracts.probe import ProbeContext

GRADIENT, ACTIVATION, DEAD, JACOBIAN = "gradient norm", "activation size", "dead units", "Jacobian norm"
UNITS = {GRADIENT: "loss per unit of weight", ACTIVATION: "", DEAD: "%", JACOBIAN: "per unit of input"}


class GradientFlow(Probe):
    """Four quantities by layer, on the current batch in training mode.

    - ``gradient norm``: ||dL/dW_l||_2 of the weights of each layer, which are its parameters of two or more dimensions.
      A module without such parameters (an analytic function) has one layer of all its parameters.
    - ``activation size``: the root mean square of each activation's output.
    - ``dead units``: the share of an activation's units (channels, features) whose output is zero on every example and
      at every position. After a linear layer, a layer norm or an embedding the units are the last dimension (N, T, F);
      after any other layer they are the dimension after the batch (N, C, L).
    - ``Jacobian norm``: ||da_l/dx||_F of each activation with respect to the inputs, as the root mean square over
      examples. For ReLU networks the Jacobian is the product D_l W_l ... D_1 W_1 of weights and masks of positive
      pre-activations. One forward-mode pass with a standard normal tangent u for each example estimates the norm, since
      E||J u||^2 = ||J||_F^2. Under batch statistics the norm includes the effect of an example on the others. The norm
      is missing where the inputs are tokens, or where an operation has no forward mode (an LSTM).
    """

    name = "gradient-flow"
    summary = "norms of gradients, activations and Jacobians in each layer, and dead units, before and during training"
    equation = "||dL/dW_l||_2,  rms(a_l),  ||da_l/dx||_F = sqrt(E ||J_l u||^2), u ~ N(0, I)"
    source = "Glorot & Bengio 2010, section 4.2.2; Hanin & Rolnick 2018; Pearlmutter 1994 (forward mode)"
    revision = 3
    looks_at_optimizer = False
    when = ("start", "epoch")
    options = (
        Option("jacobian", "start", ("start", "always", "never"), "when to measure it: it takes a pass of its own"),
        Option("tangents", 1, "[1, inf)", "passes that the Jacobian's norm is averaged over"),
    )
    columns = (
        Column("step", "steps", "optimization steps done"),
        Column("epoch", "epochs", "epochs done"),
        Column("quantity", "", ", ".join(UNITS)),
        Column("depth", "", "the number of the layer, or of the activation; 1 nearest to the input"),
        Column("layer", "", "the parameter's or the activation's name in the module"),
        Column("value", "see quantity", "gradient: loss per unit of weight; dead units: a fraction of one"),
    )

    def points(self, options: Mapping[str, Any]) -> int:
        """Passes with a tangent."""
        return int(options["tangents"])

    def measure(self, context: ProbeContext) -> dict[str, Any]:
        """One gradient, whose forward pass gives the activations too."""
        import torch

        from thalweg.contracts.activations import activations
        from thalweg.contracts.real import as_real

        def norm(tensor: torch.Tensor) -> torch.Tensor:
            return torch.linalg.vector_norm(as_real(tensor), dtype=torch.float64)  # type: ignore[no-any-return]

        with activations(context.module) as seen, _unit_dimensions(context.module) as dims:
            _, gradients = context.objective.gradient()
        wanted = dict(weights_of(context.module))
        named = [name for name, parameter in context.module.named_parameters() if parameter.requires_grad]
        found = [(name, g) for name, g in zip(named, gradients, strict=True) if name in wanted]
        rows = [(GRADIENT, depth, name, norm(g)) for depth, (name, g) in enumerate(found, start=1)]
        for depth, (one, dim) in enumerate(zip(seen, dims, strict=True), start=1):
            after = one.after.detach()
            rows.append((ACTIVATION, depth, one.layer, norm(after) / after.numel() ** 0.5))
            others = [at for at in range(after.dim()) if at != dim % after.dim()] if after.dim() > 1 else [0]
            rows.append((DEAD, depth, one.layer, 1 - after.any(others).double().mean()))
        when = context.options["jacobian"]
        if when == "always" or (when == "start" and context.step == 0):
            rows += [(JACOBIAN, *each) for each in _jacobians(context)]
        return {
            "step": context.step,
            "epoch": context.epoch,
            "quantity": [row[0] for row in rows],
            "depth": [row[1] for row in rows],
            "layer": [row[2] for row in rows],
            "value": torch.stack([row[3] for row in rows]).tolist(),
        }

    def chart(self, table: pandas.DataFrame) -> altair.TopLevelMixin:
        """The gradient's norm over the epochs, one line a layer, on a log scale; of one moment all over depth."""
        return _over_depth(table) if len(table["epoch"].unique()) == 1 else _over_epochs(table, GRADIENT)

    def views(self) -> dict[str, Any]:
        """Every quantity against depth, at the start and at the end; activations and dead units over the epochs."""
        return {
            "over depth": _over_depth,
            "heat map": _heat_map,
            ACTIVATION: lambda table: _over_epochs(table, ACTIVATION),
            DEAD: lambda table: _over_epochs(table, DEAD),
        }


@contextmanager
def _unit_dimensions(module: nn.Module) -> Iterator[list[int]]:
    """While active, every activation of a forward pass appends the dimension of its units.

    The layer with a weight that was called last before the activation decides. The order of calls counts, because a
    network may use one activation module in several places.
    """
    from torch import nn

    from thalweg.contracts.activations import is_activation

    features_last = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
    found: list[int] = []
    dimension = 1

    def hook(layer: nn.Module, *_: object) -> None:
        nonlocal dimension
        if is_activation(layer):
            found.append(dimension)
        elif layer._parameters.get("weight") is not None:
            dimension = -1 if isinstance(layer, features_last) else 1

    handles = [layer.register_forward_hook(hook) for layer in module.modules()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _jacobians(context: ProbeContext) -> list[tuple[int, str, torch.Tensor]]:
    """Depth, name and norm of each activation's Jacobian; empty where an operation has no forward mode."""
    try:
        return _forward_mode(context)
    except (NotImplementedError, RuntimeError) as error:
        if any(words in str(error) for words in ("forward AD", "forward mode AD", "jvp")):
            return []
        raise


def _forward_mode(context: ProbeContext) -> list[tuple[int, str, torch.Tensor]]:
    import torch
    from torch.autograd import forward_ad

    from thalweg.contracts.activations import activations
    from thalweg.contracts.derivatives import math_attention
    from thalweg.contracts.objective import kept_buffers

    inputs = context.objective.batch.inputs
    if inputs is None or not inputs.is_floating_point() or inputs.dim() < 2:
        return []
    squares: dict[tuple[int, str], torch.Tensor] = {}
    for _ in range(context.options["tangents"]):
        tangent = torch.randn(inputs.shape, generator=context.generator, dtype=torch.float32).to(inputs)
        with (
            torch.no_grad(),
            math_attention(),
            kept_buffers(context.module),
            forward_ad.dual_level(),
            activations(context.module) as seen,
        ):
            context.module(
                forward_ad.make_dual(inputs, tangent)  # type: ignore[no-untyped-call]
            )
            for depth, one in enumerate(seen, start=1):
                key = depth, one.layer
                square = _mean_square(one)
                squares[key] = squares[key] + square if key in squares else square
    count = context.options["tangents"]
    context.objective.counts.examples += count * len(inputs)
    return [(depth, layer, (total / count) ** 0.5) for (depth, layer), total in squares.items()]


def _mean_square(one: Activation) -> torch.Tensor:
    """The tangent's squared norm, mean over examples."""
    import torch
    from torch.autograd import forward_ad

    from thalweg.contracts.real import as_real

    tangent = forward_ad.unpack_dual(one.after).tangent  # type: ignore[no-untyped-call]
    if tangent is None:
        return torch.zeros((), dtype=torch.float64, device=one.after.device)
    return as_real(tangent).double().flatten(1).square().sum(1).mean()


def _encoded(quantity: str) -> tuple[Any, str]:
    """The y axis of a quantity, and its title."""
    import altair as alt

    unit = f"({UNITS[quantity] or 'root mean square'}, log scale)"
    if quantity == DEAD:
        y = alt.Y("value:Q", title="dead units", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
        return y, "Units that give zero on every example"
    axis = alt.Axis(format="~g", tickCount=5)
    return alt.Y(
        "value:Q", title=[quantity, unit], scale=alt.Scale(type="log"), axis=axis
    ), f"{quantity} by layer".capitalize()


def _drawable(table: pandas.DataFrame, quantity: str) -> tuple[pandas.DataFrame, str]:
    """The rows of a quantity that its scale can show, and the number of the other rows."""
    rows = table[table["quantity"] == quantity]
    rows = rows.assign(value=finite(rows["value"]))
    shown = rows[(rows["value"] > 0) | ((quantity == DEAD) & rows["value"].notna())].dropna(subset=["epoch", "depth"])
    wrong = len(rows) - len(shown)
    place = "finite" if quantity == DEAD else "finite and positive"
    return shown, f"{quantity}: {wrong} of {len(rows)} values are not {place}, and left out" if wrong else ""


def _over_epochs(table: pandas.DataFrame, quantity: str) -> altair.TopLevelMixin:
    import altair as alt

    y, title = _encoded(quantity)
    rows, left_out = _drawable(table, quantity)
    if rows.empty:
        return said(title, left_out or f"the table has no {quantity}")
    chart = (
        alt.Chart(rows)
        .mark_line(point=alt.OverlayMarkDef(size=15))
        .encode(
            x=alt.X("epoch:Q", title="epoch"),
            y=y,
            tooltip=["layer:N", "epoch:Q", alt.Tooltip("value:Q", title=quantity, format=".3g")],
            **by_depth(rows),
        )
    )
    return by_trial(chart, table, title, left_out)


def _heat_map(table: pandas.DataFrame) -> altair.TopLevelMixin:
    """The gradient's norm by layer and epoch as colours, on a log scale."""
    import altair as alt

    from thalweg.present.charts.palette import SEQUENTIAL

    title = "Gradient norm by layer and epoch"
    rows, left_out = _drawable(table, GRADIENT)
    if rows.empty:
        return said(title, left_out or "the table has no gradient norm")
    moments = sorted(rows["epoch"].unique())
    every = max(1, -(-len(moments) // 10))
    chart = (
        alt.Chart(rows)
        .mark_rect()
        .encode(
            x=alt.X("epoch:O", title="epoch", axis=alt.Axis(values=moments[::every], labelAngle=0, format="~g")),
            y=alt.Y(
                "depth:O", title="layer (1: input)", sort="descending",
                axis=alt.Axis(values=_some(rows["depth"].max()), format="d"),
            ),
            color=alt.Color(
                "value:Q", title="gradient norm", scale=alt.Scale(type="log", scheme=SEQUENTIAL),
                legend=alt.Legend(orient="bottom", format=".1~g", gradientLength=220, tickCount=5),
            ),
            tooltip=["layer:N", "depth:O", "epoch:Q", alt.Tooltip("value:Q", title=GRADIENT, format=".3g")],
        )
    )  # fmt: skip
    return by_trial(chart, table, title, left_out)


def _some(depth: float, most: int = 8) -> list[int]:
    """A few whole numbers from 1 to the depth."""
    return list(range(1, int(depth) + 1, -(-int(depth) // most)))


def _over_depth(table: pandas.DataFrame) -> altair.TopLevelMixin:
    """The first and the last measurement, in a panel for each quantity, and of several trials for each moment."""
    import altair as alt

    several = "trial" in table
    epochs = table.groupby("trial")["epoch"] if several else table["epoch"]
    first, last = (epochs.transform(end) if several else getattr(epochs, end)() for end in ("min", "max"))
    rows = table[(table["epoch"] == first) | (table["epoch"] == last)]
    names = [f"epoch {epoch:g}" for epoch in sorted(rows["epoch"].dropna().unique())]
    rows = rows.assign(when=rows["epoch"].map(lambda epoch: f"epoch {epoch:g}"))
    if several:  # they may end at different epochs
        names = ["first measurement", "last measurement"]
        rows["when"] = [
            names[int(epoch != start)] for epoch, start in zip(rows["epoch"], first[rows.index], strict=True)
        ]
        style = color_and_dash("trial", "trial", list(rows["trial"].unique()))
    else:
        style = color_and_dash("when", "measured at", names)
    panels, about = [], ["on one batch"]
    for quantity in UNITS:
        part, left_out = _drawable(rows, quantity)
        y, _ = _encoded(quantity)
        for title in names if several else [""]:
            shown = part[part["when"] == title] if several else part
            if len(shown):
                panel = (
                    alt.Chart(shown)
                    .mark_line(point=alt.OverlayMarkDef(filled=True, size=35))
                    .encode(
                        x=alt.X(
                            "depth:Q",
                            title="depth (1: input)",
                            axis=alt.Axis(values=_some(part["depth"].max()), format="d"),
                        ),
                        y=y,
                        tooltip=["layer:N", "when:N", alt.Tooltip("value:Q", title=quantity, format=".3g")],
                        **style,
                    )
                    .properties(width=265, height=220, title=f"{quantity}, {title}" if title else quantity)
                )
                panels.append(panel)
        about.append(left_out)
    if not panels:
        return said("Signals over depth", "no value is finite" if len(table) else "nothing was measured")
    found: alt.ConcatChart = alt.concat(*panels, columns=2, title=heading("Signals over depth", about))
    return found
