"""The fixture ``step_benchmark`` for pytest.

pytest loads this module in every project of an environment that has thalweg: so it imports nothing of thalweg, and the
package it is in has nothing to load either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from thalweg.testing.steps import StepBenchmark


@pytest.fixture
def step_benchmark(request: pytest.FixtureRequest) -> StepBenchmark:
    """What a step of an optimizer costs against another's, in alternating pairs: see docs/ci.md of thalweg."""
    if not request.config.pluginmanager.hasplugin("benchmark"):
        pytest.skip("step_benchmark needs pytest-benchmark: pip install pytest-benchmark")
    from thalweg.testing.steps import StepBenchmark

    return StepBenchmark(request.getfixturevalue("benchmark"), request.config.rootpath)
