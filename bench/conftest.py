"""For all benchmarks of `pytest bench`: a fair start."""

import os

import pytest

for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # tuned for another machine, they slow NumPy down
    os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def rested():
    """Nobody pays for the workers that the benchmark before left spinning."""
    from timing import settle

    settle()
