"""The lecture's statements as claims, decided by the rules of ``rules.toml``. A file of this folder is a section."""

from thalweg import hookimpl
from thalweg.hookspecs import Register

CLAIMS: tuple[type, ...] = ()


@hookimpl
def thalweg_register_claims(register: Register) -> None:
    """Register the built-in claims."""
    for claim in CLAIMS:
        register(claim)
