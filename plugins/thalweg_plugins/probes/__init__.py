"""Built-in probes."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.probes.gradient_flow import GradientFlow
from thalweg_plugins.probes.line import Line
from thalweg_plugins.probes.surface import Surface


@hookimpl
def thalweg_register_probes(register: Register) -> None:
    """Register the built-in probes."""
    for probe in (Line, Surface, GradientFlow):
        register(probe)
