"""Adam with Nesterov momentum."""

from thalweg import Hyperparameter
from thalweg_plugins.optimizers.first_order.adam import Adam
from thalweg_plugins.optimizers.options import beta1, beta2, eps, lr, weight_decay


class NAdam(Adam):
    """Adam with Nesterov momentum: a step applies the first moment's next update ahead of time.

    The first decay rate grows towards beta1: mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2). Torch keeps the product of
    the mu_t in float32 for weights of every dtype.
    """

    name = "nadam"
    summary = "Adam with Nesterov momentum in place of heavy-ball momentum"
    equation = (
        "m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  "
        "mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2);  "
        "w <- w - lr [mu_(t+1) m / (1 - mu_1...mu_(t+1)) + (1 - mu_t) g / (1 - mu_1...mu_t)]"
        " / (sqrt(v / (1 - beta2^t)) + eps)"
    )
    source = "Dozat 2016; torch.optim.NAdam"
    torch_name = "NAdam"
    options = (
        lr(2e-3, 1e-5, 0.1),
        beta1(),
        beta2(),
        eps(),
        Hyperparameter("momentum_decay", 4e-3, "[0, inf)", "how fast the first decay rate reaches beta1"),
        weight_decay(),
    )
