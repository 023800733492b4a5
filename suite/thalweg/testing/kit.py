"""Which checks apply to what is registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thalweg.registry import Registry
from thalweg.testing import architectures, optimizers, others, probes, problems
from thalweg.training.contained import contained

CHECKS: dict[str, tuple[Callable[[Registry, str], None], ...]] = {
    "optimizers": optimizers.CHECKS,
    "architectures": architectures.CHECKS,
    "problems": problems.CHECKS,
    "probes": probes.CHECKS,
    "benchmarks": others.BENCHMARK_CHECKS,
    "executors": others.EXECUTOR_CHECKS,
    "claims": (others.contract,),
}
"""By kind: functions of a registry and a name that raise AssertionError. Their names say what must hold."""


@dataclass(frozen=True)
class Check:
    """One check of one component; calling it raises AssertionError when the component does not conform."""

    registry: Registry
    kind: str
    name: str
    run: Callable[[Registry, str], None]

    def __call__(self) -> None:
        """Run the check; what a component changes of torch's own settings is put back for the next one."""
        with contained():
            self.run(self.registry, self.name)

    def __str__(self) -> str:
        return f"{self.kind[:-1]}-{self.name}-{self.run.__name__}"


def checks(registry: Registry, plugin: str | None = None) -> list[Check]:
    """Every check of everything registered, or of what one plugin registered."""
    return [
        Check(registry, kind, entry.name, run)
        for kind, functions in CHECKS.items()
        for entry in registry.entries(kind)
        if plugin is None or entry.plugin.name == plugin
        for run in functions
    ]
