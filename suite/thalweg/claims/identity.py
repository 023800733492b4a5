"""What names the measurements of a claim: everything that changes their numbers."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from functools import cache
from typing import Any

from thalweg.claims.needs import needs_of
from thalweg.experiment import benchmark_of
from thalweg.registry import Entry, Registry
from thalweg.selection import Device
from thalweg.shown import brief

PACKAGES = ("torch", "numpy", "scipy")
"""The packages whose numbers may change with the second part of their version."""


def identity_of(entry: Entry, tier: str, registry: Registry, device: Device) -> dict[str, Any]:
    """The claim with its revision, its experiments with the revisions of their components, packages and device.

    Raises:
        UserError: an experiment is no benchmark, or names a component that does not exist.
    """
    experiments = [
        {"name": one.name, "content": dict(one.content), "components": _components(one, registry)}
        for one in needs_of(entry, tier)
    ]
    return {
        **_provided(entry),
        "tier": tier,
        "device": device,
        "packages": packages(),
        **({"experiments": experiments} if experiments else {}),
    }


@cache
def packages() -> dict[str, str]:
    """Two parts of the version of each package."""
    return {name: ".".join(importlib.metadata.version(name).split(".")[:2]) for name in PACKAGES}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """How two identities of a claim differ, in words."""
    given = one.get("packages")
    mine: Mapping[str, Any] = given if isinstance(given, dict) else {}
    found = [
        f"{name} {brief(mine.get(name, 'unknown'))}"
        for name in PACKAGES
        if mine.get(name) != other.get("packages", {}).get(name)
    ]
    if one.get("device") != other.get("device"):
        found.append(f"device {brief(one.get('device'))}")
    if any(one.get(key) != other.get(key) for key in ("revision", "provider", "digest", "experiments")):
        found.append("another version of the claim or of what it trains")
    return found


def _provided(entry: Entry) -> dict[str, Any]:
    digest = {"digest": entry.plugin.digest} if entry.plugin.digest else {}
    return {"name": entry.name, "provider": entry.plugin.name, "revision": entry.component.revision, **digest}


def _components(experiment: Any, registry: Registry) -> list[dict[str, Any]]:
    spec = benchmark_of(experiment).spec
    wanted = {("problems", workload.problem.name) for workload in spec.workloads.values()}
    wanted |= {("architectures", workload.architecture.name) for workload in spec.workloads.values()}
    wanted |= {("optimizers", one.optimizer or label) for label, one in spec.optimizers.items()}
    wanted |= {("probes", one.probe or label) for label, one in spec.probes.items()}
    where = f"experiment {experiment.name!r}"
    return [_provided(registry.entry(kind, name, where)) for kind, name in sorted(wanted)]
