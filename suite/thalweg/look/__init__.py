"""Look at a network of your own: its loss surface, its spectrum, its sharpness, in one line each.

>>> import torch
>>> from thalweg import look
>>> module = torch.nn.Linear(4, 3)
>>> data = torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3
>>> look.sharpness(module, torch.nn.CrossEntropyLoss(), data, rho=(0.05,)).table["quantity"].iloc[0]
'lower bound of the maximum'

Every function takes

- ``module``: a ``torch.nn.Module``. It is copied: its weights, buffers, gradients, mode and ``requires_grad`` stay as
  they are, and so do torch's global random state and switches, also after an exception or an interruption.
- ``loss``: a torch loss with ``reduction`` mean or sum, a function of ``torch.nn.functional``, or a name such as
  ``"cross_entropy"``: all of outputs and targets. Or a function ``(module, batch) -> losses`` of shape (N,).
- ``data``: a pair of tensors (inputs, targets), a dataset, a ``DataLoader``, or any iterable of batches. It is read
  once. Every example counts alike, in whatever batches the data comes.
- ``forward``: in place of ``loss``, a function ``(module, batch)`` that gives the losses (N,), their mean over the
  batch's examples, or a pair (mean, weight), such as the mean over the tokens of a mask and their number.
- ``parameters``: names of parameters or of modules, or a function of name and parameter: only these move and are
  differentiated. None means every parameter that requires gradients.
- ``seed``: of random directions and vectors.
- ``progress``: whether a terminal shows a bar, or a function of what is done of what.
- the options of the probe, which ``thalweg show NAME`` lists.

Each gives a ``Look``: a table with its settings and its charts. The network is in evaluation mode: nothing is random,
and batch norm takes its running statistics unless ``batch_norm`` says otherwise. ``gradient_flow`` alone looks at one
pass in ``mode``. ``watch`` measures probes while a loop of one's own trains.
"""

from thalweg.look.functions import (
    directions,
    gradient_flow,
    line,
    mode_connectivity,
    noise_scale,
    sharpness,
    spectrum,
    surface,
    trace,
)
from thalweg.look.measure import look
from thalweg.look.reading import read
from thalweg.look.result import Look
from thalweg.look.watch import watch

__all__ = [
    "Look",
    "directions",
    "gradient_flow",
    "line",
    "look",
    "mode_connectivity",
    "noise_scale",
    "read",
    "sharpness",
    "spectrum",
    "surface",
    "trace",
    "watch",
]
