"""Changes that a failed trial makes to the process do not reach later trials."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from support import CommandLine
from thalweg.training.contained import contained

LEAKS = {
    "gradients": "torch.set_grad_enabled(False)",
    "dtype": "torch.set_default_dtype(torch.float64)",
    "device": "torch.set_default_device('meta')",
    "threads": "torch.set_num_threads(2)",
    "deterministic": "torch.use_deterministic_algorithms(True)",
    "module hook": "torch.nn.modules.module.register_module_forward_hook(lambda m, i, o: o * 0)",
    "optimizer hook": "torch.optim.optimizer.register_optimizer_step_pre_hook(lambda *_: 1 / 0)",
    "products": "torch.set_float32_matmul_precision('medium')",
}

PLUGIN = """
import torch, thalweg
class Leaky(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1): super().__init__(params, {{"lr": lr}})
    def step(self, closure=None):
        {leak}
        raise KeyError("state")
@thalweg.hookimpl
def thalweg_register_optimizers(register): register(Leaky)
"""

BENCHMARK = """
seeds = 1
[workloads.digits]
problem = "digits"
architecture = { name = "mlp", widths = [8] }
budget = { steps = 4 }
batch_size = 64
[optimizers.leaky]
[optimizers.kfac]
[optimizers.gauss-newton-cg]
[optimizers.sgd]
"""


@pytest.mark.parametrize("leak", LEAKS)
def test_the_trials_after_a_failed_one_are_as_without_it(cli: CommandLine, tmp_path: Path, leak: str) -> None:
    (tmp_path / "leaky.py").write_text(PLUGIN.format(leak=LEAKS[leak]))
    (tmp_path / "b.toml").write_text(BENCHMARK)
    words = ("run", "b.toml", "--plugin", str(tmp_path / "leaky.py"), "--results")
    cli(*words, "with", code=1)
    cli(*words, "without", "--only", "optimizer=kfac,gauss-newton-cg,sgd")
    rows = {}
    for name in ("with", "without"):
        listed = cli.json("leaderboard", "b.toml", "--plugin", "leaky.py", "--results", name)["rows"]
        rows[name] = {row["optimizer"]: row["value"] for row in listed if row["optimizer"] != "leaky"}
    assert rows["with"] == rows["without"]
    assert len(rows["with"]) == 3


def test_a_known_state_is_set_and_the_callers_comes_back() -> None:
    before = torch.get_num_threads()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), contained(threads=1):
            assert torch.is_grad_enabled()
            assert torch.zeros(1).dtype == torch.float32
            assert torch.get_num_threads() == 1
            handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
        assert torch.zeros(1).dtype == torch.float64
        assert torch.get_num_threads() == before
        assert handle.id not in nn.modules.module._global_forward_hooks
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kernels", ["flash", "mem_efficient", "math"])
def test_kernels_of_attention_come_back(kernels: str) -> None:
    enabled, enable = (
        getattr(torch.backends.cuda, name.format(kernels)) for name in ("{}_sdp_enabled", "enable_{}_sdp")
    )
    assert enabled()
    with contained():
        enable(False)
    assert enabled()


def test_tiny_numbers_are_numbers_again_and_onednn_is_used_again() -> None:
    tiny = torch.tensor(1e-310, dtype=torch.float64)
    with contained():
        if not torch.set_flush_denormal(True):
            pytest.skip("this processor takes no number for zero")
        assert float(tiny * 1.0) == 0.0
        torch._C._set_mkldnn_enabled(False)
    assert float(tiny * 1.0) == 1e-310
    assert torch._C._get_mkldnn_enabled()
