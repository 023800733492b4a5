"""The fixture ``step_benchmark`` for pytest.

pytest loads this module in every project whose environment has thalweg. So this module imports nothing from thalweg,
and the package around it loads nothing either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from thalweg.testing.steps import StepBenchmark


@pytest.fixture
def step_benchmark(request: pytest.FixtureRequest) -> StepBenchmark:
    """Compares the cost of two optimizers' steps, measured in alternating pairs: see docs/ci.md of thalweg."""
    if not request.config.pluginmanager.hasplugin("benchmark"):
        pytest.skip("step_benchmark needs pytest-benchmark: pip install pytest-benchmark")
    from thalweg.testing.steps import StepBenchmark

    return StepBenchmark(request.getfixturevalue("benchmark"), request.config.rootpath)
