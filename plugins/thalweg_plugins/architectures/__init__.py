"""Built-in architectures."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.architectures.autoencoder import Autoencoder
from thalweg_plugins.architectures.char_transformer import CharTransformer
from thalweg_plugins.architectures.convnet import ConvNet
from thalweg_plugins.architectures.deep_linear import DeepLinear
from thalweg_plugins.architectures.deep_mlp import DeepMLP
from thalweg_plugins.architectures.lenet import LeNet
from thalweg_plugins.architectures.linear import Linear
from thalweg_plugins.architectures.maxout_mlp import MaxoutMLP
from thalweg_plugins.architectures.mlp import MLP
from thalweg_plugins.architectures.point import Point
from thalweg_plugins.architectures.resnet import ResNet
from thalweg_plugins.architectures.vgg import VGG
from thalweg_plugins.architectures.vit import ViT
from thalweg_plugins.architectures.wide_resnet import WideResNet

ARCHITECTURES = (
    Linear,
    MLP,
    DeepMLP,
    MaxoutMLP,
    DeepLinear,
    Autoencoder,
    LeNet,
    ConvNet,
    VGG,
    ResNet,
    WideResNet,
    ViT,
    CharTransformer,
    Point,
)


@hookimpl
def thalweg_register_architectures(register: Register) -> None:
    """Register the built-in architectures."""
    for architecture in ARCHITECTURES:
        register(architecture)
