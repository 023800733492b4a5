#!/usr/bin/env bash
# torch 2.13.0: L-BFGS with strong_wolfe raises IndexError on a nan loss, and ZeroDivisionError at a learning rate of 0.
#
# A loss may be nan where its gradient is finite: the logarithm of a negative number has the derivative 1/x. If the slope
# there is small enough, the search takes the point for the end, keeps it as the only end of its bracket, and then asks
# for the second one, because no comparison with nan is true. A schedule that ends at a rate of 0 makes the search divide
# by the distance of two equal points. So a training that diverges, or one that should rest, ends as if it had a bug.
#
# Seen with torch 2.13.0, numpy 2.4.6, Python 3.11: "IndexError: list index out of range" in step 1, and
# "ZeroDivisionError: float division by zero" in the second step at a rate of 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PY'
import torch


def raised(loss_of, **settings):
    x = torch.linspace(-0.5, 0.6, 8, dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.LBFGS([x], line_search_fn="strong_wolfe", **settings)

    def closure():
        optimizer.zero_grad()
        loss = loss_of(x)
        loss.backward()
        return loss

    try:
        for _ in range(3):
            optimizer.step(closure)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


tolerances = {"tolerance_grad": 0.0, "tolerance_change": 1e-60}
barrier = raised(lambda x: x.sum() - torch.log(2 - x.square().sum()), lr=5.0, max_iter=5, max_eval=125, **tolerances)
resting = raised(lambda x: x.square().sum(), lr=0.0, max_iter=5)
print(f"torch {torch.__version__}: nan loss: {barrier}; rate 0: {resting}")
assert barrier == "IndexError: list index out of range"
assert resting == "ZeroDivisionError: float division by zero"
PY
