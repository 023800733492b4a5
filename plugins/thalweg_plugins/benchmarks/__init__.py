"""Built-in benchmarks: each a TOML file beside this one."""

from pathlib import Path

from thalweg import hookimpl
from thalweg.hookspecs import Register


@hookimpl
def thalweg_register_benchmarks(register: Register) -> None:
    """Register every TOML file of this folder."""
    for path in sorted(Path(__file__).parent.glob("*.toml")):
        register(path)
