"""Built-in problems."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.problems.arrays import Classes, Regression
from thalweg_plugins.problems.beale import Beale
from thalweg_plugins.problems.cifar import Cifar10, Cifar100
from thalweg_plugins.problems.deep_linear_network import DeepLinearNetwork
from thalweg_plugins.problems.digits import Digits
from thalweg_plugins.problems.digits_autoencoder import DigitsAutoencoder
from thalweg_plugins.problems.fashion_mnist import FashionMnist, FashionMnistAutoencoder, FashionMnistImbalanced
from thalweg_plugins.problems.kmnist import Kmnist
from thalweg_plugins.problems.ladders import LADDERS
from thalweg_plugins.problems.mnist import Mnist, MnistAutoencoder
from thalweg_plugins.problems.mnist1d import MNIST1D
from thalweg_plugins.problems.quadratic import Quadratic
from thalweg_plugins.problems.rastrigin import Rastrigin
from thalweg_plugins.problems.rkk18 import RKK18
from thalweg_plugins.problems.rosenbrock import Rosenbrock
from thalweg_plugins.problems.saddle import Saddle
from thalweg_plugins.problems.styblinski_tang import StyblinskiTang
from thalweg_plugins.problems.tiny_text import TinyText
from thalweg_plugins.problems.wrs17 import WRS17

PROBLEMS = (
    Classes,
    Regression,
    Beale,
    Cifar10,
    Cifar100,
    DeepLinearNetwork,
    Digits,
    DigitsAutoencoder,
    FashionMnist,
    FashionMnistAutoencoder,
    FashionMnistImbalanced,
    Kmnist,
    Mnist,
    MnistAutoencoder,
    MNIST1D,
    Quadratic,
    Rastrigin,
    RKK18,
    Rosenbrock,
    Saddle,
    StyblinskiTang,
    TinyText,
    WRS17,
    *LADDERS,
)


@hookimpl
def thalweg_register_problems(register: Register) -> None:
    """Register the built-in problems."""
    for problem in PROBLEMS:
        register(problem)
