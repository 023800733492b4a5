"""Every built-in passes the conformance kit."""

import pytest

from thalweg.registry import load_registry
from thalweg.testing import Check, checks


@pytest.mark.parametrize("check", checks(load_registry()), ids=str)
def test_conforms(check: Check) -> None:
    check()
