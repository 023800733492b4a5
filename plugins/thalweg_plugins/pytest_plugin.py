"""The option ``--thalweg-plugin`` and the fixture ``step_benchmark`` for pytest.

pytest loads this module in every project whose environment has thalweg. So this module imports nothing from thalweg
before a project asks for it, and the package around it loads nothing either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from thalweg.testing.kit import Check
    from thalweg.testing.steps import StepBenchmark


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--thalweg-plugin``."""
    parser.getgroup("thalweg").addoption(
        "--thalweg-plugin",
        action="append",
        default=[],
        metavar="NAME|PATH",
        help="Also test that a plugin of thalweg conforms: an installed plugin's name, or a plugin file. Repeatable.",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add a test for each check of the plugins that were asked for."""
    for target in config.getoption("--thalweg-plugin"):
        plugin: PluginChecks = PluginChecks.from_parent(session, name=target, nodeid=f"thalweg[{target}]")
        items.extend(plugin.collect())


class PluginChecks(pytest.Collector):
    """The checks of one plugin."""

    def collect(self) -> Iterator[CheckItem]:
        """A test for each check.

        Raises:
            UsageError: there is no such plugin, or it registered nothing to check.
        """
        from thalweg.errors import UserError
        from thalweg.testing.asked import asked

        try:
            found = asked(self.name).checks
        except UserError as error:
            raise pytest.UsageError(f"--thalweg-plugin {self.name}: {error}") from error
        for check in found:
            yield CheckItem.from_parent(self, name=str(check), check=check)


class CheckItem(pytest.Item):
    """One check of one component."""

    def __init__(self, *, check: Check, **settings: Any) -> None:
        super().__init__(**settings)
        self.check = check

    def runtest(self) -> None:
        """Run the check."""
        outcome = self.check.outcome()
        if outcome.status == "skipped":
            pytest.skip(outcome.found)
        if outcome.status == "failed":
            raise self.check.error(outcome)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What the check expected and found, and what this means."""
        notes = getattr(excinfo.value, "__notes__", None)
        return "\n".join([str(excinfo.value), *notes]) if notes else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """The name of the check, without a file."""
        return self.path, None, self.name


@pytest.fixture
def step_benchmark(request: pytest.FixtureRequest) -> StepBenchmark:
    """Compares the cost of two optimizers' steps, measured in alternating pairs: see docs/ci.md of thalweg."""
    if not request.config.pluginmanager.hasplugin("benchmark"):
        pytest.skip("step_benchmark needs pytest-benchmark: pip install pytest-benchmark")
    from thalweg.testing.steps import StepBenchmark

    return StepBenchmark(request.getfixturevalue("benchmark"), request.config.rootpath)
