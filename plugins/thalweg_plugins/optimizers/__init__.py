"""Built-in optimizers."""

from thalweg import hookimpl
from thalweg.hookspecs import Register
from thalweg_plugins.optimizers.first_order.adagrad import Adagrad
from thalweg_plugins.optimizers.first_order.adam import Adam
from thalweg_plugins.optimizers.first_order.adamw import AdamW
from thalweg_plugins.optimizers.first_order.amsgrad import AMSGrad
from thalweg_plugins.optimizers.first_order.lion import Lion
from thalweg_plugins.optimizers.first_order.momentum import Momentum, Nesterov
from thalweg_plugins.optimizers.first_order.nadam import NAdam
from thalweg_plugins.optimizers.first_order.rmsprop import RMSprop
from thalweg_plugins.optimizers.first_order.schedule_free_adamw import ScheduleFreeAdamW
from thalweg_plugins.optimizers.first_order.sgd import SGD
from thalweg_plugins.optimizers.lecture.adagrad_lecture import AdagradLecture
from thalweg_plugins.optimizers.lecture.adam_lecture import AdamLecture
from thalweg_plugins.optimizers.lecture.adam_rkk18 import AdamRKK18, AMSGradRKK18
from thalweg_plugins.optimizers.lecture.rmsprop_lecture import RMSpropLecture
from thalweg_plugins.optimizers.natural.empirical_fisher import EmpiricalFisher
from thalweg_plugins.optimizers.natural.kfac import KFAC
from thalweg_plugins.optimizers.natural.natural_gradient import NaturalGradient, NaturalGradientCG
from thalweg_plugins.optimizers.natural.natural_gradient_mc import NaturalGradientMC
from thalweg_plugins.optimizers.second_order.bfgs import BFGS
from thalweg_plugins.optimizers.second_order.gauss_newton_cg import GaussNewtonCG
from thalweg_plugins.optimizers.second_order.lbfgs import LBFGS
from thalweg_plugins.optimizers.second_order.newton import Newton
from thalweg_plugins.optimizers.second_order.newton_cg import NewtonCG
from thalweg_plugins.optimizers.structured.muon import Muon
from thalweg_plugins.optimizers.structured.shampoo import Shampoo
from thalweg_plugins.optimizers.structured.soap import SOAP

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
