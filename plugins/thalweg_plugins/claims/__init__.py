"""The lecture's statements as claims, decided by the rules of ``rules.toml``. A folder of this folder is a section."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.claims import (
    adam_fails,
    adaptive,
    batch_norm,
    depth,
    directions,
    filters,
    later,
    line,
    natural_gradient,
    overfitting,
    quadratics,
    residual,
)

CLAIMS: tuple[type, ...] = (
    *quadratics.CLAIMS,
    *natural_gradient.CLAIMS,
    *adaptive.CLAIMS,
    *adam_fails.CLAIMS,
    *overfitting.CLAIMS,
    *depth.CLAIMS,
    *batch_norm.CLAIMS,
    *residual.CLAIMS,
    *line.CLAIMS,
    *directions.CLAIMS,
    *filters.CLAIMS,
    *later.CLAIMS,
)


@hookimpl
def thalweg_register_claims(register: Register) -> None:
    """Register the built-in claims."""
    for claim in CLAIMS:
        register(claim)
