"""The lecture's statements as claims, decided by the rules of ``rules.toml``. A file of this folder is a section."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.claims import (
    adaptive,
    batch_norm,
    directions,
    filters,
    later,
    line,
    overfitting,
    quadratics,
    residual,
)

CLAIMS: tuple[type, ...] = (
    *quadratics.CLAIMS,
    *adaptive.CLAIMS,
    *overfitting.CLAIMS,
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
