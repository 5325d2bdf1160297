"""Fixtures of the kernels' tests: every level that can be used here, both dtypes."""

import numpy as np
import pytest

from fastmlp import _kernels


@pytest.fixture(params=_kernels.levels())
def level(request):
    return request.param


@pytest.fixture
def faces(level):
    """The kernels of a level, one by one."""
    return _kernels.load(level, "faces")


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)
