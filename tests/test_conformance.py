"""Every built-in passes the conformance kit."""

from collections.abc import Iterator

import pytest

from small_data import small_data
from thalweg.registry import load_registry
from thalweg.testing import Check, checks

REGISTRY = load_registry()


@pytest.fixture(scope="module", autouse=True)
def _small_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Replace downloaded data by small files, so that no network is needed."""
    with small_data(REGISTRY, tmp_path_factory.mktemp("data")):
        yield


@pytest.mark.parametrize("check", checks(REGISTRY), ids=str)
def test_conforms(check: Check) -> None:
    check()
