"""Row of import times: whole processes, so that nothing is shared."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec

from timing import interleave, row

MODULES = {
    "fastmlp": "fastmlp",
    "NumPy": "numpy",  # fastmlp imports it: the least that can be reached
    "scikit-learn": "sklearn.neural_network",
    "torch": "torch",
    "JAX": "jax",
}


def run(module):
    """Seconds of a process that imports `module` and ends."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, cwd=tempfile.gettempdir())
    return time.perf_counter() - begun


def import_rows(rounds):
    """``python -c "import ..."``."""
    installed = {name: module for name, module in MODULES.items() if find_spec(module.partition(".")[0])}
    times = interleave({name: functools.partial(run, module) for name, module in installed.items()}, rounds)
    yield row("import", "", times) | {"note": "fastmlp imports NumPy"}
