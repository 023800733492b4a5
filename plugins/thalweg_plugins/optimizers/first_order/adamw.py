"""Adam with decoupled weight decay."""

from thalweg_plugins.optimizers.first_order.adam import Adam
from thalweg_plugins.optimizers.options import beta1, beta2, decoupled_weight_decay, eps, lr


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights directly, without passing through the running means."""

    name = "adamw"
    summary = "Adam with weight decay that is decoupled from the gradient"
    equation = (
        "m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  "
        "w <- (1 - lr weight_decay) w - lr (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)"
    )
    source = "Loshchilov & Hutter 2019, algorithm 2; torch.optim.AdamW"
    torch_name = "AdamW"
    options = (lr(1e-3, 1e-5, 0.1), beta1(), beta2(), eps(), decoupled_weight_decay(0.01))
