"""Every check of the conformance kit, for everything that this distribution declares."""

import pytest

from fastmlp import testing


@pytest.mark.parametrize("check", testing.checks_of("fastmlp-extras"), ids=str)
def test_conformance(check):
    check()
