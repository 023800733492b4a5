"""Built-in probes."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.probes.covariate_shift import CovariateShift
from thalweg_plugins.probes.critical_sharpness import CriticalSharpness
from thalweg_plugins.probes.directions import Directions
from thalweg_plugins.probes.edge_of_stability import EdgeOfStability
from thalweg_plugins.probes.gradient_flow import GradientFlow
from thalweg_plugins.probes.line import Line
from thalweg_plugins.probes.mode_connectivity import ModeConnectivity
from thalweg_plugins.probes.noise_scale import NoiseScale
from thalweg_plugins.probes.sharpness import Sharpness
from thalweg_plugins.probes.smoothness import Smoothness
from thalweg_plugins.probes.spectrum import Spectrum
from thalweg_plugins.probes.surface import Surface
from thalweg_plugins.probes.trace import Trace
from thalweg_plugins.probes.trajectory import Trajectory


@hookimpl
def thalweg_register_probes(register: Register) -> None:
    """Register the built-in probes."""
    for probe in (
        Line,
        Directions,
        Surface,
        Trajectory,
        ModeConnectivity,
        GradientFlow,
        Smoothness,
        CovariateShift,
        Spectrum,
        Trace,
        Sharpness,
        NoiseScale,
        EdgeOfStability,
        CriticalSharpness,
    ):
        register(probe)
