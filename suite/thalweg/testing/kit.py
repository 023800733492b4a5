"""The checks of registered components."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thalweg.registry import Registry
from thalweg.testing import architectures, claims, optimizers, others, probes, problems
from thalweg.training.contained import contained

CHECKS: dict[str, tuple[Callable[[Registry, str], None], ...]] = {
    "optimizers": optimizers.CHECKS,
    "architectures": architectures.CHECKS,
    "problems": problems.CHECKS,
    "probes": probes.CHECKS,
    "benchmarks": others.BENCHMARK_CHECKS,
    "executors": others.EXECUTOR_CHECKS,
    "claims": claims.CHECKS,
}
"""For each kind of component its checks: functions of a registry and a name, named by the condition that they check.

They raise AssertionError where a component does not meet the condition.
"""


@dataclass(frozen=True)
class Check:
    """One check of one component. Its call raises AssertionError where the component does not conform."""

    registry: Registry
    kind: str
    name: str
    run: Callable[[Registry, str], None]

    def __call__(self) -> None:
        """Run the check, and restore torch's settings where the component has changed them."""
        with contained():
            self.run(self.registry, self.name)

    def __str__(self) -> str:
        return f"{self.kind[:-1]}-{self.name}-{self.run.__name__}"


def checks(registry: Registry, plugin: str | None = None) -> list[Check]:
    """Every check of all registered components, or of one plugin's components."""
    return [
        Check(registry, kind, entry.name, run)
        for kind, functions in CHECKS.items()
        for entry in registry.entries(kind)
        if plugin is None or entry.plugin.name == plugin
        for run in functions
    ]
