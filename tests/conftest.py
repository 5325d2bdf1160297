"""Fixtures of the kernels' tests: every level that can be used here, both dtypes."""

import os
import subprocess
import sys
import textwrap

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


# What several files share: fixtures that are functions, since --import-mode=importlib lets no test import another.


@pytest.fixture(scope="session")
def snapshot():
    """What training changes in a network, copied, by name."""

    def take(net):
        arrays = {**net.parameters, **net.buffers}
        arrays |= {f"{key}/{name}": s for key, state in net.optimizer_state.items() for name, s in state.items()}
        return {name: array.copy() for name, array in arrays.items()}

    return take


@pytest.fixture(scope="session")
def same_bits():
    """Whether two arrays, or two mappings of arrays, are equal to the last bit, -0.0 and NaN included."""

    def compare(a, b):
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(compare(a[key], b[key]) for key in a)
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()

    return compare


@pytest.fixture
def run_python(tmp_path):
    """Runs a script in a new interpreter, outside the checkout, warnings being errors; gives what it prints."""

    def run(code, *options, **environ):
        done = subprocess.run(
            [sys.executable, "-W", "error", *options, "-c", textwrap.dedent(code)],
            cwd=tmp_path,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
