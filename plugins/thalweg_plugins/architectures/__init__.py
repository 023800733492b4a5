"""Built-in architectures."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.architectures.autoencoder import Autoencoder
from thalweg_plugins.architectures.deep_linear import DeepLinear
from thalweg_plugins.architectures.deep_mlp import DeepMLP
from thalweg_plugins.architectures.linear import Linear
from thalweg_plugins.architectures.maxout_mlp import MaxoutMLP
from thalweg_plugins.architectures.mlp import MLP
from thalweg_plugins.architectures.point import Point


@hookimpl
def thalweg_register_architectures(register: Register) -> None:
    """Register the built-in architectures."""
    for architecture in (Linear, MLP, DeepMLP, MaxoutMLP, DeepLinear, Autoencoder, Point):
        register(architecture)
