"""Built-in optimizers."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.optimizers.adagrad import Adagrad
from thalweg_plugins.optimizers.adagrad_lecture import AdagradLecture
from thalweg_plugins.optimizers.adam import Adam
from thalweg_plugins.optimizers.adam_lecture import AdamLecture
from thalweg_plugins.optimizers.adam_rkk18 import AdamRKK18, AMSGradRKK18
from thalweg_plugins.optimizers.adamw import AdamW
from thalweg_plugins.optimizers.amsgrad import AMSGrad
from thalweg_plugins.optimizers.bfgs import BFGS
from thalweg_plugins.optimizers.empirical_fisher import EmpiricalFisher
from thalweg_plugins.optimizers.gauss_newton_cg import GaussNewtonCG
from thalweg_plugins.optimizers.kfac import KFAC
from thalweg_plugins.optimizers.lbfgs import LBFGS
from thalweg_plugins.optimizers.lion import Lion
from thalweg_plugins.optimizers.momentum import Momentum, Nesterov
from thalweg_plugins.optimizers.muon import Muon
from thalweg_plugins.optimizers.nadam import NAdam
from thalweg_plugins.optimizers.natural_gradient import NaturalGradient, NaturalGradientCG
from thalweg_plugins.optimizers.natural_gradient_mc import NaturalGradientMC
from thalweg_plugins.optimizers.newton import Newton
from thalweg_plugins.optimizers.newton_cg import NewtonCG
from thalweg_plugins.optimizers.rmsprop import RMSprop
from thalweg_plugins.optimizers.rmsprop_lecture import RMSpropLecture
from thalweg_plugins.optimizers.schedule_free_adamw import ScheduleFreeAdamW
from thalweg_plugins.optimizers.sgd import SGD
from thalweg_plugins.optimizers.shampoo import Shampoo
from thalweg_plugins.optimizers.soap import SOAP

FIRST_ORDER = (
    SGD,
    Momentum,
    Nesterov,
    Adagrad,
    RMSprop,
    Adam,
    AMSGrad,
    AdamW,
    NAdam,
    Lion,
    ScheduleFreeAdamW,
    AdagradLecture,
    RMSpropLecture,
    AdamLecture,
    AdamRKK18,
    AMSGradRKK18,
    Muon,
    Shampoo,
    SOAP,
)
SECOND_ORDER = (
    BFGS,
    LBFGS,
    Newton,
    NewtonCG,
    GaussNewtonCG,
    NaturalGradient,
    NaturalGradientCG,
    NaturalGradientMC,
    EmpiricalFisher,
    KFAC,
)


@hookimpl
def thalweg_register_optimizers(register: Register) -> None:
    """Register the built-in optimizers."""
    for optimizer in (*FIRST_ORDER, *SECOND_ORDER):
        register(optimizer)
